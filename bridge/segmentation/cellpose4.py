"""Cellpose 4: CP-SAM."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from cellpose import models, train, transforms

from bridge.cores import cores
from bridge.errors import ModelError, SegmentationError
from bridge.segmentation.backend import (
    NORMALIZE,
    WHOLE,
    Inference,
    Precision,
    Prediction,
    Window,
    labels_of,
    with_openvino_4,
)
from bridge.segmentation.batches import Batches
from bridge.segmentation.compiled import compiled_or_not
from bridge.segmentation.dynamics.masks import without_bad_flows
from bridge.segmentation.inference import AT_ONCE, TileByTile, on_processor
from bridge.segmentation.model_channels import MOST
from bridge.segmentation.models import ModelFile
from bridge.segmentation.tiles import cellpose_tiles
from bridge.segmentation.watch import NOBODY, Watch

_TILE_PX = 256  # of eval
_log = logging.getLogger(__name__)


class Cellpose4:
    """A model of Cellpose 4.

    Parameters
    ----------
    model : ModelFile
    device : torch.device
    inference : {"auto", "torch", "openvino", "compile"}
        What computes the network on a processor: torch, unless OpenVINO or ``fast`` is asked for.
    precision : {"exact", "fast"}
        ``fast``: bfloat16 on a processor that has it, which is what Cellpose itself takes on a card.

    Raises
    ------
    SegmentationError
        Cellpose loaded other weights than asked for.
    """

    def __init__(
        self, model: ModelFile, device: torch.device, inference: Inference = "auto", precision: Precision = "exact"
    ) -> None:
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
        self.device, self.most_channels = device.type, MOST[4]
        self.shares_batches = device.type == "cuda"
        there: Any = self._model.net
        self._words = "torch"
        if device.type != "cpu" and inference == "compile":
            tiles = torch.zeros(2, 3, _TILE_PX, _TILE_PX, device=device, dtype=there.dtype)
            there, self._words = compiled_or_not(there.eval(), tiles, model.name)
        self._network = Batches(there) if self.shares_batches else there
        self._on_processor: TileByTile | None = None
        if device.type == "cpu" and (inference == "compile" or with_openvino_4(inference, precision)):
            found = on_processor(self._model.net, model, inference, precision)
            self._on_processor = found if found.words != "torch" else None
        self.diameter_px: float | None = None

    def predict(
        self,
        image: npt.NDArray[Any],
        diameter_px: float | None,
        batch_size: int,
        normalize: bool,
        watch: Watch = NOBODY,
    ) -> Prediction:
        """Run the network on one plane (Y, X), or on several (C, Y, X): the cell, the nucleus."""
        two = image.ndim == 3
        rescale = 30.0 / diameter_px if diameter_px else 1.0
        rows, columns = cellpose_tiles(transforms, image.shape[-2:], rescale, _TILE_PX, min_size=(_TILE_PX, _TILE_PX))
        model = copy.copy(self._model)  # of its own for each thread
        net = self._on_processor
        at_once = AT_ONCE if net is not None else batch_size
        model.net = watch.over(
            net or self._network, rows.size * columns.size, batch_size if net is None else 2 * cores()
        )
        together = self._network.image(batch_size) if self.shares_batches else nullcontext()
        known = {key: value for key, value in NORMALIZE.items() if key in models.normalize_default}
        with together:
            _, (_, flows, cellprob), _ = model.eval(
                np.moveaxis(image, 0, -1).astype(np.float32) if two else image.astype(np.float32),
                channel_axis=-1 if two else None,
                diameter=diameter_px,
                batch_size=at_once,
                normalize={**known, "normalize": normalize},
                compute_masks=False,
            )
        return Prediction(np.asarray(flows), np.asarray(cellprob), int(200 / rescale))

    def masks(
        self, prediction: Prediction, flow_threshold: float, cellprob_threshold: float, window: Window = WHOLE
    ) -> tuple[npt.NDArray[Any], Counter[str]]:
        """Make a label image (Y, X), and count what was dropped; small objects are still in it."""
        # Cellpose 4's own check takes twelve times as long on a processor as that of Cellpose 3.
        check = partial(without_bad_flows, flows=prediction.flows, threshold=flow_threshold, cellpose=4)
        return labels_of(
            prediction, flow_threshold, cellprob_threshold, self._model.device, window,
            check if self._model.device.type == "cpu" else None,
        )  # fmt: skip

    @property
    def inference(self) -> str:
        """What computes the network."""
        return self._words if self._on_processor is None else self._on_processor.words

    @property
    def net(self) -> Any:
        """The network, in the precision that training needs; from now on it is computed as it is at that moment."""
        self._on_processor = None
        if self._model.net.dtype == torch.bfloat16:
            self._model.net.dtype = torch.float32
        return self._model.net

    def style(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:  # noqa: ARG002
        """Cellpose 4 has no style vector."""
        raise ModelError("--diameter style: Cellpose 4 has no style vector (expected a model of Cellpose 3). Use --diameter auto.")  # fmt: skip

    def styles_of_crops(
        self,
        images: Sequence[npt.NDArray[np.float32]],  # noqa: ARG002
        crop_px: int,  # noqa: ARG002
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Cellpose 4 has no style vector."""
        raise ModelError("--size: Cellpose 4 has no style vector (expected Cellpose 3). Leave it out, and use --diameter auto.")  # fmt: skip

    def prepared(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return an image as training takes it: (C, Y, X)."""
        planes = transforms.convert_image(image.astype(np.float32), channel_axis=0 if image.ndim == 3 else None)
        known = {key: value for key, value in NORMALIZE.items() if key in models.normalize_default}
        scaled: npt.NDArray[np.float32] = transforms.normalize_img(np.moveaxis(planes, -1, 0), axis=0, **known)
        return scaled

    def crops(
        self,
        images: Sequence[npt.NDArray[np.float32]],
        targets: Sequence[npt.NDArray[np.float32]],
        rescale: npt.NDArray[np.float64],
        crop_px: int,
        scale_range: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a turned, mirrored, scaled crop of each image and of its target."""
        crops, cut, _ = transforms.random_rotate_and_resize(
            list(images),
            lbls=list(targets),
            rescale=rescale,
            bsize=crop_px,
            scale_range=scale_range,
            device=self._model.device,
        )
        return crops, cut

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return Cellpose's loss of the network's output."""
        found: torch.Tensor = train._loss_fn_seg(target, output, self._model.device)
        return found

    def save(self, file: IO[bytes], diameter_px: float) -> None:
        """Write the weights as Cellpose does, with the diameter of the cells they were trained on."""
        self.net.diam_labels.data = torch.tensor([diameter_px], device=self._model.device)
        self.net.save_model(file)
