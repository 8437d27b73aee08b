"""Background subtraction and Measure in every cell of a field: Results files and the field's rows of `cells.csv`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bridge.calibration import PIXELS
from bridge.files import write_bytes
from bridge.grey_scale import display_range
from bridge.imagej.computations import Measuring
from bridge.imagej.values import native_computes
from bridge.images.pixels import saturation_level
from bridge.images.reader import inspect
from bridge.images.write import write_image
from bridge.labels import touches_border
from bridge.pipeline.engines import background_of, calibration_of, engine_identity, engine_of, source_of
from bridge.pipeline.step import Context, Outcome, Resource, Step, Task
from bridge.pipeline.steps.filter import cells_of
from bridge.pipeline.steps.read import read, source
from bridge.pipeline.steps.segment import require_shape
from bridge.tables import cell_columns, empty_table, measure_column, read_table, write_table

if TYPE_CHECKING:
    from bridge.calibration import Calibration
    from bridge.imagej.engine import Engine, Measured
    from bridge.images.image import Plane
    from bridge.tables import Column


def columns_of(context: Context) -> tuple[Column, ...]:
    """Return the columns of the table of cells."""
    return cell_columns(context.plan.measure_channels, context.settings.measurements)


def scale_of(task: Task) -> Calibration:
    """Return the calibration for areas: the first measured image's that has one, else the segment image's."""
    for file in (*task.item.measure.values(), task.item.segment):
        if file is not None and (found := inspect(file.path).calibration).pixel_size_um:
            return calibration_of(task.settings, found)
    return calibration_of(task.settings, PIXELS)


def _read_measured(task: Task) -> Outcome:
    planes = {}
    for channel, file in task.item.measure.items():
        planes[channel] = read(task, file, measured=True)
        require_shape(task.item, planes[channel], task.given["segment"])
    return Outcome(planes)


def _has_channels(task: Task) -> bool:
    return bool(task.item.measure)


def _engine(context: Context) -> Engine:
    return engine_of(context.settings)


def _start(engine: Engine) -> None:
    engine.start()


def _close(engine: Engine) -> None:
    engine.close()


def _compute(task: Task) -> Outcome:
    """The one step in which the engines work."""
    s, engine = task.settings, task.resources["engine"]
    measured, raw_mean = {}, {}
    for channel, plane in task.given["measured_images"].items():
        calibration = calibration_of(s, plane.calibration)
        of = plane.pixels, task.given["rois"], plane.title
        measured[channel] = engine.measure(
            *of, background_of(s), calibration, s.measurements, s.decimals, s.save_subtracted, source_of(s, plane)
        )
        if native_computes(calibration.values):
            raw_mean[channel] = Measuring(*of[:2], calibration, plane.title).statistics.mean
        else:
            raw_mean[channel] = engine.measure(*of, None, calibration, ("mean",)).columns.get("Mean")
    return Outcome((measured, raw_mean, engine.info))


def _measure(task: Task) -> Outcome:
    planes: dict[str, Plane] = task.given["measured_images"] or {}
    nothing: tuple[dict[str, Measured], dict[str, Any], dict[str, Any]] = ({}, {}, {})
    measured, raw_mean, info = task.given["engine"] or nothing
    cells = _cell_table(task, measured, raw_mean, planes)
    subtracted = task.folder.subtracted(task.item)
    for channel, path in task.folder.results(task.item).items():
        found = measured[channel]
        write_bytes(path, found.results_csv)
        if found.pixels is not None:
            calibration = calibration_of(task.settings, planes[channel].calibration)
            write_image(subtracted[channel], found.pixels, calibration)
    columns = columns_of(task.context)
    write_table(task.folder.cells(task.item), cells, columns)
    return Outcome(_load(task), _facts(task, measured, planes, info))


def _facts(task: Task, measured: dict[str, Measured], planes: dict[str, Plane], info: dict[str, Any]) -> dict[str, Any]:
    selections, labels = task.given["rois"], cells_of(task)
    extent = selections.extent_px
    facts: dict[str, Any] = {
        "extent_95_px": float(np.percentile(extent, 95)) if extent.size else 0.0,
        "shown": {},
        "saturated": {},
        "value_unit": {},
        "n_cells": len(selections.names),
        "pixels": {c: plane.pixel_hash for c, plane in planes.items()},
        "warnings": [],
        "unwitnessed": {c: found.unwitnessed for c, found in measured.items() if found.unwitnessed},
        "compared": sum(found.compared for found in measured.values()),
        "differences": {c: list(found.differences) for c, found in measured.items() if found.differences},
        "imagej": info,
    }
    for channel, plane in planes.items():
        if plane.calibration.values:
            facts["value_unit"][channel] = plane.calibration.values.unit
        facts["shown"][channel] = list(display_range([plane.pixels]))
        facts["warnings"] += [f"{channel}: {warning}" for warning in plane.warnings]
        level = saturation_level(plane.pixels)
        if level is not None:
            full = np.count_nonzero((plane.pixels == level) & (labels > 0))
            facts["saturated"][channel] = [level, full / max(1, int(selections.area_px.sum()))]
    return facts


def _cell_table(
    task: Task, measured: dict[str, Measured], raw_mean: dict[str, Any], planes: dict[str, Plane]
) -> pd.DataFrame:
    selections, labels, columns = task.given["rois"], cells_of(task), columns_of(task.context)
    ids = np.array([int(name) for name in selections.names], np.int64)
    if not ids.size:
        return empty_table(columns)
    area = selections.area_px
    x, y = selections.centre_px
    size_um2 = scale_of(task).pixel_area_um2
    table: dict[str, Any] = {
        **{
            name: np.full(ids.size, getattr(task.item, name), object)
            for name in ("field_id", "condition", "replicate", "sample")
        },
        "label": ids,
        "cell_area_px2": area,
        "cell_area_um2": area * size_um2 if size_um2 else np.full(ids.size, np.nan),
        "cell_x_px": x,
        "cell_y_px": y,
        "touches_border": touches_border(labels)[ids],
    }
    for channel, found in measured.items():
        pixels = planes[channel].pixels
        for heading, values in found.columns.items():
            table[measure_column(channel, heading)] = values
        table[measure_column(channel, "raw_Mean")] = raw_mean[channel]
        level = saturation_level(pixels)
        full = np.zeros(1, np.int64) if level is None else np.bincount(labels[pixels == level])
        table[measure_column(channel, "saturated_px")] = np.pad(full, (0, max(0, int(ids[-1]) + 1 - full.size)))[ids]
    return pd.DataFrame({c.name: table[c.name] for c in columns}).astype({c.name: c.dtype for c in columns})


def _made_from(task: Task) -> dict[str, Any]:
    item = task.item
    images = {c: source(task, f) for c, f in item.measure.items()}
    if not item.measure and item.segment is not None:
        images = {"segment": source(task, item.segment)}
    return {
        "scale": asdict(scale_of(task)),
        "engine_identity": engine_identity(task.settings) if task.context.plan.measure_channels else "none",
        "images": images,
        "fields": [item.field_id, item.condition, item.replicate, item.sample],
    }


def _files(task: Task) -> list[Path]:
    subtracted = task.folder.subtracted(task.item).values() if task.settings.save_subtracted else ()
    return [*task.folder.results(task.item).values(), *subtracted, task.folder.cells(task.item)]


def _load(task: Task) -> pd.DataFrame:
    return read_table(task.folder.cells(task.item), columns_of(task.context))


ENGINE = Resource("engine", _engine, start=_start, close=_close)
MEASURED_IMAGES = Step(
    "measured_images", "field", _read_measured, lane="rois", needs=("segment",), recorded=False, applies=_has_channels
)
ARITHMETIC = Step(
    "engine", "field", _compute, lane="measure", needs=("rois", "measured_images"), resources=(ENGINE,), recorded=False,
    applies=_has_channels, words="measuring",
)  # fmt: skip
MEASURE = Step(
    "measure", "field", _measure, lane="write", needs=("segment", "filter", "rois", "measured_images", "engine"), outputs=_files,
    settings=("measure",), made_from=_made_from, load=_load,
)  # fmt: skip
