"""`run.json` and `fields.csv`: every setting, version, hash and time of a run, and its plan."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.files import write_text
from bridge.pipeline.graph import EXPERIMENT
from bridge.setting_options import PATHS
from bridge.settings_file import settings_from
from bridge.tables import FIELDS, Column, typed_table, write_table

if TYPE_CHECKING:
    from bridge.experiment.fields import Field, Plan
    from bridge.pipeline.executor import Executor
    from bridge.pipeline.records import Records
    from bridge.pipeline.step import Context
    from bridge.settings import Settings
    from bridge.source import ChannelFile

RECORDS = 2  # how records are written; a folder with others is not mixed with these
_LIBRARIES = (
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "statsmodels",
    "xlsxwriter",
    "roifile",
    "tifffile",
    "cellpose",
    "torch",
    "jpype1",
    "scyjava",
    "pyimagej",
)


def recorded_settings(images: Path, settings: Settings) -> dict[str, Any]:
    """Return the settings with paths that mean the same from any folder."""
    plain = settings.as_json()
    for name in PATHS:
        if plain[name] and _is_path(name, plain[name]):
            plain[name] = str(Path(plain[name]).resolve())
    return {"images": str(images.resolve()), **plain}


def from_any_folder(images: Path, out: Path, settings: Settings) -> tuple[Path, Path, Settings]:
    """Return the same with paths that mean the same from any folder, as those that workers run in."""
    plain = {name: value for name, value in recorded_settings(images, settings).items() if name != "images"}
    return images.absolute(), out.absolute(), settings_from(plain, "run")


def _is_path(name: str, value: str) -> bool:
    """Whether a setting names a file or folder that is there; what may be a name is a name first."""
    if name in ("model", "count_model"):
        from bridge.segmentation.models import is_model_name

        return Path(value).is_file() and not is_model_name(value)
    return Path(value).exists() and not (name == "fiji" and value == "core")


class RunRecord:
    """Writes `run.json`, as the run goes on.

    Parameters
    ----------
    context : Context
    records : Records
    """

    def __init__(self, context: Context, records: Records) -> None:
        self._context, self._records = context, records
        self._started = datetime.datetime.now(datetime.UTC)
        self.n_cells = 0

    def write(self, state: str, executor: Executor, warnings: Sequence[str] = ()) -> None:
        """Write `run.json`.

        Parameters
        ----------
        state : {"running", "stopped", "done", "failed"}
        executor : Executor
            What is finished, and what failed.
        warnings : sequence of str
        """
        plan, finished = self._context.plan, executor.finished
        failed = {failure.field_id for failure in executor.failures} - {EXPERIMENT}
        rois = self._facts(plan.fields, "rois")
        self.n_cells = sum(rois[item.field_id]["rois"] for item in finished if item.field_id in rois)
        content = {
            "program": {"name": "cellpose-fiji-bridge", "version": version("cellpose-fiji-bridge")},
            "records": RECORDS,
            "state": state,
            "started": self._started.isoformat(timespec="seconds"),
            "ended": None if state == "running" else datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "settings": recorded_settings(plan.images, self._context.settings),
            "conditions": list(plan.conditions),
            "split": sorted(self._context.folder.split),
            "channels": {
                "segment": plan.segment_channel,
                "segment_with": list(plan.segment_with),
                "measure": list(plan.measure_channels),
                "count": plan.count_channel,
            },
            "fields": {"planned": len(plan.fields), "done": len(finished), "failed": len(failed)},
            "excluded": list(plan.excluded),
            "finished": [item.field_id for item in finished],
            "cells": self.n_cells,
            "rois": {name: sum(facts[name] for facts in rois.values()) for name in ("rois", "labels", "different_px")},
            "models": {role: {"name": m.name, "sha256": m.sha256} for role, m in self._context.models.items()},
            "segmentation": {
                role: facts for role in ("segment", "count") if (facts := self._segmentation(role, finished))
            },
            **self._engines(finished),
            "corrected_by_hand": {
                name: {"changed": len(facts["labels"]), "gone": len(facts["gone"])}
                for name, facts in self._facts(finished, "corrected").items()
            },
            "python": platform.python_version(),
            "system": platform.platform(),
            "versions": {name: version(name) for name in _LIBRARIES},
            "warnings": list(dict.fromkeys(warnings)),
            "inputs": {str(path): digest for path, digest in self._context.hashes.known.items()},
        }
        write_text(self._context.folder.run, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _facts(self, fields: Sequence[Field], step: str) -> dict[str, dict[str, Any]]:
        return {item.field_id: facts for item in fields if (facts := self._records.facts(item.field_id, step))}

    def _engines(self, finished: Sequence[Field]) -> dict[str, Any]:
        """What measured, and how many numbers both engines computed, also in earlier starts of this run."""
        facts = self._facts(finished, "measure").values()
        imagej = [f["imagej"] for f in facts if f.get("imagej")]
        compared = None
        if self._context.settings.engine == "both" and self._context.plan.measure_channels:
            compared = {
                "numbers_compared": sum(f.get("compared", 0) for f in facts),
                "fields_that_differ": sum(bool(f.get("differences")) for f in facts),
            }
        return {"imagej": imagej[-1] if imagej else {}, "double_entry": compared}

    def _segmentation(self, role: str, finished: Sequence[Field]) -> dict[str, Any]:
        """What segmented the fields, also in an earlier start of this run."""
        facts = self._facts(finished, role)
        shared = next((f for f in facts.values() if "model" in f), {})
        keys = ("cellpose", "torch", "model", "model_sha256", "device", "inference")
        diameters = {name: f["diameter_px"] for name, f in facts.items() if "diameter_px" in f}
        return {**{k: shared[k] for k in keys}, "diameter_px": diameters} if shared else {}


def plan_rows(plan: Plan) -> tuple[list[dict[str, Any]], list[Column]]:
    """Return the rows of `fields.csv` and its columns."""
    root = plan.root

    def name(path: Path | None) -> str:
        if path is None:
            return ""
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)

    def address(file: ChannelFile | None) -> str:
        return file.address(name(file.path)) if file else ""

    columns: list[Column] = []
    for column in FIELDS:
        columns.append(column)
        if column.name == "segment_path":
            columns += [Column(f"segment_with_path_{c}", "str", "", f"{c} image that the network saw with it") for c in plan.segment_with]  # fmt: skip
            columns += [Column(f"measure_path_{c}", "str", "", f"measured {c} image") for c in plan.measure_channels]
    rows = []
    for item in plan.fields:
        row: dict[str, Any] = {c.name: getattr(item, c.name, "") for c in FIELDS}
        row["segment_path"] = address(item.segment)
        row["count_path"] = address(item.count)
        row["mask_path"] = name(item.mask)
        row["problems"] = " ".join(item.problems)
        others = item.segment.also if item.segment else ()
        row |= {f"segment_with_path_{c}": address(file) for c, file in zip(plan.segment_with, others, strict=False)}
        row |= {f"measure_path_{c}": address(item.measure.get(c)) for c in plan.measure_channels}
        rows.append(row)
    return rows, columns


def write_plan(context: Context) -> None:
    """Write `fields.csv`."""
    rows, columns = plan_rows(context.plan)
    write_table(context.folder.fields, typed_table(rows, columns), columns)
