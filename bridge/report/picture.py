"""Pictures of a field: grey scale, caption, file."""

from __future__ import annotations

from collections.abc import Sequence
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
# Noise cannot be compressed: looking for runs alone (zlib's Z_RLE) is ten times as fast as level 6, for a few percent.
PNG = {"compress_level": 1, "compress_type": 3}


def write_picture(path: Path, picture: Picture, caption: str, pixel_um: float | None = None) -> None:
    """Write an overlay with a line of text below it, at most 2048 px a side, and a scale bar where the scale is known.

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
    if pixel_um is not None:
        draw_scale_bar(shown, pixel_um * picture.shape[1] / shown.width)
    framed = with_caption(shown, caption)
    if framed.width == picture.shape[1]:
        framed = indexed(np.asarray(framed))
    with whole_file(path) as part:
        framed.save(part, format="PNG", **PNG)


def draw_scale_bar(picture: Any, pixel_um: float) -> None:
    """Draw a bar of a round length into the lower right corner of a Pillow image, if there is room."""
    from PIL import ImageDraw

    length_um = scale_bar_um(picture.width * pixel_um / 5)
    bar, draw = round(length_um / pixel_um), ImageDraw.Draw(picture)
    text = f"{length_um:g} µm"
    size = max(9, min(22, picture.width // 40))
    font = typeface(text, size)
    room = draw.textlength(text, font)
    if bar < 4 or max(room, bar) > picture.width / 2 or picture.height < 6 * size:
        return
    right, bottom, thick = picture.width - size // 2, picture.height - size // 2, max(2, size // 4)
    draw.rectangle((right - bar, bottom - thick, right, bottom), fill="white", outline="black")
    middle = min(right - bar / 2, picture.width - room / 2 - 3)
    draw.text(
        (middle, bottom - thick - 2), text, fill="white", font=font, anchor="md", stroke_width=1, stroke_fill="black"
    )


def scale_bar_um(longest_um: float) -> float:
    """Return the longest of 1, 2, 5, 10, 20, 50 ... that is no longer than this.

    Examples
    --------
    >>> scale_bar_um(73.0), scale_bar_um(0.3)
    (50.0, 0.2)
    """
    power = 10.0 ** np.floor(np.log10(longest_um))
    return float(max(step * power for step in (1, 2, 5) if step * power <= longest_um * (1 + 1e-9)))


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


def with_caption(picture: Any, caption: str, wrap: bool = False) -> Any:
    """Return a picture with a line of text below it, or with several where they are allowed and one is too long."""
    from PIL import Image, ImageDraw

    room = picture.width - 8
    draw = ImageDraw.Draw(picture)
    font = font_for(draw, caption, room)
    lines = [caption]
    if wrap and draw.textlength(caption, font) > room:
        font, lines = typeface(caption, FONT_PX), _wrapped(draw, caption, room)
    framed = Image.new("RGB", (picture.width, picture.height + STRIP_PX * len(lines)), "white")
    framed.paste(picture, (0, 0))
    draw = ImageDraw.Draw(framed)
    for k, line in enumerate(lines):
        draw.text((4, picture.height + STRIP_PX * k + 2), line, fill="black", font=font)
    return framed


def _wrapped(draw: Any, text: str, width_px: int) -> list[str]:
    """Break a text at its spaces into lines of this width; a longer word stands alone."""
    font, lines = typeface(text, FONT_PX), [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def with_legend(picture: Any, caption: str, entries: Sequence[tuple[str, tuple[int, ...]]]) -> Any:
    """Return a picture with a strip of text below it, a patch of colour before each entry."""
    from PIL import ImageDraw

    framed = with_caption(picture, caption)
    draw = ImageDraw.Draw(framed)
    font = font_for(draw, caption + "    ".join(text for text, _ in entries), framed.width - 24 * len(entries) - 24)
    draw.rectangle((0, picture.height, framed.width, framed.height), fill="white")
    draw.text((4, picture.height + 2), caption, fill="black", font=font)
    x = 16 + draw.textlength(caption, font)
    for text, colour in entries:
        draw.rectangle((x, picture.height + 5, x + 11, picture.height + 16), fill=tuple(colour), outline="black")
        draw.text((x + 16, picture.height + 2), text, fill="black", font=font)
        x += 28 + draw.textlength(text, font)
    return framed


def font_for(draw: Any, text: str, width_px: int) -> Any:
    """The font in which a line of text fits, as far as it can still be read."""
    size = FONT_PX
    while size > _SMALLEST_FONT_PX and draw.textlength(text, typeface(text, size)) > width_px:
        size -= 1
    return typeface(text, size)
