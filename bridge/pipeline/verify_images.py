"""A bundle's fields computed again from their images: the cells looked for again, and measured again in the bundle's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.errors import MissingDependencyError, ModelError
from bridge.experiment.fields import Field
from bridge.images.label_images import read_labels
from bridge.measurements import IMAGEJ_ONLY
from bridge.names import number, safe_name
from bridge.pipeline.bundle import FLAT_FIELDS
from bridge.pipeline.compared import Row, changed_rows, differing
from bridge.pipeline.executor import Executor
from bridge.pipeline.finished_run import FinishedRun
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.progress import Progress
from bridge.pipeline.records import Records
from bridge.pipeline.results_folder import ResultsFolder
from bridge.pipeline.step import Context, Outcome, Step, Task
from bridge.pipeline.steps import ORDER
from bridge.pipeline.steps.corrected import CORRECTED
from bridge.pipeline.steps.filter import FILTER
from bridge.pipeline.steps.read import has_count
from bridge.pipeline.verify import Difference
from bridge.pipeline.verify_inputs import rows_of, weights_by_digest, with_images
from bridge.setting_options import MACHINE, PATHS
from bridge.settings import Settings

if TYPE_CHECKING:
    from bridge.labels import Labels
    from bridge.segmentation.models import ModelFile

_MOST_SAID = 20  # cells of one file
_ARITHMETIC = "The same pixels and outlines give the same numbers: do not use it, and ask who made it."


@dataclass
class Again:
    """What came of computing fields again.

    Attributes
    ----------
    fields, cells, segmented, cells_differ : int
        As in `bridge.pipeline.verify.Verification`.
    differences : list of Difference
    notes : list of str
    """

    fields: int = 0
    cells: int = 0
    segmented: int = 0
    cells_differ: int = 0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compute_again(
    run: FinishedRun,
    content: Mapping[str, Any],
    digests: Mapping[str, str],
    images: Path,
    progress: Callable[[Progress], None] | None,
    weights: Sequence[Path] = (),
) -> Again:
    """Compute the fields of an unpacked bundle again, and compare.

    Parameters
    ----------
    run : FinishedRun
        The unpacked bundle. Of its settings no path is used.
    content : mapping
        Its `run.json`.
    digests : mapping of str to str
        SHA-256 of its files.
    images : Path
        The images, wherever they are now.
    progress : callable, optional
    weights : sequence of Path
        Of the run's networks, where the bundle has none.

    Raises
    ------
    InputError
        Weights of another network.
    MissingDependencyError
        This machine cannot do the arithmetic.
    """
    fields, differences = with_images(run, images)
    again = Again(differences=differences)
    work = _Work(run, content, digests, images, progress, again, weights_by_digest(content, weights))
    work.measure(fields)
    work.segment([item for item in fields if item.segment is not None or item.count is not None])
    return again


def _never(_: Task) -> bool:
    return False


def _bundled_cells(task: Task) -> Outcome:
    return Outcome(_load_cells(task))


def _load_cells(task: Task) -> Labels:
    return read_labels(task.folder.mask(task.item))


def _bundled_nuclei(task: Task) -> Outcome:
    return Outcome(_load_nuclei(task))


def _load_nuclei(task: Task) -> Labels:
    return read_labels(task.folder.nuclei_mask(task.item))


_BY_NAME = {step.name: step for step in ORDER}
# The label images are the bundle's own, whoever found them; everything after them is done again.
_MEASURING = (
    Step("segment", "field", _bundled_cells, lane="masks", load=_load_cells),
    replace(FILTER, needs=("segment",), applies=_never),
    replace(CORRECTED, needs=("segment",), applies=_never),
    Step("count", "field", _bundled_nuclei, lane="masks", load=_load_nuclei, applies=has_count),
    *(_BY_NAME[name] for name in ("rois", "nuclei_rois", "rings", "measured_images", "engine", "measure")),
)  # fmt: skip
_SEGMENTING = ("segment_image", "cell_network", "segment", "count_image", "nucleus_network", "count")


@dataclass
class _Work:
    run: FinishedRun
    content: Mapping[str, Any]
    digests: Mapping[str, str]
    images: Path
    progress: Callable[[Progress], None] | None
    again: Again
    weights: Mapping[str, Path]

    def _settings(self, **changes: Any) -> Settings:
        """Return the run's settings without a path of its machine, and without what runs a program."""
        default = Settings()
        names = [*self.run.settings.in_groups(MACHINE), *PATHS]
        return replace(self.run.settings, **{**{name: getattr(default, name) for name in names}, **changes})

    def _execute(
        self, name: str, steps: tuple[Step, ...], fields: Sequence[Field], settings: Settings,
        models: Mapping[str, ModelFile], words: str,
    ) -> tuple[ResultsFolder, set[str]]:  # fmt: skip
        """Run steps in a folder of their own; return it, and the fields that are done."""
        folder = replace(self.run.folder, out=self.run.out.parent / name)
        if steps is _MEASURING:
            self._bring_masks(folder, fields)
        plan = replace(self.run.plan, images=self.images, fields=tuple(fields))
        context = Context(plan, settings, folder, Hashes(folder.out), models)
        executor = Executor(context, Records(folder.out), steps, lambda _: None)

        def tell(now: str) -> None:
            if self.progress:
                failed = len({failure.field_id for failure in executor.failures})
                self.progress(Progress(len(executor.finished), failed, len(fields), f"{words}: {now}"))

        executor.tell = tell
        try:
            executor.run_fields(list(fields))
        finally:
            executor.close()
        kind = "arithmetic" if steps is _MEASURING else "segmentation"
        for failure in executor.failures:
            text = f"{failure.field_id}: its {failure.step} step could not be done again ({failure.message.rstrip('.')}). Ask who made the bundle."
            self.again.differences.append(Difference(kind, failure.field_id, text))  # type: ignore[arg-type]
        return folder, {item.field_id for item in executor.finished}

    def _bring_masks(self, folder: ResultsFolder, fields: Sequence[Field]) -> None:
        for item in fields:
            for of in (ResultsFolder.mask, ResultsFolder.nuclei_mask):
                if (path := of(self.run.folder, item)).is_file():
                    of(folder, item).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, of(folder, item))

    # ------------------------------------------------------------ arithmetic

    def measure(self, fields: Sequence[Field]) -> None:
        """Trace and measure the bundle's own label images again."""
        changes: dict[str, Any] = {}
        if self.run.settings.flat_field is not None:
            flat = self.run.out / FLAT_FIELDS
            lost = [c for c in self.run.plan.measured_channels if not (flat / f"{safe_name(c)}.tif").is_file()]
            if lost:
                self.again.notes.append(f"nothing was measured again: the flat field of {lost[0]} is not in the bundle")
                return
            changes["flat_field"] = flat
        if self.run.settings.fiji != "core":
            self.again.notes.append(f"measured by ImageJ itself, where the run had a Fiji of its own ({Path(self.run.settings.fiji).name})")  # fmt: skip
        settings = self._settings(**changes)
        try:
            folder, done = self._execute("measured", _MEASURING, fields, settings, {}, "measured again")
        except MissingDependencyError as error:
            alone = [word for word in settings.measurements if word in IMAGEJ_ONLY]
            if settings.engine == "native" or alone or settings.sliding_paraboloid:
                raise
            self.again.notes.append(f"measured by the native engine alone, since ImageJ could not be had here ({str(error).rstrip('.')})")  # fmt: skip
            settings = replace(settings, engine="native")
            folder, done = self._execute("measured natively", _MEASURING, fields, settings, {}, "measured again")
        for item in fields:
            if item.field_id in done:
                self._compare_numbers(item, folder)
        self.again.fields = len(done)

    def _compare_numbers(self, item: Field, folder: ResultsFolder) -> None:
        cells: set[str] = set()
        made = Records(folder.out)
        names = [name for step in ("rois", "nuclei_rois", "rings", "measure") for name in made.outputs(item.field_id, step)]  # fmt: skip
        for name in (name for name in names if not name.endswith("_subtracted.tif")):
            bundled, here = self.run.out / name, folder.out / name
            if not bundled.is_file():
                self._say(item, f"{name}: is not in the bundle (got nothing, expected it of {item.field_id}). Get the bundle again.")  # fmt: skip
            elif bundled.read_bytes() == here.read_bytes():
                pass
            elif bundled.suffix == ".csv":
                cells |= self._say_cells(item, name, *changed_rows(bundled, here))
            else:
                self._say(item, f"{name}: the outlines traced again are others (got SHA-256 {self.digests.get(name, '')[:12]}..., expected SHA-256 {made.outputs(item.field_id, _step_of(name))[name][:12]}...). {_ARITHMETIC}")  # fmt: skip
        self.again.cells += int((made.facts(item.field_id, "measure") or {}).get("n_cells", 0))
        self.again.cells_differ += len(cells)

    def _say_cells(self, item: Field, name: str, changed: list[Row], problem: str) -> set[str]:
        if problem:
            self._say(item, f"{name}: {problem}. {_ARITHMETIC}")
        for cell in changed[:_MOST_SAID]:
            self._say(item, f"{name}: {cell.key}: the arithmetic differs ({cell.words}). {_ARITHMETIC}")
        if len(changed) > _MOST_SAID:
            self._say(item, f"{name}: the arithmetic differs in {len(changed) - _MOST_SAID} more rows (got {len(changed)} rows that differ, expected none). {_ARITHMETIC}")  # fmt: skip
        return {cell.key for cell in changed}

    def _say(self, item: Field, text: str) -> None:
        self.again.differences.append(Difference("arithmetic", item.field_id, text))

    # ------------------------------------------------------------ segmentation

    def segment(self, fields: Sequence[Field]) -> None:
        """Look for cells and nuclei again, with the run's network."""
        rows = rows_of(self.run)
        given = {item.field_id for item in fields if rows[item.field_id]["mask_path"]}
        if given:
            self.again.notes.append(f"the label images of {number(len(given), 'field')} were given to the run: there is nothing to look for again")  # fmt: skip
        models = {}
        for role in self.content["models"]:
            if (model := self._model(role)) is not None:
                models[role] = model
        # A field whose cells were given keeps them; its nuclei may still be looked for.
        wanted = []
        for item in fields:
            kept = self._bundled(item, "segment") if item.field_id in given or "segment" not in models else None
            if (kept is None and item.segment is not None) or ("count" in models and item.count is not None):
                wanted.append(replace(item, mask=kept, count=item.count if "count" in models else None))
        if not wanted or not models:
            return
        device = "cpu" if all(f.get("device") == "cpu" for f in self.content["segmentation"].values()) else "auto"
        steps = tuple(_BY_NAME[name] for name in _SEGMENTING)
        settings = self._settings(device=device, accept_labels=True)
        folder, done = self._execute("segmented", steps, wanted, settings, models, "segmented again")
        for item in (item for item in wanted if item.field_id in done):
            self.again.segmented += 1
            for role in models:
                if role == "segment" and item.mask is None:
                    here = folder.found(item) if settings.filters_cells else folder.mask(item)
                    self._compare_labels(item, role, self._bundled(item, role), here, folder)
                elif role == "count" and item.count is not None:
                    self._compare_labels(item, role, self._bundled(item, role), folder.nuclei_mask(item), folder)

    def _bundled(self, item: Field, role: str) -> Path:
        """Return the label image that the network itself made, before filters and people."""
        own = self.run.folder
        if role == "count":
            return own.nuclei_mask(item)
        return own.found(item) if self.run.settings.filters_cells else own.uncorrected(item)

    def _model(self, role: str) -> ModelFile | None:
        """Return the network of the run: its weights in the bundle, or the model of that name."""
        from bridge.segmentation.models import is_model_name, resolve_model

        noted = self.content["models"][role]
        name, digest = str(noted.get("name")), str(noted.get("sha256"))
        what = "nuclei" if role == "count" else "cells"
        own = [
            self.run.out / path
            for path, known in self.digests.items()
            if path.startswith("weights/") and known == digest
        ]
        own += [self.weights[digest]] if digest in self.weights else []
        try:
            if own:
                return resolve_model(str(own[0]))
            if not is_model_name(name):
                self.again.notes.append(f"the {what} were not looked for again: the weights are not in the bundle (SHA-256 {digest[:12]}...): give them with --weights")  # fmt: skip
                return None
            model = resolve_model(name, role == "count")
        except (MissingDependencyError, ModelError) as error:
            text = str(error).replace(f"{self.run.out}/", "").rstrip(".")
            self.again.notes.append(f"the {what} were not looked for again: this machine has no such network ({text})")
            return None
        if model.sha256 != digest:
            self.again.notes.append(f"{name}: other weights than those of the run (got SHA-256 {model.sha256[:12]}..., expected SHA-256 {digest[:12]}...)")  # fmt: skip
        return model

    def _compare_labels(self, item: Field, role: str, bundled: Path, here: Path, folder: ResultsFolder) -> None:
        name = bundled.relative_to(self.run.out).as_posix()
        if not bundled.is_file():
            text = f"{name}: is not in the bundle (got nothing, expected the label image of {item.field_id}). Get the bundle again."
        else:
            before, after = read_labels(bundled), read_labels(here)
            if before.shape != after.shape:
                text = f"{name}: the segmentation differs (got {before.shape[0]} x {before.shape[1]} px, expected {after.shape[0]} x {after.shape[1]} px). {_ARITHMETIC}"
            elif (cells := differing(before, after)) == (0, 0):
                return
            else:
                now = Records(folder.out).facts(item.field_id, role) or {}
                noted = self.run.records.facts(item.field_id, role) or {}
                n, what = int(np.count_nonzero(np.unique(before))), "nuclei" if role == "count" else "cells"
                text = f"{name}: the segmentation differs in {cells[0]} of {n} {what} and {cells[1]} px (got {_versions(noted)} in the bundle, {_versions(now)} here, expected the same label image). Another version, processor or card may do that; the arithmetic is checked in the label images of the bundle."
        self.again.differences.append(Difference("segmentation", item.field_id, text))


def _step_of(name: str) -> str:
    return "rings" if "_rings_" in name else "nuclei_rois" if name.endswith("_nuclei_RoiSet.zip") else "rois"


def _versions(facts: Mapping[str, Any]) -> str:
    return (
        f"Cellpose {facts.get('cellpose')}, torch {facts.get('torch')}, {facts.get('device')}, {facts.get('inference')}"
    )
