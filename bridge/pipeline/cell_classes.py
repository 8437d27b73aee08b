"""The classes of cells in a run: their columns, and the features of a field's cells."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bridge.assay.nuclei import cell_of_nuclei
from bridge.assay.summary import replicate_table
from bridge.classification.classifier import UNCERTAIN, classes_of
from bridge.classification.features import features_of
from bridge.errors import LabelError
from bridge.images.reader import read_plane
from bridge.pipeline.prepared import prepared
from bridge.segmentation.encoder_features import encoder_features
from bridge.tables import Column, replicate_columns, typed_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.experiment.fields import Field, Plan
    from bridge.labels import Labels
    from bridge.pipeline.step import Context
    from bridge.segmentation.segmenter import Segmenter
    from bridge.settings import Settings

CLASS = (
    Column("class", "str", "", "class of the cell; uncertain where two are nearly as probable"),
    Column("class_probability", "float64", "", "probability of the most probable class, by the classifier"),
    Column("class_margin", "float64", "", "its distance to the next class's"),
    Column("class_source", "str", "", "model, or person: given in the truth"),
)
CLASS_TABLE = (Column("label", "int64", "", "id of the cell in its label image; the name of its ROI"), *CLASS)
TRUTH = (
    Column("field_id", "str", "", "field of view"),
    Column("label", "int64", "", "id of the cell in its label image"),
    Column("class", "str", "", "class that a person gave"),
)
CLASS_COUNTS = (
    Column("condition", "str", "", "treatment"),
    Column("replicate", "str", "", "independent repeat; empty for the whole condition"),
    Column("class", "str", "", "class"),
    Column("n_cells", "int64", "", "cells of this class"),
    Column("share_of_cells", "float64", "%", "part of all cells; the uncertain count among all"),
    Column("channel", "str", "", "channel with a gate; empty without one"),
    Column("n_positive", "Int64", "", "cells of this class above its gate; empty where nothing is called"),
    Column("share_positive", "float64", "%", "part of this class's cells; control's false positives are not taken off"),
)
MODEL, PERSON = "model", "person"


def is_classified(context: Context) -> bool:
    """Return whether the cells of a run have classes."""
    return context.folder.classifier().is_file()


def class_names(context: Context) -> tuple[str, ...]:
    """Return the classes of a run in their order, the uncertain last; none without a classifier."""
    if not is_classified(context):
        return ()
    return (*classes_of(context.folder.classifier())[0], UNCERTAIN)


def usable_channels(plan: Plan, fields: Sequence[Field]) -> tuple[str, ...]:
    """Return the channels that all of these fields have: the one in which cells were found first."""
    names = [name for name in (plan.segment_channel, *plan.measured_channels) if name]
    return tuple(name for name in dict.fromkeys(names) if all(_file(plan, item, name) is not None for item in fields))


def _file(plan: Plan, item: Field, channel: str) -> Any:
    if channel == plan.segment_channel and item.segment is not None:
        return item.segment.alone
    return plan.measured(item).get(channel)


def field_features(
    plan: Plan,
    settings: Settings,
    item: Field,
    channels: Sequence[str],
    labels: Labels,
    nuclei: Labels | None,
    encoder: str | None = None,
) -> pd.DataFrame:
    """Return the features of a field's cells.

    Parameters
    ----------
    plan : Plan
    settings : Settings
    item : Field
    channels : sequence of str
    labels : ndarray of unsigned int, shape (Y, X)
    nuclei : ndarray of unsigned int, shape (Y, X), or None
    encoder : str or None
        A model whose encoder's features are taken, of the first two channels; None: the declared ones
        (`bridge.classification.features.features_of`).

    Raises
    ------
    LabelError
        An image of another size than the label image.
    """
    images = {}
    for channel in channels:
        file = _file(plan, item, channel)
        shown = channel == plan.segment_channel and channel not in plan.measured(item)
        plane = read_plane(file, settings.rgb_channel, not shown)
        images[channel] = plane.pixels if shown else prepared(plane, channel, settings).pixels
        if images[channel].shape != labels.shape:
            raise LabelError(
                f"{item.field_id}: {plane.title} is not the size of the label image (got {images[channel].shape[0]} x {images[channel].shape[1]}, "
                f"expected {labels.shape[0]} x {labels.shape[1]} px). Use images of one size."
            )
    if encoder is not None:
        planes = [image.astype(np.float32) for image in list(images.values())[:2]]
        return encoder_features(encoder_of(encoder, settings.device), planes[0] if len(planes) < 2 else np.stack(planes), labels)  # fmt: skip
    of_nuclei = None if nuclei is None else cell_of_nuclei(nuclei, labels)
    return features_of(labels, images, nuclei, of_nuclei)


@cache
def encoder_of(model: str, device: str) -> Segmenter:
    """Return a loaded network whose encoder is asked; loaded once for all fields."""
    from bridge.segmentation.segmenter import Segmenter

    return Segmenter(model, device, "torch")


def class_counts(cells: pd.DataFrame, names: Sequence[str], conditions: Sequence[str]) -> pd.DataFrame:
    """Return how many cells of each class each condition and replicate has, and how many of them are positive.

    Parameters
    ----------
    cells : DataFrame
        `cells.csv` with its classes and, for each channel with a gate, ``<channel>_positive``.
    names : sequence of str
        Classes in their order.
    conditions : sequence of str
        In their order.

    Returns
    -------
    DataFrame
        `CLASS_COUNTS`.
    """
    gated = [str(name).removesuffix("_positive") for name in cells.columns if str(name).endswith("_positive")]
    rows = []
    for condition in conditions:
        whole = cells[cells["condition"] == condition]
        replicates = sorted(set(whole["replicate"]) - {""})
        for replicate, part in [("", whole), *((r, whole[whole["replicate"] == r]) for r in replicates)]:
            for name in names:
                own = part[part["class"] == name]
                row: dict[str, Any] = {
                    "condition": condition,
                    "replicate": replicate,
                    "class": name,
                    "n_cells": len(own),
                    "share_of_cells": 100 * len(own) / len(part) if len(part) else np.nan,
                    "channel": "",
                }
                for channel in gated:
                    called = own[f"{channel}_positive"].dropna()
                    n = int(called.sum()) if len(called) or not len(own) else None
                    share = 100 * float(called.mean()) if len(called) else np.nan
                    rows.append({**row, "channel": channel, "n_positive": n, "share_positive": share})
                if not gated:
                    rows.append(row)
    return typed_table(rows, CLASS_COUNTS)


def replicates_by_class(
    cells: pd.DataFrame,
    counts: pd.DataFrame,
    measured: Sequence[Column],
    names: Sequence[str],
    conditions: Sequence[str],
    columns: Sequence[Column],
) -> pd.DataFrame:
    """Return `replicates.csv` for the cells of each class."""
    parts = [
        replicate_table(cells[cells["class"] == name], counts, columns, conditions).assign(**{"class": name})
        for name in names
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[[c.name for c in class_replicate_columns(measured)]]


def class_replicate_columns(measured: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of `replicates_by_class.csv`."""
    condition, replicate, *others = replicate_columns(measured)
    return (condition, replicate, CLASS[0], *(c for c in others if c.name != "n_nuclei"))
