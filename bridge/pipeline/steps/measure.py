"""Background subtraction and Measure in every cell and nucleus of a field: Results files and rows of the tables."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.calibration import PIXELS
from bridge.files import write_bytes
from bridge.grey_scale import display_range
from bridge.imagej.computations import Measuring
from bridge.imagej.values import native_computes
from bridge.images.reader import inspect
from bridge.images.write import write_image
from bridge.pipeline.columns import columns_of
from bridge.pipeline.engines import background_of, calibration_of, engine_identity, engine_of, source_of
from bridge.pipeline.prepared import flat_field_of
from bridge.pipeline.step import Context, Outcome, Resource, Step, Task
from bridge.pipeline.steps.corrected import cells_of
from bridge.pipeline.steps.objects import Objects, cell_rows, nucleus_rows
from bridge.pipeline.steps.read import has_count, read_measured, source
from bridge.pipeline.steps.rings import has_rings
from bridge.pipeline.steps.segment import require_shape
from bridge.tables import CELL, NUCLEUS, RING, ROWS, write_table

if TYPE_CHECKING:
    from bridge.calibration import Calibration
    from bridge.imagej.engine import Engine, Measured
    from bridge.images.image import Plane


def scale_of(task: Task) -> Calibration:
    """Return the calibration for areas: the first measured image's that has one, else the segment image's."""
    for file in (*task.item.measure.values(), task.item.segment):
        if file is not None and (found := inspect(file).calibration).pixel_size_um:
            return calibration_of(task.settings, found)
    return calibration_of(task.settings, PIXELS)


def _read_measured(task: Task) -> Outcome:
    planes = {}
    for channel, file in task.context.plan.measured(task.item).items():
        planes[channel] = read_measured(task, channel, file)
        require_shape(task.item, planes[channel], task.given["segment"])
    return Outcome(planes)


def _has_channels(task: Task) -> bool:
    return bool(task.context.plan.measured(task.item))


def _engine(context: Context) -> Engine:
    return engine_of(context.settings)


def _start(engine: Engine) -> None:
    engine.start()


def _close(engine: Engine) -> None:
    engine.close()


def _compute(task: Task) -> Outcome:
    """The one step in which the engines work."""
    s, engine = task.settings, task.resources["engine"]
    sets = {CELL: task.given["rois"]}
    if has_count(task):
        sets[NUCLEUS] = task.given["nuclei_rois"]
    if has_rings(task):
        sets[RING] = task.given["rings"].selections
    measured: dict[str, dict[str, Measured]] = {what: {} for what in sets}
    raw_mean: dict[str, dict[str, Any]] = {what: {} for what in sets}
    for channel, plane in task.given["measured_images"].items():
        calibration = calibration_of(s, plane.calibration)
        background, pixels = background_of(s), plane.pixels
        for what, selections in sets.items():
            if what == CELL:
                found = engine.measure(
                    pixels, selections, plane.title, background, calibration, s.measurements, s.decimals,
                    background is not None or s.save_subtracted, source_of(s, plane),
                )  # fmt: skip
                # The background is subtracted once: nuclei and rings are measured in what that left.
                pixels = pixels if found.pixels is None else found.pixels
                measured[what][channel] = replace(found, pixels=found.pixels if s.save_subtracted else None)
            else:
                measured[what][channel] = engine.measure(
                    pixels, selections, plane.title, None, calibration, s.measurements, s.decimals
                )
            if native_computes(calibration.values):
                of_raw = Measuring(plane.pixels, selections, calibration, plane.title)
                raw_mean[what][channel] = of_raw.statistics.mean
            else:
                of = plane.pixels, selections, plane.title, None, calibration, ("mean",)
                raw_mean[what][channel] = engine.measure(*of).columns.get("Mean")
    return Outcome((measured, raw_mean, engine.info))


def _measure(task: Task) -> Outcome:
    planes: dict[str, Plane] = task.given["measured_images"] or {}
    nothing: dict[str, dict[str, Any]] = {CELL: {}, NUCLEUS: {}, RING: {}}
    measured, raw_mean, info = task.given["engine"] or (nothing, nothing, {})
    item, folder = task.item, task.folder
    for what, of_channel in measured.items():
        for channel, found in of_channel.items():
            write_bytes(folder.results(item, channel, what), found.results_csv)
            if found.pixels is not None:
                calibration = calibration_of(task.settings, planes[channel].calibration)
                write_image(folder.subtracted(item, channel), found.pixels, calibration)
    size = scale_of(task).pixel_area_um2
    sets = {CELL: (task.given["rois"], cells_of(task))}
    if has_count(task):
        sets[NUCLEUS] = (task.given["nuclei_rois"], task.given["count"])
    if has_rings(task):
        sets[RING] = (task.given["rings"].selections, task.given["rings"].labels)
    of = {what: Objects(what, item, *sets[what], planes, measured[what], raw_mean[what], size) for what in sets}
    nuclei = (
        nucleus_rows(of[NUCLEUS], of[CELL], of.get(RING), columns_of(task.context, NUCLEUS))
        if has_count(task)
        else None
    )
    cells = cell_rows(of[CELL], nuclei, columns_of(task.context))
    write_table(folder.table(item, ROWS[CELL]), cells, columns_of(task.context))
    if nuclei is not None:
        write_table(folder.table(item, ROWS[NUCLEUS]), nuclei, columns_of(task.context, NUCLEUS))
    facts = _facts(task, measured, planes, info)
    if nuclei is not None:
        facts["nuclei"] = {
            "n_orphan_nuclei": int(nuclei["cell"].isna().sum()),
            "n_cells_without_nucleus": int((cells["n_nuclei"] == 0).sum()),
            "n_cells_with_several": int((cells["n_nuclei"] > 1).sum()),
        }
    return Outcome(None, facts)


def _facts(
    task: Task, measured: dict[str, dict[str, Measured]], planes: dict[str, Plane], info: dict[str, Any]
) -> dict[str, Any]:
    selections = task.given["rois"]
    outlines = task.given["nuclei_rois"] if has_count(task) else selections
    named = {
        channel if what == CELL else f"{channel} of {what}": found
        for what, of_channel in measured.items()
        for channel, found in of_channel.items()
    }
    facts: dict[str, Any] = {
        "extent_95_px": float(np.percentile(outlines.extent_px, 95)) if outlines.names else 0.0,
        "shown": {},
        "value_unit": {},
        "n_cells": len(selections.names),
        "pixels": {c: plane.pixel_hash for c, plane in planes.items()},
        "warnings": [],
        "unwitnessed": {c: found.unwitnessed for c, found in measured[CELL].items() if found.unwitnessed},
        "compared": sum(found.compared for found in named.values()),
        "differences": {c: list(found.differences) for c, found in named.items() if found.differences},
        "imagej": info,
    }
    for channel, plane in planes.items():
        if plane.calibration.values:
            facts["value_unit"][channel] = plane.calibration.values.unit
        facts["shown"][channel] = list(display_range([plane.pixels]))
        facts["warnings"] += [f"{channel}: {warning}" for warning in plane.warnings]
    return facts


def _made_from(task: Task) -> dict[str, Any]:
    item = task.item
    files = task.context.plan.measured(item)
    images = {c: source(task, f) for c, f in files.items()}
    if not files and item.segment is not None:
        images = {"segment": source(task, item.segment)}
    flat = {c: task.context.hashes.of(path) for c in files if (path := flat_field_of(task.settings, c)) is not None}
    return {
        **({"flat_field": flat} if flat else {}),
        "scale": asdict(scale_of(task)),
        "engine_identity": engine_identity(task.settings) if files else "none",
        "images": images,
        "fields": [item.field_id, item.condition, item.replicate, item.sample],
    }


def _files(task: Task) -> list[Path]:
    item, folder, channels = task.item, task.folder, task.context.plan.measured(task.item)
    nuclei = has_count(task)
    return [
        *(
            folder.results(item, c, what)
            for what in (CELL, *([NUCLEUS] if nuclei else []), *([RING] if has_rings(task) else []))
            for c in channels
        ),
        *(folder.subtracted(item, c) for c in channels if task.settings.save_subtracted),
        folder.table(item, ROWS[CELL]),
        *([folder.table(item, ROWS[NUCLEUS])] if nuclei else []),
    ]


ENGINE = Resource("engine", _engine, start=_start, close=_close)
MEASURED_IMAGES = Step(
    "measured_images", "field", _read_measured, lane="rois", needs=("segment",), recorded=False, applies=_has_channels
)
ARITHMETIC = Step(
    "engine", "field", _compute, lane="measure", needs=("rois", "nuclei_rois", "rings", "measured_images"), resources=(ENGINE,),
    recorded=False, applies=_has_channels, words="measuring",
)  # fmt: skip
MEASURE = Step(
    "measure", "field", _measure, lane="write",
    needs=("segment", "filter", "corrected", "count", "rois", "nuclei_rois", "rings", "measured_images", "engine"), outputs=_files,
    settings=("measure",), made_from=_made_from,
)  # fmt: skip
