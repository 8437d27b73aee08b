"""Which thresholds and diameters find the cells best on images with ground truth."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bridge.errors import ModelError
from bridge.evaluation.model_history import held_out_of, seen_by
from bridge.evaluation.pairs import find_pairs, image_hash, read_pair
from bridge.evaluation.split import split
from bridge.evaluation.tables import DIAMETERS, SWEEP
from bridge.files import new_file, require_writable
from bridge.report.score_figures import sweep_figure
from bridge.scores.score import score
from bridge.segmentation.diameter import median_diameter
from bridge.segmentation.segmenter import Segmenter
from bridge.settings_file import settings_from
from bridge.tables import Column, typed_table, write_table

FLOW_THRESHOLDS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
CELLPROB_THRESHOLDS = (-2.0, -1.0, 0.0, 1.0, 2.0)
_DEFAULT = (0.4, 0.0)
SCORES = ("ap_50", "ap_75", "ap_90", "f1")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Swept:
    """What a sweep over thresholds found.

    Attributes
    ----------
    table : DataFrame
        `bridge.evaluation.tables.SWEEP`: one row for each pair of thresholds and set of images.
    flow_threshold, cellprob_threshold : float
        The best on the images that choose.
    said : str
        What it brings on the images that do not choose.
    files : tuple of Path
    """

    table: pd.DataFrame
    flow_threshold: float
    cellprob_threshold: float
    said: str
    files: tuple[Path, ...]


def sweep(
    images: Path | str,
    out: Path | str,
    labels: Path | str | None = None,
    model: str | None = None,
    diameter: Any = None,
    held_out: Sequence[str] = (),
    device: str = "auto",
    colour: str | None = None,
    channel: str | None = None,
    rgb_channel: str | None = None,
    accept_labels: bool = False,
    channel_with: Sequence[str] = (),
    say: Say | None = None,
) -> Swept:
    """Try flow and cell probability thresholds, with one pass of the network for each image.

    Parameters
    ----------
    images : Path or str
        Images with their ground truth: see `bridge.evaluation.pairs.find_pairs`.
    out : Path or str
        Folder for ``sweep.csv`` and ``sweep.png``.
    labels : Path or str, optional
        Folder of the label images.
    model, diameter, device, colour, rgb_channel
        As in `bridge.run`.
    channel : str, optional
        Channel of images with several.
    channel_with : sequence of str
        Channels that the network sees beside it.
    accept_labels : bool
        Take labels that do not look like any.
    held_out : sequence of str
        Images that choose nothing: their names, a share, or "none". They show what the choice is worth elsewhere. Those
        that were held out when the model was trained are always among them.
    say : callable, optional

    Returns
    -------
    Swept

    Raises
    ------
    InputError, LabelError, ModelError, SegmentationError, OutputError
    """
    found = find_pairs(Path(images), path_or_none(labels), channel, rgb_channel, colour, accept_labels, channel_with)
    diameter = settings_from({"diameter": diameter}, "sweep").diameter
    require_writable(Path(out))
    path, picture = new_file(Path(out) / "sweep.csv"), new_file(Path(out) / "sweep.png")
    pixels = {pair.name: image_hash(pair.image) for pair in found.pairs}
    sets = split(pixels, held_out, 0, held_out_of(model))
    segmenter = Segmenter(model, device)
    rows = []
    for k, pair in enumerate(found.pairs, 1):
        if say is not None:
            say(f"{pair.name} ({k} of {len(found.pairs)})")
        image, true, _ = read_pair(pair)
        finish = segmenter.predict(image, diameter, name=pair.name)
        for flow, cellprob in itertools.product(FLOW_THRESHOLDS, CELLPROB_THRESHOLDS):
            scores = score(true, finish(flow, cellprob).labels)
            rows.append({"set": "held-out" if pair.name in sets.held_out else "choosing", "flow_threshold": flow, "cellprob_threshold": cellprob, "image": pair.name, **scores.in_short})  # fmt: skip
    images_table = pd.DataFrame(rows)
    table = means(images_table, ["set", "flow_threshold", "cellprob_threshold"], SWEEP)
    choosing = table[table["set"] == "choosing"].reset_index(drop=True)
    # Of equals the one nearest to Cellpose's defaults.
    far = (choosing["flow_threshold"] - _DEFAULT[0]).abs() + (choosing["cellprob_threshold"] - _DEFAULT[1]).abs()
    best = choosing.assign(far=far).sort_values(["ap_50", "far"], ascending=[False, True]).iloc[0]
    flow, cellprob = float(best["flow_threshold"]), float(best["cellprob_threshold"])
    said = f"best on {best['n_images']} images: --flow-threshold {flow:g} --cellprob-threshold {cellprob:g}, AP {best['ap_50']:.3f} at IoU 0.5 (defaults: {_at(choosing, *_DEFAULT):.3f})"
    others = table[table["set"] == "held-out"]
    if len(others):
        said += f"; on {others['n_images'].iloc[0]} held-out images {_at(others, flow, cellprob):.3f} (defaults: {_at(others, *_DEFAULT):.3f})"
        learnt = sum(pixels[name] in seen_by(model) for name in sets.held_out)
        if learnt:
            said += f"; the model has learnt from {learnt} of these: optimistic"
    else:
        said += "; chosen and judged on the same images: optimistic (--held-out shows by how much)"
    write_table(path, table, SWEEP)
    grid = choosing.pivot_table(index="flow_threshold", columns="cellprob_threshold", values="ap_50")
    sweep_figure(picture, grid, (flow, cellprob))
    return Swept(table, flow, cellprob, said, (path, picture))


def compare_diameters(
    images: Path | str,
    out: Path | str,
    labels: Path | str | None = None,
    model: str | None = None,
    device: str = "auto",
    colour: str | None = None,
    channel: str | None = None,
    rgb_channel: str | None = None,
    accept_labels: bool = False,
    channel_with: Sequence[str] = (),
    say: Say | None = None,
) -> pd.DataFrame:
    """Compare the ways to find the diameter of cells on images with ground truth.

    none: the model's own diameter; auto: the median found, again; style: the same after the size model's estimate (left
    out where the model has no size model); true: the median of the ground truth, which is not known elsewhere.

    Parameters
    ----------
    images, labels, model, device, colour, channel, channel_with, rgb_channel, say
        As in `sweep`.
    out : Path or str
        Folder for ``diameters.csv``.

    Returns
    -------
    DataFrame
        `bridge.evaluation.tables.DIAMETERS`: one row for each image and way.
    """
    found = find_pairs(Path(images), path_or_none(labels), channel, rgb_channel, colour, accept_labels, channel_with)
    require_writable(Path(out))
    path = new_file(Path(out) / "diameters.csv")
    segmenter = Segmenter(model, device)
    ways: dict[str, Any] = {"none": None, "auto": "auto", "style": "style", "true": None}
    rows = []
    for k, pair in enumerate(found.pairs, 1):
        if say is not None:
            say(f"{pair.name} ({k} of {len(found.pairs)})")
        image, true, _ = read_pair(pair)
        known = median_diameter(true)
        for way, given in ways.items():
            if way == "true" and known is None:
                continue
            try:
                labelled = segmenter.segment(image, known if way == "true" else given, name=pair.name)
            except ModelError:
                if way != "style":
                    raise
                continue
            rows.append({"image": pair.name, "way": way, "true_diameter_px": known, "diameter_px": labelled.diameter_px, **score(true, labelled.labels).in_short})  # fmt: skip
    table = typed_table(rows, DIAMETERS)
    write_table(path, table, DIAMETERS)
    return table


def means(rows: pd.DataFrame, keys: list[str], columns: Sequence[Column]) -> pd.DataFrame:
    """Return the mean scores of each group of rows, in the declared columns."""
    groups = rows.groupby(keys, sort=False)
    table = groups[list(SCORES)].mean().join(groups[["n_true", "n_predicted"]].sum()).join(groups.size().rename("n_images")).reset_index()  # fmt: skip
    for column in columns:
        if column.name not in table:
            table[column.name] = float("nan")
    return typed_table(table.to_dict("records"), columns)


def _at(table: pd.DataFrame, flow: float, cellprob: float) -> float:
    return float(table[(table["flow_threshold"] == flow) & (table["cellprob_threshold"] == cellprob)]["ap_50"].iloc[0])


def path_or_none(path: Path | str | None) -> Path | None:
    """Return a path, or None where none was given."""
    return None if path is None else Path(path)
