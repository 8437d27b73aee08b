"""Fonts in which every letter of a text is drawn, as far as this machine has them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

# DejaVu Sans comes with matplotlib: it has Latin, Greek, Cyrillic, Arabic and signs, and no Chinese, Japanese or Korean.
_ALWAYS = "DejaVu Sans"


def families(texts: Iterable[str]) -> tuple[list[str], str]:
    """Find the font families that have the letters of some texts.

    Parameters
    ----------
    texts : iterable of str

    Returns
    -------
    list of str
        Families for matplotlib, which takes each letter from the first that has it.
    str
        The letters that no font of this machine has: they are drawn as boxes.

    Examples
    --------
    >>> families(["10 µM α"])
    (['DejaVu Sans'], '')
    """
    missing = {letter for text in texts for letter in text if letter.isprintable()} - _letters(_own())
    chosen = [_ALWAYS]
    if missing:
        for family, path in _installed():
            there = missing & _letters(path)
            if there:
                chosen.append(family)
                missing -= there
            if not missing:
                break
    return chosen, "".join(sorted(missing))


@cache
def typeface(text: str, size_px: int) -> Any:
    """Return Pillow's font for a line of text: one that has all of its letters, if there is one."""
    from PIL import ImageFont

    letters = {letter for letter in text if letter.isprintable()}
    path = _own()
    if letters - _letters(path):
        path = max([path, *(there for _, there in _installed())], key=lambda there: len(letters & _letters(there)))
    return ImageFont.truetype(str(path), size_px)


def _own() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@cache
def _installed() -> tuple[tuple[str, Path], ...]:
    from matplotlib.font_manager import findSystemFonts, fontManager

    # matplotlib's list is a cache of its own that never learns of a font installed later.
    for path in sorted({*findSystemFonts()} - {font.fname for font in fontManager.ttflist}):
        with suppress(Exception):  # whatever kinds of font FreeType or matplotlib cannot read
            fontManager.addfont(path)
    regular = [
        font
        for font in fontManager.ttflist
        if font.style == "normal"
        and str(font.weight) in ("400", "normal", "regular")
        and not font.name.startswith(("Last Resort", "."))  # boxes for all letters
    ]
    return tuple(sorted({f.name: Path(f.fname) for f in regular}.items()))


@cache
def _letters(path: Path) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(str(path)).get_charmap()))
    except (OSError, RuntimeError):  # removed since matplotlib listed it, or damaged
        return frozenset()
