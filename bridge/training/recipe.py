"""How a network is trained: the presets, and what a person changes of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bridge.errors import InputError
from bridge.segmentation.recipe import Recipe
from bridge.training_settings import TrainSettings

# Preset and major version of Cellpose -> recipe. "fine-tune" is what Cellpose's own window does in that version;
# "challenge" is the recipe of the NeurIPS 2022 cell segmentation challenge's U-Net.
_PRESETS: dict[tuple[str, int], dict[str, Any]] = {
    ("fine-tune", 3): {
        "optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4, "epochs": 100, "batch_size": 8, "crop": 224,
        "crops": 8, "rescale": True,
    },
    ("fine-tune", 4): {
        "optimizer": "adamw", "learning_rate": 1e-5, "weight_decay": 0.1, "epochs": 100, "batch_size": 1, "crop": 256,
        "crops": 2, "rescale": False,
    },
    ("challenge", 3): {
        "optimizer": "nesterov", "learning_rate": 0.001, "weight_decay": 1e-5, "epochs": 300, "batch_size": 8,
        "crop": 224, "crops": 8, "rescale": True,
    },
}  # fmt: skip
WARM_UP = 10  # epochs


def recipe_of(settings: TrainSettings, n_images: int, major: int) -> Recipe:
    """Return the recipe of a training.

    Parameters
    ----------
    settings : TrainSettings
    n_images : int
        Images that are trained on; unless told otherwise an epoch has at least one crop of each.
    major : int
        Major version of Cellpose.

    Raises
    ------
    InputError
        The preset is not for this version of Cellpose.

    Examples
    --------
    >>> recipe_of(TrainSettings(), 5, 3).crops, recipe_of(TrainSettings(preset="challenge"), 20, 3).epochs
    (8, 300)
    """
    chosen = _PRESETS.get((settings.preset, major))
    if chosen is None:
        raise InputError(
            f"--preset {settings.preset}: a recipe for Cellpose 3 (got Cellpose {major} installed). Leave it out: Cellpose {major} has its own."
        )
    given = {name: value for name in chosen if (value := getattr(settings, name)) is not None}
    options = {**chosen, "crops": max(chosen["crops"], n_images), **given}
    if major == 4 and options["crop"] != 256:
        raise InputError(f"--crop {options['crop']}: Cellpose 4 takes crops of 256 px only (got {options['crop']}, expected 256). Leave it out.")  # fmt: skip
    rates = learning_rates(settings.preset, options["learning_rate"], options["epochs"])
    return Recipe(
        options["optimizer"], rates, options["weight_decay"], options["batch_size"], options["crop"], options["crops"],
        options["rescale"], settings.scale_range, settings.seed, settings.precision,
    )  # fmt: skip


def learning_rates(preset: str, highest: float, epochs: int) -> tuple[float, ...]:
    """Return the learning rate of each epoch.

    fine-tune: as `cellpose.train.train_seg` of 3.1.1.3: from 0 up over 10 epochs; of more than 100 epochs the last 50
    are halved every 5, of more than 300 the last 100 every 10. challenge: up over 10 epochs, halved every 10 after 210.

    Examples
    --------
    >>> learning_rates("fine-tune", 0.9, 12)[-4:]
    (0.8, 0.9, 0.9, 0.9)
    >>> [learning_rates("challenge", 0.001, 300)[k] for k in (0, 9, 209, 210, 220, 299)]
    [0.0001, 0.001, 0.001, 0.0005, 0.00025, 1.953125e-06]
    """
    if preset == "challenge":
        return tuple(highest * min(1.0, (k + 1) / WARM_UP) * 0.5 ** max(0, (k - 200) // 10) for k in range(epochs))
    rates = np.append(np.linspace(0, highest, WARM_UP), np.full(max(0, epochs - WARM_UP), highest))
    tail, every = (100, 10) if epochs > 300 else (50, 5) if epochs > 100 else (0, 1)
    if tail:
        rates[-tail:] = highest * 0.5 ** (1 + np.arange(tail) // every)
    return tuple(float(rate) for rate in rates[:epochs])
