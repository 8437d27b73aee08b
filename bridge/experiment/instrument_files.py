"""What instruments write beside their images: the names of the channels."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

_MOST_BYTES = 2**28


def channel_names(layout: str, images: Path) -> dict[str, str]:
    """Return the names of channels by their number, where a file beside the images gives them.

    Parameters
    ----------
    layout : str
        Name of a `bridge.experiment.layouts.Layout`.
    images : Path
        Their folder.

    Returns
    -------
    dict of str to str
        Empty where there is no such file, or several that differ.
    """
    of = {"Opera Phenix": ("Index*.xml", _phenix), "ImageXpress": ("*.HTD", _metaxpress)}
    if layout not in of or not images.is_dir():
        return {}
    pattern, read = of[layout]
    names = [one for path in _files(images, pattern) if (one := read(path))]
    same = names and all(one == names[0] for one in names) and len(set(names[0].values())) == len(names[0])
    return names[0] if same else {}


def _files(images: Path, pattern: str) -> list[Path]:
    regex = re.compile(pattern.replace(".", r"\.").replace("*", ".*"), re.IGNORECASE)
    return [
        p
        for p in sorted(images.rglob("*"))
        if regex.fullmatch(p.name) and p.is_file() and p.stat().st_size < _MOST_BYTES
    ]


def _phenix(path: Path) -> dict[str, str]:
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return {}
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return {}
    names: dict[str, str] = {}
    for node in root.iter():
        inner = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in node}
        number, name = inner.get("ChannelID", node.get("ChannelID", "")), inner.get("ChannelName", "")
        if number.isdecimal() and name:
            names.setdefault(str(int(number)), name)
    return names


def _metaxpress(path: Path) -> dict[str, str]:
    text = path.read_text("latin-1")
    return {n: name.strip() for n, name in re.findall(r'"WaveName(\d+)",\s*"([^"\n]+)"', text) if name.strip()}
