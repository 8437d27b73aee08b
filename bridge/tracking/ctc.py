"""The Cell Tracking Challenge's folder: label images whose ids are tracks, and ``res_track.txt``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bridge.errors import InputError
from bridge.labels import Labels, as_labels

TRACK_FILES = ("res_track.txt", "man_track.txt")


def ctc_numbers(tracks: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    r"""Return a CTC id for each cell, and the content of ``res_track.txt``.

    A track there is in every frame from its begin to its end: at a gap the id ends, and a new one begins whose parent it is.

    Parameters
    ----------
    tracks : DataFrame
        `bridge.tracking.tables.TRACKS` of one series.

    Returns
    -------
    numbers : DataFrame
        ``frame, label, number``.
    text : str

    Examples
    --------
    >>> table = pd.DataFrame({"frame": [0, 2], "label": [1, 1], "track_id": 1, "parent_track_id": 0, "gap_frames": [0, 1]})
    >>> ctc_numbers(table)[1]
    '1 0 0 0\n2 2 2 1\n'
    """
    ordered = tracks.sort_values(["track_id", "frame"], kind="stable")
    new = (ordered["track_id"].diff() != 0) | (ordered["gap_frames"] > 0)
    number = new.cumsum().to_numpy(np.int64)
    ordered = ordered.assign(number=number)
    last_of = ordered.groupby("track_id")["number"].last()
    rows = []
    for n in range(1, int(number.max(initial=0)) + 1):
        part = ordered[number == n]
        parent = int(part["parent_track_id"].iloc[0])
        follows = int(part["gap_frames"].iloc[0]) > 0
        of = n - 1 if follows else int(last_of[parent]) if parent else 0
        rows.append((n, int(part["frame"].min()), int(part["frame"].max()), of))
    text = "".join(f"{a} {b} {c} {d}\n" for a, b, c, d in rows)
    return ordered[["frame", "label", "number"]], text


def renumbered(labels: Labels, label: Sequence[int], number: Sequence[int]) -> Labels:
    """Return a label image whose ids are other numbers; labels without one are left out."""
    new = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    new[np.asarray(label, np.int64)] = np.asarray(number, np.int64)
    return as_labels(new[labels], "tracks")


def read_ctc(folder: Path) -> tuple[list[Path], pd.DataFrame]:
    """Read a CTC folder: its label images in the order of frames, and a row for each track.

    Returns
    -------
    files : list of Path
    tracks : DataFrame
        ``number, begin, end, parent``.

    Raises
    ------
    InputError
        No such table, a table of other rows, or a frame that is missing.
    """
    path = next((folder / name for name in TRACK_FILES if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{folder}: no folder of the Cell Tracking Challenge (expected {' or '.join(TRACK_FILES)} in it). Check the path.")  # fmt: skip
    try:
        rows = [[int(word) for word in line.split()] for line in path.read_text("utf-8").splitlines() if line.strip()]
        if any(len(row) != 4 for row in rows):
            raise ValueError("a line of another number of words")
    except ValueError as error:
        raise InputError(f"{path}: not the tracks of a CTC folder ({error}; expected lines of id, begin, end and parent). Export them again.") from None  # fmt: skip
    table = pd.DataFrame(rows, columns=["number", "begin", "end", "parent"], dtype=np.int64)
    begins = dict(zip(table["number"].tolist(), table["begin"].tolist(), strict=True))
    for number, begin, _, parent in rows:
        if parent in begins and begins[parent] >= begin:
            raise InputError(f"{path}: a track that begins before its parent (got track {number} in frame {begin}, parent {parent} in frame {begins[parent]}; expected a later one). Correct it.")  # fmt: skip
    return frames_of([p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".tif", ".tiff")], folder), table


def ctc_edges(numbers: Sequence[Labels], tracks: pd.DataFrame, partner: Sequence[dict[int, int]]) -> pd.DataFrame:
    """Return the links that a CTC folder says, between cells of other label images.

    Parameters
    ----------
    numbers : sequence of ndarray of unsigned int, shape (Y, X)
        The folder's label images.
    tracks : DataFrame
        As `read_ctc` returns it.
    partner : sequence of dict
        For each frame: id there to label here.

    Returns
    -------
    DataFrame
        ``frame, label, to_frame, to_label``.
    """
    seen: dict[int, list[tuple[int, int]]] = {}
    for frame, labels in enumerate(numbers):
        for number in np.unique(labels)[1:].tolist():
            if number in partner[frame]:
                seen.setdefault(number, []).append((frame, partner[frame][number]))
    rows = [(*a, *b) for cells in seen.values() for a, b in itertools.pairwise(cells)]
    for row in tracks.to_dict("records"):
        if row["parent"] in seen and row["number"] in seen:
            rows.append((*seen[row["parent"]][-1], *seen[row["number"]][0]))
    return pd.DataFrame(sorted(rows), columns=["frame", "label", "to_frame", "to_label"], dtype=np.int64)


def frames_of(files: Sequence[Path], folder: Path) -> list[Path]:
    """Return files in the order of the number in their names that counts the frames.

    Raises
    ------
    InputError
        A frame is missing or there twice, or the names tell no order.

    Examples
    --------
    >>> [p.name for p in frames_of([Path("t10_mask.tif"), Path("t9_mask.tif")], Path("."))]
    ['t9_mask.tif', 't10_mask.tif']
    """
    if len(files) < 2:
        raise InputError(f"{folder}: one frame only (got {len(files)} label images, expected at least 2). There is nothing to follow.")  # fmt: skip
    numbers = [[int(n) for n in re.findall(r"\d+", path.stem)] for path in files]
    width = min(map(len, numbers))
    counting = [k for k in range(-width, 0) if len({n[k] for n in numbers}) > 1]
    if not counting:
        raise InputError(f"{folder}: names that tell no order of frames (got {files[0].name} and {files[1].name}, expected a number that counts). Rename them.")  # fmt: skip
    # Of several numbers that differ, the one with the most values counts the frames.
    best = max(counting, key=lambda k: (len({n[k] for n in numbers}), k))
    frames = [n[best] for n in numbers]
    for frame in frames:
        if frames.count(frame) > 1:
            doubles = [path.name for path, n in zip(files, frames, strict=True) if n == frame]
            raise InputError(f"{folder}: frame {frame} is there twice (got {doubles[0]} and {doubles[1]}, expected one). Remove one.")  # fmt: skip
    require_all(frames, str(folder))
    return [path for _, path in sorted(zip(frames, files, strict=True))]


def require_all(frames: Sequence[int], where: str) -> None:
    """Refuse a series in which a frame is missing.

    Raises
    ------
    InputError
    """
    there = sorted(frames)
    if len(there) < 2:
        raise InputError(f"{where}: one frame only (got {len(there)}, expected at least 2). There is nothing to follow.")  # fmt: skip
    steps = np.diff(there)
    step = int(steps.min())
    wrong = np.flatnonzero(steps != step)
    if wrong.size:
        missing = there[int(wrong[0])] + step
        raise InputError(f"{where}: frame {missing} is missing (got frames {there[0]} to {there[-1]} in steps of {step}, expected each of them). Add it, or follow the parts one by one.")  # fmt: skip
