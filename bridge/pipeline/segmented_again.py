"""Units found at other flow thresholds: the network looks once at each field, the masks are made for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bridge.errors import InputError
from bridge.imagej.native import NativeEngine
from bridge.images.reader import read_plane
from bridge.labels import touches_border
from bridge.pipeline.cell_filters import filter_cells
from bridge.pipeline.engines import background_of, calibration_of
from bridge.pipeline.prepared import prepared
from bridge.pipeline.steps.network import predict_cells, predict_nuclei
from bridge.rois.roiset import selections_of
from bridge.segmentation.models import resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.tables import NUCLEUS, measure_column

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.experiment.fields import Field, Plan
    from bridge.labels import Labels
    from bridge.settings import Settings


def segmented_again(
    plan: Plan,
    settings: Settings,
    unit: str,
    channel: str,
    thresholds: Sequence[float],
    announce: Callable[[str], None],
    keep: Path | None = None,
) -> dict[float, pd.DataFrame]:
    """Return, for each flow threshold, the units of all fields and what they measure in a channel.

    Parameters
    ----------
    plan : Plan
        With its images.
    settings : Settings
    unit : str
        `bridge.tables.NUCLEUS` or `CELL`.
    channel : str
    thresholds : sequence of float
    announce : callable
    keep : Path, optional
        As of `Segmenter`.

    Raises
    ------
    InputError
        The units were not found by a network.
    """
    nuclei = unit == NUCLEUS
    if settings.masks is not None and not nuclei:
        raise InputError(
            "--flow-threshold: the cells of this run are given label images (expected cells found by Cellpose). Leave it out."
        )
    name = settings.nuclei_model if nuclei else settings.model
    segmenter = Segmenter(resolve_model(name, nuclei), settings.device, settings.inference, settings.precision, keep)
    parts: dict[float, list[pd.DataFrame]] = {threshold: [] for threshold in thresholds}
    for item in plan.fields:
        if item.problems:
            continue
        announce(f"{item.field_id}: flow thresholds")
        file = item.count if nuclei else item.segment
        assert file is not None
        plane = read_plane(file, settings.rgb_channel, nuclei, None if nuclei else settings.colour)
        masks = (predict_nuclei if nuclei else predict_cells)(segmenter, plane, settings, item.field_id)
        for threshold in thresholds:
            labels = masks(threshold, None).labels
            if not nuclei and settings.filters_cells:
                labels, _ = filter_cells(labels, plane, settings, item.region, item.field_id)
            parts[threshold].append(_rows(plan, item, labels, settings, unit, channel))
    return {threshold: pd.concat(found, ignore_index=True) for threshold, found in parts.items()}


def _rows(plan: Plan, item: Field, labels: Labels, settings: Settings, unit: str, channel: str) -> pd.DataFrame:
    file = plan.measured(item)[channel]
    plane = prepared(read_plane(file, settings.rgb_channel), channel, settings)
    selections = selections_of(labels)
    ids = np.array([int(name) for name in selections.names], np.int64)
    measured = NativeEngine().measure(
        plane.pixels, selections, plane.title, background_of(settings), calibration_of(settings, plane.calibration),
        settings.measurements,
    )  # fmt: skip
    keys = {name: getattr(item, name) for name in ("field_id", "condition", "replicate", "sample")}
    table = pd.DataFrame(
        {
            "label": ids,
            f"{unit}_area_px2": selections.area_px,
            "touches_border": touches_border(labels)[ids] if ids.size else np.zeros(0, bool),
            **{measure_column(channel, h, unit): v for h, v in measured.columns.items()},
        }
    )
    return table.assign(**keys)
