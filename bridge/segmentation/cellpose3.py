"""Cellpose 3: the U-Net."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from cellpose import models, train, transforms
from cellpose.resnet_torch import CPnet
from torch import nn

from bridge.cores import cores
from bridge.errors import ModelError, SegmentationError
from bridge.segmentation.backend import NORMALIZE, WHOLE, Inference, Precision, Prediction, Window, labels_of
from bridge.segmentation.batches import Batches
from bridge.segmentation.compiled import compiled_or_not
from bridge.segmentation.dynamics.masks import masks_of
from bridge.segmentation.folded_upsampling import folded
from bridge.segmentation.inference import AT_ONCE, Remembering, TileByTile, on_processor
from bridge.segmentation.model_channels import MOST
from bridge.segmentation.models import ModelFile
from bridge.segmentation.tiles import cellpose_tiles
from bridge.segmentation.watch import NOBODY, Watch

_TILE_PX = 224  # of eval
_STYLE_LENGTH = 256  # hard-coded in cellpose.core.run_net
_STOCK_WIDTHS = [32, 64, 128, 256]  # features at each level of Cellpose's own networks


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
    inference : {"auto", "torch", "openvino", "compile"}
        What computes the network on a processor.
    precision : {"exact", "fast"}

    Raises
    ------
    ModelError
        Weights are missing in the file.
    SegmentationError
        Cellpose loaded other weights than asked for.
    """

    def __init__(
        self, model: ModelFile, device: torch.device, inference: Inference = "auto", precision: Precision = "exact"
    ) -> None:
        self._file, self._device = model, device
        self._load(mkldnn=False)
        self._on_processor: TileByTile | None = None
        self.shares_batches = device.type == "cuda"
        there: Any = self._model.net
        self._words = "torch"
        if device.type != "cpu" and inference == "compile":
            there, self._words = compiled_or_not(
                there.eval(), torch.zeros(2, 2, _TILE_PX, _TILE_PX, device=device), model.name
            )
        self._network = Batches(there) if self.shares_batches else there
        if device.type == "cpu" and isinstance(self._model.net, CPnet):
            self._on_processor = on_processor(folded(self._model.net.eval()), model, inference, precision)
        self.device, self.most_channels = device.type, MOST[3]
        self.diameter_px: float | None = float(self._model.diam_labels)

    def _load(self, mkldnn: bool) -> None:
        model, device = self._file, self._device
        named = {"model_type": model.name} if model.built_in else {"pretrained_model": str(model.path)}
        backbone = "transformer" if model.built_in and "transformer" in model.name else "default"
        widths = None if model.built_in else _checked_widths(model)
        if widths is not None and widths[1:] != _STOCK_WIDTHS:
            self._model = models.CellposeModel(device=device, pretrained_model=False, mkldnn=mkldnn)
            net = _NarrowNet(widths, 3, sz=3, mkldnn=self._model.mkldnn, max_pool=True)
            net.load_model(str(model.path), device=device)
            self._model.net = net.to(device)
            self._model.diam_mean = float(net.diam_mean.item())
            self._model.diam_labels = float(net.diam_labels.item())
        else:
            self._model = models.CellposeModel(device=device, backbone=backbone, mkldnn=mkldnn, **named)
            if str(self._model.pretrained_model) != str(model.path):
                raise SegmentationError(
                    f"{model.name}: Cellpose loaded other weights (got {self._model.pretrained_model}, expected {model.path}). Name the model by its path."
                )

    def predict(
        self,
        image: npt.NDArray[Any],
        diameter_px: float | None,
        batch_size: int,
        normalize: bool,
        watch: Watch = NOBODY,
    ) -> Prediction:
        """Run the network on one plane (Y, X), or on two (2, Y, X): the cell and the nucleus."""
        diameter_px = diameter_px or self.diameter_px
        assert diameter_px is not None
        two = image.ndim == 3
        net = self._on_processor
        if net is not None and net.exactly is not None:
            net = net.remembering()
        rescale = self._model.diam_mean / diameter_px
        rows, columns = cellpose_tiles(transforms, image.shape[-2:], rescale, _TILE_PX)
        at_once = self._at_once(batch_size)
        watched = watch.over(net or self._network, rows.size * columns.size, at_once if net is None else 2 * cores())
        together = self._network.image(at_once) if self.shares_batches else nullcontext()

        def look() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            # Cellpose 3 changes float images in place; it gets its own copy.
            with together:
                flows, cellprob, _ = self._eval(
                    np.moveaxis(image, 0, -1).astype(np.float32) if two else image.astype(np.float32),
                    net=watched,
                    channels=[1, 2] if two else [0, 0],
                    channel_axis=-1 if two else None,
                    diameter=diameter_px,
                    batch_size=at_once,
                    normalize={**NORMALIZE, "normalize": normalize},
                )
            return flows, cellprob

        def again(doubtful: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            assert isinstance(net, Remembering)
            net.anew(tiles_over(doubtful, rescale))
            return look()

        return Prediction(*look(), 1 / rescale * 200, again if isinstance(net, Remembering) else None)

    def masks(
        self, prediction: Prediction, flow_threshold: float, cellprob_threshold: float, window: Window = WHOLE
    ) -> tuple[npt.NDArray[Any], Counter[str]]:
        """Make a label image (Y, X), and count what was dropped; small objects are still in it."""
        if self._device.type != "cpu":
            return labels_of(prediction, flow_threshold, cellprob_threshold, self._model.device, window)
        niter = int(np.uint32(prediction.niter))  # as Cellpose cuts it
        return masks_of(
            prediction.flows, prediction.cellprob, niter, flow_threshold, cellprob_threshold, window, prediction.again
        )

    def _at_once(self, batch_size: int) -> int:
        if self._on_processor is not None:
            return AT_ONCE
        return batch_size if self._device.type != "cpu" else 1  # batches are slower on a processor

    def _eval(self, *image: Any, net: Any, **options: Any) -> tuple[npt.NDArray[np.float32], ...]:
        """Run Cellpose's own eval, with what computes its network on this device; return flows, cellprob and style."""
        model = copy.copy(self._model)  # of its own for each thread
        if net is not None:
            model.net = net
        found: list[Any] = []

        def run_net(*given: Any, **how: Any) -> tuple[Any, ...]:
            found.extend(models.CellposeModel._run_net(model, *given, **how))
            # Of this eval draws a picture in colours that nobody sees; it takes a third as long as all masks.
            return np.zeros((2, 1, 2, 2)), np.zeros((1, 2, 2)), found[2]

        model._run_net = run_net
        model.eval(*image, **options, compute_masks=False)
        flows, cellprob, style = found
        return np.asarray(flows)[:, 0], np.asarray(cellprob)[0], np.asarray(style)

    @property
    def inference(self) -> str:
        """What computes the network."""
        return self._words if self._on_processor is None else self._on_processor.words

    @property
    def net(self) -> Any:
        """The network, to be trained: from now on it is computed as it is at that moment."""
        self._on_processor = None
        return self._model.net.to(memory_format=torch.contiguous_format)

    def style(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the network's style vector of an image (Y, X) or (2, Y, X), shape (256,)."""
        two = image.ndim == 3
        *_, style = self._eval(
            np.moveaxis(image, 0, -1).astype(np.float32) if two else image.astype(np.float32),
            net=self._on_processor,
            channels=[1, 2] if two else [0, 0],
            channel_axis=-1 if two else None,
            diameter=self._model.diam_mean,
            normalize=NORMALIZE,
            resample=False,
        )
        return np.asarray(style, np.float32).ravel()

    def styles_of_crops(
        self, images: Sequence[npt.NDArray[np.float32]], crop_px: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the style vectors of random crops (one for each prepared image), and by how much each was scaled."""
        crops, _, scale = transforms.random_rotate_and_resize(list(images), scale_range=1.0, xy=(crop_px, crop_px))
        with torch.no_grad():
            styles = self.net(torch.from_numpy(crops).to(self._model.device))[1]
        return styles.cpu().numpy(), scale

    def prepared(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return an image as training takes it: (2, Y, X)."""
        planes = np.stack([image, np.zeros_like(image)]) if image.ndim == 2 else image
        scaled: npt.NDArray[np.float32] = transforms.normalize_img(planes.astype(np.float32), axis=0, **NORMALIZE)
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
            list(images), Y=list(targets), rescale=rescale, scale_range=scale_range, xy=(crop_px, crop_px)
        )
        data = torch.from_numpy(crops).to(self._model.device)
        return data, torch.from_numpy(cut)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return Cellpose's loss of the network's output."""
        found: torch.Tensor = train._loss_fn_seg(target.numpy(), output, self._model.device)
        return found

    def save(self, file: IO[bytes], diameter_px: float) -> None:
        """Write the weights as Cellpose does, with the diameter of the cells they were trained on."""
        self.net.diam_labels.data = torch.tensor([diameter_px], device=self._model.device)
        self.net.save_model(file)


def _checked_widths(model: ModelFile) -> list[int] | None:
    """Return the features at each level of a network, after a look whether the file has all of its weights.

    Raises
    ------
    ModelError
        Cellpose would leave weights that are missing as they are drawn at random.
    """
    weights = torch.load(model.path, map_location="cpu", weights_only=True)
    widths: list[int] = []
    while (name := f"downsample.down.res_down_{len(widths)}.proj.1.weight") in weights:
        if not widths:
            first = int(weights[name].shape[1])
        widths.append(int(weights[name].shape[0]))
    if not widths:
        return None
    widths = [first, *widths]
    with torch.random.fork_rng(devices=[]):
        expected = CPnet(widths, 3, sz=3).state_dict()
    for key, weight in expected.items():
        if key in weights and weights[key].shape == weight.shape:
            continue
        if not key.endswith(("num_batches_tracked", "diam_mean", "diam_labels")):
            raise ModelError(
                f"{model.path}: a damaged model (its weights {key} are missing or of another size). Train it again."
            )
    return widths


def tiles_over(pixels: npt.NDArray[np.bool_], rescale: float) -> set[int]:
    """Return which of Cellpose's tiles (by row, then column) count most where a pixel is set.

    Parameters
    ----------
    pixels : ndarray of bool, shape (Y, X)
        Of the image as it was given.
    rescale : float
        By which Cellpose scales the image before it cuts it into tiles.
    """
    middle_y, middle_x = cellpose_tiles(transforms, pixels.shape, rescale, _TILE_PX)
    height, width = (int(side * rescale) for side in pixels.shape)
    rows, columns = np.nonzero(pixels)
    y, x = rows * (height / pixels.shape[0]), columns * (width / pixels.shape[1])
    row, column = (np.abs(at[:, None] - middle).argmin(axis=1) for at, middle in ((y, middle_y), (x, middle_x)))
    return set(np.unique(row * middle_x.size + column).tolist())


def write_new_network(path: Path, features: int, seed: int) -> None:
    """Write a network that has learnt nothing yet, with so many features at its first level."""
    widths = [2, *(features * 2**k for k in range(4))]
    # The caller's own random numbers go on as if nothing had been drawn.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = CPnet(widths, 3, sz=3)
    net.save_model(str(path))
