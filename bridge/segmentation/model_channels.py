"""How many channels of an image a model looks at, told before any image is read."""

from __future__ import annotations

from bridge.errors import ModelError
from bridge.segmentation.models import MASK_RCNN, ModelFile, cellpose_version

MOST = {3: 2, 4: 3}  # by Cellpose's version


def require_channels(model: ModelFile, n: int) -> None:
    """Refuse to show a model so many channels.

    Raises
    ------
    ModelError
        Cellpose looks at fewer; a Mask R-CNN was trained on another number.
    """
    if not model.classes:
        require_channels_of_cellpose(model.name, n)
        return
    import torch

    require_learnt(model.name, int(torch.load(model.path, map_location="cpu", weights_only=True)[MASK_RCNN]["n_channels"]), n)  # fmt: skip


def require_learnt(name: str, learnt: int, n: int) -> None:
    """Refuse to show a Mask R-CNN another number of channels than it was trained on.

    Raises
    ------
    ModelError
    """
    if n != learnt:
        raise ModelError(f"{name}: was trained on images of {learnt} channels (got {n}). Use images of the same channels (--segment-with names further ones; --colour merged gives two).")  # fmt: skip


def require_channels_of_cellpose(name: str, n: int) -> None:
    """Refuse to show a model of Cellpose more channels than it looks at.

    Raises
    ------
    ModelError

    Examples
    --------
    >>> require_channels_of_cellpose("cyto3", 2)
    """
    most = MOST[cellpose_version()[0]]
    if n > most:
        raise ModelError(f"--segment-with: more channels than {name} looks at (got {n} in all, expected {most} at most). Name fewer.")  # fmt: skip
