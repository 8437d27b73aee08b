"""The network of a Mask R-CNN, trained on crops of labelled images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bridge.errors import SegmentationError
from bridge.labels import Labels
from bridge.segmentation.backend import torch_device
from bridge.segmentation.mask_rcnn import CELL_PX, grey_scaled, resized
from bridge.segmentation.mask_rcnn_networks import TILE_PX, Base, Kind, begin_with, new_mask_rcnn, train_mode


@dataclass(frozen=True)
class Example:
    """A labelled image.

    Attributes
    ----------
    image : ndarray, shape (Y, X) or (C, Y, X)
    labels : ndarray of unsigned int, shape (Y, X)
    kinds : dict of int to int
        Number of each label's class, from 1.
    """

    image: npt.NDArray[Any]
    labels: Labels
    kinds: dict[int, int]


@dataclass(frozen=True)
class MaskRcnnRecipe:
    """How a Mask R-CNN is trained: AdamW, one cycle of the learning rate, so many crops an epoch."""

    epochs: int
    learning_rate: float
    batch_size: int
    crops: int
    seed: int


def train_network(
    examples: Sequence[Example],
    kind: Kind,
    n_classes: int,
    how: MaskRcnnRecipe,
    device_name: str,
    diameter: float,
    say: Callable[[str], None],
    base: Base | None = None,
) -> tuple[Any, list[float]]:
    """Train a Mask R-CNN from nothing, or from what another one has learnt.

    Parameters
    ----------
    examples : sequence of Example
    kind : Kind
    n_classes : int
        Without the background.
    how : MaskRcnnRecipe
    device_name : {"auto", "cpu", "cuda", "mps"}
    diameter : float
        Of the cells in px.
    say : callable
        Called with a line of text every ten epochs.
    base : Base, optional
        Of the same kind: all of its weights but those of other classes.

    Returns
    -------
    net : torch module
    losses : list of float
        Mean of each epoch.

    Raises
    ------
    SegmentationError
        The loss is not a number any more.
    """
    device = torch_device(device_name)
    net = new_mask_rcnn(kind, n_classes, how.seed).to(device)
    if base is not None:
        begin_with(net, base)
    train_mode(net, base)
    rng = np.random.default_rng(how.seed)
    torch.manual_seed(how.seed)
    epochs, batch, crops = how.epochs, how.batch_size, how.crops
    optimizer = torch.optim.AdamW(
        [p for p in net.parameters() if p.requires_grad], lr=how.learning_rate, weight_decay=1e-4
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.learning_rate, total_steps=epochs * -(-crops // batch) + 1)  # fmt: skip
    scaled = [(grey_scaled(e.image), e) for e in examples]
    curve, begin = [], time.monotonic()
    for epoch in range(1, epochs + 1):
        order = np.concatenate([rng.permutation(len(scaled)) for _ in range(-(-crops // len(scaled)))])[:crops]
        losses = []
        for k in range(0, crops, batch):
            cut = (_crop(scaled[i][0], scaled[i][1], diameter, rng) for i in order[k : k + batch].tolist())
            pairs = [pair for pair in cut if pair is not None]
            if not pairs:
                continue
            images = [torch.from_numpy(image).to(device) for image, _ in pairs]
            targets = [{name: torch.from_numpy(value).to(device) for name, value in t.items()} for _, t in pairs]
            loss = sum(net(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.item()))
        curve.append(float(np.mean(losses)) if losses else float("nan"))
        if not np.isfinite(curve[-1]):
            raise SegmentationError(f"training: the loss is not a number at epoch {epoch} (got {curve[-1]}). Nothing was written; use a smaller --learning-rate.")  # fmt: skip
        if epoch in (1, epochs) or epoch % 10 == 0:
            left = (time.monotonic() - begin) / epoch * (epochs - epoch)
            say(f"epoch {epoch} of {epochs}, loss {curve[-1]:.3f}" + (f", {left / 60:.0f} min left" if epoch < epochs else ""))  # fmt: skip
    net.eval()
    return net, curve


def _crop(
    planes: npt.NDArray[np.float32], example: Example, diameter: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[Any]]] | None:
    """Return a turned, mirrored, scaled crop and its targets; None where no cell is in it."""
    scale = CELL_PX / diameter * rng.uniform(0.85, 1.15)
    small = resized(planes, scale)
    rows, columns = (np.minimum((np.arange(n) + 0.5) / scale, side - 1).astype(np.int64) for n, side in zip(small.shape[1:], planes.shape[1:], strict=True))  # fmt: skip
    labels = example.labels[np.ix_(rows, columns)].astype(np.int64)
    around = [(0, max(0, TILE_PX - side)) for side in labels.shape]
    small, labels = np.pad(small, [(0, 0), *around]), np.pad(labels, around)
    top, left = (int(rng.integers(0, side - TILE_PX + 1)) for side in labels.shape)
    small, labels = (
        small[:, top : top + TILE_PX, left : left + TILE_PX],
        labels[top : top + TILE_PX, left : left + TILE_PX],
    )
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    small, labels = np.rot90(small, turns, (1, 2)), np.rot90(labels, turns)
    if mirrored:
        small, labels = small[:, :, ::-1], labels[:, ::-1]
    boxes, kinds, masks = [], [], []
    for label in np.unique(labels)[1:].tolist():
        mask = labels == label
        y, x = np.nonzero(mask)
        box = (float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1))  # exclusive ends
        if y.size < 12 or label not in example.kinds:
            continue
        boxes.append(box)
        kinds.append(example.kinds[label])
        masks.append(mask)
    if not boxes:
        return None
    target = {
        "boxes": np.array(boxes, np.float32),
        "labels": np.array(kinds, np.int64),
        "masks": np.stack(masks).astype(np.uint8),
    }
    return np.ascontiguousarray(small, np.float32), target
