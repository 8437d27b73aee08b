"""Names: what a file name says, and names that are safe as files, in macros and as ROIs."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

LONGEST_NAME = 120  # bytes
_RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"com{i}" for i in range(1, 10)), *(f"lpt{i}" for i in range(1, 10))}


def readable(text: str) -> str:
    r"""Return a name with letters for the bytes that are no UTF-8, as Windows in the West had them.

    Examples
    --------
    >>> readable("10 \udcb5M")
    '10 µM'
    """
    return re.sub("[\\udc80-\\udcff]", lambda byte: bytes([ord(byte[0]) - 0xDC00]).decode("cp1252", "replace"), text)


def one_spelling(text: str) -> str:
    """One spelling of each letter; the Greek mu and the micro sign are one."""
    return unicodedata.normalize("NFC", readable(text)).replace("\u03bc", "\u00b5")


def safe_name(text: str) -> str:
    """Return `text` as a file name that is legal and the same on every system.

    Examples
    --------
    >>> safe_name("10 µM: drug/A?")
    '10_µM_drug_A'
    >>> safe_name("con")
    'con_'
    """
    text = unicodedata.normalize("NFC", readable(text))
    name = re.sub(r"[^\w.+,=()-]+", "_", text).strip("._ ") or "_"
    if name.split(".")[0].lower() in _RESERVED_NAMES:
        name += "_"
    if len(name.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[:110].decode(errors="ignore") + "_" + digest
    return name


MASK_SUFFIXES = ("_mask", "_masks", "_cp_masks")
ROISET_MARK = "_RoiSet"
OUTLINES_SUFFIX = "_cp_outlines.txt"  # what Cellpose saves for ImageJ
SEG_SUFFIX = "_seg.npy"  # what the Cellpose GUI saves
CELLPOSE_LEFTOVERS = ("_flows", "_cp_flows", "_cp_output", "_cp_outlines", "_outlines")  # pictures that Cellpose saves
TRAINING_RECORD = "training.json"  # beside each model that was trained here


def is_marked(path: Path) -> bool:
    """Return whether a file's name says that it holds labels.

    Examples
    --------
    >>> is_marked(Path("f1_mask.tif")), is_marked(Path("f1_seg.npy")), is_marked(Path("f1.tif"))
    (True, True, False)
    """
    return path.name.endswith(SEG_SUFFIX) or path.stem.lower().endswith(MASK_SUFFIXES)


def is_leftover(path: Path) -> bool:
    """Return whether a file is a picture that Cellpose saved beside its masks.

    Examples
    --------
    >>> is_leftover(Path("f1_flows.tif")), is_leftover(Path("f1_cp_output.png")), is_leftover(Path("f1.tif"))
    (True, True, False)
    """
    return path.stem.lower().endswith(CELLPOSE_LEFTOVERS)


def is_roiset(path: Path) -> bool:
    """Return whether a file's name is that of a ROI set, of a single ROI, or of another program's outlines.

    Examples
    --------
    >>> is_roiset(Path("f1_RoiSet.zip")), is_roiset(Path("0001-0123.roi")), is_roiset(Path("f1_mask.tif"))
    (True, True, False)
    >>> is_roiset(Path("f1.geojson")), is_roiset(Path("f1_cp_outlines.txt"))
    (True, True)
    """
    return path.suffix.lower() in (".zip", ".roi", ".geojson") or path.name.endswith(OUTLINES_SUFFIX)


def image_name(path: Path) -> str:
    """Return the name of the image a label file belongs to: its own (in NFC), without what marks it as one.

    Examples
    --------
    >>> image_name(Path("f1_mask.tif")), image_name(Path("f1_seg.npy")), image_name(Path("f1_RoiSet.zip"))
    ('f1', 'f1', 'f1')
    """
    name, stem = (unicodedata.normalize("NFC", text) for text in (path.name, path.stem))
    if name.endswith(SEG_SUFFIX):
        return name.removesuffix(SEG_SUFFIX)
    if name.endswith(OUTLINES_SUFFIX):
        return name.removesuffix(OUTLINES_SUFFIX)
    marks = (ROISET_MARK,) if is_roiset(path) else MASK_SUFFIXES
    for mark in sorted(marks, key=len, reverse=True):
        if stem.lower().endswith(mark.lower()):
            return stem[: -len(mark)]
    return stem


def number(n: int, thing: str) -> str:
    """Return a number and what it counts."""
    return f"{n} {thing}{'' if n == 1 else 's'}"


def rois_that(do: str, names: Sequence[str]) -> str:
    """Return a text about several ROIs that names them.

    Examples
    --------
    >>> rois_that("overlap", ["a", "b"])
    '2 ROIs overlap: a, b'
    """
    return f"{len(names)} ROIs {do}: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}"


def roi_name(label: int) -> str:
    """Return the name of a label's ROI.

    Examples
    --------
    >>> roi_name(42)
    '00042'
    """
    return f"{label:05d}"


def escaped(text: str) -> str:
    r"""Return a text in ASCII without line breaks, as the macros read it.

    Examples
    --------
    >>> escaped("C:\\Bilder\\Zählung")
    'C:\\u005cBilder\\u005cZ\\u00e4hlung'
    """
    units = text.encode("utf-16-be", "surrogatepass")
    codes = [units[i] << 8 | units[i + 1] for i in range(0, len(units), 2)]
    return "".join(chr(code) if 32 <= code < 127 and code != 0x5C else f"\\u{code:04x}" for code in codes)
