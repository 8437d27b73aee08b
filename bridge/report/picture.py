"""Pictures of a field: grey scale, caption, file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.files import whole_file
from bridge.report.fonts import typeface

OUTLINE = (255, 214, 0)
_MAX_SIDE_PX = 2048
STRIP_PX = 22
FONT_PX, _SMALLEST_FONT_PX = 14, 8
Picture = npt.NDArray[np.uint8]


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
    framed = with_caption(shown, caption)
    if framed.width == picture.shape[1]:
        framed = indexed(np.asarray(framed))
    with whole_file(path) as part:
        # Noise cannot be compressed: level 6 takes ten times as long for a few percent.
        framed.save(part, format="PNG", compress_level=1)


def read_picture(path: Path) -> Picture:
    """Read a picture that `write_picture` wrote, without its line of text."""
    from PIL import Image

    with Image.open(path) as framed:
        return np.asarray(framed.convert("RGB"))[:-STRIP_PX]


def indexed(picture: Picture) -> Any:
    """One byte for each pixel: greys (the two brightest as one) and the outlines' colour."""
    from PIL import Image

    red, blue = picture[..., 0], picture[..., 2]
    indexed = Image.fromarray(np.where(red != blue, 255, np.minimum(red, 254)).astype(np.uint8), "P")
    indexed.putpalette([level for grey in (*range(254), 255) for level in (grey,) * 3] + list(OUTLINE))
    return indexed


def with_caption(picture: Any, caption: str) -> Any:
    """Return a picture with a strip of text above it."""
    from PIL import Image, ImageDraw

    framed = Image.new("RGB", (picture.width, picture.height + STRIP_PX), "white")
    framed.paste(picture, (0, 0))
    draw = ImageDraw.Draw(framed)
    draw.text((4, picture.height + 2), caption, fill="black", font=font_for(draw, caption, picture.width - 8))
    return framed


def font_for(draw: Any, text: str, width_px: int) -> Any:
    """The font in which a line of text fits, as far as it can still be read."""
    size = FONT_PX
    while size > _SMALLEST_FONT_PX and draw.textlength(text, typeface(text, size)) > width_px:
        size -= 1
    return typeface(text, size)
