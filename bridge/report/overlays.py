"""Outlines on images, and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.files import whole_file
from bridge.labels import Labels, outlines
from bridge.report.picture import OUTLINE, PNG, Picture, draw_scale_bar, with_caption, with_legend

_THUMB_PX = 320
_CROP_PX, _SIDE_BY_SIDE = 320, 8
_MAX_THUMBS = 40
# Told apart with any colour vision, on a grey image; the last one is for the uncertain.
CLASS_COLOURS = ((86, 180, 233), (230, 97, 0), (240, 228, 66), (204, 121, 167), (0, 200, 140), (255, 255, 255))


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


def class_overlay(
    path: Path,
    image: npt.NDArray[Any],
    labels: Labels,
    shown: tuple[float, float],
    number: npt.NDArray[Any],
    names: Sequence[str],
    caption: str,
) -> None:
    """Write an image with the outline of each cell in the colour of its class, and a line of text that names them.

    Parameters
    ----------
    path : Path
    image : ndarray, shape (Y, X)
    labels : ndarray of unsigned int, shape (Y, X)
    shown : (float, float)
        Grey levels shown as black and white.
    number : ndarray of uint8, shape (n_labels + 1,)
        The class of each label, from 1; 0 for none.
    names : sequence of str
        What stands for each class in the line of text.
    caption : str
        Before them.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from PIL import Image

    picture = overlay(image, labels, shown)
    lines = outlines(labels)
    lines |= np.pad(lines, 1)[2:, 1:-1] & (labels > 0)  # one pixel more: colours must be told apart
    cycle, last = CLASS_COLOURS[:-1], CLASS_COLOURS[-1]
    colours = np.array([*(cycle[k % len(cycle)] for k in range(len(names) - 1)), last], np.uint8)
    of_class = number[labels]
    seen = lines & (of_class > 0)
    picture[seen] = colours[of_class[seen] - 1]
    framed = with_legend(Image.fromarray(picture), caption, [(n, tuple(c)) for n, c in zip(names, colours.tolist(), strict=True)])  # fmt: skip
    with whole_file(path) as part:
        framed.save(part, format="PNG", **PNG)


def plain_level(level: float) -> str:
    """Return a grey level without powers of ten.

    Examples
    --------
    >>> plain_level(12000.0), plain_level(0.25)
    ('12000', '0.25')
    """
    return f"{level:.0f}" if abs(level) >= 1000 else f"{level:.4g}"


def comparison_sheet(
    path: Path,
    columns: Sequence[tuple[str, str, Sequence[Picture]]],
    side_px: int,
    pixel_um: float | None,
    caption: str,
) -> None:
    """Write crops of one field of each condition side by side, so large that cells can be seen.

    Parameters
    ----------
    path : Path
    columns : sequence of (str, str, sequence of pictures)
        For each condition its name, the field, and its overlays.
    side_px : int
        Side of the crops, around the middle of the field.
    pixel_um : float or None
        Size of a pixel of the pictures, for the scale bar.
    caption : str

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from PIL import Image

    cards = []
    for condition, field, pictures in columns:
        crops = [_crop(picture, side_px) for picture in pictures]
        if pixel_um is not None:
            for crop in crops:
                draw_scale_bar(crop, pixel_um * side_px / _CROP_PX)
        card = Image.new("RGB", (_CROP_PX, (_CROP_PX + 4) * len(crops) - 4), "white")
        for k, crop in enumerate(crops):
            card.paste(crop, (0, k * (_CROP_PX + 4)))
        cards.append(with_caption(with_caption(card, condition), field))
    _write_cards(path, cards, min(len(cards), _SIDE_BY_SIDE), caption)


def _crop(picture: Picture, side_px: int) -> Any:
    from PIL import Image

    height, width = picture.shape[:2]
    top, left = max(0, (height - side_px) // 2), max(0, (width - side_px) // 2)
    part = Image.fromarray(picture[top : top + side_px, left : left + side_px])
    scale = _CROP_PX / side_px
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    return part.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS)


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
    _write_cards(path, cards, min(len(cards), max(1, 1600 // (cards[0].width + 8))), caption)


def _write_cards(path: Path, cards: Sequence[Any], columns: int, caption: str) -> None:
    """Write pictures side by side, in rows."""
    from PIL import Image

    width = max(card.width for card in cards) + 8
    height = max(card.height for card in cards) + 8
    sheet = Image.new("RGB", (columns * width + 8, -(-len(cards) // columns) * height + 8), "white")
    for i, card in enumerate(cards):
        sheet.paste(card, (8 + i % columns * width, 8 + i // columns * height))
    with whole_file(path) as part:
        with_caption(sheet, caption, wrap=True).save(part, format="PNG", **PNG)
