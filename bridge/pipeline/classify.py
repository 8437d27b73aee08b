"""A class for every cell of a run: from what persons said, or by a classifier that was trained before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from bridge.classification.classifier import MARGIN, Classifier, classes_of, fit, read_classifier
from bridge.classification.features import feature_columns
from bridge.classification.validation import CONFUSION, CURVE, GOOD, SCORES, Validation, validate
from bridge.errors import BridgeError, InputError
from bridge.images.label_images import read_labels
from bridge.names import number
from bridge.pipeline.cell_classes import TRUTH, field_features, usable_channels
from bridge.pipeline.class_truth import read_truth
from bridge.pipeline.finished_run import FinishedRun, open_run
from bridge.pipeline.lock import locked
from bridge.pipeline.preflight import make_plan
from bridge.pipeline.progress import Progress
from bridge.pipeline.run import Report, run_again
from bridge.pipeline.steps.classes import CLASSES
from bridge.report.class_figures import validation_figure
from bridge.segmentation.models import resolve_model
from bridge.tables import write_table

if TYPE_CHECKING:
    from bridge.experiment.fields import Field, Plan

_TABLES = {"scores": SCORES, "confusion": CONFUSION, "learning_curve": CURVE}


@dataclass(frozen=True)
class Classified:
    """What came of classifying.

    Attributes
    ----------
    classifier : Classifier
    validation : Validation or None
        None for a classifier that was trained before.
    warnings : tuple of str
    report : Report
        Of the run that gave every cell its class.
    """

    classifier: Classifier
    validation: Validation | None
    warnings: tuple[str, ...]
    report: Report


def classify(
    results: Path | str,
    truth: Path | str | None = None,
    classifier: Path | str | None = None,
    channels: Sequence[str] = (),
    groups: Sequence[str] = (),
    margin: float = MARGIN,
    features: Literal["declared", "encoder"] = "declared",
    encoder: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Classified:
    """Give every cell of a run a class, and make tables and figures anew.

    Parameters
    ----------
    results : Path or str
        Folder of a run.
    truth : Path or str, optional
        What persons said: see `bridge.pipeline.class_truth.read_truth`; without, the fields' column `cell_type`.
    classifier : Path or str, optional
        A ``classifier.json`` that was trained before, in place of the truth.
    channels : sequence of str
        Channels whose light the classifier looks at; all that do not answer the assay's question (the one in which cells
        were found, and the nuclei's) unless named: a class that is made of EdU says nothing about EdU.
    groups : sequence of str
        Names of ImageJ's groups 1, 2, ...
    margin : float
        Where the two most probable classes are nearer than this, a cell is uncertain.
    features : {"declared", "encoder"}
        Shape, light and texture, which can be read; or what the encoder of a Cellpose network sees under each mask.
    encoder : str, optional
        Model whose encoder it is; the run's own unless named. Where declared features score below 0.9, it is tried and
        compared in ``scores.csv``.
    progress, announce : callable, optional
        As of `bridge.run`.

    Returns
    -------
    Classified

    Raises
    ------
    InputError
        Not the folder of a run, no truth, one class, too few cells, another classifier's channels or features.
    LabelError
        The truth names what is no cell.
    OutputError
        A file was changed by hand, or another run writes to the folder.

    Examples
    --------
    >>> import bridge                                                      # doctest: +SKIP
    >>> found = bridge.classify("results", truth="types.csv")              # doctest: +SKIP
    >>> found.validation.balanced_accuracy                                 # doctest: +SKIP
    0.98
    """
    run_ = open_run(Path(results))
    run_.images()
    plan = make_plan(run_.images(), run_.settings)
    done = {item.field_id for item in run_.fields}
    fields = [item for item in plan.fields if item.field_id in done]
    usable = usable_channels(plan, fields)
    for name in channels:
        if name not in usable:
            raise InputError(f"--channels {name}: not a channel that all fields have (got {name}, expected some of {', '.join(usable)}). Correct it.")  # fmt: skip
    if classifier is not None:
        if truth is not None:
            raise InputError("classify: --truth trains a classifier, --classifier takes one (got both, expected one of them). Leave one out.")  # fmt: skip
        model, found = read_classifier(Path(classifier)), None
        _require_fit(model, Path(classifier), plan, usable)
        table = None
    else:
        chosen = tuple(channels) or _neutral(plan, usable)
        table = read_truth(run_.folder, fields, None if truth is None else Path(truth), groups)
        training = _Training(run_, plan, fields, table, chosen, margin, announce or (lambda _: None))
        model, found = training.of(features, encoder)
    warnings = found.warnings if found is not None else ()
    with locked(run_.out):
        folder = run_.folder.classifier().parent
        # First: the classes of before and a new truth must not meet, should this be killed.
        run_.folder.classifier().unlink(missing_ok=True)
        run_.folder.class_truth().unlink(missing_ok=True)
        if table is not None and found is not None:
            write_table(run_.folder.class_truth(), table, TRUTH)
            for name, columns in _TABLES.items():
                write_table(folder / f"{name}.csv", getattr(found, {"learning_curve": "curve"}.get(name, name)), columns)  # fmt: skip
            validation_figure(folder / "validation", found.confusion, found.curve, found.balanced_accuracy)
        model.write(run_.folder.classifier())  # last: it is the state
    report = run_again(run_, progress, announce)
    return Classified(model, found, warnings, report)


def unclassify(
    results: Path | str,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Report:
    """Take the classes out of a run again: its tables are as before.

    Parameters
    ----------
    results : Path or str
        Folder of a run.
    progress, announce : callable, optional
        As of `bridge.run`.

    Raises
    ------
    InputError
        Not the folder of a run, or its cells have no class.
    OutputError
        A file was changed by hand, or another run writes to the folder.
    """
    run_ = open_run(Path(results))
    run_.images()
    if not run_.folder.classifier().is_file():
        raise InputError(f"{results}: its cells have no classes. There is nothing to undo.")
    if classes_of(run_.folder.classifier())[1] is not None and not run_.folder.class_truth().is_file():
        raise InputError(f"{results}: its network tells the classes (expected those of a classifier). There is nothing to undo.")  # fmt: skip
    with locked(run_.out):
        for item in run_.plan.fields:
            run_.records.withdraw(item.field_id, CLASSES.name)
        run_.folder.class_truth().unlink(missing_ok=True)
        run_.folder.classifier().unlink()
    return run_again(run_, progress, announce)


def _neutral(plan: Plan, usable: Sequence[str]) -> tuple[str, ...]:
    """Channels that do not answer the assay's question."""
    found = tuple(name for name in usable if name in (plan.segment_channel, plan.count_channel))
    return found or tuple(usable)


def _require_fit(model: Classifier, path: Path, plan: Plan, usable: Sequence[str]) -> None:
    missing = [name for name in model.channels if name not in usable]
    if missing:
        raise InputError(f"{path}: looks at a channel that this run does not have (got {missing[0]}, expected some of {', '.join(usable)}). Train one here with --truth.")  # fmt: skip
    if model.encoder:
        there = resolve_model(model.encoder.get("model", ""))
        if there.sha256 != model.encoder.get("model_sha256"):
            raise InputError(f"{path}: the encoder {there.name} here has other weights (got SHA-256 {there.sha256[:12]}..., expected {model.encoder.get('model_sha256', '')[:12]}...). Train it again with --truth.")  # fmt: skip
        return
    own = [c.name for c in feature_columns(model.channels, plan.count_channel is not None)]
    if own != list(model.features):
        odd = sorted({*own} ^ {*model.features})
        raise InputError(f"{path}: has other features than this version and run have ({odd[0] if odd else 'another order'}). Train it again with --truth.")  # fmt: skip


@dataclass(frozen=True)
class _Training:
    """What a classifier is trained from."""

    run: FinishedRun
    plan: Plan
    fields: Sequence[Field]
    table: pd.DataFrame
    channels: tuple[str, ...]
    margin: float
    announce: Callable[[str], None]

    def of(self, kind: str, encoder: str | None) -> tuple[Classifier, Validation]:
        """Return a classifier of these features and its validation."""
        counts = self.table["class"].value_counts()
        self.announce(f"{number(len(self.table), 'cell')} with a class: {', '.join(f'{n} {name}' for name, n in counts.items())}")  # fmt: skip
        chosen = self._encoder(encoder) if kind == "encoder" else None
        known = self._features(chosen)
        found = self._validated(known, chosen)
        if chosen is None and found.balanced_accuracy is not None and found.balanced_accuracy < GOOD:
            found = self._compared(found, encoder)
        every = found.scores[(found.scores["class"] == "all") & (found.scores["features"] == found.scores["features"].iloc[0])] if len(found.scores) else found.scores  # fmt: skip
        truth = hashlib.sha256(self.table.to_csv(index=False, lineterminator="\n").encode()).hexdigest()
        model = replace(
            fit(known, self.table["class"].tolist(), self.channels, self.margin),
            training={"fields": sorted(set(self.table["field_id"])), "truth_sha256": truth},
            scores=dict(zip(every["validation"], every["recall"].round(4), strict=True)),
            encoder={"model": chosen, "model_sha256": resolve_model(chosen).sha256} if chosen else {},
        )
        return model, found

    def _encoder(self, encoder: str | None) -> str:
        return encoder or resolve_model(self.run.settings.model).name

    def _features(self, encoder: str | None) -> pd.DataFrame:
        parts, of = {}, set(self.table["field_id"])
        for item in self.fields:
            if item.field_id in of:
                self.announce(f"{item.field_id}: {'encoder' if encoder else 'features'}")
                labels = read_labels(self.run.folder.mask(item))
                nuclei = read_labels(self.run.folder.nuclei_mask(item)) if item.count is not None else None
                parts[item.field_id] = field_features(self.plan, self.run.settings, item, self.channels, labels, nuclei, encoder)  # fmt: skip
        found = pd.concat(parts, names=["field_id", "label"])
        return found.reindex(pd.MultiIndex.from_frame(self.table[["field_id", "label"]]))

    def _validated(self, known: pd.DataFrame, encoder: str | None) -> Validation:
        replicate = {item.field_id: item.replicate for item in self.fields}
        fields = self.table["field_id"].tolist()
        words = f"encoder of {encoder}" if encoder else "declared"
        return validate(known, self.table["class"].tolist(), fields, _groups(self.table, replicate), self.margin, words)

    def _compared(self, found: Validation, encoder: str | None) -> Validation:
        """Try the encoder's features, too, where the declared ones tell the classes badly."""
        weak = f"balanced accuracy {found.balanced_accuracy:.2f} on held-out fields (expected {GOOD} and more): these features do not tell the classes well. "  # fmt: skip
        # With label images given no network is at hand, and none is fetched unasked.
        if encoder is None and self.run.settings.masks is not None:
            more = "Label more cells, give other --channels, or try --features encoder --encoder MODEL"
            return replace(found, warnings=(*found.warnings, weak + more))
        try:
            chosen = self._encoder(encoder)
            other = self._validated(self._features(chosen), chosen)
        except BridgeError as error:
            more = f"Label more cells, or give other --channels (an encoder could not be tried: {error})"
            return replace(found, warnings=(*found.warnings, weak + more))
        better = other.balanced_accuracy is not None and other.balanced_accuracy > (found.balanced_accuracy or 0)
        more = f"The encoder of {chosen} reaches {other.balanced_accuracy:.2f}: give --features encoder" if better else "Nor does an encoder's: label more cells, or give other --channels"  # fmt: skip
        scores = pd.concat([found.scores, other.scores], ignore_index=True)
        return replace(found, scores=scores, warnings=(*found.warnings, weak + more))


def _groups(table: pd.DataFrame, replicate: dict[str, str]) -> list[str]:
    """What is held out together: replicates, where each class has two and more; else fields."""
    of = [replicate[field_id] for field_id in table["field_id"]]
    known = all(of) and table.assign(of=of).groupby("class")["of"].nunique().min() > 1
    return of if known else table["field_id"].tolist()
