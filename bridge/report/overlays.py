"""Outlines on images, and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.files import whole_file
from bridge.labels import Labels, outlines
from bridge.report.picture import OUTLINE, Picture, with_caption

_THUMB_PX = 320
_MAX_THUMBS = 40


def overlay(image: npt.NDArray[Any], labels: Labels, shown: tuple[float, float]) -> Picture:
    """Draw the outlines of all labels onto an image.

    Parameters
    ----------
    image : ndarray, shape (Y, X)
    labels : ndarray of unsigned int, shape (Y, X)
    shown : (float, float)
        Grey levels shown as black and white.

    Returns
    -------
    ndarray of uint8, shape (Y, X, 3)

    Examples
    --------
    >>> overlay(np.zeros((3, 3)), np.ones((3, 3), np.uint16), (0.0, 1.0)).shape
    (3, 3, 3)
    """
    low, high = shown
    grey = np.clip((image.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=2)
    picture[outlines(labels)] = OUTLINE
    return picture


def contact_sheet(path: Path, rows: Sequence[tuple[str, Sequence[Picture]]], caption: str) -> None:
    """Write small pictures of the fields of a condition side by side.

    Parameters
    ----------
    path : Path
    rows : sequence of (str, sequence of pictures)
        For each field its name and its overlays.
    caption : str

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from PIL import Image

    if len(rows) > _MAX_THUMBS:
        chosen = np.linspace(0, len(rows) - 1, _MAX_THUMBS).round().astype(int)
        caption += f" · {_MAX_THUMBS} of {len(rows)} fields, evenly spaced"
        rows = [rows[i] for i in chosen]
    cards = []
    for name, pictures in rows:
        thumbs = [Image.fromarray(picture) for picture in pictures]
        for thumb in thumbs:
            thumb.thumbnail((_THUMB_PX, _THUMB_PX))
        height = max(thumb.height for thumb in thumbs)
        card = Image.new("RGB", (sum(thumb.width + 4 for thumb in thumbs) - 4, height), "black")
        x = 0
        for thumb in thumbs:
            card.paste(thumb, (x, 0))
            x += thumb.width + 4
        cards.append(with_caption(card, name))
    columns = min(len(cards), max(1, 1600 // (cards[0].width + 8)))
    width = max(card.width for card in cards) + 8
    height = max(card.height for card in cards) + 8
    sheet = Image.new("RGB", (columns * width + 8, -(-len(cards) // columns) * height + 8), "white")
    for i, card in enumerate(cards):
        sheet.paste(card, (8 + i % columns * width, 8 + i // columns * height))
    with whole_file(path) as part:
        with_caption(sheet, caption).save(part, format="PNG")
