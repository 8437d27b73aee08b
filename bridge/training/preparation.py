"""What a training is made of, decided before anything is trained: which images are for what, recipe, base model, cycle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge.errors import InputError, LabelError, OutputError
from bridge.evaluation.split import split
from bridge.labels import label_ids
from bridge.names import safe_name
from bridge.pipeline.progress import Progress
from bridge.pipeline.records import differences
from bridge.segmentation.backend import new_network
from bridge.segmentation.models import ModelFile, cellpose_version, resolve_model
from bridge.training.card import record_of
from bridge.training.data import LEAST_CELLS, Data
from bridge.training.history import cycle_folder, earlier_cycles
from bridge.training.recipe import recipe_of
from bridge.training_settings import TrainSettings

Tell = Callable[[Progress], None] | None


class Preparation:
    """The decisions before a training; each that cannot be kept is refused here."""

    def __init__(
        self, data: Data, out: Path, s: TrainSettings, progress: Tell, say: Callable[[str], None], scratch: Path
    ) -> None:
        self.data, self.out, self.s, self.progress, self.say, self.scratch = data, out, s, progress, say, scratch
        self.major = cellpose_version()[0]
        before = earlier_cycles(out)
        held_out_before = {pixels for r in before if r["state"] != "failed" for pixels in r["held_out_pixels"]}
        kept_out = [name for name in data.names if data.pixels[name] in held_out_before and name not in s.held_out]
        if kept_out and s.held_out:
            data.warnings.append(f"held out in an earlier cycle, so still: {', '.join(kept_out)}")
        # Where each image is to judge a training without it, none may choose the epoch.
        self.split = split(data.pixels, s.held_out, 0 if s.leave_one_out else s.validation, held_out_before)
        self.learnt_from = (*self.split.train, *self.split.validation)
        n = sum(len(label_ids(data.labels[name])) for name in self.split.train)
        if n < LEAST_CELLS:
            raise LabelError(
                f"{out}: too few cells to learn from (got {n} in {len(self.split.train)} training images, expected at least {LEAST_CELLS}). Hold fewer images out, use a smaller --validation, or correct more cells."
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
                    f"{out / cycle_folder(len(before))}: a training was begun here with other images or settings ({changed}). Finish it with those, or delete this folder."
                )
        # A training that failed left no model: its number is free.
        self.cycle = len(before) + (not before or (last is not None and last["state"] == "done" and not self.done))
        self.folder = out / cycle_folder(self.cycle)
        self.model = self.folder / f"{safe_name(out.resolve().name)}_{self.cycle}"

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
