"""Two predictions side by side: which true cells each of them found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.files import whole_file
from bridge.grey_scale import display_range
from bridge.labels import Labels, outlines
from bridge.report.fonts import typeface
from bridge.report.picture import FONT_PX, STRIP_PX, font_for

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
    from PIL import Image, ImageDraw

    low, high = display_range([image])
    grey = np.clip((image.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    longer = max(image.shape)
    scale = _PANEL_PX / longer if longer > _PANEL_PX else float(_PANEL_PX // longer)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    background = np.repeat(np.asarray(Image.fromarray(grey).resize(size))[..., None], 3, axis=2)
    rows = np.minimum((np.arange(size[1]) / scale).astype(int), image.shape[0] - 1)
    columns = np.minimum((np.arange(size[0]) / scale).astype(int), image.shape[1] - 1)
    sheet = Image.new("RGB", (len(panels) * (size[0] + 8) + 8, size[1] + 2 * STRIP_PX + 8), "white")
    draw = ImageDraw.Draw(sheet)
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
        draw.text((x, 4), panel.title, fill="black", font=font_for(draw, panel.title, size[0]))
        sheet.paste(Image.fromarray(picture), (x, STRIP_PX))
    x, y = 8, size[1] + STRIP_PX + 6
    for fate, colour in FATES.items():
        draw.rectangle((x, y + 2, x + 12, y + 14), fill=colour, outline="black")
        font = typeface(fate, FONT_PX)
        draw.text((x + 18, y), fate, fill="black", font=font)
        x += 34 + round(draw.textlength(fate, font))
    draw.text((x + 10, y), caption, fill="black", font=typeface(caption, FONT_PX))
    with whole_file(path) as part:
        sheet.save(part, format="PNG")
