"""One field with the outlines of several models and diameters, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridge.files import whole_file
from bridge.labels import Labels
from bridge.report.overlays import overlay
from bridge.report.picture import PNG, STRIP_PX, draw_scale_bar, font_for

_SIDE_PX, _GAP_PX = 560, 8


@dataclass(frozen=True)
class Panel:
    """One try.

    Attributes
    ----------
    title, found : str
        What was tried, and what came of it.
    labels : ndarray of unsigned int, shape (Y, X)
    """

    title: str
    found: str
    labels: Labels


def preview_sheet(
    path: Path, image: npt.NDArray[Any], shown: tuple[float, float], panels: Sequence[Panel], pixel_um: float | None
) -> None:
    """Write one picture with a panel for each try.

    Parameters
    ----------
    path : Path
        ``*.png``.
    image : ndarray, shape (Y, X)
    shown : (float, float)
        Grey levels shown as black and white.
    panels : sequence of Panel
    pixel_um : float or None
        Width of a pixel, for the scale bar.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from PIL import Image, ImageDraw

    height, width = image.shape
    zoom = _SIDE_PX / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    columns = min(3, len(panels)) if len(panels) != 4 else 2
    rows = -(-len(panels) // columns)
    cell = (size[0] + _GAP_PX, size[1] + 2 * STRIP_PX + _GAP_PX)
    sheet = Image.new("RGB", (cell[0] * columns + _GAP_PX, cell[1] * rows + _GAP_PX), "white")
    for k, panel in enumerate(panels):
        picture = Image.fromarray(overlay(image, panel.labels, shown))
        how = Image.Resampling.NEAREST if zoom > 1 else Image.Resampling.BOX
        small = picture.resize(size, how)
        if pixel_um is not None:
            draw_scale_bar(small, pixel_um / zoom)
        left, top = _GAP_PX + cell[0] * (k % columns), _GAP_PX + cell[1] * (k // columns)
        sheet.paste(small, (left, top + 2 * STRIP_PX))
        draw = ImageDraw.Draw(sheet)
        for line, text in enumerate((panel.title, panel.found)):
            draw.text((left, top + 2 + line * STRIP_PX), text, fill="black", font=font_for(draw, text, size[0]))
    with whole_file(path) as part:
        sheet.save(part, format="PNG", **PNG)
