"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    optimizer : {"sgd", "nesterov", "adamw"}
        Stochastic gradient descent with momentum 0.9, the same with Nesterov's momentum, or AdamW.
    learning_rates : tuple of float
        One for each epoch.
    weight_decay : float
    batch_size : int
        Crops that go through the network at once.
    crop_px : int
    crops : int
        Crops in an epoch; 0 is one for each image.
    rescale : bool
        Scale every image so that its cells have the network's mean diameter.
    scale_range : float
        Crops are scaled at random by 1 - scale_range / 2 to 1 + scale_range / 2.
    seed : int
    precision : {"exact", "fast"}
        ``fast``: bfloat16 where the device has it; the weights differ a little.
    """

    optimizer: Literal["sgd", "nesterov", "adamw"]
    learning_rates: tuple[float, ...]
    weight_decay: float
    batch_size: int
    crop_px: int
    crops: int
    rescale: bool = True
    scale_range: float = 0.5
    seed: int = 0
    precision: Literal["exact", "fast"] = "exact"

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.learning_rates)
