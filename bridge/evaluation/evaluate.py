"""Predicted label images against ground truth, file by file: tables and a figure."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from bridge.errors import BridgeError, InputError, LabelError
from bridge.evaluation.tables import EVALUATED_IMAGES, EVALUATED_SETS, MATCHES
from bridge.files import all_or_none, new_file
from bridge.images.label_files import ENDINGS, by_name, label_files, marked_first
from bridge.images.objects import read_objects
from bridge.names import MASK_SUFFIXES, SEG_SUFFIX, image_name
from bridge.report.score_figures import precision_figure
from bridge.scores.boundary import boundary_f1
from bridge.scores.neurips import score_neurips
from bridge.scores.overlaps import Overlaps, fates, overlaps, partners
from bridge.scores.score import IOU_THRESHOLDS, Counts, Pixels, Scores, aggregated_jaccard, score_pairs
from bridge.tables import typed_table, write_table


@dataclass(frozen=True)
class Evaluation:
    """How well predictions agree with ground truth.

    Attributes
    ----------
    images : DataFrame
        One row for each prediction and image.
    sets : DataFrame
        One row for each prediction: all its images pooled, and the mean and range over images.
    matches : DataFrame
        One row for each true and each predicted cell: who is whose partner.
    failures : tuple of (str, str)
        Image and what is wrong with it.
    files : tuple of Path
    """

    images: pd.DataFrame
    sets: pd.DataFrame
    matches: pd.DataFrame
    failures: tuple[tuple[str, str], ...]
    files: tuple[Path, ...]


def evaluate(
    truth: Path | str,
    predicted: Sequence[Path | str],
    out: Path | str,
    only: Path | str | None = None,
    rule: Literal["all", "neurips"] = "all",
    boundary: float | None = None,
    accept_labels: bool = False,
) -> Evaluation:
    """Score predicted label images against ground truth.

    Parameters
    ----------
    truth : Path or str
        A label image or a folder of them (with its sub-folders): TIFF or PNG of ids, PNG in which each object has a
        colour of its own, `_seg.npy` of the Cellpose GUI, or a folder ``<name>/masks`` with one file per object.
    predicted : sequence of Path or str
        The same of one or several predictions. Images are paired by their names, without ``_mask`` and the like.
    out : Path or str
        Folder for ``images.csv``, ``sets.csv``, ``matches.csv`` and ``average_precision.png``.
    only : Path or str, optional
        Text file with the names of the images that count, one a line.
    rule : {"all", "neurips"}
        "neurips" counts as the NeurIPS 2022 challenge does: see `bridge.scores.neurips.score_neurips`.
    boundary : float, optional
        Also score the outlines, within so many px: see `bridge.scores.boundary.boundary_f1`.
    accept_labels : bool
        Take label images that do not look like any.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        Nothing to compare, or two predictions of one name.
    OutputError
        There are results in `out` already.
    """
    truth, out = Path(truth), Path(out)
    if boundary is not None and not (math.isfinite(boundary) and boundary >= 0):
        raise InputError(
            f"--boundary: not a distance (got {boundary:g}, expected a number of px, 0 or more). Correct it."
        )
    truths = _label_files(truth)
    if only is not None:
        wanted = _names(Path(only))
        missing = [name for name in wanted if name not in truths]
        if missing:
            raise InputError(
                f"{only}: no ground truth of this name (got {missing[0]}, expected one of {_few(truths)}). Correct the list."
            )
        truths = {name: truths[name] for name in wanted}
    paths = [Path(path) for path in predicted]
    titles = _titles(paths)
    files = tuple(new_file(out / name) for name in ("images.csv", "sets.csv", "matches.csv", "average_precision.png"))
    rows: list[dict[str, Any]] = []
    matched: list[pd.DataFrame] = []
    failures: list[tuple[str, str]] = []
    scored: dict[str, list[tuple[Scores, Counts]]] = {title: [] for title in titles}
    for title, path in zip(titles, paths, strict=True):
        guesses = _label_files(path)
        if truth.is_file() and path.is_file():
            guesses = {next(iter(truths)): path}
        if not truths.keys() & guesses.keys():
            raise InputError(
                f"{path}: no image has the name of a ground truth (got {_few(guesses)}, expected one of {_few(truths)}). Name them alike."
            )
        for name, file in truths.items():
            try:
                if name not in guesses:
                    raise InputError(f"{path}: no prediction for {name} (expected {name}{MASK_SUFFIXES[0]}.tif). Add it, or leave {name} out with --only.")  # fmt: skip
                foreign = not accept_labels
                true, guess = read_objects(file, foreign), read_objects(guesses[name], foreign, binary=True)
                if true.shape != guess.shape:
                    raise LabelError(
                        f"{guesses[name]}: not the size of its ground truth (got {guess.shape[0]} x {guess.shape[1]}, expected {true.shape[0]} x {true.shape[1]} px). Compare images of one field."
                    )
            except BridgeError as error:
                failures.append((name, str(error)))
                continue
            pairs = overlaps(true, guess)
            scores = score_pairs(pairs)
            by_rule = score_neurips(true, guess) if rule == "neurips" else scores.by_iou[0.5]
            scored[title].append((scores, by_rule))
            outlined = float("nan") if boundary is None else boundary_f1(true, guess, boundary)
            only_of_cells = {"aggregated_jaccard": aggregated_jaccard(pairs), "boundary_f1": outlined}
            rows.append({"prediction": title, "image": name, "rule": rule, **_row(scores, by_rule), **only_of_cells})
            matched.append(_matches(title, name, pairs))
    if not rows:
        raise InputError(f"{truth}: not one image could be compared. {failures[0][1]}")
    images = typed_table(
        sorted(rows, key=lambda row: (titles.index(row["prediction"]), row["ap_50"])), EVALUATED_IMAGES
    )
    sets = typed_table([_pooled(title, scored[title], images) for title in titles if scored[title]], EVALUATED_SETS)
    matches = pd.concat(matched, ignore_index=True)
    curves = {
        title: [float(np.mean([s.by_iou[t].average_precision for s, _ in scored[title]])) for t in IOU_THRESHOLDS]
        for title in titles
        if scored[title]
    }
    with all_or_none(files):
        write_table(files[0], images, EVALUATED_IMAGES)
        write_table(files[1], sets, EVALUATED_SETS)
        write_table(files[2], matches, MATCHES)
        precision_figure(files[3], IOU_THRESHOLDS, curves, images)
    return Evaluation(images, sets, matches, tuple(failures), files)


def _label_files(path: Path) -> dict[str, Path]:
    """Return the label images below a folder by the names they go by; of a file, itself."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder (expected label images). Check the path.")
    files = by_name(path, marked_first([path] if path.is_file() else label_files(path, objects=True)))
    if not files:
        raise InputError(f"{path}: no label images in it (expected .tif, .png or {SEG_SUFFIX}). Check the path.")
    return files


def _names(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check the path given with --only.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8 (got the byte {error.object[error.start]:#04x}). Save it as UTF-8.") from error  # fmt: skip
    # A name may have a dot in it; only what is a file's ending is taken off.
    names = [
        image_name(Path(line)) if line.lower().endswith((*ENDINGS, SEG_SUFFIX)) else unicodedata.normalize("NFC", line)
        for line in lines
        if line and not line.startswith("#")
    ]
    if not names:
        raise InputError(
            f"{path}: no names in it (expected the name of an image in each line). Fill it, or leave out --only."
        )
    return names


def _titles(paths: Sequence[Path]) -> list[str]:
    """A name for each prediction: that of its folder, with as many of the folders above as it takes to tell them apart."""
    whole = [path.resolve() for path in paths]
    for k, path in enumerate(whole):
        if path in whole[:k]:
            raise InputError(f"{paths[k]}: the same prediction twice (expected each once). Leave one out.")
    parts = [path.with_suffix("").parts if path.is_file() else path.parts for path in whole]
    if len(set(parts)) < len(parts):
        parts = [path.parts for path in whole]  # f1.tif and f1.png
    for n in range(1, max(map(len, parts)) + 1):
        titles = ["/".join(part[-n:]) for part in parts]
        if len(set(titles)) == len(titles):
            break
    return titles


def _few(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _row(scores: Scores, by_rule: Counts) -> dict[str, Any]:
    pixels = scores.pixels
    return {
        "n_true": scores.n_true, "n_predicted": scores.n_predicted, "count_error": scores.count_error,
        "merged": scores.merged, "split": scores.split,
        **{f"ap_{round(100 * t)}": scores.by_iou[t].average_precision for t in IOU_THRESHOLDS},
        **_instances(by_rule),
        "panoptic_quality": scores.by_iou[0.5].panoptic_quality,
        **_of_pixels(pixels),
    }  # fmt: skip


def _instances(counts: Counts) -> dict[str, Any]:
    return {
        "tp": counts.tp, "fp": counts.fp, "fn": counts.fn,
        "precision": counts.precision, "recall": counts.recall, "f1": counts.f1, "mean_iou": counts.mean_iou,
    }  # fmt: skip


def _of_pixels(pixels: Pixels) -> dict[str, Any]:
    names = ("dice", "iou", "precision", "recall", "accuracy")
    return {f"pixel_{name}": getattr(pixels, name) for name in names}


def _pooled(title: str, found: list[tuple[Scores, Counts]], images: pd.DataFrame) -> dict[str, Any]:
    own = images[images["prediction"] == title]
    row: dict[str, Any] = {"prediction": title, "rule": own["rule"].iloc[0], "n_images": len(found)}
    for name in ("n_true", "n_predicted", "count_error", "merged", "split"):
        row[name] = int(own[name].sum())
    for threshold in IOU_THRESHOLDS:
        total = sum((scores.by_iou[threshold] for scores, _ in found), Counts())
        row[f"ap_{round(100 * threshold)}_pooled"] = total.average_precision
    row |= {f"{name}_pooled": value for name, value in _instances(sum((c for _, c in found), Counts())).items()}
    row |= {f"{name}_pooled": v for name, v in _of_pixels(sum((s.pixels for s, _ in found), Pixels())).items()}
    for name in (c.name for c in EVALUATED_IMAGES if c.dtype != "str"):
        row |= {f"{name}_mean": own[name].mean(), f"{name}_lowest": own[name].min(), f"{name}_highest": own[name].max()}
    return row


def _matches(title: str, name: str, pairs: Overlaps) -> pd.DataFrame:
    fate = fates(pairs)
    kept = partners(pairs, 0.5)
    matches = pd.DataFrame(
        {"true_label": pairs.true[kept], "predicted_label": pairs.predicted[kept], "iou": pairs.iou[kept]}
    )
    lonely = [(int(label), 0, 0.0) for label in fate.missed] + [(0, int(label), 0.0) for label in fate.false]
    table = pd.concat([matches, pd.DataFrame(lonely, columns=matches.columns)], ignore_index=True)
    table.insert(0, "prediction", title)
    table.insert(1, "image", name)
    return table.astype({c.name: c.dtype for c in MATCHES})
