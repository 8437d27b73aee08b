"""The `native` engine: ImageJ's arithmetic in numba, bit for bit, without Java."""

from __future__ import annotations

import dataclasses
from typing import Any

import numba
import numpy as np

from bridge.calibration import Calibration
from bridge.errors import InputError, RoiError
from bridge.imagej import computations
from bridge.imagej.engine import Engine, Measured, Task
from bridge.imagej.maven import IMAGEJ_VERSION
from bridge.imagej.results import results_csv, slice_label
from bridge.imagej.rolling_ball import subtract_background
from bridge.imagej.statistics import Doubles
from bridge.measurements import IMAGEJ_ONLY, columns_of
from bridge.selections import Selections


class NativeEngine(Engine):
    """ImageJ's rolling ball and Measure without ImageJ: the same numbers, the same Results file, in this process.

    Examples
    --------
    >>> from bridge.rois.roiset import decode_roiset, encode_roiset
    >>> labels = np.zeros((40, 40), np.uint16)
    >>> labels[5:9, 5:9] = 1
    >>> cells = decode_roiset(encode_roiset(labels), labels.shape)
    >>> NativeEngine().measure(np.full((40, 40), 300, np.uint16), cells, "edu.tif", background=None).columns["IntDen"]
    array([4800.])
    """

    @property
    def info(self) -> dict[str, Any]:
        """Whose arithmetic it is."""
        return {"native": f"the arithmetic of ImageJ {IMAGEJ_VERSION}", "numba": numba.__version__}

    def start(self) -> None:
        """Nothing has to be started."""

    def close(self) -> None:
        """Nothing has to be ended."""

    def _measure(self, task: Task) -> Measured:
        cells, pixels = task.selections, task.pixels
        if cells.problem:
            raise RoiError(
                f"{task.title}: {cells.problem}. It is measured by ImageJ only: use --engine fiji, or remove it from the set."
            )
        alone = [word for word in task.measurements if word in IMAGEJ_ONLY]
        if alone:
            raise InputError(
                f"{task.title}: {alone[0]} is measured by ImageJ only (got engine native or both, expected fiji). Use --engine fiji, or leave it out."
            )
        if task.background is not None:
            background = task.background
            if task.calibration.inverted_lut:
                # ij.plugin.filter.BackgroundSubtracter turns it round for an inverted look-up table.
                background = dataclasses.replace(background, light_background=not background.light_background)
            pixels = subtract_background(pixels, background, task.title)
        measuring = computations.Measuring(pixels, cells, task.calibration, task.title)
        wanted = columns_of(task.measurements)
        columns = {column.heading: getattr(computations, column.native)(measuring) for column in wanted}
        columns |= _unasked(cells, task.calibration)
        always = {c.heading for c in wanted if c.decimals_always}
        content = results_csv(task.title, cells.names, columns, task.decimals, always, slice_label(task.source))
        # Without cells ImageJ has no table, so no columns.
        return Measured(content, columns if cells.names else {}, pixels if task.return_pixels else None)


def _unasked(cells: Selections, calibration: Calibration) -> dict[str, Doubles]:
    """Return the columns that ImageJ adds by itself, in its order: as the rows bring them, the rectangle's before the group."""
    rotated = np.isfinite(cells.outlines.rotated[:, 0])
    size = calibration.width if calibration.width == calibration.height else 1.0
    length, width = np.where(rotated[:, None], cells.outlines.rotated * size, 0.0).T
    first_rotated = int(np.argmax(rotated)) if rotated.any() else rotated.size
    grouped = cells.group > 0
    first_grouped = int(np.argmax(grouped)) if grouped.any() else grouped.size
    columns = {}
    if rotated.any():
        columns = {"RRLength": length, "RRWidth": width}
    if grouped.any():
        group = {"Group": cells.group.astype(np.float64)}
        columns = columns | group if first_rotated <= first_grouped else group | columns
    return columns
