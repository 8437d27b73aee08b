"""One training: epochs, checkpoints, what it brought."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.errors import OutputError, SegmentationError
from bridge.evaluation.model_history import _STATE
from bridge.evaluation.split import Split
from bridge.files import PART_SUFFIX, sha256, whole_file, write_text
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import Labels, label_ids
from bridge.names import TRAINING_RECORD, safe_name
from bridge.pipeline.progress import Progress
from bridge.report.score_figures import training_figure
from bridge.scores.score import score
from bridge.segmentation.diameter import median_diameters
from bridge.segmentation.segmenter import Segmenter
from bridge.segmentation.size_model import write_size_model
from bridge.tables import read_table, typed_table, write_table
from bridge.training.before_after import advice_on, before_after, draw_pictures
from bridge.training.card import card, in_words, licence
from bridge.training.history import write_cycles
from bridge.training.preparation import Preparation
from bridge.training.recipe import WARM_UP, recipe_of
from bridge.training.tables import BEFORE_AFTER, BEFORE_AFTER_SETS, TRAINING_CURVE

if TYPE_CHECKING:
    from bridge.segmentation.network_training import Training

_log = logging.getLogger(__name__)

_MOST_EMPTY = 3  # looks at the validation images without a cell, after which a training is given up
_CHECKPOINT_EVERY_S = 60.0  # so much is lost at most when a training is stopped, and an epoch
_CROP_S = 28.0  # seconds for a crop of 256 px in Cellpose 4 on two processor cores, measured


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
    warnings : tuple of str
    """

    model: Path
    cycle: int
    split: Split
    images: pd.DataFrame
    sets: pd.DataFrame
    advice: str
    warnings: tuple[str, ...]


class Cycle(Preparation):
    """One training, from its images to the model and what it brought."""

    def run(self) -> Trained:
        """Train, or say again what the last training brought."""
        if self.done:
            record = json.loads((self.folder / TRAINING_RECORD).read_text("utf-8"))
            tables = [self.folder / name for name in ("before_after.csv", "before_after_sets.csv")]
            if not all(table.is_file() for table in tables) or not self.model.is_file() or sha256(self.model) != record["model_sha256"]:  # fmt: skip
                raise OutputError(f"{self.folder}: what this training wrote was changed or removed (expected {self.model.name} and its tables as they were). Delete the folder to train again.")  # fmt: skip
            return self._report(record)
        if not self.resumes and (self.folder / TRAINING_RECORD).exists():
            shutil.rmtree(self.folder)  # of a training that failed
        elif not self.resumes and self.folder.exists() and any(self.folder.iterdir()):
            raise OutputError(f"{self.folder}: is there already, and no training made it (got no {TRAINING_RECORD} in it). Move it elsewhere, or name another folder with --out.")  # fmt: skip
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
        self._say_what(segmenter, training)
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
        results = [("held-out", name, *self._both(name)) for name in self.split.held_out]
        results += [("leave-one-out", name, *both) for name, both in left_out.items()]
        results += [("training", name, *self._both(name)) for name in self.learnt_from]
        images, sets = before_after(self.data, results)
        write_table(self.folder / "curve.csv", curve, TRAINING_CURVE)
        training_figure(self.folder / "curve.png", curve, best)
        seen = images[images["set"] != "leave-one-out"]
        draw_pictures(self.folder, self.data, seen, results, self.base.name)
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
                accuracy, results = self._accuracy(segmenter, validation, self._diameter(training))
                empty = 0 if results else empty + (empty > 0 or self._finds(validation))
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
        results = [self._segment(segmenter, name, diameter) for name in names]
        scores = [self._score(name, labels)["ap_50"] for name, labels in zip(names, results, strict=True)]
        return float(np.mean(scores)), any(labels.any() for labels in results)

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
        results: dict[str, tuple[Labels | None, Labels]] = {}
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
            results[name] = (read_labels(path_base) if self.base.name != "none" else None, read_labels(path))
        return results

    # ------------------------------------------------------------ what is told

    def _say_what(self, segmenter: Segmenter, training: Training) -> None:
        s = self.split
        self.say(
            f"cycle {self.cycle}: {len(s.train)} images to learn from, {len(s.validation)} choose the epoch, {len(s.held_out)} held out{': ' + ', '.join(s.held_out) if s.held_out else ''}"
        )
        device = segmenter.info["device"]
        if self.major == 4 and device == "cpu":
            n = self.recipe.epochs * self.recipe.crops
            self.say(f"Cellpose 4 on a processor takes about {_CROP_S:.0f} s for each of {n} crops: about {in_words(n * _CROP_S)}. A GPU is advised.")  # fmt: skip
            return
        epoch_s, begin = training.seconds_per_epoch(), time.monotonic()
        self._segment(segmenter, self.split.train[0], self.diameter)
        look_s, n = time.monotonic() - begin, self.recipe.epochs
        looks = -(-n // self.s.check_every) * len(s.validation)
        looks += (1 + (self.base.name != "none")) * (len(s.held_out) + len(self.learnt_from))
        trainings = 1 + (len(self.learnt_from) if self.s.leave_one_out else 0)
        left = trainings * n * epoch_s + looks * look_s
        self.say(f"about {in_words(left)}: {trainings * n} epochs of {epoch_s:.2g} s, and {looks} images segmented, {look_s:.2g} s each")  # fmt: skip

    def _finish(self, images: pd.DataFrame, sets: pd.DataFrame, best: int | None, took_s: float) -> dict[str, Any]:
        write_table(self.folder / "before_after.csv", images, BEFORE_AFTER)
        write_table(self.folder / "before_after_sets.csv", sets, BEFORE_AFTER_SETS)
        warnings = list(self.data.warnings)
        if self.base.name != "none" and self.data.corrected_model == self.base.sha256:
            warnings.append(
                "the ground truth was made by correcting the base model's own cells: this favours the base model"
            )
        if not self.split.held_out and not self.s.leave_one_out:
            warnings.append("no image was held out: these scores say nothing about other images (--held-out, or --leave-one-out)")  # fmt: skip
        if self.recipe.epochs < WARM_UP:
            warnings.append(f"the learning rate rises over {WARM_UP} epochs: in {self.recipe.epochs} it came to {max(self.recipe.learning_rates):g} only")  # fmt: skip
        facts = {
            "model": self.model.name,
            "model_sha256": sha256(self.model),
            "diameter_px": self.diameter,
            "epoch_kept": best or self.recipe.epochs,
            "advice": advice_on(sets),
            "warnings": warnings,
            "took_s": round(took_s, 1),
            "versions": {name: version(name) for name in ("cellpose-fiji-bridge", "cellpose", "torch", "numpy")},
            "python": platform.python_version(),
        }
        record = self._record("done", **facts)
        write_text(self.folder / "model_card.md", card(record, sets, images))
        write_cycles(self.out, record, self.learnt_from, len(self.split.held_out), sets)
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
        write_text(self.folder / TRAINING_RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def _report(self, record: Mapping[str, Any]) -> Trained:
        images = read_table(self.folder / "before_after.csv", BEFORE_AFTER)
        sets = read_table(self.folder / "before_after_sets.csv", BEFORE_AFTER_SETS)
        return Trained(self.model, self.cycle, self.split, images, sets, record["advice"], tuple(record["warnings"]))
