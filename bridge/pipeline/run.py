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
from bridge.errors import OutputError, StaleError
from bridge.files import require_writable
from bridge.foreign import read_json
from bridge.pipeline.assay import load as load_assay
from bridge.pipeline.cluster import executor_for
from bridge.pipeline.executor import Failure
from bridge.pipeline.finished_run import FinishedRun, open_run
from bridge.pipeline.graph import EXPERIMENT, Graph
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.lock import locked
from bridge.pipeline.page import write_report
from bridge.pipeline.preflight import make_plan
from bridge.pipeline.progress import Progress
from bridge.pipeline.records import Records
from bridge.pipeline.refusals import refuse_foreign_files, refuse_other_settings, require_enough, resolve_models
from bridge.pipeline.results_folder import folder_for
from bridge.pipeline.run_record import RunRecord, from_any_folder, write_plan
from bridge.pipeline.run_warnings import diameters, warnings_of
from bridge.pipeline.seal import files_without_hash, seal_of_tree
from bridge.pipeline.seen import Seen
from bridge.pipeline.status import interruptible
from bridge.pipeline.step import Context
from bridge.pipeline.steps import ORDER
from bridge.pipeline.steps.corrected import settle
from bridge.report.figures import load as load_figures
from bridge.rois.trace import COMPILING, compiled
from bridge.settings import Settings
from bridge.settings_file import settings_from
from bridge.tables import FAILURES, typed_table, write_table

if TYPE_CHECKING:
    from distributed import Client

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
    check: bool = False,
    client: Client | None = None,
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
    check : bool
        Read every input and output again; else those whose size, times and inode are as before are taken for unchanged.
    client : distributed.Client, optional
        Of Dask: its workers do the fields. Images and results lie on a disk that all of them share.
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
    if client is not None:
        images, out, settings = from_any_folder(images, out, settings)
    if out.resolve() == images.resolve():
        raise OutputError(
            f"{out}: is the folder of the images (expected another one). Name a folder of its own with --out, e.g. {out / 'results'}."
        )
    tree = seal_of_tree(images, out, settings, Graph(ORDER))
    if not check and (report := _as_before(out, tree, progress)) is not None:
        return report
    plan = make_plan(images, settings)
    fresh = not out.exists()
    require_writable(out)
    try:
        with locked(out), interruptible():
            return _Run(plan, out, settings, update, progress, announce, check, client, tree).go()
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


def _as_before(out: Path, tree: str, progress: Callable[[Progress], None] | None) -> Report | None:
    """Report a finished run of which nothing has changed: neither what it was made from, nor what it made."""
    if not (out / "run.json").is_file() or not Seen(out).sealed(tree):
        return None
    told, plan = read_json(out / "run.json"), open_run(out, sealed=True).plan
    if progress:
        progress(Progress(len(plan.fields), 0, len(plan.fields), "done"))
    return Report(out, plan, len(told["finished"]), told["cells"], (), tuple(told["warnings"]))


@dataclass
class _Run:
    plan: Plan
    out: Path
    settings: Settings
    update: bool
    progress: Callable[[Progress], None] | None
    announce: Callable[[str], None] | None
    check: bool = False
    client: Client | None = None
    tree: str = ""
    models: dict[str, ModelFile] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def go(self) -> Report:
        folder = folder_for(self.out, self.plan.fields)
        refuse_other_settings(self.plan, folder, self.settings, self.update)
        require_enough(self.plan, self.settings)
        self.models = resolve_models(self.plan, self.settings, self.announce)
        self.warnings += self.plan.warnings
        seen = Seen(self.out, self.check)
        self.records = Records(self.out, self.update, seen)
        self.context = Context(self.plan, self.settings, folder, Hashes(self.out, seen), self.models)
        self.records.require_own_names()
        refuse_foreign_files(folder, self.records)
        settle(self.context, self.records)
        self.executor = executor_for(self.client)(self.context, self.records, ORDER, self._tell)
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
        except BaseException:
            self.executor.close()
            seen.keep()
            raise
        self.executor.close()
        failures = self._sorted_failures()
        with self._own_file("failures", folder.failures):
            write_table(folder.failures, typed_table([vars(f) for f in failures], FAILURES), FAILURES)
        record.write("failed" if failures else "done", self.executor, self.warnings)
        self._tell("report")
        if self.executor.finished:
            write_report(open_run(self.out))
        # Sealed only if nothing it was made from changed meanwhile.
        if not failures and self.tree == seal_of_tree(self.plan.images, self.out, self.settings, self.executor.graph):
            seen.keep([self.tree], files_without_hash(self.context, self.records))
        else:
            seen.keep()
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


def _tell_classes(context: Context) -> None:
    """Note that the network tells the cells' classes, or no longer does; a classifier of a person goes before it."""
    path, model = context.folder.classifier(), context.models.get("segment")
    told = classes_of(path)[1] if path.is_file() else None
    if model is not None and model.classes and (told or not path.is_file()):
        write_network_classes(path, model.classes, model.sha256)
    elif told:
        path.unlink()
