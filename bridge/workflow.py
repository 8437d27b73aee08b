"""The steps in order over all fields. This module alone does disk, progress, resume and failures."""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import functools
import json
import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bridge.analysis import (
    cells_against_nuclei,
    common_range,
    condition_table,
    contact_sheet,
    display_range,
    overlay,
    replicate_table,
    violin_figure,
    write_workbook,
)
from bridge.analysis import figures as drawing
from bridge.analysis.pictures import write_picture
from bridge.errors import (
    BridgeError,
    InputError,
    LabelError,
    MissingDependencyError,
    OutputError,
    StaleError,
)
from bridge.experiment import ChannelFile, Field, Plan, make_plan, safe_name
from bridge.files import require_writable, sha256, whole_file, write_bytes, write_text
from bridge.imagej import Background, DoubleEntry, Engine, FijiEngine, Measured, NativeEngine, statistics
from bridge.imagej.provision import IMAGEJ_VERSION, fiji_root
from bridge.images import PIXELS, Calibration, Plane, imagej_scale, inspect, read_plane, saturation_level
from bridge.labels import Labels, label_ids, read_labels, touches_border, write_labels
from bridge.records import Records, differences, locked
from bridge.rois import COMPILING, compiled, encode_roiset, read_roiset, verify_roiset
from bridge.selections import Selections
from bridge.settings import MACHINE, MEASUREMENTS, Settings, settings_from
from bridge.tables import (
    COUNTS,
    FAILURES,
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

if TYPE_CHECKING:
    from bridge.segmentation import ModelFile, Segmenter

_log = logging.getLogger(__name__)

# Raised when a step's outputs change for the same inputs and settings.
_REVISION = {"segment": 1, "count": 1, "rois": 1, "measure": 1, "pictures": 1, "tables": 1, "figures": 1}
_EXPERIMENT = "_experiment"
# What happens behind the network, each in a thread of its own.
_STAGES = {"masks": "_find", "rois": "_trace", "measure": "_compute", "write": "_write", "draw": "_draw"}
_MOST_ON_THE_WAY = 4  # fields in memory
_SATURATED_SHARE = 0.001  # of a field's cell pixels, from which on it is said


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, failed, total : int
        Fields.
    now : str
        What is being done.
    """

    done: int
    failed: int
    total: int
    now: str


@dataclass(frozen=True)
class Failure:
    """One thing that failed: a row of `failures.csv`."""

    field_id: str
    step: str
    error: str
    message: str


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Attributes
    ----------
    out : Path
        The results folder.
    plan : Plan
    done : int
        Fields that are complete.
    n_cells : int
    failures : tuple of Failure
    warnings : tuple of str
    """

    out: Path
    plan: Plan
    done: int
    n_cells: int
    failures: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some or all fields failed."""
        return 1 if self.failures else 0


def run(
    images: Path | str,
    out: Path | str,
    settings: Settings | None = None,
    update: bool = False,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
    **options: Any,
) -> Report:
    """Run the whole way: images in, tables and figures out.

    Parameters
    ----------
    images : Path or str
        Folder of images.
    out : Path or str
        Results folder; a run that was stopped goes on there.
    settings : Settings, optional
        Or give the options by name.
    update : bool
        Run again what depends on settings or inputs that changed.
    progress : callable, optional
        Called after each field and step.
    announce : callable, optional
        Called with what the user should know before the work starts, e.g. which model runs.
    **options
        Options of `bridge.settings.Settings`, instead of `settings`.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        The input or a setting cannot be used; nothing was done.
    OutputError
        The folder holds results of other settings, is not writable, or another run writes to it.
    MissingDependencyError
        Java, ImageJ or weights cannot be had, or the disk is full.

    Examples
    --------
    >>> run("no such folder", out="results")
    Traceback (most recent call last):
    bridge.errors.InputError: no such folder: no such folder (expected a folder with images). Check the path.
    """
    settings = settings or settings_from(options, "run")
    images, out = Path(images), Path(out)
    if out.resolve() == images.resolve():
        raise OutputError(
            f"{out}: is the folder of the images (expected another one). Name a folder of its own with --out, e.g. {out / 'results'}."
        )
    plan = make_plan(images, settings)
    fresh = not out.exists()
    require_writable(out)
    try:
        with locked(out):
            return _Run(plan, out, settings, update, progress, announce).go()
    finally:
        if fresh:
            with contextlib.suppress(OSError):
                out.rmdir()  # only if nothing was written


@dataclass
class _Done:
    """A field that is complete, as the tables need it."""

    field: Field
    cells: pd.DataFrame
    n_nuclei: int | None


@dataclass
class _Job:
    """A field on its way: what one step hands to the next."""

    item: Field
    step: str = "segment"
    find: dict[str, Callable[[], None]] = field(default_factory=dict)
    finished: concurrent.futures.Future[_Done | None] = field(default_factory=concurrent.futures.Future)
    labels: Labels = field(default_factory=lambda: np.zeros((0, 0), np.uint16))
    mask: Path = Path()
    n_nuclei: int | None = None
    made_from: dict[str, Any] = field(default_factory=dict)
    outputs: list[Path] = field(default_factory=list)
    facts: dict[str, Any] | None = None
    selections: Selections | None = None
    planes: dict[str, Plane] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)
    done: _Done | None = None


@dataclass
class _Run:
    """State of one run: the loaded models, ImageJ, and what failed."""

    plan: Plan
    out: Path
    settings: Settings
    update: bool
    progress: Callable[[Progress], None] | None
    announce: Callable[[str], None] | None
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    done: list[_Done] = field(default_factory=list)
    models: dict[str, ModelFile] = field(default_factory=dict)
    segmenters: dict[str, Segmenter] = field(default_factory=dict)
    engine: Engine | None = None
    starting: concurrent.futures.Future[None] | None = None
    n_done: int = 0
    pools: dict[str, concurrent.futures.ThreadPoolExecutor] = field(default_factory=dict)
    ahead: dict[ChannelFile, concurrent.futures.Future[Plane]] = field(default_factory=dict)
    inputs: dict[Path, str] = field(default_factory=dict)
    shown: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    engine_info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.records = Records(self.out, self.update)
        self.columns = cell_columns(
            self.plan.measure_channels, [h for w in self.settings.measurements for h in MEASUREMENTS[w]]
        )
        self.started = datetime.datetime.now(datetime.UTC)

    # ------------------------------------------------------------ the whole way

    def go(self) -> Report:
        self._refuse_other_settings()
        self._require_enough()
        self._resolve_models()
        self.warnings += self.plan.warnings
        self._refuse_foreign_files()
        self._write_run("running")  # first: it marks the folder as ours
        if self.announce and not compiled():
            self.announce(COMPILING)
        self._write_plan()
        # Nothing waits: while the network looks at one field, the next one is read, the one before is measured and the
        # one before that is written. Each of these has a thread of its own, so the fields stay in their order.
        self.pools = {name: concurrent.futures.ThreadPoolExecutor(1, name) for name in ("read", *_STAGES)}
        try:
            if self.plan.measure_channels:
                self.engine = engine_of(self.settings)
                if self._measuring_ahead():
                    # ImageJ starts while the network is loaded.
                    self.starting = self.pools["measure"].submit(self.engine.start)
            self.pools["read"].submit(drawing.load)
            self._all_fields()
            self._refuse_stale()
            # The pictures are drawn while the tables are written.
            pictures = self.pools["draw"].submit(self._pictures)
            self._warn()
            self._tell("tables and figures")
            self._attempt(_EXPERIMENT, "tables", self.make_tables)
            self._attempt(_EXPERIMENT, "figures", self.make_figures)
            pictures.result()
        finally:
            for pool in self.pools.values():
                pool.shutdown(wait=False, cancel_futures=True)
            if self.engine is not None:
                self.engine.close()
            for pool in self.pools.values():
                pool.shutdown()
        self._sort_failures()
        table = pd.DataFrame([vars(f) for f in self.failures], columns=[c.name for c in FAILURES])
        write_table(self.out / "failures.csv", table, FAILURES)
        self._write_run("failed" if self.failures else "done")
        self._tell("done")
        return Report(
            self.out,
            self.plan,
            len(self.done),
            sum(len(d.cells) for d in self.done),
            tuple(self.failures),
            tuple(dict.fromkeys(self.warnings)),
        )

    def _all_fields(self) -> None:
        on_the_way: list[concurrent.futures.Future[_Done | None]] = []
        items = list(self.plan.fields)
        for item, following in zip(items, [*items[1:], None], strict=True):
            if item.problems:
                self.failures += [Failure(item.field_id, "plan", "InputError", problem) for problem in item.problems]
                continue
            if following is not None:
                self._read_ahead(following)
            job = self._look_at(item)
            if job is not None:
                on_the_way.append(job.finished)
                self._advance(job, 0)
            # A bounded number of fields in memory; and what ends the run does so at once.
            for finished in on_the_way[:-_MOST_ON_THE_WAY]:
                finished.result()
        self.done = [done for finished in on_the_way if (done := finished.result()) is not None]

    def _sort_failures(self) -> None:
        order = {item.field_id: i for i, item in enumerate(self.plan.fields)}
        self.failures.sort(key=lambda failure: order.get(failure.field_id, len(order)))

    def _look_at(self, item: Field) -> _Job | None:
        """Let the networks look at one field, in this thread; what they saw becomes label images in another one."""
        job = _Job(item)
        try:
            self._tell(f"{item.field_id}: cells")
            self._segment(job)
            if item.count is not None:
                job.step = "count"
                self._tell(f"{item.field_id}: nuclei")
                self._count(job)
            return job
        except MissingDependencyError:
            raise
        except Exception as error:
            self._fail(item.field_id, job.step, error)
            if "segment" in job.find:
                self._attempt(item.field_id, "segment", job.find["segment"])
            return None

    def _advance(self, job: _Job, stage: int) -> None:
        """Hand a field to the thread of its next stage; the last one finishes it."""
        names = list(_STAGES)

        def work() -> None:
            try:
                getattr(self, _STAGES[names[stage]])(job)
            except MissingDependencyError as error:
                job.finished.set_exception(error)
            except Exception as error:
                self._fail(job.item.field_id, job.step, error)
                job.finished.set_result(None)
            else:
                if stage + 1 < len(names):
                    self._advance(job, stage + 1)
                else:
                    job.finished.set_result(job.done)

        self.pools[names[stage]].submit(work)

    def _attempt(self, what: str, step: str, work: Callable[[], object]) -> None:
        try:
            work()
        except MissingDependencyError:
            raise
        except Exception as error:
            self._fail(what, step, error)

    def _fail(self, field_id: str, step: str, error: Exception) -> None:
        text = str(error)
        if not isinstance(error, BridgeError):
            text = f"{field_id}: {type(error).__name__}: {error}. This is a fault of the program: please report it (--debug shows where)."
        _log.debug("%s failed in step %s", field_id, step, exc_info=error)
        self.failures.append(Failure(field_id, step, type(error).__name__, text))

    def _tell(self, now: str) -> None:
        if self.progress:
            failed = len({failure.field_id for failure in self.failures})
            self.progress(Progress(self.n_done, failed, len(self.plan.fields), now))

    # ------------------------------------------------------------ before the work

    def _refuse_other_settings(self) -> None:
        try:
            before = json.loads((self.out / "run.json").read_text("utf-8"))["settings"]
        except FileNotFoundError:
            return
        except (json.JSONDecodeError, KeyError, UnicodeDecodeError):
            before = {}
        # The images may have moved: their hashes decide.
        free = {"images", *self.settings.in_groups(MACHINE)}
        now = {k: v for k, v in self._recorded_settings().items() if k not in free}
        changed = differences({k: v for k, v in before.items() if k not in free}, now)
        if changed and not self.update:
            raise OutputError(
                f"{self.out}: holds results of other settings ({changed}). "
                "Give --update to run again what depends on them, or name another folder with --out."
            )

    def _refuse_foreign_files(self) -> None:
        if (self.out / "run.json").exists():
            return
        for name in ("fields.csv", "failures.csv"):
            if (self.out / name).exists():
                raise OutputError(
                    f"{self.out / name}: is there already and was not written by this run. It is not overwritten: move it elsewhere, or name another folder with --out."
                )

    def _refuse_stale(self) -> None:
        """Stop before tables are made without the fields whose inputs changed: the old ones stay as they are."""
        stale = [failure for failure in self.failures if failure.error == StaleError.__name__]
        if stale:
            self._write_run("stopped")
            more = f" So were {len(stale) - 1} more." if len(stale) > 1 else ""
            raise StaleError(f"{stale[0].message}{more}")

    def _recorded_settings(self) -> dict[str, Any]:
        """Return the settings with paths that mean the same from any folder."""
        plain = self.settings.as_json()
        for name in ("samples", "masks", "java", "model", "count_model", "fiji"):
            if plain[name] and Path(plain[name]).exists():
                plain[name] = str(Path(plain[name]).resolve())
        return {"images": str(self.plan.images.resolve()), **plain}

    def _require_enough(self) -> None:
        if all(item.problems for item in self.plan.fields):
            listed = "\n".join(f"  {problem}" for _, problem in self.plan.problems)
            raise InputError(
                f"{self.plan.images}: not one field can be processed (got {len(self.plan.fields)}, each with a problem). See `cellpose-fiji plan`:\n{listed}"
            )
        if self.settings.fiji != "core" and self.settings.fiji.count(":") < 2:
            fiji_root(Path(self.settings.fiji))

    def _write_plan(self) -> None:
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

    def _resolve_models(self) -> None:
        wanted = []
        if self.settings.masks is None:
            wanted.append(("segment", self.settings.model, False))
        if self.plan.count_channel:
            wanted.append(("count", self.settings.count_model or self._count_default(), True))
        if not wanted:
            return
        from bridge.segmentation import resolve_model

        for role, name, nuclei in wanted:
            self.models[role] = resolve_model(name, nuclei)
            if self.announce:
                what = self.plan.segment_channel if role == "segment" else self.plan.count_channel
                model = self.models[role]
                self.announce(f"{what}: Cellpose model {model.name} (SHA-256 {model.sha256[:12]}...)")

    def _count_default(self) -> str | None:
        # Where the user chose one network for everything, nuclei come from it too; Cellpose 3's own `nuclei` otherwise.
        return self.settings.model if self.settings.model in ("demo", "cyto_0") else None

    def _measuring_ahead(self) -> bool:
        return any(self.records.facts(item.field_id, "measure") is None for item in self.plan.fields) or self.update

    # ------------------------------------------------------------ the steps of one field

    def _segment(self, job: _Job) -> None:
        item = job.item
        path = job.mask = self.out / "masks" / safe_name(item.condition) / f"{item.field_id}_mask.tif"
        made_from = self._settings_of("segment")
        if item.mask is not None:
            # The given label image decides; the settings of Cellpose do not.
            made_from = {"revision": _REVISION["segment"], "mask": self._hash(item.mask)}
        else:
            assert item.segment is not None
            made_from |= {
                **self._source(item.segment),
                **self._model_identity("segment"),
            }
        if self.records.current(item.field_id, "segment", made_from, [path]) is not None:

            def read() -> None:
                job.labels = read_labels(path)

            job.find["segment"] = read
            return
        plane = self._plane(item.segment, measured=False) if item.segment else None
        if item.mask is None:
            assert plane is not None
            find = self._cellpose("segment", plane, self.settings.diameter, item.field_id)

        def write() -> None:
            facts: dict[str, Any] = {}
            if item.mask is None:
                job.labels, facts = find()
            else:
                job.labels = read_labels(item.mask)
                if (item.height_px, item.width_px) not in ((0, 0), job.labels.shape):
                    raise LabelError(
                        f"{item.mask}: not the size of its images (got {job.labels.shape[0]} x {job.labels.shape[1]}, expected "
                        f"{item.height_px} x {item.width_px} px). Use the label image of this field."
                    )
            if plane is not None:
                job.planes["segment"] = plane
                facts["shown"] = list(display_range([plane.pixels]))
            self.records.begin(item.field_id, "segment", made_from, [path])
            write_labels(path, job.labels, plane.calibration if plane is not None else None)
            self.records.finish(item.field_id, "segment", made_from, [path], facts)

        job.find["segment"] = write

    def _count(self, job: _Job) -> None:
        item = job.item
        assert item.count is not None
        path = self.out / "masks" / safe_name(item.condition) / f"{item.field_id}_nuclei_mask.tif"
        made_from = {
            **self._settings_of("count"),
            **self._source(item.count),
            **self._model_identity("count"),
        }
        facts = self.records.current(item.field_id, "count", made_from, [path])
        if facts is not None:
            job.n_nuclei = int(facts["n_nuclei"])
            return
        plane = self._plane(item.count)
        find = self._cellpose("count", plane, self.settings.count_diameter, item.field_id)

        def write() -> None:
            _require_shape(item, plane, job.labels)
            nuclei, found = find()
            job.n_nuclei = int(label_ids(nuclei).size)
            self.records.begin(item.field_id, "count", made_from, [path])
            write_labels(path, nuclei, plane.calibration)
            self.records.finish(item.field_id, "count", made_from, [path], {**found, "n_nuclei": job.n_nuclei})

        job.find["count"] = write

    def _read_ahead(self, item: Field) -> None:
        """Read what the networks will look at next, if they will."""
        if item.problems:
            return
        for file, step, measured in ((item.segment, "segment", False), (item.count, "count", True)):
            known = self.records.facts(item.field_id, step) is not None and not self.update
            if file is not None and not known and not (step == "segment" and item.mask is not None):
                self.ahead[file] = self.pools["read"].submit(self._read, file, measured)

    def _cellpose(
        self, role: str, plane: Plane, diameter: Any, name: str
    ) -> Callable[[], tuple[Labels, dict[str, Any]]]:
        """Run the network; what is returned makes the label image."""
        from bridge.segmentation import Segmenter

        if role not in self.segmenters:
            self.segmenters[role] = Segmenter(self.models[role], self.settings.device)
        segmenter = self.segmenters[role]
        s = self.settings
        finish = segmenter.look(
            plane.seen if role == "segment" else plane.pixels,
            diameter,
            s.flow_threshold,
            s.cellprob_threshold,
            s.min_size,
            s.border,
            s.batch_size,
            s.tile,
            name,
        )

        def find() -> tuple[Labels, dict[str, Any]]:
            found = finish()
            notices = list(plane.notices)
            if found.cut:
                listed = ", ".join(map(str, found.cut[:5]))
                notices.append(
                    f"{len(found.cut)} cells are cut where two tiles meet (labels {listed}); a larger --tile would hold them whole"
                )
            return found.labels, {"diameter_px": found.diameter_px, "notices": notices, **segmenter.info}

        return find

    def _find(self, job: _Job) -> None:
        """Make the label images of what the networks saw, and keep them."""
        for step, find in job.find.items():
            job.step = step
            find()
        job.find.clear()

    def _trace(self, job: _Job) -> None:
        """Make the ROI set and prove it, read what will be measured."""
        item = job.item
        job.step = "rois"
        shape = (job.labels.shape[0], job.labels.shape[1])
        path = self.out / "rois" / safe_name(item.condition) / f"{item.field_id}_RoiSet.zip"
        made_from = {"revision": _REVISION["rois"], "mask": self._hash(job.mask)}
        if self.records.current(item.field_id, "rois", made_from, [path]) is None:
            content = encode_roiset(job.labels)
            self.records.begin(item.field_id, "rois", made_from, [path])
            write_bytes(path, content)
            try:
                job.selections = read_roiset(path, shape)
                n = verify_roiset(job.selections, job.labels, str(path))
            except BridgeError:
                path.unlink()
                raise
            self.records.finish(item.field_id, "rois", made_from, [path], {"rois": n, "labels": n, "different_px": 0})
        job.step = "measure"
        job.made_from = self._measure_made_from(job, path)
        job.outputs = [*self._results(item).values(), *self._subtracted(item).values(), self._cells_path(item)]
        job.facts = self.records.current(item.field_id, "measure", job.made_from, job.outputs)
        if job.facts is not None:
            return
        if job.selections is None:
            job.selections = read_roiset(path, shape)
        for channel, file in item.measure.items():
            plane = self._plane(file)
            _require_shape(item, plane, job.labels)
            job.planes[channel] = plane

    def _results(self, item: Field) -> dict[str, Path]:
        folder = self.out / "measurements" / safe_name(item.condition)
        return {c: folder / f"{item.field_id}_{safe_name(c)}_Results.csv" for c in item.measure}

    def _subtracted(self, item: Field) -> dict[str, Path]:
        folder = self.out / "measurements" / safe_name(item.condition)
        channels = item.measure if self.settings.save_subtracted else ()
        return {c: folder / f"{item.field_id}_{safe_name(c)}_subtracted.tif" for c in channels}

    def _cells_path(self, item: Field) -> Path:
        return self.records.folder(item.field_id) / "cells.csv"

    def _measure_made_from(self, job: _Job, roiset: Path) -> dict[str, Any]:
        item = job.item
        images = {c: self._source(f) for c, f in item.measure.items()}
        if not item.measure and item.segment is not None:
            images = {"segment": self._source(item.segment)}
        return {
            **self._settings_of("measure"),
            "scale": asdict(self._scale(item)),
            "engine_identity": self._engine_identity(),
            "mask": self._hash(job.mask),
            "roiset": self._hash(roiset),
            "images": images,
            "fields": [item.field_id, item.condition, item.replicate, item.sample],
        }

    def _compute(self, job: _Job) -> None:
        """Subtract the background and measure: the one step in which the engines work."""
        if job.facts is not None or not job.item.measure:
            return
        assert self.engine is not None
        assert job.selections is not None
        self._tell(f"{job.item.field_id}: measuring")
        if self.starting is not None:
            starting, self.starting = self.starting, None
            starting.result()
        s = self.settings
        for channel in job.item.measure:
            plane = job.planes[channel]
            job.measured[channel] = self.engine.measure(
                plane.pixels, job.selections, plane.title, background_of(s), calibration_of(s, plane.calibration), s.measurements, s.decimals, s.save_subtracted
            )  # fmt: skip

    def _write(self, job: _Job) -> None:
        """Write what was measured, and hand the field to the tables."""
        item = job.item
        cells_path = self._cells_path(item)
        if job.facts is None:
            assert job.selections is not None
            cells = _cell_table(job, self._scale(item), self.columns)
            job.facts = self._measure_facts(job)
            self.records.begin(item.field_id, "measure", job.made_from, job.outputs)
            subtracted = self._subtracted(item)
            for channel, path in self._results(item).items():
                found = job.measured[channel]
                write_bytes(path, found.results_csv)
                if found.pixels is not None and channel in subtracted:
                    calibration = calibration_of(self.settings, job.planes[channel].calibration)
                    _write_subtracted(subtracted[channel], found.pixels, calibration)
            write_table(cells_path, cells, self.columns)
            self.records.finish(item.field_id, "measure", job.made_from, job.outputs, job.facts)
        self.engine_info = job.facts.get("imagej") or self.engine_info
        self.n_done += 1
        job.done = _Done(item, read_table(cells_path, self.columns), job.n_nuclei)
        self._tell(f"{item.field_id}: done")

    def _draw(self, job: _Job) -> None:
        """Draw the pictures while the images are in memory, on the grey scale of the fields so far."""
        if not job.measured:
            return
        try:
            ranges = self._display_ranges([job.item] if self.shown else self.plan.fields)
            self._field_pictures(job.item, ranges, job.labels, job.planes)
        except Exception:  # tried again after the last field, and said if it fails there
            _log.debug("%s: not drawn yet", job.item.field_id, exc_info=True)

    def _measure_facts(self, job: _Job) -> dict[str, Any]:
        assert job.selections is not None
        extent = job.selections.extent_px
        facts: dict[str, Any] = {
            "extent_95_px": float(np.percentile(extent, 95)) if extent.size else 0.0,
            "shown": {},
            "saturated": {},
            "notices": [],
            "compared": sum(found.compared for found in job.measured.values()),
            "differences": {c: list(found.differences) for c, found in job.measured.items() if found.differences},
            "imagej": self.engine.info if self.engine else {},
        }
        for channel in job.item.measure:
            plane = job.planes[channel]
            facts["shown"][channel] = list(display_range([plane.pixels]))
            facts["notices"] += [f"{channel}: {notice}" for notice in plane.notices]
            level = saturation_level(plane.pixels)
            if level is not None:
                full = np.count_nonzero((plane.pixels == level) & (job.labels > 0))
                facts["saturated"][channel] = [level, full / max(1, int(job.selections.area_px.sum()))]
        return facts

    def _warn(self) -> None:
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
        known = {item.field_id for item in self.plan.fields} | {_EXPERIMENT}
        gone = (
            sorted(p.name for p in (self.out / "records").iterdir() if p.name not in known)
            if (self.out / "records").is_dir()
            else []
        )
        if gone:
            self.warnings.append(
                f"files of {len(gone)} fields that are no longer in the plan are still there (e.g. {gone[0]}); they are in no table"
            )

    # ------------------------------------------------------------ after the fields

    def _pictures(self) -> None:
        self.shown.clear()
        ranges = self._display_ranges([d.field for d in self.done])
        for condition in self.plan.conditions:
            rows = []
            for item in [d.field for d in self.done if d.field.condition == condition]:
                try:
                    rows.append((item.field_id, self._field_pictures(item, ranges)))
                except MissingDependencyError:
                    raise
                except Exception as error:
                    self._fail(item.field_id, "pictures", error)
            rows = [row for row in rows if row[1]]
            if rows:
                self._attempt(_EXPERIMENT, "pictures", functools.partial(self._contact_sheet, condition, rows))

    def _display_ranges(self, items: Sequence[Field]) -> dict[str, tuple[float, float]]:
        """Look at these fields again; return one grey scale for all fields of a channel, as far as they are known."""
        for item in items:
            shown = dict((self.records.facts(item.field_id, "measure") or {}).get("shown", {}))
            segment = (self.records.facts(item.field_id, "segment") or {}).get("shown")
            self.shown[item.field_id] = {**shown, "segment": segment} if segment else shown
        channels = dict.fromkeys(channel for shown in self.shown.values() for channel in shown)
        return {c: common_range([shown[c] for shown in self.shown.values() if c in shown]) for c in channels}

    def _field_pictures(
        self,
        item: Field,
        ranges: dict[str, tuple[float, float]],
        labels: Labels | None = None,
        planes: Mapping[str, Plane] = MappingProxyType({}),
    ) -> list[Path]:
        folder = self.out / "overlays" / safe_name(item.condition)
        mask = self.out / "masks" / safe_name(item.condition) / f"{item.field_id}_mask.tif"
        sources: dict[str, tuple[ChannelFile, str]] = {}
        if item.segment is not None and "segment" in ranges and self.plan.segment_channel not in item.measure:
            sources["segment"] = (item.segment, self.plan.segment_channel or "segment")
        sources |= {c: (f, c) for c, f in item.measure.items()}
        paths = {key: folder / f"{item.field_id}_{safe_name(name)}.png" for key, (_, name) in sources.items()}
        made_from = {
            "revision": _REVISION["pictures"],
            "mask": self._hash(mask),
            "images": {key: self._source(file) for key, (file, _) in sources.items()},
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
                plane = planes.get(key) or self._plane(file, measured=key != "segment")
                picture = overlay(plane.pixels, labels, (low, high))
                write_picture(
                    paths[key], picture, f"{item.field_id} · {name}, grey levels {low:.4g} to {high:.4g} · {n} cells"
                )
            self.records.finish(item.field_id, "pictures", made_from, outputs, {})
        return outputs

    def _contact_sheet(self, condition: str, rows: list[tuple[str, list[Path]]]) -> None:
        path = self.out / "overlays" / f"{safe_name(condition)}.png"
        made_from = {
            "revision": _REVISION["pictures"],
            "pictures": {p.name: self._hash(p) for _, paths in rows for p in paths},
        }
        step = f"contact_sheet_{safe_name(condition)}"
        if self.records.current(_EXPERIMENT, step, made_from, [path], derived=True) is not None:
            return
        from PIL import Image

        channels = [c for c in (self.plan.segment_channel, *self.plan.measure_channels) if c]
        self.records.begin(_EXPERIMENT, step, made_from, [path])
        pictures = []
        for name, paths in rows:
            opened = []
            for file in paths:
                with Image.open(file) as picture:
                    opened.append(np.asarray(picture.convert("RGB"))[:-22])  # without its caption
            pictures.append((name, opened))
        contact_sheet(
            path, pictures, f"{condition} · {' and '.join(channels)} · one grey scale for all fields of a channel"
        )
        self.records.finish(_EXPERIMENT, step, made_from, [path], {})

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

    def make_tables(self) -> pd.DataFrame:
        """Write the tables and workbooks where they are not current; return all cells."""
        cells, counts = self._collected()
        made_from = {"revision": _REVISION["tables"], **self._tables_from()}
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
        if self.records.current(_EXPERIMENT, "tables", made_from, outputs, derived=True) is not None:
            return cells
        self.records.begin(_EXPERIMENT, "tables", made_from, outputs)
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
        self.records.finish(_EXPERIMENT, "tables", made_from, outputs, {})
        return cells

    @staticmethod
    def _title(condition: str, taken: dict[str, Any]) -> str:
        return f"{condition} (cells)" if condition in taken else condition

    def _tables_from(self) -> dict[str, Any]:
        return {
            "conditions": list(self.plan.conditions),
            "cells": {
                d.field.field_id: self._hash(self.records.folder(d.field.field_id) / "cells.csv") for d in self.done
            },
            "nuclei": {d.field.field_id: d.n_nuclei for d in self.done},
        }

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
        made_from = {"revision": _REVISION["figures"], "how": how, **self._tables_from()}
        if self.records.current(_EXPERIMENT, "figures", made_from, outputs, derived=True) is not None:
            return outputs
        self.records.begin(_EXPERIMENT, "figures", made_from, outputs)
        for path, column, label, title in drawn:
            violin_figure(path, cells, column, label, self.plan.conditions, title)
        if self.plan.count_channel:
            cells_against_nuclei(counted, counts, self.plan.conditions)
        self.records.finish(_EXPERIMENT, "figures", made_from, outputs, {})
        return outputs

    def _write_run(self, state: str) -> None:
        rois = {
            item.field_id: facts for item in self.plan.fields if (facts := self.records.facts(item.field_id, "rois"))
        }
        now = datetime.datetime.now(datetime.UTC)
        content = {
            "program": {"name": "cellpose-fiji-bridge", "version": version("cellpose-fiji-bridge")},
            "state": state,
            "started": self.started.isoformat(timespec="seconds"),
            "ended": None if state == "running" else now.isoformat(timespec="seconds"),
            "settings": self._recorded_settings(),
            "conditions": list(self.plan.conditions),
            "channels": {
                "segment": self.plan.segment_channel,
                "measure": list(self.plan.measure_channels),
                "count": self.plan.count_channel,
            },
            "fields": {
                "planned": len(self.plan.fields),
                "done": len(self.done),
                "failed": len({f.field_id for f in self.failures} - {_EXPERIMENT}),
            },
            "finished": [d.field.field_id for d in self.done],
            "cells": sum(len(d.cells) for d in self.done),
            "rois": {name: sum(facts[name] for facts in rois.values()) for name in ("rois", "labels", "different_px")},
            "models": {role: {"name": m.name, "sha256": m.sha256} for role, m in self.models.items()},
            "segmentation": {role: facts for role in ("segment", "count") if (facts := self._segmentation_facts(role))},
            "imagej": self.engine_info,
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
            "inputs": {str(path): digest for path, digest in self.inputs.items() if not path.is_relative_to(self.out)},
        }
        write_text(self.out / "run.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")

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

    # ------------------------------------------------------------ small things

    def _settings_of(self, step: str) -> dict[str, Any]:
        """The step's settings; of files not the path but, elsewhere, the hash counts."""
        paths = ("model", "count_model", "masks", "fiji")
        return {"revision": _REVISION[step], **{k: v for k, v in self.settings.of_step(step).items() if k not in paths}}

    def _scale(self, item: Field) -> Calibration:
        """Calibration for areas: the first measured image's that has one, else the segment image's."""
        for file in (*item.measure.values(), item.segment):
            if file is not None and (found := inspect(file.path).calibration).pixel_size_um:
                return calibration_of(self.settings, found)
        return calibration_of(self.settings, PIXELS)

    def _hash(self, path: Path) -> str:
        if path.is_relative_to(self.out):
            return sha256(path)
        if path not in self.inputs:
            try:
                self.inputs[path] = sha256(path)
            except OSError as error:
                raise InputError(
                    f"{path}: cannot be read ({error.strerror}). Check the disk or the network drive."
                ) from error
        return self.inputs[path]

    def _source(self, file: ChannelFile) -> dict[str, str | None]:
        return {"image": self._hash(file.path), "channel": file.channel, "rgb_channel": self.settings.rgb_channel}

    def _plane(self, file: ChannelFile | None, measured: bool = True) -> Plane:
        assert file is not None
        ahead = self.ahead.pop(file, None)
        return self._read(file, measured) if ahead is None else ahead.result()

    def _read(self, file: ChannelFile, measured: bool) -> Plane:
        self._hash(file.path)
        colour = None if measured else self.settings.colour
        return read_plane(file.path, file.channel, self.settings.rgb_channel, measured, colour)

    def _model_identity(self, role: str) -> dict[str, str]:
        return {"model_sha256": self.models[role].sha256, "cellpose": version("cellpose")}

    def _engine_identity(self) -> str:
        source = self.settings.fiji
        if not self.plan.measure_channels:
            return "none"
        if source == "core" or self.settings.engine == "native":
            return f"ImageJ {IMAGEJ_VERSION}"
        if source.count(":") >= 2 and not Path(source).exists():
            return source
        return ", ".join(
            f"{jar.name} {sha256(jar)[:12]}" for jar in sorted(fiji_root(Path(source)).glob("jars/ij-1.*.jar"))
        )


def background_of(settings: Settings) -> Background | None:
    """Return the background subtraction that the settings ask for."""
    if settings.rolling_ball == "none":
        return None
    return Background(
        float(settings.rolling_ball), settings.light_background, settings.sliding_paraboloid, settings.disable_smoothing,
        settings.create_background,
    )  # fmt: skip


def engine_of(settings: Settings) -> Engine:
    """Return the engine that the settings ask for, not started yet."""
    if settings.engine == "native":
        return NativeEngine()
    fiji = FijiEngine(settings.fiji, settings.java, settings.java_memory, settings.timeout)
    return fiji if settings.engine == "fiji" else DoubleEntry(fiji, strict=settings.fiji == "core")


def calibration_of(settings: Settings, found: Calibration) -> Calibration:
    """Return a file's calibration, or the one the settings put in its place."""
    return found if settings.pixel_size is None else Calibration(settings.pixel_size, settings.pixel_size, "micron")


def reopen(results: Path) -> _Run:
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
    opened = _Run(plan, results, settings_from(values, str(results / "run.json")), False, None, None)
    for item in fields:
        if item.field_id in finished:
            nuclei = opened.records.facts(item.field_id, "count") if plan.count_channel else None
            cells = read_table(opened.records.folder(item.field_id) / "cells.csv", opened.columns)
            opened.done.append(_Done(item, cells, nuclei["n_nuclei"] if nuclei else None))
    return opened


def _require_shape(item: Field, plane: Plane, labels: Labels) -> None:
    if plane.pixels.shape != labels.shape:
        raise LabelError(
            f"{item.field_id}: {plane.title} is not the size of the label image (got {plane.pixels.shape[0]} x {plane.pixels.shape[1]}, "
            f"expected {labels.shape[0]} x {labels.shape[1]} px). Use images of one size."
        )


def _cell_table(job: _Job, calibration: Calibration, columns: Sequence[Column]) -> pd.DataFrame:
    assert job.selections is not None
    ids = np.array([int(name) for name in job.selections.names], np.int64)
    if not ids.size:
        return empty_table(columns)
    area = job.selections.area_px
    x, y = job.selections.centre_px
    size_um2 = calibration.pixel_area_um2
    table: dict[str, Any] = {
        **{
            name: np.full(ids.size, getattr(job.item, name), object)
            for name in ("field_id", "condition", "replicate", "sample")
        },
        "label": ids,
        "cell_area_px2": area,
        "cell_area_um2": area * size_um2 if size_um2 else np.full(ids.size, np.nan),
        "cell_x_px": x,
        "cell_y_px": y,
        "touches_border": touches_border(job.labels)[ids],
    }
    for channel, found in job.measured.items():
        pixels = job.planes[channel].pixels
        for heading, values in found.columns.items():
            table[measure_column(channel, heading)] = values
        table[measure_column(channel, "raw_Mean")] = statistics(pixels, job.selections).mean
        level = saturation_level(pixels)
        full = np.zeros(1, np.int64) if level is None else np.bincount(job.labels[pixels == level])
        table[measure_column(channel, "saturated_px")] = np.pad(full, (0, max(0, int(ids[-1]) + 1 - full.size)))[ids]
    return pd.DataFrame({c.name: table[c.name] for c in columns}).astype({c.name: c.dtype for c in columns})


def _write_subtracted(path: Path, pixels: np.ndarray[Any, Any], calibration: Calibration) -> None:
    import tifffile

    scale, how = imagej_scale(calibration)
    with whole_file(path) as part:
        tifffile.imwrite(part, pixels, imagej=True, metadata={"axes": "YX", **scale}, **how)
