"""Mask R-CNN by torchvision: cells and their class at once, as a backend beside Cellpose's.

Where cells overlap, the one that the network is surest of has the pixel; of what is left the largest part in one place
counts. A cell that loses more than half of its pixels so is dropped, and counted.
"""

from __future__ import annotations

import importlib.util
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import nn

from bridge.errors import MissingDependencyError, ModelError
from bridge.segmentation.mask_rcnn_networks import TILE_PX, Kind, kind_of, new_mask_rcnn
from bridge.segmentation.model_channels import require_learnt
from bridge.segmentation.models import MASK_RCNN, ModelFile
from bridge.segmentation.tiles import tiles
from bridge.segmentation.watch import NOBODY, Watch

CELL_PX = 30.0  # the diameter to which cells are scaled
_OVERLAP_PX, _MASK = 64, 0.5  # at the network's scale


def require_torchvision(why: str) -> None:
    """Refuse where torchvision is missing.

    Raises
    ------
    MissingDependencyError
    """
    if importlib.util.find_spec("torchvision") is None:
        raise MissingDependencyError(f"{why}: torchvision is not installed (expected the extra mask-rcnn). Install it: pip install 'cellpose-fiji-bridge[mask-rcnn]'")  # fmt: skip


def model_bytes(net: Any, classes: Sequence[str], kind: Kind, diameter_px: float) -> bytes:
    """Return a model file: what `run --model` takes; tensors and plain data, no program."""
    content = io.BytesIO()
    state = {name: value.detach().cpu() for name, value in net.state_dict().items()}
    facts = {"classes": list(classes), **asdict(kind), "diameter_px": diameter_px}
    torch.save({MASK_RCNN: facts, "weights": state}, content)
    return content.getvalue()


def grey_scaled(image: npt.NDArray[Any], normalize: bool = True) -> npt.NDArray[np.float32]:
    """Return planes (C, Y, X), each on the grey scale of its 1st to 99th percentile."""
    planes = (image if image.ndim == 3 else image[None]).astype(np.float32)
    if normalize:
        for plane in planes:
            low, high = np.percentile(plane, 1), np.percentile(plane, 99)
            plane[:] = (plane - low) / max(high - low, 1e-6)
    return planes


def resized(planes: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.float32]:
    """Return planes scaled by a factor, at least a pixel a side."""
    size = [max(1, round(side * scale)) for side in planes.shape[1:]]
    found: npt.NDArray[np.float32] = nn.functional.interpolate(torch.from_numpy(planes)[None], size=size, mode="bilinear", align_corners=False)[0].numpy()  # fmt: skip
    return found


def _largest_part(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """A mask of 28 x 28 px, scaled, or cut by a neighbour, may be in several places: a cell is in one."""
    parts, n = ndimage.label(mask, np.ones((3, 3)))
    if n < 2:
        return mask
    largest: npt.NDArray[np.bool_] = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return largest


@dataclass(frozen=True)
class Instances:
    """What the network found in one image.

    Attributes
    ----------
    labels : ndarray of int64, shape (Y, X)
    kinds : ndarray of uint8, shape (Y, X)
        Number of each pixel's class, from 1; 0 outside of cells.
    covered : int
        Cells that lost more than half of their pixels to others.
    """

    labels: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    covered: int


class MaskRcnn:
    """A trained Mask R-CNN.

    Parameters
    ----------
    model : ModelFile
    device : torch.device

    Raises
    ------
    ModelError
        A damaged file.
    MissingDependencyError
        torchvision is not installed.
    """

    def __init__(self, model: ModelFile, device: torch.device) -> None:
        require_torchvision(model.name)
        content = torch.load(model.path, map_location="cpu", weights_only=True)
        facts = content[MASK_RCNN]
        self.classes = tuple(map(str, facts["classes"]))
        kind = kind_of(facts)
        self.n_channels = self.most_channels = kind.n_channels
        self.net = new_mask_rcnn(kind, len(self.classes))
        try:
            self.net.load_state_dict(content["weights"])
        except RuntimeError as error:
            raise ModelError(f"{model.path}: a damaged model ({str(error).splitlines()[-1].strip()[:120]}). Train it again.") from error  # fmt: skip
        self.net.to(device).eval()
        self._file, self._device = model, device
        self.device, self.inference, self.shares_batches = device.type, "torch", False
        self.diameter_px: float | None = float(facts["diameter_px"])

    def predict(
        self,
        image: npt.NDArray[Any],
        diameter_px: float | None,
        batch_size: int,
        normalize: bool,
        watch: Watch = NOBODY,
    ) -> Instances:
        """Find the cells of an image (Y, X) or (C, Y, X)."""
        planes = grey_scaled(image, normalize)
        require_learnt(self._file.name, self.n_channels, len(planes))
        scale = CELL_PX / (diameter_px or self.diameter_px or CELL_PX)
        found = sorted(self._cells(resized(planes, scale), batch_size, watch), key=lambda cell: -cell[0])
        height, width = planes.shape[1:]
        labels, kinds = np.zeros((height, width), np.int64), np.zeros((height, width), np.uint8)
        n, covered = 0, 0
        for _, kind, top, left, mask in found:
            # Scaled back by looking up: each pixel of the image is inside or not.
            y0, x0 = int(np.floor(top / scale)), int(np.floor(left / scale))
            y1 = min(height, int(np.ceil((top + mask.shape[0]) / scale)))
            x1 = min(width, int(np.ceil((left + mask.shape[1]) / scale)))
            rows = ((np.arange(y0, y1) + 0.5) * scale).astype(np.int64) - top
            columns = ((np.arange(x0, x1) + 0.5) * scale).astype(np.int64) - left
            inside = mask[np.ix_(rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1))]
            free = _largest_part(inside & (labels[y0:y1, x0:x1] == 0))
            if 2 * np.count_nonzero(free) <= np.count_nonzero(inside):
                covered += bool(inside.any())
                continue
            n += 1
            labels[y0:y1, x0:x1][free] = n
            kinds[y0:y1, x0:x1][free] = kind
        return Instances(labels, kinds, covered)

    def _cells(
        self, planes: npt.NDArray[np.float32], batch_size: int, watch: Watch = NOBODY
    ) -> Iterator[tuple[float, int, int, int, npt.NDArray[np.bool_]]]:
        """Yield score, class, row, column and mask of each cell of all tiles; those cut at a tile's inner edge but once."""
        shape = planes.shape[1:]
        padded = np.pad(planes, [(0, 0), *((0, max(0, TILE_PX - side)) for side in shape)])
        windows = list(tiles(padded.shape[1:], TILE_PX, _OVERLAP_PX))
        for k in range(0, len(windows), max(1, batch_size // 2)):
            watch.tell(k / len(windows))
            some = windows[k : k + max(1, batch_size // 2)]
            batch = [torch.from_numpy(np.ascontiguousarray(padded[:, rows, columns])).to(self._device) for rows, columns in some]  # fmt: skip
            with torch.no_grad():
                outputs = self.net(batch)
            for (rows, columns), found in zip(some, outputs, strict=True):
                masks = (found["masks"][:, 0] > _MASK).cpu().numpy()
                for score, kind, box, mask in zip(found["scores"].tolist(), found["labels"].tolist(), found["boxes"].tolist(), masks, strict=True):  # fmt: skip
                    left, top, right, bottom = (int(np.floor(v)) if i < 2 else int(np.ceil(v)) for i, v in enumerate(box))  # fmt: skip
                    # Of a cell that is cut here the neighbour has more; it comes later, where nobody has it.
                    at_edge = (top <= 1 and rows.start > 0) or (left <= 1 and columns.start > 0) or (bottom >= TILE_PX - 1 and rows.stop < padded.shape[1]) or (right >= TILE_PX - 1 and columns.stop < padded.shape[2])  # fmt: skip
                    part = mask[top:bottom, left:right]
                    if part.any():
                        yield score - at_edge, int(kind), top + rows.start, left + columns.start, part

    def masks(
        self,
        prediction: Instances,
        flow_threshold: float,  # noqa: ARG002 this network has no flows
        cellprob_threshold: float,  # noqa: ARG002
        window: tuple[slice, slice] = (slice(None), slice(None)),
    ) -> tuple[npt.NDArray[Any], Counter[str]]:
        """Return the label image, and how many cells lay under others."""
        return prediction.labels[window], Counter(inside=prediction.covered)

    def kinds(
        self, prediction: Instances, window: tuple[slice, slice] = (slice(None), slice(None))
    ) -> npt.NDArray[np.uint8]:
        """Return the number of each pixel's class, shape (Y, X)."""
        return prediction.kinds[window]
