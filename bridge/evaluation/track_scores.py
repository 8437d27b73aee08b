"""Tracks against true ones: links and divisions, counted; CTC's measures where its library is there."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bridge.errors import InputError, MissingDependencyError
from bridge.files import new_file
from bridge.images.label_images import read_labels
from bridge.scores.matching import match_labels
from bridge.tables import Column, typed_table, write_table
from bridge.tracking.ctc import TRACK_FILES, read_ctc
from bridge.tracking.scores import score_tracks

_CHALLENGE = ("DET", "SEG", "TRA", "LNK", "CHOTA")
TRACK_SCORES = (
    Column("series_id", "str", "", "series of frames"),
    Column("n_true_tracks", "int64", "", "true tracks"),
    Column("n_tracks", "int64", "", "tracks found"),
    Column("links_right", "int64", "", "links between the same two cells"),
    Column("links_wrong", "int64", "", "links that are not true"),
    Column("links_missed", "int64", "", "true links that were not found"),
    Column("link_f1", "float64", "", "F1 of links"),
    Column("divisions_right", "int64", "", "mother and both daughters are right"),
    Column("divisions_found", "int64", "", "divisions found"),
    Column("divisions_true", "int64", "", "true divisions"),
    Column("division_f1", "float64", "", "F1 of divisions"),
    *(
        Column(name.lower(), "float64", "", f"{name} of the Cell Tracking Challenge; empty without its library")
        for name in _CHALLENGE
    ),
)


@dataclass(frozen=True)
class TrackEvaluation:
    """Scores of each series, and the file they are in."""

    table: pd.DataFrame
    file: Path


def evaluate_tracks(truth: Path | str, predicted: Path | str, out: Path | str, ctc: bool = False) -> TrackEvaluation:
    """Score tracks against true ones.

    Parameters
    ----------
    truth : Path or str
        A folder of the Cell Tracking Challenge: label images whose ids are tracks, and ``man_track.txt`` or
        ``res_track.txt``.
    predicted : Path or str
        Likewise, e.g. ``tracks/<series>_CTC`` of a run. Cells may be segmented otherwise than in the truth: in each frame
        those with an IoU above 0.5 are the same.
    out : Path or str
        Folder for ``track_scores.csv``.
    ctc : bool
        Also the challenge's own measures, by py-ctcmetrics.

    Returns
    -------
    TrackEvaluation

    Raises
    ------
    InputError
        Not such folders, or of another number of frames.
    MissingDependencyError
        py-ctcmetrics is not installed.
    OutputError
        The file is there already.
    """
    truth, predicted, out = Path(truth), Path(predicted), Path(out)
    file = new_file(out / "track_scores.csv")
    if ctc and importlib.util.find_spec("ctc_metrics") is None:
        raise MissingDependencyError("evaluate --ctc: py-ctcmetrics is not installed (expected the extra tracking-scores). Install it: pip install 'cellpose-fiji-bridge[tracking-scores]'")  # fmt: skip
    true_files, true_tracks = read_ctc(truth)
    files, tracks = read_ctc(predicted)
    if len(files) != len(true_files):
        raise InputError(f"{predicted}: another number of frames than the truth (got {len(files)}, expected {len(true_files)}). Compare the same frames.")  # fmt: skip
    rows, true_rows = [], []
    for frame, (path, true_path) in enumerate(zip(files, true_files, strict=True)):
        labels, true_labels = read_labels(path), read_labels(true_path)
        if labels.shape != true_labels.shape:
            raise InputError(f"{path}: not the size of the truth (got {labels.shape[0]} x {labels.shape[1]}, expected {true_labels.shape[0]} x {true_labels.shape[1]} px). Compare the same frames.")  # fmt: skip
        same = match_labels(true_labels, labels)
        partner = dict(zip(same.true.tolist(), same.predicted.tolist(), strict=True))
        rows += [(frame, int(label), int(label)) for label in np.unique(labels)[1:]]
        # A true cell is known by the predicted one it is; one that was not found by a name of its own.
        true_rows += [(frame, partner.get(int(k), -int(k)), int(k)) for k in np.unique(true_labels)[1:]]
    found = _joined(pd.DataFrame(rows, columns=["frame", "label", "number"]), tracks)
    true = _joined(pd.DataFrame(true_rows, columns=["frame", "label", "number"]), true_tracks)
    s = score_tracks(true, found)
    row: dict[str, Any] = {
        "series_id": predicted.resolve().name,
        "n_true_tracks": true["track_id"].nunique(),
        "n_tracks": found["track_id"].nunique(),
        **s._asdict(),
        "link_f1": s.link_f1,
        "division_f1": s.division_f1,
        **_of_challenge(truth, predicted, ctc),
    }
    table = typed_table([row], TRACK_SCORES)
    write_table(file, table, TRACK_SCORES)
    return TrackEvaluation(table, file)


def _joined(cells: pd.DataFrame, tracks: pd.DataFrame) -> pd.DataFrame:
    """Return the cells as tracks; an id with one child goes on in it, over a gap."""
    parents = dict(zip(tracks["number"].tolist(), tracks["parent"].tolist(), strict=True))
    children: dict[int, list[int]] = {}
    for number, parent in parents.items():
        if parent:
            children.setdefault(parent, []).append(number)

    def begin(number: int) -> int:
        while (parent := parents.get(number, 0)) and len(children[parent]) == 1:
            number = parent
        return number

    begins = {number: begin(number) for number in cells["number"].unique().tolist()}
    mothers = {n: begins.get(parents.get(b, 0), parents.get(b, 0)) for n, b in begins.items()}
    return cells.assign(
        track_id=cells["number"].map(begins), parent_track_id=cells["number"].map(mothers)
    )  # fmt: skip


def _of_challenge(truth: Path, predicted: Path, asked: bool) -> dict[str, float]:
    if not asked:
        return dict.fromkeys((name.lower() for name in _CHALLENGE), np.nan)
    from ctc_metrics.scripts.evaluate import evaluate_sequence

    with tempfile.TemporaryDirectory() as name:
        for source, place, table in ((truth, Path(name) / "GT" / "TRA", "man_track.txt"), (predicted, Path(name) / "RES", "res_track.txt")):  # fmt: skip
            place.mkdir(parents=True)
            files, _ = read_ctc(source)
            digits = max(3, len(str(len(files) - 1)))
            for k, path in enumerate(files):
                shutil.copy(path, place / f"{'man_track' if 'man' in table else 'mask'}{k:0{digits}d}{path.suffix}")
            shutil.copy(next(source / t for t in TRACK_FILES if (source / t).is_file()), place / table)
        shutil.copytree(Path(name) / "GT" / "TRA", Path(name) / "GT" / "SEG")
        for path in (Path(name) / "GT" / "SEG").glob("man_track*"):
            path.rename(path.with_name(path.name.replace("man_track", "man_seg")))
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
            found = evaluate_sequence(
                str(Path(name) / "RES"), str(Path(name) / "GT"), [*_CHALLENGE, "Valid"], threads=1
            )
    return {name.lower(): float(found[name]) for name in _CHALLENGE}
