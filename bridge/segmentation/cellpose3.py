"""Cellpose 3.1.1.3: the U-Net."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from cellpose import models
from cellpose.resnet_torch import CPnet
from torch import nn

from bridge.errors import SegmentationError
from bridge.segmentation.backend import NORMALIZE, Prediction, labels_of
from bridge.segmentation.models import ModelFile

_STYLE_LENGTH = 256  # hard-coded in cellpose.core.run_net


class _NarrowNet(CPnet):  # type: ignore[misc]
    """A network of fewer features; its style vector is filled up to the length Cellpose expects."""

    def forward(self, data: torch.Tensor) -> tuple[Any, ...]:
        output, style, down = super().forward(data)
        return output, nn.functional.pad(style, (0, _STYLE_LENGTH - style.shape[1])), down


class Cellpose3:
    """A model of Cellpose 3.

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
        named = {"model_type": model.name} if model.built_in else {"pretrained_model": str(model.path)}
        backbone = "transformer" if "transformer" in model.name else "default"
        widths = None if model.built_in else _widths(model)
        if widths is not None and widths[1:] != [32, 64, 128, 256]:
            self._model = models.CellposeModel(device=device, pretrained_model=False)
            net = _NarrowNet(widths, 3, sz=3, mkldnn=self._model.mkldnn, max_pool=True)
            net.load_model(str(model.path), device=device)
            self._model.net = net.to(device)
            self._model.diam_mean = float(net.diam_mean.item())
            self._model.diam_labels = float(net.diam_labels.item())
        else:
            self._model = models.CellposeModel(device=device, backbone=backbone, **named)
            if str(self._model.pretrained_model) != str(model.path):
                raise SegmentationError(
                    f"{model.name}: Cellpose loaded other weights (got {self._model.pretrained_model}, expected {model.path}). Name the model by its path."
                )
        self.device = device.type
        self.diameter_px: float | None = float(self._model.diam_labels)

    def predict(
        self, image: npt.NDArray[Any], diameter_px: float | None, batch_size: int, normalize: bool
    ) -> Prediction:
        """Run the network on one plane (Y, X)."""
        diameter_px = diameter_px or self.diameter_px
        assert diameter_px is not None
        # Cellpose 3 changes float images in place; it gets its own copy.
        _, (_, flows, cellprob), _ = self._model.eval(
            image.astype(np.float32),
            channels=[0, 0],
            diameter=diameter_px,
            batch_size=batch_size,
            normalize={**NORMALIZE, "normalize": normalize},
            compute_masks=False,
        )
        niter = 1 / (self._model.diam_mean / diameter_px) * 200
        return Prediction(np.asarray(flows), np.asarray(cellprob), niter)

    def masks(self, prediction: Prediction, flow_threshold: float, cellprob_threshold: float) -> npt.NDArray[Any]:
        """Make a label image (Y, X) with ids 1..n; small objects are still in it."""
        return labels_of(prediction, flow_threshold, cellprob_threshold, self._model.device)


def _widths(model: ModelFile) -> list[int] | None:
    weights = torch.load(model.path, map_location="cpu", weights_only=True)
    widths: list[int] = []
    while (name := f"downsample.down.res_down_{len(widths)}.proj.1.weight") in weights:
        if not widths:
            first = int(weights[name].shape[1])
        widths.append(int(weights[name].shape[0]))
    return [first, *widths] if widths else None
