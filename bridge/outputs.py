"""The results folder of a run: where its files are, and what all fields together give.

Tables, workbooks, figures and pictures, the warnings about the numbers, `fields.csv` and `run.json`.
"""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from bridge.analysis import (
    cells_against_nuclei,
    common_range,
    condition_table,
    contact_sheet,
    overlay,
    replicate_table,
    violin_figure,
    write_workbook,
)
from bridge.analysis.pictures import read_picture, write_picture
from bridge.errors import InputError
from bridge.experiment import ChannelFile, Field, Plan, safe_name
from bridge.files import sha256, write_text
from bridge.imagej.provision import IMAGEJ_VERSION
from bridge.images import PIXELS, Calibration, Plane, inspect, read_plane
from bridge.labels import Labels, label_ids, read_labels
from bridge.records import Records
from bridge.settings import MEASUREMENTS, Settings, settings_from
from bridge.tables import (
    COUNTS,
    FIELDS,
    Column,
    cell_columns,
    empty_table,
    measure_column,
    measured_columns,
    read_table,
    replicate_columns,
    write_table,
)

EXPERIMENT = "_experiment"  # where a field's name would stand, for what all fields give
# Raised when a step's outputs change for the same inputs and settings.
REVISION = {"segment": 1, "count": 1, "rois": 1, "measure": 1, "pictures": 1, "tables": 1, "figures": 1}
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SATURATED_SHARE = 0.001  # of a field's cell pixels, from which on it is said


@dataclass
class Done:
    """A field that is complete, as the tables need it."""

    field: Field
    cells: pd.DataFrame
    n_nuclei: int | None


class Outputs:
    """The results folder of a run.

    Parameters
    ----------
    plan : Plan
    out : Path
    settings : Settings
    update : bool
        Whether what was made from other settings or inputs is made again.

    Attributes
    ----------
    records : Records
        What was made from what.
    columns : tuple of Column
        Of the table of cells.
    done : list of Done
        The fields that are complete, in the order of the plan.
    warnings : list of str
    """

    def __init__(self, plan: Plan, out: Path, settings: Settings, update: bool = False) -> None:
        self.plan, self.out, self.settings = plan, out, settings
        self.records = Records(out, update)
        self.columns = cell_columns(plan.measure_channels, [h for w in settings.measurements for h in MEASUREMENTS[w]])
        self.done: list[Done] = []
        self.warnings: list[str] = []
        self._started = datetime.datetime.now(datetime.UTC)
        self._inputs: dict[Path, str] = {}
        self._shown: dict[str, dict[str, tuple[float, float]]] = {}

    # ------------------------------------------------------------ where its files are

    def mask(self, item: Field) -> Path:
        """Return the file of a field's label image."""
        return self._of_condition("masks", item, "_mask.tif")

    def nuclei_mask(self, item: Field) -> Path:
        """Return the file of a field's label image of nuclei."""
        return self._of_condition("masks", item, "_nuclei_mask.tif")

    def roiset(self, item: Field) -> Path:
        """Return the file of a field's ROI set."""
        return self._of_condition("rois", item, "_RoiSet.zip")

    def results(self, item: Field) -> dict[str, Path]:
        """Return the Results files of a field, by channel."""
        return {c: self._of_condition("measurements", item, f"_{safe_name(c)}_Results.csv") for c in item.measure}

    def subtracted(self, item: Field) -> dict[str, Path]:
        """Return the files of a field's images after background subtraction, by channel, as far as they are wanted."""
        channels = item.measure if self.settings.save_subtracted else ()
        return {c: self._of_condition("measurements", item, f"_{safe_name(c)}_subtracted.tif") for c in channels}

    def cells(self, item: Field) -> Path:
        """Return the file of a field's rows of the table of cells."""
        return self.records.folder(item.field_id) / "cells.csv"

    def _of_condition(self, folder: str, item: Field, ending: str) -> Path:
        return self.out / folder / safe_name(item.condition) / f"{item.field_id}{ending}"

    # ------------------------------------------------------------ what a field is made from

    def hash(self, path: Path) -> str:
        """Return the SHA-256 of a file; an input is read once for it."""
        if path.is_relative_to(self.out):
            return sha256(path)
        if path not in self._inputs:
            try:
                self._inputs[path] = sha256(path)
            except OSError as error:
                raise InputError(
                    f"{path}: cannot be read ({error.strerror}). Check the disk or the network drive."
                ) from error
        return self._inputs[path]

    def source(self, file: ChannelFile) -> dict[str, str | None]:
        """Return what stands for a channel's pixels in a record."""
        return {"image": self.hash(file.path), "channel": file.channel, "rgb_channel": self.settings.rgb_channel}

    def read(self, file: ChannelFile, measured: bool) -> Plane:
        """Read a channel, to be measured or to be looked at."""
        self.hash(file.path)
        colour = None if measured else self.settings.colour
        return read_plane(file.path, file.channel, self.settings.rgb_channel, measured, colour)

    def scale(self, item: Field) -> Calibration:
        """Return the calibration for areas: the first measured image's that has one, else the segment image's."""
        for file in (*item.measure.values(), item.segment):
            if file is not None and (found := inspect(file.path).calibration).pixel_size_um:
                return calibration_of(self.settings, found)
        return calibration_of(self.settings, PIXELS)

    # ------------------------------------------------------------ the pictures

    def display_ranges(self, looked_at: Field | None = None) -> dict[str, tuple[float, float]]:
        """Return one grey scale for all fields of a channel.

        Parameters
        ----------
        looked_at : Field, optional
            The last one that is known, while others are not yet; otherwise it is that of all finished fields.
        """
        if looked_at is None:
            self._shown.clear()
            items = [d.field for d in self.done]
        else:
            items = [looked_at] if self._shown else list(self.plan.fields)
        for item in items:
            shown = dict((self.records.facts(item.field_id, "measure") or {}).get("shown", {}))
            segment = (self.records.facts(item.field_id, "segment") or {}).get("shown")
            self._shown[item.field_id] = {**shown, "segment": segment} if segment else shown
        channels = dict.fromkeys(channel for shown in self._shown.values() for channel in shown)
        return {c: common_range([shown[c] for shown in self._shown.values() if c in shown]) for c in channels}

    def make_pictures(
        self,
        item: Field,
        ranges: dict[str, tuple[float, float]],
        labels: Labels | None = None,
        planes: Mapping[str, Plane] = _NOTHING,
    ) -> list[Path]:
        """Draw a field's overlays where they are not current; return their files.

        Parameters
        ----------
        item : Field
        ranges : dict of str to (float, float)
            The grey scale of each channel.
        labels : ndarray, shape (Y, X), optional
        planes : mapping of str to Plane
            What is in memory already; the rest is read.
        """
        mask = self.mask(item)
        sources: dict[str, tuple[ChannelFile, str]] = {}
        if item.segment is not None and "segment" in ranges and self.plan.segment_channel not in item.measure:
            sources["segment"] = (item.segment, self.plan.segment_channel or "segment")
        sources |= {c: (f, c) for c, f in item.measure.items()}
        paths = {
            key: self._of_condition("overlays", item, f"_{safe_name(name)}.png") for key, (_, name) in sources.items()
        }
        made_from = {
            "revision": REVISION["pictures"],
            "mask": self.hash(mask),
            "images": {key: self.source(file) for key, (file, _) in sources.items()},
            "shown": {key: list(ranges[key]) for key in sources},
        }
        outputs = list(paths.values())
        # Pictures follow from the rest: a new field may widen the common grey scale, so they are redrawn unasked.
        if self.records.current(item.field_id, "pictures", made_from, outputs, derived=True) is None:
            self.records.begin(item.field_id, "pictures", made_from, outputs)
            if labels is None:
                labels = read_labels(mask)
            n = int(label_ids(labels).size)
            for key, (file, name) in sources.items():
                low, high = ranges[key]
                plane = planes.get(key) or self.read(file, measured=key != "segment")
                picture = overlay(plane.pixels, labels, (low, high))
                write_picture(
                    paths[key], picture, f"{item.field_id} · {name}, grey levels {low:.4g} to {high:.4g} · {n} cells"
                )
            self.records.finish(item.field_id, "pictures", made_from, outputs, {})
        return outputs

    def make_contact_sheet(self, condition: str, rows: list[tuple[str, list[Path]]]) -> None:
        """Draw the contact sheet of a condition from the overlays of its fields, where it is not current."""
        path = self.out / "overlays" / f"{safe_name(condition)}.png"
        made_from = {
            "revision": REVISION["pictures"],
            "pictures": {p.name: self.hash(p) for _, paths in rows for p in paths},
        }
        step = f"contact_sheet_{safe_name(condition)}"
        if self.records.current(EXPERIMENT, step, made_from, [path], derived=True) is not None:
            return
        channels = [c for c in (self.plan.segment_channel, *self.plan.measure_channels) if c]
        self.records.begin(EXPERIMENT, step, made_from, [path])
        pictures = [(name, [read_picture(file) for file in paths]) for name, paths in rows]
        contact_sheet(
            path, pictures, f"{condition} · {' and '.join(channels)} · one grey scale for all fields of a channel"
        )
        self.records.finish(EXPERIMENT, step, made_from, [path], {})

    # ------------------------------------------------------------ the tables and figures

    def make_tables(self) -> pd.DataFrame:
        """Write the tables and workbooks where they are not current; return all cells."""
        cells, counts = self._collected()
        made_from = {"revision": REVISION["tables"], **self._tables_from()}
        conditions = self.plan.conditions
        out = self.out
        csvs = {name: out / "conditions" / f"{safe_name(name)}.csv" for name in conditions}
        books = {name: out / "conditions" / f"{safe_name(name)}.xlsx" for name in conditions}
        outputs = [
            out / "cells.csv",
            out / "counts.csv",
            out / "replicates.csv",
            out / "conditions" / "all_conditions.xlsx",
            *csvs.values(),
            *books.values(),
        ]
        # Tables follow from the fields: more fields make new ones, unasked.
        if self.records.current(EXPERIMENT, "tables", made_from, outputs, derived=True) is not None:
            return cells
        self.records.begin(EXPERIMENT, "tables", made_from, outputs)
        replicates = replicate_table(cells, counts, self.columns, conditions)
        summary = condition_table(cells, counts, self.columns, conditions)
        measured = measured_columns(self.columns)
        declared = (
            *self.columns,
            *COUNTS,
            *replicate_columns(measured),
            Column("n_replicates", "int64", "", "replicates; 0 where none is known"),
        )
        write_table(out / "cells.csv", cells, self.columns)
        write_table(out / "counts.csv", counts, COUNTS)
        write_table(out / "replicates.csv", replicates, replicate_columns(measured))
        parts = {name: cells[cells["condition"] == name] for name in conditions}
        for name in conditions:
            write_table(csvs[name], parts[name], self.columns)
            write_workbook(books[name], {name: parts[name]}, declared)
        sheets = {"summary": summary, "replicates": replicates, "counts": counts}
        named = write_workbook(
            out / "conditions" / "all_conditions.xlsx",
            {**sheets, **{self._title(n, sheets): parts[n] for n in conditions}},
            declared,
        )
        if len(named) > len(sheets) + len(conditions):
            self.warnings.append(
                f"all_conditions.xlsx: a condition has more cells than Excel's {1_048_576} rows and is split over several sheets"
            )
        self.records.finish(EXPERIMENT, "tables", made_from, outputs, {})
        return cells

    def make_figures(self) -> list[Path]:
        """Draw the figures where they are not current; return their files."""
        cells, counts = self._collected()
        folder = self.out / "figures"
        drawn: list[tuple[Path, str, str, str]] = []
        radius = self.settings.rolling_ball
        how = "no background subtraction" if radius == "none" else f"rolling ball {float(radius):g} px"
        for channel in self.plan.measure_channels:
            for measure, words, unit in (
                ("Mean", "mean", "grey level"),
                ("IntDen", "integrated density", "grey level × the image's unit of area"),
            ):
                if any(c.name == measure_column(channel, measure) for c in self.columns):
                    drawn.append(
                        (
                            folder / f"{safe_name(channel)}_{measure}",
                            measure_column(channel, measure),
                            f"{channel} {words} per cell ({unit}, {how})",
                            f"{channel} {words}",
                        )
                    )
        if not self.plan.measure_channels:
            drawn.append((folder / "cell_area", "cell_area_px2", "cell area (px²)", "cell area"))
        outputs = [path.with_name(path.name + suffix) for path, *_ in drawn for suffix in (".png", ".svg")]
        counted = folder / "cells_and_nuclei"
        if self.plan.count_channel:
            outputs += [counted.with_name(counted.name + suffix) for suffix in (".png", ".svg")]
        made_from = {"revision": REVISION["figures"], "how": how, **self._tables_from()}
        if self.records.current(EXPERIMENT, "figures", made_from, outputs, derived=True) is not None:
            return outputs
        self.records.begin(EXPERIMENT, "figures", made_from, outputs)
        for path, column, label, title in drawn:
            violin_figure(path, cells, column, label, self.plan.conditions, title)
        if self.plan.count_channel:
            cells_against_nuclei(counted, counts, self.plan.conditions)
        self.records.finish(EXPERIMENT, "figures", made_from, outputs, {})
        return outputs

    def _collected(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        cells = [d.cells for d in self.done if len(d.cells)]
        table = pd.concat(cells, ignore_index=True) if cells else empty_table(self.columns)
        rows = [
            {
                **{k: getattr(d.field, k) for k in ("field_id", "condition", "replicate", "sample")},
                "n_cells": len(d.cells),
                "n_nuclei": d.n_nuclei,
            }
            for d in self.done
        ]
        counts = pd.DataFrame(rows, columns=[c.name for c in COUNTS]).astype({c.name: c.dtype for c in COUNTS})
        return table, counts

    def _tables_from(self) -> dict[str, Any]:
        return {
            "conditions": list(self.plan.conditions),
            "cells": {d.field.field_id: self.hash(self.cells(d.field)) for d in self.done},
            "nuclei": {d.field.field_id: d.n_nuclei for d in self.done},
        }

    @staticmethod
    def _title(condition: str, taken: dict[str, Any]) -> str:
        return f"{condition} (cells)" if condition in taken else condition

    # ------------------------------------------------------------ what is said about the run

    def warn(self) -> None:
        """Say once for all fields what the user should know about the numbers."""
        facts = {d.field.field_id: self.records.facts(d.field.field_id, "measure") or {} for d in self.done}
        radius = self.settings.rolling_ball
        if radius != "none" and self.plan.measure_channels:
            large = {name: f["extent_95_px"] for name, f in facts.items() if f["extent_95_px"] > float(radius)}
            if large:
                name = max(large, key=lambda key: large[key])
                self.warnings.append(
                    f"{len(large)} of {len(facts)} fields: the rolling ball (radius {float(radius):g} px) is smaller than the largest cells "
                    f"(95th percentile of their extent: {large[name]:.0f} px in {name}); ImageJ advises a radius at least as large"
                )
        for channel in self.plan.measure_channels:
            full = {
                name: f["saturated"][channel]
                for name, f in facts.items()
                if f["saturated"].get(channel, [0, 0])[1] >= _SATURATED_SHARE
            }
            if full:
                name = max(full, key=lambda key: full[key][1])
                self.warnings.append(
                    f"{len(full)} of {len(facts)} fields: {channel} is saturated in the cells ({full[name][1]:.1%} of their pixels at grey level "
                    f"{full[name][0]:g} in {name}); their means are too low"
                )
        for name, f in facts.items():
            for channel, found in f.get("differences", {}).items():
                self.warnings.append(
                    f"{name}: {channel}: this Fiji's ImageJ ({f['imagej'].get('imagej')}) and the native engine (ImageJ {IMAGEJ_VERSION}) "
                    f"differ ({found[0]}); this Fiji's numbers are kept, the differences are in records/{name}/measure.json"
                )
        for step in ("segment", "count", "measure"):
            for done in self.done:
                noted = (self.records.facts(done.field.field_id, step) or {}).get("notices", [])
                self.warnings += [f"{done.field.field_id}: {notice}" for notice in noted]
        known = {item.field_id for item in self.plan.fields} | {EXPERIMENT}
        gone = (
            sorted(p.name for p in (self.out / "records").iterdir() if p.name not in known)
            if (self.out / "records").is_dir()
            else []
        )
        if gone:
            self.warnings.append(
                f"files of {len(gone)} fields that are no longer in the plan are still there (e.g. {gone[0]}); they are in no table"
            )

    def write_plan(self) -> None:
        """Write `fields.csv`."""

        def name(path: Path | None) -> str:
            if path is None:
                return ""
            return path.relative_to(self.plan.images).as_posix() if path.is_relative_to(self.plan.images) else str(path)

        rows = []
        columns: list[Column] = []
        for column in FIELDS:
            columns.append(column)
            if column.name == "segment_path":
                columns += [
                    Column(f"measure_path_{c}", "str", "", f"measured {c} image") for c in self.plan.measure_channels
                ]
        for item in self.plan.fields:
            row: dict[str, Any] = {c.name: getattr(item, c.name, "") for c in FIELDS}
            row["segment_path"] = name(item.segment.path if item.segment else None)
            row["count_path"] = name(item.count.path if item.count else None)
            row["mask_path"] = name(item.mask)
            row["problems"] = " ".join(item.problems)
            row |= {
                f"measure_path_{c}": name(item.measure[c].path if c in item.measure else None)
                for c in self.plan.measure_channels
            }
            rows.append(row)
        write_table(self.out / "fields.csv", pd.DataFrame(rows), columns)

    def write_run(
        self, state: str, failed: int = 0, models: Mapping[str, Any] = _NOTHING, imagej: Mapping[str, Any] = _NOTHING
    ) -> None:
        """Write `run.json`.

        Parameters
        ----------
        state : {"running", "stopped", "done", "failed"}
        failed : int
            Fields.
        models : mapping of str to ModelFile
            By what they find: `segment` or `count`.
        imagej : mapping
            What the engine says of itself.
        """
        rois = {
            item.field_id: facts for item in self.plan.fields if (facts := self.records.facts(item.field_id, "rois"))
        }
        now = datetime.datetime.now(datetime.UTC)
        content = {
            "program": {"name": "cellpose-fiji-bridge", "version": version("cellpose-fiji-bridge")},
            "state": state,
            "started": self._started.isoformat(timespec="seconds"),
            "ended": None if state == "running" else now.isoformat(timespec="seconds"),
            "settings": self.recorded_settings(),
            "conditions": list(self.plan.conditions),
            "channels": {
                "segment": self.plan.segment_channel,
                "measure": list(self.plan.measure_channels),
                "count": self.plan.count_channel,
            },
            "fields": {
                "planned": len(self.plan.fields),
                "done": len(self.done),
                "failed": failed,
            },
            "finished": [d.field.field_id for d in self.done],
            "cells": sum(len(d.cells) for d in self.done),
            "rois": {name: sum(facts[name] for facts in rois.values()) for name in ("rois", "labels", "different_px")},
            "models": {role: {"name": m.name, "sha256": m.sha256} for role, m in models.items()},
            "segmentation": {role: facts for role in ("segment", "count") if (facts := self._segmentation_facts(role))},
            "imagej": dict(imagej),
            "double_entry": self._double_entry(),
            "python": platform.python_version(),
            "system": platform.platform(),
            "versions": {
                name: version(name)
                for name in (
                    "numpy",
                    "pandas",
                    "roifile",
                    "tifffile",
                    "cellpose",
                    "torch",
                    "jpype1",
                    "scyjava",
                    "pyimagej",
                )
            },
            "warnings": list(dict.fromkeys(self.warnings)),
            "inputs": {str(path): digest for path, digest in self._inputs.items() if not path.is_relative_to(self.out)},
        }
        write_text(self.out / "run.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def recorded_settings(self) -> dict[str, Any]:
        """Return the settings with paths that mean the same from any folder."""
        plain = self.settings.as_json()
        for name in ("samples", "masks", "java", "model", "count_model", "fiji"):
            if plain[name] and Path(plain[name]).exists():
                plain[name] = str(Path(plain[name]).resolve())
        return {"images": str(self.plan.images.resolve()), **plain}

    def _double_entry(self) -> dict[str, int] | None:
        """How many numbers both engines computed, over all fields and also in earlier starts of this run."""
        if self.settings.engine != "both" or not self.plan.measure_channels:
            return None
        facts = [self.records.facts(d.field.field_id, "measure") or {} for d in self.done]
        differ = sum(bool(f.get("differences")) for f in facts)
        return {"numbers_compared": sum(f.get("compared", 0) for f in facts), "fields_that_differ": differ}

    def _segmentation_facts(self, role: str) -> dict[str, Any]:
        """What segmented the fields, from their records: also of an earlier start of this run."""
        facts = {d.field.field_id: self.records.facts(d.field.field_id, role) or {} for d in self.done}
        shared = next((f for f in facts.values() if "model" in f), {})
        keys = ("cellpose", "torch", "model", "model_sha256", "device")
        diameters = {name: f["diameter_px"] for name, f in facts.items() if "diameter_px" in f}
        return {**{k: shared[k] for k in keys}, "diameter_px": diameters} if shared else {}


def calibration_of(settings: Settings, found: Calibration) -> Calibration:
    """Return a file's calibration, or the one the settings put in its place."""
    return found if settings.pixel_size is None else Calibration(settings.pixel_size, settings.pixel_size, "micron")


def reopen(results: Path) -> Outputs:
    """Open a run's folder without its images: what is finished can be summarised and drawn again.

    Raises
    ------
    InputError
        It is not the folder of a run.
    """
    try:
        content = json.loads((results / "run.json").read_text("utf-8"))
        values = dict(content["settings"])
        images = Path(values.pop("images"))
        channels, conditions = content["channels"], tuple(content["conditions"])
        state, finished = content["state"], set(content["finished"])
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise InputError(
            f"{results}: not the folder of a run (no run.json that can be read). Name the folder given with --out."
        ) from error
    if state not in ("done", "failed"):
        raise InputError(
            f"{results}: the run was stopped (state {state}, expected done). Give its command again first; it goes on where it was."
        )
    keys = ("field_id", "condition", "replicate", "sample")
    rows = read_table(results / "fields.csv", [c for c in FIELDS if c.name in keys])
    fields = tuple(Field(*values) for values in rows[list(keys)].itertuples(index=False, name=None))
    plan = Plan(images, fields, conditions, channels["segment"], tuple(channels["measure"]), channels["count"])
    opened = Outputs(plan, results, settings_from(values, str(results / "run.json")))
    for item in fields:
        if item.field_id in finished:
            nuclei = opened.records.facts(item.field_id, "count") if plan.count_channel else None
            cells = read_table(opened.records.folder(item.field_id) / "cells.csv", opened.columns)
            opened.done.append(Done(item, cells, nuclei["n_nuclei"] if nuclei else None))
    return opened
