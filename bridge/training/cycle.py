"""Images with ground truth -> a fine-tuned model, and what it brought: tables, pictures, a model card."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.errors import InputError, LabelError, OutputError, SegmentationError
from bridge.evaluation.model_history import _STATE, RECORD
from bridge.evaluation.pairs import find_pairs, image_hash, pixel_hash, read_pair
from bridge.evaluation.split import Split, difference_interval, split
from bridge.evaluation.sweep import SCORES
from bridge.files import PART_SUFFIX, require_writable, sha256, whole_file, write_text
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import Labels, label_ids
from bridge.names import safe_name
from bridge.pipeline.lock import locked
from bridge.pipeline.progress import Progress
from bridge.pipeline.records import differences
from bridge.report.fates import Panel, fates_picture
from bridge.report.score_figures import training_figure
from bridge.scores.overlaps import fates, overlaps, partners
from bridge.scores.score import score
from bridge.segmentation.diameter import median_diameters
from bridge.segmentation.load import new_network
from bridge.segmentation.models import ModelFile, cellpose_version, resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.segmentation.size_model import write_size_model
from bridge.settings_file import train_settings_from
from bridge.tables import empty_table, read_table, typed_table, write_table
from bridge.training.card import card, in_words, licence, record_of
from bridge.training.recipe import WARM_UP, recipe_of
from bridge.training.tables import BEFORE_AFTER, BEFORE_AFTER_SETS, CYCLES, TRAINING_CURVE
from bridge.training_settings import TrainSettings

if TYPE_CHECKING:
    from bridge.segmentation.network_training import Training

_log = logging.getLogger(__name__)

_LEAST_CELLS = 5
_MOST_EMPTY = 3  # looks at the validation images without a cell, after which a training is given up
_CHECKPOINT_EVERY_S = 60.0  # so much is lost at most when a training is stopped, and an epoch
_CROP_S = 28.0  # seconds for a crop of 256 px in Cellpose 4 on two processor cores, measured
Tell = Callable[[Progress], None] | None


@dataclass(frozen=True)
class Trained:
    """What a training made.

    Attributes
    ----------
    model : Path
        Model file: what ``run --model`` takes.
    cycle : int
    split : Split
        Which images were trained on, chose the epoch, were held out.
    images, sets : DataFrame
        `bridge.training.tables.BEFORE_AFTER` and `BEFORE_AFTER_SETS`.
    advice : str
        Whether the model is better than its base, as far as the held-out images tell.
    notes : tuple of str
    """

    model: Path
    cycle: int
    split: Split
    images: pd.DataFrame
    sets: pd.DataFrame
    advice: str
    notes: tuple[str, ...]


@dataclass
class _Data:
    names: tuple[str, ...]
    images: dict[str, npt.NDArray[Any]]
    labels: dict[str, Labels]
    pixels: dict[str, str]
    truths: dict[str, str]
    notes: list[str]
    corrected_model: str


def train(
    pairs: Path | str,
    out: Path | str,
    settings: TrainSettings | None = None,
    progress: Tell = None,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> Trained:
    """Train a Cellpose model on corrected images, and score it and its base on images neither has seen.

    Every training begins from the base model, with all images corrected so far. A training that was stopped resumes
    where it was; the last training given again changes nothing.

    Parameters
    ----------
    pairs : Path or str
        Folder of images, each with a label image, a ROI set or a ``_seg.npy`` beside it; or the results folder of a run
        whose corrections were collected.
    out : Path or str
        Folder for all cycles of this model: ``cycle_1/``, ``cycle_2/`` ... and ``cycles.csv``.
    settings : TrainSettings, optional
        Or give the options by name.
    progress : callable, optional
        Called with a `bridge.pipeline.progress.Progress` after each epoch.
    say : callable, optional
        Called with a line of text now and then.

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        Images without partner, too few cells, the same pixels in training and held out, a training begun otherwise.
    ModelError
        No such base model, or one of the other Cellpose version.
    SegmentationError
        The loss is not a number any more, the model finds no cell any more, or the memory is full.
    OutputError
        A file cannot be written.

    Examples
    --------
    >>> import bridge                                                                          # doctest: +SKIP
    >>> trained = bridge.train("corrected", "models/t98g", base="cyto_0", held_out=["f6", "f7"])  # doctest: +SKIP
    >>> bridge.run("images", out="results", model=trained.model)                               # doctest: +SKIP
    """
    s = settings or train_settings_from(options)
    out = Path(out)
    data = _read(Path(pairs), s)
    require_writable(out)
    with locked(out), tempfile.TemporaryDirectory(prefix="cellpose-fiji-") as scratch:
        return _Cycle(data, out, s, progress, say or _log.info, Path(scratch)).run()


def _read(folder: Path, s: TrainSettings) -> _Data:
    found = find_pairs(folder, s.labels, s.segment, s.rgb_channel, s.colour)
    data = _Data((), {}, {}, {}, {}, list(found.notes), found.corrected_model)
    for pair in found.pairs:
        image, labels, notes = read_pair(pair)
        data.images[pair.name], data.labels[pair.name] = image, labels
        data.pixels[pair.name], data.truths[pair.name] = image_hash(pair.image), pixel_hash(labels)
        data.notes += notes
    data.names = tuple(data.images)
    files: dict[str, str] = {}
    for name in data.names:
        other = files.setdefault(safe_name(name).casefold(), name)
        if other != name:
            raise InputError(f"{folder}: two images of nearly one name (got {other} and {name}, expected names that differ as file names). Rename one.")  # fmt: skip
    n = sum(len(label_ids(labels)) for labels in data.labels.values())
    if n < _LEAST_CELLS:
        raise LabelError(
            f"{folder}: too few cells to learn from (got {n} in {len(data.names)} images, expected at least {_LEAST_CELLS}). Correct more cells."
        )
    return data


class _Cycle:
    def __init__(
        self, data: _Data, out: Path, s: TrainSettings, progress: Tell, say: Callable[[str], None], scratch: Path
    ) -> None:
        self.data, self.out, self.s, self.progress, self.say, self.scratch = data, out, s, progress, say, scratch
        self.major = cellpose_version()[0]
        before = self._earlier()
        held_out_before = {pixels for r in before if r["state"] != "failed" for pixels in r["held_out_pixels"]}
        kept_out = [name for name in data.names if data.pixels[name] in held_out_before and name not in s.held_out]
        if kept_out and s.held_out:
            data.notes.append(f"held out in an earlier cycle, so still: {', '.join(kept_out)}")
        # Where each image is to judge a training without it, none may choose the epoch.
        self.split = split(data.pixels, s.held_out, 0 if s.leave_one_out else s.validation, held_out_before)
        self.learnt_from = (*self.split.train, *self.split.validation)
        n = sum(len(label_ids(data.labels[name])) for name in self.split.train)
        if n < _LEAST_CELLS:
            raise LabelError(
                f"{out}: too few cells to learn from (got {n} in {len(self.split.train)} training images, expected at least {_LEAST_CELLS}). Hold fewer images out, use a smaller --validation, or correct more cells."
            )
        if s.leave_one_out:
            for name in self.learnt_from:
                if not any(data.labels[other].any() for other in self.learnt_from if other != name):
                    raise LabelError(f"{name}: has all the cells (expected some in the other images, too). Leave out --leave-one-out.")  # fmt: skip
        self.recipe = recipe_of(s, len(self.split.train), self.major)
        self.shown = 0, self.recipe.epochs  # epochs done, and in all
        self.base = self._base(before)
        self.base_record = record_of(self.base)
        self._refuse_seen()
        self.made_from = {
            "settings": {k: v for k, v in s.as_json().items() if k not in ("device", "labels", "base", "held_out", "validation")},
            "base_sha256": self.base.sha256 if self.base.name != "none" else "none",
            "cellpose": ".".join(map(str, cellpose_version())),
            "images": {name: data.pixels[name] for name in data.names},
            "labels": {name: data.truths[name] for name in data.names},
            "train": list(self.split.train), "validation": list(self.split.validation), "held_out": list(self.split.held_out),
        }  # fmt: skip
        last = before[-1] if before else None
        self.done = last is not None and last["state"] == "done" and last["made_from"] == self.made_from
        self.resumes = last is not None and last["state"] == "training"
        if last is not None and self.resumes:
            changed = differences(last["made_from"], self.made_from)
            if changed:
                raise OutputError(
                    f"{out / _folder(len(before))}: a training was begun here with other images or settings ({changed}). Finish it with those, or delete this folder."
                )
        # A training that failed left no model: its number is free.
        self.cycle = len(before) + (not before or (last is not None and last["state"] == "done" and not self.done))
        self.folder = out / _folder(self.cycle)
        self.model = self.folder / f"{safe_name(out.resolve().name)}_{self.cycle}"

    def _earlier(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while (path := self.out / _folder(len(found) + 1) / RECORD).is_file():
            try:
                record = json.loads(path.read_text("utf-8"))
                _ = record["state"], record["made_from"], record["held_out_pixels"], record["base"]
                found.append(record)
            except (ValueError, KeyError, TypeError) as error:
                raise OutputError(f"{path}: not the record of a training ({type(error).__name__}: {error}). Delete the folder {path.parent}.") from error  # fmt: skip
        return found

    def _base(self, before: Sequence[Mapping[str, Any]]) -> ModelFile:
        if self.s.base == "none":
            return new_network(self.scratch / "none", self.s.features, self.s.seed)
        base = resolve_model(self.s.base)
        for k, record in enumerate(before, 1):
            if record.get("model_sha256") == base.sha256:
                raise InputError(
                    f"{base.name}: the model of cycle {k} (expected the model it began from, {record['base']}). Train from that with all images corrected so far: a model trained twice leans to its first images."
                )
        # Our demo network is shown more of the border than a model file is.
        return replace(base, pad_px=0)

    def _refuse_seen(self) -> None:
        """Refuse to judge by images that the base model was trained on."""
        seen = set(self.base_record.get("seen_pixels", ()))
        judges = self.learnt_from if self.s.leave_one_out else ()
        for name in (*self.split.held_out, *judges):
            if self.data.pixels[name] in seen:
                raise InputError(
                    f"{name}: the base model {self.base.name} was trained on it (got the same pixels to judge by, expected images it has not seen). Hold others out (--held-out), or begin from its own base, {self.base_record['base']}."
                )

    # ------------------------------------------------------------ the way of a training

    def run(self) -> Trained:
        if self.done:
            record = json.loads((self.folder / RECORD).read_text("utf-8"))
            tables = [self.folder / name for name in ("before_after.csv", "before_after_sets.csv")]
            if not all(table.is_file() for table in tables) or not self.model.is_file() or sha256(self.model) != record["model_sha256"]:  # fmt: skip
                raise OutputError(f"{self.folder}: what this training wrote was changed or removed (expected {self.model.name} and its tables as they were). Delete the folder to train again.")  # fmt: skip
            return self._report(record)
        if not self.resumes and (self.folder / RECORD).exists():
            shutil.rmtree(self.folder)  # of a training that failed
        elif not self.resumes and self.folder.exists() and any(self.folder.iterdir()):
            raise OutputError(f"{self.folder}: is there already, and no training made it (got no {RECORD} in it). Move it elsewhere, or name another folder with --out.")  # fmt: skip
        try:
            return self._train()
        except SegmentationError:
            (self.folder / _STATE).unlink(missing_ok=True)
            self._write_record("failed")
            raise

    def _train(self) -> Trained:
        self.begun = time.time()
        for part in self.folder.rglob(f".*{PART_SUFFIX}"):
            part.unlink(missing_ok=True)  # left by a killed training
        self._write_record("training")
        segmenter = Segmenter(self.base, self.s.device)
        training = self._training(segmenter, self.split.train)
        self.diameter = self._diameter(training)
        self._say_what(segmenter)
        if self.base.name != "none":
            base = Segmenter(self.base, self.s.device)
            for name in (*self.split.held_out, *self.learnt_from):
                self._segmented("base", name, base, self._base_diameter(training))
        curve, best = self._fit(training, segmenter, self.split.validation, self.folder / _STATE, "")
        training.use_best()
        for name in (*self.split.held_out, *self.learnt_from):
            self._segmented("tuned", name, segmenter, self.diameter)
        self._refuse_empty()
        size = training.size_model() if self.s.size else None
        training.write_model(self.model)
        if size is not None:
            write_size_model(self.model.with_name(f"{self.model.name}_size.npy"), size)
        left_out = self._leave_one_out() if self.s.leave_one_out else {}
        images, sets = self._tables(left_out)
        self._draw(images, curve, best)
        record = self._finish(images, sets, best, time.time() - self.begun)
        return self._report(record)

    def _training(self, segmenter: Segmenter, names: Sequence[str]) -> Training:
        labels = [self.data.labels[name] for name in names]
        targets = [self._targets(segmenter, name) for name in names]
        images = [self.data.images[name] for name in names]
        return segmenter.training(images, targets, median_diameters(labels), recipe_of(self.s, len(names), self.major))

    def _diameter(self, training: Training) -> float | None:
        """What the trained model is used with; Cellpose 4 does not rescale."""
        return None if self.major == 4 else training.diameter_px

    def _base_diameter(self, training: Training) -> float | None:
        return self.s.base_diameter or (None if self.major == 4 else training.cells_px)

    def _targets(self, segmenter: Segmenter, name: str) -> npt.NDArray[np.float32]:
        """Flows of a label image, computed once for all cycles."""
        key = hashlib.sha256(f"{self.data.truths[name]} {self.made_from['cellpose']}".encode()).hexdigest()[:32]
        path = self.out / "flows" / f"{key}.npy"
        shape = (3, *self.data.labels[name].shape)
        try:
            flows: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
            if flows.shape == shape and flows.dtype == np.float32:
                return flows
        except (OSError, ValueError):
            pass  # not there yet
        flows = segmenter.targets(self.data.labels[name])
        with whole_file(path) as part, part.open("wb") as file:
            np.save(file, flows)
        return flows

    def _fit(
        self, training: Training, segmenter: Segmenter, validation: Sequence[str], state: Path, prefix: str
    ) -> tuple[pd.DataFrame, int | None]:
        rows: list[dict[str, Any]] = []
        best, best_score, empty = 0, -1.0, 0
        if state.exists():
            facts = training.read_state(state)
            rows, best, best_score, empty = facts["rows"], facts["best"], facts["best_score"], facts["empty"]
            self.begun = min(self.begun, time.time() - facts["spent_s"])
            self.say(f"{prefix}resumes after epoch {training.epoch} of {training.recipe.epochs}")
        begun, first = time.monotonic(), training.epoch
        write_checkpoint = begun
        n = training.recipe.epochs
        while training.epoch < n:
            rate = training.recipe.learning_rates[training.epoch]
            loss = training.run_epoch()
            epoch, accuracy = training.epoch, float("nan")
            look = epoch % self.s.check_every == 0 or epoch == n
            if look and validation:
                accuracy, found = self._accuracy(segmenter, validation, self._diameter(training))
                empty = 0 if found else empty + (empty > 0 or self._finds(validation))
                if accuracy > best_score:
                    best, best_score = epoch, accuracy
                    training.keep()
                # Not before: the running means of the batch normalisation follow a new kind of image slowly.
                if empty >= _MOST_EMPTY and 4 * epoch >= 3 * n:
                    raise SegmentationError(f"training: the model finds no cell any more (got 0 at {empty} looks, the last at epoch {epoch}). Nothing was written; use a smaller --learning-rate.")  # fmt: skip
            rows.append({"epoch": epoch, "learning_rate": rate, "loss": loss, "validation_ap_50": accuracy})
            accurate = f", accuracy {accuracy:.3f}" if accuracy == accuracy else ""
            now = f"{prefix}epoch {epoch} of {n}, loss {loss:.3f}{accurate}"
            self._show(f"loss {loss:.3f}{accurate}", epoch, n)
            if look:
                left = (time.monotonic() - begun) / (epoch - first) * (n - epoch)
                self.say(f"{now}, {in_words(left)} left" if epoch < n else now)
            if look or time.monotonic() - write_checkpoint > _CHECKPOINT_EVERY_S:
                write_checkpoint = time.monotonic()
                spent_s = time.time() - self.begun
                facts = {"rows": rows, "best": best, "best_score": best_score, "empty": empty, "spent_s": spent_s}
                training.write_state(state, facts)
        return typed_table(rows, TRAINING_CURVE), best or None

    def _show(self, now: str, epoch: int, epochs: int) -> None:
        self.shown = epoch, epochs
        if self.progress is not None:
            self.progress(Progress(epoch, 0, epochs, now))

    def _finds(self, names: Sequence[str]) -> bool:
        """Whether the base model finds a cell in any of these images: a training that loses all of them has failed."""
        return self.base.name != "none" and any(self._found("base", name).any() for name in names)

    def _accuracy(self, segmenter: Segmenter, names: Sequence[str], diameter: float | None) -> tuple[float, bool]:
        found = [self._segment(segmenter, name, diameter) for name in names]
        scores = [self._score(name, labels)["ap_50"] for name, labels in zip(names, found, strict=True)]
        return float(np.mean(scores)), any(labels.any() for labels in found)

    def _segment(self, segmenter: Segmenter, name: str, diameter: float | None) -> Labels:
        s = self.s
        return segmenter.segment(
            self.data.images[name], diameter, s.flow_threshold, s.cellprob_threshold, s.min_size, name=name
        ).labels

    def _segmented(self, which: str, name: str, segmenter: Segmenter, diameter: float | None) -> None:
        path = self.folder / which / f"{safe_name(name)}_mask.tif"
        if which == "base" and path.exists():
            return
        self.say(f"{which} model on {name}")
        self._show(f"{which} model on {name}", *self.shown)
        write_labels(path, self._segment(segmenter, name, diameter))

    def _found(self, which: str, name: str) -> Labels:
        return read_labels(self.folder / which / f"{safe_name(name)}_mask.tif")

    def _both(self, name: str) -> tuple[Labels | None, Labels]:
        return self._found("base", name) if self.base.name != "none" else None, self._found("tuned", name)

    def _score(self, name: str, found: Labels) -> dict[str, Any]:
        return score(self.data.labels[name], found).in_short

    def _refuse_empty(self) -> None:
        with_cells = [n for n in (*self.split.held_out, *self.learnt_from) if self.data.labels[n].any()]
        if not any(self._found("tuned", name).any() for name in with_cells):
            raise SegmentationError(
                f"training: the model finds no cell in any image (got 0 in {len(with_cells)} images with cells). No model was written; train longer, or use a smaller --learning-rate."
            )

    def _leave_one_out(self) -> dict[str, tuple[Labels | None, Labels]]:
        """Train without each image in turn; find its cells with base and that model."""
        found: dict[str, tuple[Labels | None, Labels]] = {}
        folder = self.folder / "leave_one_out"
        for k, name in enumerate(self.learnt_from, 1):
            path, path_base = (folder / f"{safe_name(name)}{mark}_mask.tif" for mark in ("", "_base"))
            if not path.exists():
                others = [other for other in self.learnt_from if other != name]
                segmenter = Segmenter(self.base, self.s.device)
                training = self._training(segmenter, others)
                if self.base.name != "none":
                    base = Segmenter(self.base, self.s.device)
                    write_labels(path_base, self._segment(base, name, self._base_diameter(training)))
                state = folder / f"{safe_name(name)}.state"
                self._fit(training, segmenter, (), state, f"without {name} ({k} of {len(self.learnt_from)}): ")
                write_labels(path, self._segment(segmenter, name, self._diameter(training)))
                state.unlink(missing_ok=True)
            found[name] = (read_labels(path_base) if self.base.name != "none" else None, read_labels(path))
        return found

    # ------------------------------------------------------------ what is told

    def _say_what(self, segmenter: Segmenter) -> None:
        s = self.split
        self.say(
            f"cycle {self.cycle}: {len(s.train)} images to learn from, {len(s.validation)} choose the epoch, {len(s.held_out)} held out{': ' + ', '.join(s.held_out) if s.held_out else ''}"
        )
        device = segmenter.info["device"]
        if self.major == 4 and device == "cpu":
            n = self.recipe.epochs * self.recipe.crops
            self.say(f"Cellpose 4 on a processor takes about {_CROP_S:.0f} s for each of {n} crops: about {in_words(n * _CROP_S)}. A GPU is advised.")  # fmt: skip

    def _tables(self, left_out: Mapping[str, tuple[Labels | None, Labels]]) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows = []
        sets = [("held-out", name, *self._both(name)) for name in self.split.held_out]
        sets += [("leave-one-out", name, *both) for name, both in left_out.items()]
        sets += [("training", name, *self._both(name)) for name in self.learnt_from]
        for which, name, of_base, of_tuned in sets:
            tuned = self._score(name, of_tuned)
            base = self._score(name, of_base) if of_base is not None else None
            row: dict[str, Any] = {"set": which, "image": name, "n_true": tuned["n_true"], "n_tuned": tuned["n_predicted"], "n_base": base["n_predicted"] if base else pd.NA}  # fmt: skip
            for key in SCORES:
                row[f"{key}_tuned"] = tuned[key]
                row[f"{key}_base"] = base[key] if base else float("nan")
                row[f"{key}_difference"] = tuned[key] - base[key] if base else float("nan")
            rows.append(row)
        images = typed_table(rows, BEFORE_AFTER)
        totals = []
        for group, part in images.groupby("set", sort=False):  # held-out first
            no_base = bool(part["n_base"].isna().any())
            total: dict[str, Any] = {"set": group, "n_images": len(part), "n_true": part["n_true"].sum()}
            total |= {"n_base": pd.NA if no_base else part["n_base"].sum(), "n_tuned": part["n_tuned"].sum()}
            for key in SCORES:
                total |= {f"{key}_{end}": part[f"{key}_{end}"].mean() for end in ("base", "tuned", "difference")}
                low, high = difference_interval([] if no_base else part[f"{key}_difference"].tolist())
                total |= {f"{key}_difference_low": low, f"{key}_difference_high": high}
            totals.append(total)
        return images, typed_table(totals, BEFORE_AFTER_SETS)

    def _draw(self, images: pd.DataFrame, curve: pd.DataFrame, best: int | None) -> None:
        write_table(self.folder / "curve.csv", curve, TRAINING_CURVE)
        training_figure(self.folder / "curve.png", curve, best)
        for row in images[images["set"] != "leave-one-out"].to_dict("records"):
            name = str(row["image"])
            true = self.data.labels[name]
            panels = []
            for which, title in (("base", f"base ({Path(self.base.name).name})"), ("tuned", "trained")):
                if which == "base" and self.base.name == "none":
                    continue
                found = self._found(which, name)
                text = (
                    f"{title}: {row[f'n_{which}']} cells, AP {row[f'ap_50_{which}']:.2f}, F1 {row[f'f1_{which}']:.2f}"
                )
                panels.append(Panel(text, layers(true, found)))
            panels.append(Panel(f"ground truth: {row['n_true']} cells", ((true, {"found": label_ids(true).tolist()}),)))
            fates_picture(
                self.folder / "pictures" / f"{row['set']}_{safe_name(name)}.png", _shown(self.data.images[name]), panels, f"{row['set']} image {name}"
            )  # fmt: skip

    def _finish(self, images: pd.DataFrame, sets: pd.DataFrame, best: int | None, took_s: float) -> dict[str, Any]:
        write_table(self.folder / "before_after.csv", images, BEFORE_AFTER)
        write_table(self.folder / "before_after_sets.csv", sets, BEFORE_AFTER_SETS)
        notes = list(self.data.notes)
        if self.base.name != "none" and self.data.corrected_model == self.base.sha256:
            notes.append(
                "the ground truth was made by correcting the base model's own cells: this favours the base model"
            )
        if not self.split.held_out and not self.s.leave_one_out:
            notes.append("no image was held out: these scores say nothing about other images (--held-out, or --leave-one-out)")  # fmt: skip
        if self.recipe.epochs < WARM_UP:
            notes.append(f"the learning rate rises over {WARM_UP} epochs: in {self.recipe.epochs} it came to {max(self.recipe.learning_rates):g} only")  # fmt: skip
        facts = {
            "model": self.model.name,
            "model_sha256": sha256(self.model),
            "diameter_px": self.diameter,
            "epoch_kept": best or self.recipe.epochs,
            "advice": _advice(sets),
            "notes": notes,
            "took_s": round(took_s, 1),
            "versions": {name: version(name) for name in ("cellpose-fiji-bridge", "cellpose", "torch", "numpy")},
            "python": platform.python_version(),
        }
        record = self._record("done", **facts)
        write_text(self.folder / "model_card.md", card(record, sets, images))
        self._write_cycles(record, sets)
        # Last: what is done needs no state any more, and is not looked at again.
        self._write_record("done", **facts)
        (self.folder / _STATE).unlink(missing_ok=True)
        return record

    def _record(self, state: str, **facts: Any) -> dict[str, Any]:
        return {
            "state": state,
            "cycle": self.cycle,
            "base": self.base.name,
            "recipe": asdict(self.recipe),
            "made_from": self.made_from,
            "held_out_pixels": [self.data.pixels[name] for name in self.split.held_out],
            "seen_pixels": sorted(
                {*self.base_record.get("seen_pixels", ()), *(self.data.pixels[name] for name in self.learnt_from)}
            ),
            "licence": licence(self.base, self.base_record),
            "n_cells": {name: len(label_ids(self.data.labels[name])) for name in self.data.names},
            **facts,
        }

    def _write_record(self, state: str, **facts: Any) -> None:
        record = self._record(state, **facts)
        write_text(self.folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def _write_cycles(self, record: Mapping[str, Any], sets: pd.DataFrame) -> None:
        path = self.out / "cycles.csv"
        before = read_table(path, CYCLES) if path.exists() else empty_table(CYCLES)
        row: dict[str, Any] = {
            "cycle": self.cycle, "model": f"{self.folder.name}/{self.model.name}", "base": self.base.name,
            "n_images": len(self.learnt_from), "n_cells": sum(record["n_cells"][name] for name in self.learnt_from),
            "model_sha256": record["model_sha256"], "n_held_out": len(self.split.held_out),
        }  # fmt: skip
        held_out = sets[sets["set"] == "held-out"]
        for key in (f"{name}_{which}" for name in SCORES for which in ("base", "tuned", "difference")):
            row[f"held_out_{key}"] = held_out[key].iloc[0] if len(held_out) else float("nan")
        rows: list[dict[Any, Any]] = [*before[before["cycle"] != self.cycle].to_dict("records"), row]
        write_table(path, typed_table(rows, CYCLES), CYCLES)

    def _report(self, record: Mapping[str, Any]) -> Trained:
        images = read_table(self.folder / "before_after.csv", BEFORE_AFTER)
        sets = read_table(self.folder / "before_after_sets.csv", BEFORE_AFTER_SETS)
        return Trained(self.model, self.cycle, self.split, images, sets, record["advice"], tuple(record["notes"]))


def _shown(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return image if image.ndim == 2 else image[0]


def _folder(cycle: int) -> str:
    return f"cycle_{cycle}"


def layers(true: Labels, found: Labels) -> tuple[tuple[Labels, dict[str, list[int]]], ...]:
    """What is drawn of a prediction: missed and split true cells, and over them the predicted ones."""
    pairs = overlaps(true, found)
    fate = fates(pairs)
    good = pairs.predicted[partners(pairs, 0.5)]
    return (
        (true, {"missed": fate.missed.tolist(), "split": fate.split.tolist()}),
        (found, {"found": good.tolist(), "false": fate.false.tolist(), "merged": fate.merged.tolist()}),
    )


def _advice(sets: pd.DataFrame) -> str:
    judged = sets[sets["set"].isin(["held-out", "leave-one-out"])]
    if judged.empty:
        return "Whether the trained model is better on other images is not known: none was held out."
    row = judged.iloc[0]
    n = row["n_images"]
    on = f"{n} {'held-out image' + 's' * (n > 1) if row['set'] == 'held-out' else 'images, each left out once'}"
    if pd.isna(row["ap_50_base"]):
        return f"AP {row['ap_50_tuned']:.3f} at IoU 0.5 on {on}; there is no base model to compare with."
    said = f"AP {row['ap_50_base']:.3f} -> {row['ap_50_tuned']:.3f} at IoU 0.5 on {on}"
    if row["ap_50_difference"] > 0:
        low = row["ap_50_difference_low"]
        sure = "" if pd.isna(low) or low > 0 else "; the interval of the difference includes 0"
        return f"Use the trained model: {said}{sure}."
    return f"Use the base model: the trained one is not better ({said})."
