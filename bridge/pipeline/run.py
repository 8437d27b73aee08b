"""A run: images in, tables and figures out."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.classification.classifier import classes_of, write_network_classes
from bridge.errors import InputError, OutputError, StaleError
from bridge.files import require_writable
from bridge.foreign import read_json
from bridge.imagej.fiji_folder import fiji_root
from bridge.pipeline.assay import load as load_assay
from bridge.pipeline.executor import Executor, Failure
from bridge.pipeline.finished_run import FinishedRun, open_run
from bridge.pipeline.graph import EXPERIMENT
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.lock import locked
from bridge.pipeline.page import write_report
from bridge.pipeline.preflight import make_plan
from bridge.pipeline.progress import Progress
from bridge.pipeline.records import Records, differences
from bridge.pipeline.results_folder import ResultsFolder
from bridge.pipeline.run_record import RECORDS, RunRecord, recorded_settings, write_plan
from bridge.pipeline.run_warnings import diameters, warnings_of
from bridge.pipeline.status import interruptible
from bridge.pipeline.step import Context
from bridge.pipeline.steps import ORDER
from bridge.pipeline.steps.corrected import settle
from bridge.report.figures import load as load_figures
from bridge.rois.trace import COMPILING, compiled
from bridge.setting_options import ASSAY, CHANGE_NOTHING, MACHINE
from bridge.settings import Settings
from bridge.settings_file import settings_from
from bridge.tables import FAILURES, typed_table, write_table

if TYPE_CHECKING:
    from bridge.experiment.fields import Plan
    from bridge.segmentation.models import ModelFile

_log = logging.getLogger(__name__)


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
    diameters : str
        Which cell diameters were found; empty where one was given.
    """

    out: Path
    plan: Plan
    done: int
    n_cells: int
    failures: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()
    diameters: str = ""

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
    """Run the whole pipeline: images in, tables and figures out.

    Parameters
    ----------
    images : Path or str
        Folder of images.
    out : Path or str
        Results folder; a run that was stopped resumes there.
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


def run_again(
    finished: FinishedRun,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Report:
    """Give the command of a finished run again: what its folder asks for by now is made."""
    return run(finished.plan.images, finished.out, finished.settings, progress=progress, announce=announce)


@dataclass
class _Run:
    plan: Plan
    out: Path
    settings: Settings
    update: bool
    progress: Callable[[Progress], None] | None
    announce: Callable[[str], None] | None
    models: dict[str, ModelFile] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def go(self) -> Report:
        folder = ResultsFolder(self.out)
        self._refuse_other_settings(folder)
        self._require_enough()
        self._resolve_models()
        self.warnings += self.plan.warnings
        self.records = Records(self.out, self.update)
        self.records.require_own_names()
        self._refuse_foreign_files(folder)
        self.context = Context(self.plan, self.settings, folder, Hashes(self.out), self.models)
        settle(self.context, self.records)
        self.executor = Executor(self.context, self.records, ORDER, self._tell)
        self.executor.failures += [
            Failure(item.field_id, "plan", "InputError", problem)
            for item in self.plan.fields
            for problem in item.problems
        ]
        record = RunRecord(self.context, self.records)
        record.write("running", self.executor)  # first: it marks the folder as ours
        _tell_classes(self.context)
        if self.announce and not compiled():
            self.announce(COMPILING)
        with self._own_file("plan", folder.fields):
            write_plan(self.context)
        try:
            # What draws and counts is imported meanwhile, which takes seconds.
            threading.Thread(target=self._load, name="libraries", daemon=True).start()
            self.executor.run_fields([item for item in self.plan.fields if not item.problems])
            self._refuse_stale(record)
            self.warnings += warnings_of(self.context, self.records, self.executor.finished)
            self.executor.run_groups()
            for step in ("tables", "tracks"):
                self.warnings += (self.records.facts(EXPERIMENT, step) or {}).get("warnings", [])
        finally:
            self.executor.close()
        failures = self._sorted_failures()
        with self._own_file("failures", folder.failures):
            write_table(folder.failures, typed_table([vars(f) for f in failures], FAILURES), FAILURES)
        record.write("failed" if failures else "done", self.executor, self.warnings)
        self._tell("report")
        if self.executor.finished:
            write_report(open_run(self.out))
        self._tell("done")
        return Report(
            self.out,
            self.plan,
            len(self.executor.finished),
            record.n_cells,
            tuple(failures),
            tuple(dict.fromkeys(self.warnings)),
            diameters(self.context, self.records, self.executor.finished),
        )

    def _load(self) -> None:
        load_figures()
        load_assay(self.settings)

    def _sorted_failures(self) -> list[Failure]:
        order = {item.field_id: i for i, item in enumerate(self.plan.fields)}
        return sorted(self.executor.failures, key=lambda failure: order.get(failure.field_id, len(order)))

    def _tell(self, now: str) -> None:
        if self.progress:
            failed = len({failure.field_id for failure in self.executor.failures})
            self.progress(Progress(len(self.executor.finished), failed, len(self.plan.fields), now))

    # ------------------------------------------------------------ before the work

    def _refuse_other_settings(self, folder: ResultsFolder) -> None:
        try:
            content = read_json(folder.run)
            before = content["settings"]
            if not isinstance(before, dict):
                raise ValueError("its settings are no object")
        except FileNotFoundError:
            return
        except (KeyError, ValueError):
            content, before = {}, {}
        # The images may have moved: their hashes decide. What the assay is told re-makes tables and figures alone.
        free = {"images", *CHANGE_NOTHING, *self.settings.in_groups(MACHINE, ASSAY)}
        now = {k: v for k, v in recorded_settings(self.plan.images, self.settings).items() if k not in free}
        changed = differences({k: v for k, v in before.items() if k not in free}, now)
        if changed and not self.update:
            raise OutputError(
                f"{self.out}: holds results of other settings ({changed}). "
                "Give --update to run again what depends on them, or name another folder with --out."
            )
        if content and content.get("records") != RECORDS and not self.update:
            raise OutputError(
                f"{self.out}: was made by another version of this program, whose numbers must not be mixed with those of this one. "
                "Give --update to make everything again, or name another folder with --out."
            )

    def _refuse_foreign_files(self, folder: ResultsFolder) -> None:
        for name, path in (("plan", folder.fields), ("failures", folder.failures)):
            self.records.current(EXPERIMENT, name, {}, [path], derived=True)  # refuses what a person changed
            if path.exists() and not folder.run.exists():
                raise OutputError(
                    f"{path}: is there already and was not written by this run. It is not overwritten: move it elsewhere, or name another folder with --out."
                )

    @contextlib.contextmanager
    def _own_file(self, name: str, path: Path) -> Iterator[None]:
        """Keep the hash of a file of the whole run, so that a change by a person is seen."""
        if not self.records.outputs(EXPERIMENT, name):
            path.unlink(missing_ok=True)  # of a run that was killed, or of the version before
        self.records.begin(EXPERIMENT, name, {}, [path])
        yield
        self.records.finish(EXPERIMENT, name, {}, [path], {})

    def _refuse_stale(self, record: RunRecord) -> None:
        """Stop before tables are made without the fields whose inputs changed: the old ones stay as they are."""
        stale = [failure for failure in self._sorted_failures() if failure.error == StaleError.__name__]
        if stale:
            record.write("stopped", self.executor, self.warnings)
            more = f" So were {len(stale) - 1} more." if len(stale) > 1 else ""
            raise StaleError(f"{stale[0].message}{more}")

    def _require_enough(self) -> None:
        if self.plan.missing and not self.settings.allow_missing:
            listed = "\n".join(f"  {text}" for text in self.plan.missing)
            raise InputError(
                f"{self.plan.images}: conditions without a field (got {len(self.plan.missing)}, expected none). "
                f"Add their images, or give --allow-missing to run without:\n{listed}"
            )
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
            wanted.append(("count", self.settings.nuclei_model, True))
        if not wanted:
            return
        from bridge.segmentation.models import resolve_model

        for role, name, nuclei in wanted:
            self.models[role] = resolve_model(name, nuclei)
            if self.announce:
                channel = self.plan.segment_channel if role == "segment" else self.plan.count_channel
                model = self.models[role]
                self.announce(f"{channel}: Cellpose model {model.name} (SHA-256 {model.sha256[:12]}...)")


def _tell_classes(context: Context) -> None:
    """Note that the network tells the cells' classes, or no longer does; a classifier of a person goes before it."""
    path, model = context.folder.classifier(), context.models.get("segment")
    told = classes_of(path)[1] if path.is_file() else None
    if model is not None and model.classes and (told or not path.is_file()):
        write_network_classes(path, model.classes, model.sha256)
    elif told:
        path.unlink()
