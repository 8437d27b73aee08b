"""Exposure, gain and objective, where a TIFF says them: in OME's words, or in ImageJ's Info."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import tifffile

_WORDS = {"exposure": ("exposuretime", "exposure"), "gain": ("gain",), "objective": ("nominalmagnification", "objective", "magnification")}  # fmt: skip
_LINE = re.compile(r"^\s*([^=:\n]{1,80})\s*[=:]\s*(\S[^\n]{0,80}?)\s*$", re.MULTILINE)
_LONGEST = 2_000_000  # of a header that is looked through


def acquisition_settings(path: Path, index: int = 0) -> dict[str, str]:
    """Return what a file says about how a channel was taken.

    Parameters
    ----------
    path : Path
    index : int
        Of the channel in the file, from 0.

    Returns
    -------
    dict of str to str
        ``exposure``, ``gain``, ``objective`` as they are written; only those that are there.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return {}
    try:
        with tifffile.TiffFile(path) as file:
            ome = file.ome_metadata
            info = str((file.imagej_metadata or {}).get("Info", ""))
    except Exception:  # no TIFF, or a header so odd that it says nothing: no reason to lose a field
        return {}
    if ome and len(ome) < _LONGEST and "<!" not in ome.replace("<!--", ""):
        return _of_ome(ome, index)
    return _of_info(info[:_LONGEST])


def _of_ome(text: str, index: int) -> dict[str, str]:
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError:
        return {}
    found = {}
    for node in root.iter():
        kind = node.tag.rpartition("}")[2]
        if kind == "Plane" and node.get("TheC", "0") == str(index) and node.get("ExposureTime"):
            found["exposure"] = f"{node.get('ExposureTime')} {node.get('ExposureTimeUnit', 's')}"
        elif kind == "Objective" and node.get("NominalMagnification"):
            found["objective"] = f"{node.get('NominalMagnification')} x"
    channels = [node for node in root.iter() if node.tag.rpartition("}")[2] == "Channel"]
    for node in channels[index : index + 1]:
        for child in node:
            if child.tag.rpartition("}")[2] == "DetectorSettings" and child.get("Gain"):
                found["gain"] = str(child.get("Gain"))
    return found


def _of_info(text: str) -> dict[str, str]:
    r"""Read lines such as ``ExposureTime = 0.1`` and ``Objective: 20x``; the first of each counts.

    Examples
    --------
    >>> _of_info("Camera = X\nExposure Time = 100 ms\nObjective: Plan 20x")
    {'exposure': '100 ms', 'objective': 'Plan 20x'}
    """
    found: dict[str, str] = {}
    for name, value in _LINE.findall(text):
        letters = re.sub(r"[^a-z]", "", name.lower())
        for wanted, endings in _WORDS.items():
            if letters.endswith(endings):
                found.setdefault(wanted, value)
    return found
