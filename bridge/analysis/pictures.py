"""Outlines on the user's own cells: nobody trusts a violin without seeing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.files import whole_file
from bridge.labels import Labels, outlines

_OUTLINE = (255, 214, 0)
_MAX_SIDE_PX = 2048
_THUMB_PX = 320
_MAX_THUMBS = 40
_STRIP_PX = 22
_FONT_PX, _SMALLEST_FONT_PX = 14, 8

Picture = npt.NDArray[np.uint8]


def display_range(images: Sequence[npt.NDArray[Any]]) -> tuple[float, float]:
    """Return the grey levels shown as black and white: 0.1 and 99.9 % of the pixels of all images.

    One range for all fields of a channel: a range for each field would make a dim condition look like a bright one.
    """
    low = min(float(np.percentile(image, 0.1)) for image in images)
    high = max(float(np.percentile(image, 99.9)) for image in images)
    return low, max(high, low + 1.0)


def common_range(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return one range for the fields of a channel, in round numbers: one field more seldom changes it.

    Examples
    --------
    >>> common_range([(103.0, 3987.0), (96.0, 3870.0)])
    (50.0, 4000.0)
    """
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    step = 10.0 ** np.floor(np.log10(high - low)) / 20
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)


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
    picture[outlines(labels)] = _OUTLINE
    return picture


def write_picture(path: Path, picture: Picture, caption: str) -> None:
    """Write an overlay with a line of text below it, at most 2048 px a side.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from PIL import Image

    shown = Image.fromarray(picture)
    if max(shown.size) > _MAX_SIDE_PX:
        shown.thumbnail((_MAX_SIDE_PX, _MAX_SIDE_PX))
        caption += f" · shown at {shown.width / picture.shape[1]:.0%}"
    framed = _with_caption(shown, caption)
    if framed.width == picture.shape[1]:
        framed = _indexed(np.asarray(framed))
    with whole_file(path) as part:
        # Noise cannot be compressed: level 6 takes ten times as long for a few percent.
        framed.save(part, format="PNG", compress_level=1)


def read_picture(path: Path) -> Picture:
    """Read a picture that `write_picture` wrote, without its line of text."""
    from PIL import Image

    with Image.open(path) as framed:
        return np.asarray(framed.convert("RGB"))[:-_STRIP_PX]


def _indexed(picture: Picture) -> Any:
    """One byte for each pixel: greys (the two brightest as one) and the outlines' colour."""
    from PIL import Image

    red, blue = picture[..., 0], picture[..., 2]
    indexed = Image.fromarray(np.where(red != blue, 255, np.minimum(red, 254)).astype(np.uint8), "P")
    indexed.putpalette([level for grey in (*range(254), 255) for level in (grey,) * 3] + list(_OUTLINE))
    return indexed


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
        cards.append(_with_caption(card, name))
    columns = min(len(cards), max(1, 1600 // (cards[0].width + 8)))
    width = max(card.width for card in cards) + 8
    height = max(card.height for card in cards) + 8
    sheet = Image.new("RGB", (columns * width + 8, -(-len(cards) // columns) * height + 8), "white")
    for i, card in enumerate(cards):
        sheet.paste(card, (8 + i % columns * width, 8 + i // columns * height))
    with whole_file(path) as part:
        _with_caption(sheet, caption).save(part, format="PNG")


def _with_caption(picture: Any, caption: str) -> Any:
    from PIL import Image, ImageDraw

    framed = Image.new("RGB", (picture.width, picture.height + _STRIP_PX), "white")
    framed.paste(picture, (0, 0))
    draw = ImageDraw.Draw(framed)
    draw.text((4, picture.height + 2), caption, fill="black", font=_font(draw, caption, picture.width - 8))
    return framed


def _font(draw: Any, text: str, width_px: int) -> Any:
    """The font in which a line of text fits, as far as it can still be read."""
    from PIL import ImageFont

    size = _FONT_PX
    while size > _SMALLEST_FONT_PX and draw.textlength(text, ImageFont.load_default(size)) > width_px:
        size -= 1
    return ImageFont.load_default(size)


# Okabe and Ito's colours, told apart with any colour vision.
FATES = {
    "found": (86, 180, 233),
    "missed": (213, 94, 0),
    "false": (240, 228, 66),
    "merged": (204, 121, 167),
    "split": (0, 158, 115),
}
_PANEL_PX = 760


@dataclass(frozen=True)
class Panel:
    """One of several views of an image side by side.

    Attributes
    ----------
    title : str
    layers : tuple of (Labels, dict of str to sequence of int)
        Label images, and which of their labels have which of `FATES`; labels not named are not drawn.
    """

    title: str
    layers: tuple[tuple[Labels, Mapping[str, Sequence[int]]], ...]


def fates_picture(path: Path, image: npt.NDArray[Any], panels: Sequence[Panel], caption: str) -> None:
    """Draw what became of each cell: the same image once for each panel, outlines coloured by `FATES`.

    Parameters
    ----------
    path : Path
        PNG.
    image : ndarray, shape (Y, X)
    panels : sequence of Panel
    caption : str

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    low, high = display_range([image])
    grey = np.clip((image.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    longer = max(image.shape)
    scale = _PANEL_PX / longer if longer > _PANEL_PX else float(_PANEL_PX // longer)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    background = np.repeat(np.asarray(Image.fromarray(grey).resize(size))[..., None], 3, axis=2)
    rows = np.minimum((np.arange(size[1]) / scale).astype(int), image.shape[0] - 1)
    columns = np.minimum((np.arange(size[0]) / scale).astype(int), image.shape[1] - 1)
    sheet = Image.new("RGB", (len(panels) * (size[0] + 8) + 8, size[1] + 2 * _STRIP_PX + 8), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    for k, panel in enumerate(panels):
        picture = background.copy()
        for labels, fates in panel.layers:
            colours = np.zeros((int(labels.max(initial=0)) + 1, 3), np.uint8)
            for fate, ids in fates.items():
                colours[np.asarray(ids, np.int64)] = FATES[fate]
            small = labels[np.ix_(rows, columns)]
            edge = outlines(small)
            edge[:, 1:] |= edge[:, :-1] & (small[:, 1:] == small[:, :-1])  # two pixels wide, inside the cell
            edge[1:] |= edge[:-1] & (small[1:] == small[:-1])
            drawn = edge & colours[small].any(axis=2)
            picture[drawn] = colours[small[drawn]]
        x = 8 + k * (size[0] + 8)
        draw.text((x, 4), panel.title, fill="black", font=_font(draw, panel.title, size[0]))
        sheet.paste(Image.fromarray(picture), (x, _STRIP_PX))
    x, y = 8, size[1] + _STRIP_PX + 6
    for fate, colour in FATES.items():
        draw.rectangle((x, y + 2, x + 12, y + 14), fill=colour, outline="black")
        draw.text((x + 18, y), fate, fill="black", font=font)
        x += 34 + round(draw.textlength(fate, font))
    draw.text((x + 10, y), caption, fill="black", font=font)
    with whole_file(path) as part:
        sheet.save(part, format="PNG")
