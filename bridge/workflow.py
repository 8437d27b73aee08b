"""The steps in order over all fields: what works at the same time, progress, resume and failures."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bridge.analysis import display_range
from bridge.analysis import figures as drawing
from bridge.errors import (
    BridgeError,
    InputError,
    LabelError,
    MissingDependencyError,
    OutputError,
    StaleError,
)
from bridge.experiment import ChannelFile, Field, Plan, make_plan
from bridge.files import require_writable, sha256, whole_file, write_bytes
from bridge.imagej import Background, DoubleEntry, Engine, FijiEngine, Measured, NativeEngine, statistics
from bridge.imagej.provision import IMAGEJ_VERSION, fiji_root
from bridge.images import Calibration, Plane, imagej_scale, saturation_level
from bridge.labels import Labels, label_ids, read_labels, touches_border, write_labels
from bridge.outputs import EXPERIMENT, REVISION, Done, Outputs, calibration_of
from bridge.records import differences, locked
from bridge.rois import COMPILING, compiled, encode_roiset, read_roiset, verify_roiset
from bridge.selections import Selections
from bridge.settings import MACHINE, Settings, settings_from
from bridge.status import interruptible
from bridge.tables import FAILURES, Column, empty_table, measure_column, read_table, write_table

if TYPE_CHECKING:
    from bridge.segmentation import ModelFile, Segmenter

_log = logging.getLogger(__name__)

# What happens behind the network, each in a thread of its own.
_STAGES = {"masks": "_find", "rois": "_trace", "measure": "_compute", "write": "_write", "draw": "_draw"}
_MOST_ON_THE_WAY = 4  # fields in memory


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
        with locked(out), interruptible():
            return _Run(plan, out, settings, update, progress, announce).go()
    finally:
        if fresh:
            with contextlib.suppress(OSError):
                out.rmdir()  # only if nothing was written


@dataclass
class _Job:
    """A field on its way: what one step hands to the next."""

    item: Field
    step: str = "segment"
    find: dict[str, Callable[[], None]] = field(default_factory=dict)
    finished: concurrent.futures.Future[Done | None] = field(default_factory=concurrent.futures.Future)
    labels: Labels = field(default_factory=lambda: np.zeros((0, 0), np.uint16))
    n_nuclei: int | None = None
    made_from: dict[str, Any] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    facts: dict[str, Any] | None = None
    selections: Selections | None = None
    planes: dict[str, Plane] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)
    done: Done | None = None


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
    models: dict[str, ModelFile] = field(default_factory=dict)
    segmenters: dict[str, Segmenter] = field(default_factory=dict)
    engine: Engine | None = None
    starting: concurrent.futures.Future[None] | None = None
    n_done: int = 0
    pools: dict[str, concurrent.futures.ThreadPoolExecutor] = field(default_factory=dict)
    ahead: dict[ChannelFile, concurrent.futures.Future[Plane]] = field(default_factory=dict)
    engine_info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outputs = Outputs(self.plan, self.out, self.settings, self.update)
        self.records = self.outputs.records

    # ------------------------------------------------------------ the whole way

    def go(self) -> Report:
        self._refuse_other_settings()
        self._require_enough()
        self._resolve_models()
        self.outputs.warnings += self.plan.warnings
        self._refuse_foreign_files()
        self._write_run("running")  # first: it marks the folder as ours
        if self.announce and not compiled():
            self.announce(COMPILING)
        self.outputs.write_plan()
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
            self.outputs.warn()
            self._tell("tables and figures")
            self._attempt(EXPERIMENT, "tables", self.outputs.make_tables)
            self._attempt(EXPERIMENT, "figures", self.outputs.make_figures)
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
            len(self.outputs.done),
            sum(len(d.cells) for d in self.outputs.done),
            tuple(self.failures),
            tuple(dict.fromkeys(self.outputs.warnings)),
        )

    def _all_fields(self) -> None:
        on_the_way: list[concurrent.futures.Future[Done | None]] = []
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
        self.outputs.done = [done for finished in on_the_way if (done := finished.result()) is not None]

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
        now = {k: v for k, v in self.outputs.recorded_settings().items() if k not in free}
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

    def _require_enough(self) -> None:
        if all(item.problems for item in self.plan.fields):
            listed = "\n".join(f"  {problem}" for _, problem in self.plan.problems)
            raise InputError(
                f"{self.plan.images}: not one field can be processed (got {len(self.plan.fields)}, each with a problem). See `cellpose-fiji plan`:\n{listed}"
            )
        if self.settings.fiji != "core" and self.settings.fiji.count(":") < 2:
            fiji_root(Path(self.settings.fiji))

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
        path = self.outputs.mask(item)
        made_from = self._settings_of("segment")
        if item.mask is not None:
            # The given label image decides; the settings of Cellpose do not.
            made_from = {"revision": REVISION["segment"], "mask": self.outputs.hash(item.mask)}
        else:
            assert item.segment is not None
            made_from |= {
                **self.outputs.source(item.segment),
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
                job.labels = read_labels(item.mask, foreign=True)
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
        path = self.outputs.nuclei_mask(item)
        made_from = {
            **self._settings_of("count"),
            **self.outputs.source(item.count),
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
                self.ahead[file] = self.pools["read"].submit(self.outputs.read, file, measured)

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
        path = self.outputs.roiset(item)
        made_from = {"revision": REVISION["rois"], "mask": self.outputs.hash(self.outputs.mask(item))}
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
        job.files = [
            *self.outputs.results(item).values(),
            *self.outputs.subtracted(item).values(),
            self.outputs.cells(item),
        ]
        job.facts = self.records.current(item.field_id, "measure", job.made_from, job.files)
        if job.facts is not None:
            return
        if job.selections is None:
            job.selections = read_roiset(path, shape)
        for channel, file in item.measure.items():
            plane = self._plane(file)
            _require_shape(item, plane, job.labels)
            job.planes[channel] = plane

    def _measure_made_from(self, job: _Job, roiset: Path) -> dict[str, Any]:
        item = job.item
        images = {c: self.outputs.source(f) for c, f in item.measure.items()}
        if not item.measure and item.segment is not None:
            images = {"segment": self.outputs.source(item.segment)}
        return {
            **self._settings_of("measure"),
            "scale": asdict(self.outputs.scale(item)),
            "engine_identity": self._engine_identity(),
            "mask": self.outputs.hash(self.outputs.mask(item)),
            "roiset": self.outputs.hash(roiset),
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
        cells_path = self.outputs.cells(item)
        if job.facts is None:
            assert job.selections is not None
            cells = _cell_table(job, self.outputs.scale(item), self.outputs.columns)
            job.facts = self._measure_facts(job)
            self.records.begin(item.field_id, "measure", job.made_from, job.files)
            subtracted = self.outputs.subtracted(item)
            for channel, path in self.outputs.results(item).items():
                found = job.measured[channel]
                write_bytes(path, found.results_csv)
                if found.pixels is not None and channel in subtracted:
                    calibration = calibration_of(self.settings, job.planes[channel].calibration)
                    _write_subtracted(subtracted[channel], found.pixels, calibration)
            write_table(cells_path, cells, self.outputs.columns)
            self.records.finish(item.field_id, "measure", job.made_from, job.files, job.facts)
        self.engine_info = job.facts.get("imagej") or self.engine_info
        self.n_done += 1
        job.done = Done(item, read_table(cells_path, self.outputs.columns), job.n_nuclei)
        self._tell(f"{item.field_id}: done")

    def _draw(self, job: _Job) -> None:
        """Draw the pictures while the images are in memory, on the grey scale of the fields so far."""
        if not job.measured:
            return
        try:
            ranges = self.outputs.display_ranges(job.item)
            self.outputs.make_pictures(job.item, ranges, job.labels, job.planes)
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

    # ------------------------------------------------------------ after the fields

    def _pictures(self) -> None:
        ranges = self.outputs.display_ranges()
        for condition in self.plan.conditions:
            rows = []
            for item in [d.field for d in self.outputs.done if d.field.condition == condition]:
                try:
                    rows.append((item.field_id, self.outputs.make_pictures(item, ranges)))
                except MissingDependencyError:
                    raise
                except Exception as error:
                    self._fail(item.field_id, "pictures", error)
            rows = [row for row in rows if row[1]]
            if rows:
                self._attempt(
                    EXPERIMENT, "pictures", functools.partial(self.outputs.make_contact_sheet, condition, rows)
                )

    # ------------------------------------------------------------ small things

    def _write_run(self, state: str) -> None:
        failed = {failure.field_id for failure in self.failures} - {EXPERIMENT}
        self.outputs.write_run(state, len(failed), self.models, self.engine_info)

    def _settings_of(self, step: str) -> dict[str, Any]:
        """The step's settings; of files not the path but, elsewhere, the hash counts."""
        paths = ("model", "count_model", "masks", "fiji")
        return {"revision": REVISION[step], **{k: v for k, v in self.settings.of_step(step).items() if k not in paths}}

    def _plane(self, file: ChannelFile | None, measured: bool = True) -> Plane:
        assert file is not None
        ahead = self.ahead.pop(file, None)
        return self.outputs.read(file, measured) if ahead is None else ahead.result()

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
