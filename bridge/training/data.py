"""The images of a training and their ground truth, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridge.errors import InputError, LabelError
from bridge.evaluation.pairs import find_pairs, image_hash, pixel_hash, read_pair
from bridge.labels import Labels, label_ids
from bridge.names import safe_name
from bridge.training_settings import TrainSettings

LEAST_CELLS = 5


@dataclass
class Data:
    """Images and their ground truth, by name."""

    names: tuple[str, ...]
    images: dict[str, npt.NDArray[Any]]
    labels: dict[str, Labels]
    pixels: dict[str, str]
    truths: dict[str, str]
    warnings: list[str]
    corrected_model: str


def read_data(folder: Path, s: TrainSettings) -> Data:
    """Read all images and their ground truth; refuse what nothing can be learnt from."""
    found = find_pairs(folder, s.labels, s.segment, s.rgb_channel, s.colour, s.accept_labels, s.segment_with)
    data = Data((), {}, {}, {}, {}, list(found.warnings), found.corrected_model)
    for pair in found.pairs:
        image, labels, warnings = read_pair(pair)
        data.images[pair.name], data.labels[pair.name] = image, labels
        data.pixels[pair.name], data.truths[pair.name] = image_hash(pair.image), pixel_hash(labels)
        data.warnings += warnings
    data.names = tuple(data.images)
    files: dict[str, str] = {}
    for name in data.names:
        other = files.setdefault(safe_name(name).casefold(), name)
        if other != name:
            raise InputError(f"{folder}: two images of nearly one name (got {other} and {name}, expected names that differ as file names). Rename one.")  # fmt: skip
    n = sum(len(label_ids(labels)) for labels in data.labels.values())
    if n < LEAST_CELLS:
        raise LabelError(
            f"{folder}: too few cells to learn from (got {n} in {len(data.names)} images, expected at least {LEAST_CELLS}). Correct more cells."
        )
    return data
