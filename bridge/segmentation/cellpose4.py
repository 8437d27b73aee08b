"""Cellpose 4.2.1 and later: CP-SAM."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from cellpose import models

from bridge.errors import SegmentationError
from bridge.segmentation.backend import NORMALIZE, Prediction, labels_of
from bridge.segmentation.models import ModelFile

_log = logging.getLogger(__name__)


class Cellpose4:
    """A model of Cellpose 4.

    Parameters
    ----------
    model : ModelFile
    device : torch.device

    Raises
    ------
    SegmentationError
        Cellpose loaded other weights than asked for.
    """

    def __init__(self, model: ModelFile, device: torch.device) -> None:
        if device.type == "cpu":
            _log.warning("Cellpose 4 on a processor takes minutes for each image; a GPU is advised")
        # bfloat16 is fast on GPUs, and slow on most processors.
        self._model = models.CellposeModel(
            device=device, pretrained_model=str(model.path), use_bfloat16=device.type == "cuda"
        )
        if str(self._model.pretrained_model) != str(model.path):
            raise SegmentationError(
                f"{model.name}: Cellpose loaded other weights (got {self._model.pretrained_model}, expected {model.path}). Name the model by its path."
            )
        self.device = device.type
        self.diameter_px: float | None = None

    def predict(
        self, image: npt.NDArray[Any], diameter_px: float | None, batch_size: int, normalize: bool
    ) -> Prediction:
        """Run the network on one plane (Y, X)."""
        known = {key: value for key, value in NORMALIZE.items() if key in models.normalize_default}
        _, (_, flows, cellprob), _ = self._model.eval(
            image.astype(np.float32),
            diameter=diameter_px,
            batch_size=batch_size,
            normalize={**known, "normalize": normalize},
            compute_masks=False,
        )
        rescale = 30.0 / diameter_px if diameter_px else 1.0
        return Prediction(np.asarray(flows), np.asarray(cellprob), int(200 / rescale))

    def masks(self, prediction: Prediction, flow_threshold: float, cellprob_threshold: float) -> npt.NDArray[Any]:
        """Make a label image (Y, X) with ids 1..n; small objects are still in it."""
        return labels_of(prediction, flow_threshold, cellprob_threshold, self._model.device)
