"""The rows of a field's cells and nuclei: who they are, where, and what they measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bridge.assay.nuclei import cell_of_nuclei, union_of_nuclei
from bridge.grey_scale import saturation_level
from bridge.labels import touches_border
from bridge.tables import NUCLEUS, RING, UNION, empty_table, measure_column

if TYPE_CHECKING:
    from bridge.experiment.fields import Field
    from bridge.imagej.engine import Measured
    from bridge.images.image import Plane
    from bridge.labels import Labels
    from bridge.selections import Selections
    from bridge.tables import Column


@dataclass(frozen=True)
class Objects:
    """The cells or nuclei of a field, and what was measured in them.

    Attributes
    ----------
    what : str
        `bridge.tables.CELL` or `NUCLEUS`.
    item : Field
    selections : Selections
    labels : ndarray of uint16 or uint32, shape (Y, X)
    planes : dict of str to Plane
        The measured images, by channel.
    measured : dict of str to Measured
        Likewise.
    raw_mean : dict of str to ndarray
        Means before background subtraction, likewise.
    size_um2 : float or None
        Of a pixel.
    """

    what: str
    item: Field
    selections: Selections
    labels: Labels
    planes: dict[str, Plane]
    measured: dict[str, Measured]
    raw_mean: dict[str, Any]
    size_um2: float | None

    @property
    def ids(self) -> Any:
        """The labels, ascending."""
        return np.array([int(name) for name in self.selections.names], np.int64)

    def values(self) -> dict[str, Any]:
        """Return what is known of each, by column."""
        ids, area = self.ids, self.selections.area_px
        x, y = self.selections.centre_px
        table: dict[str, Any] = {
            **{
                name: np.full(ids.size, getattr(self.item, name), object)
                for name in ("field_id", "condition", "replicate", "sample")
            },
            "label": ids,
            f"{self.what}_area_px2": area,
            f"{self.what}_area_um2": area * self.size_um2 if self.size_um2 else np.full(ids.size, np.nan),
            f"{self.what}_x_px": x,
            f"{self.what}_y_px": y,
            "touches_border": touches_border(self.labels)[ids],
        }
        for channel, found in self.measured.items():
            pixels = self.planes[channel].as_taken
            for heading, values in found.columns.items():
                table[measure_column(channel, heading, self.what)] = values
            table[measure_column(channel, "raw_Mean", self.what)] = self.raw_mean[channel]
            level = saturation_level(pixels)
            full = np.zeros(1, np.int64) if level is None else np.bincount(self.labels[pixels == level])
            padded = np.pad(full, (0, max(0, int(ids[-1]) + 1 - full.size)))
            table[measure_column(channel, "saturated_px", self.what)] = padded[ids]
        return table


def nucleus_rows(nuclei: Objects, cells: Objects, rings: Objects | None, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the rows of `nuclei.csv`."""
    if not nuclei.selections.names:
        return empty_table(columns)
    cell = cell_of_nuclei(nuclei.labels, cells.labels)
    table = {**nuclei.values(), "cell": pd.array(cell, "Int64")}
    if rings is not None:
        table |= _ring_values(rings, nuclei.ids)
    return _typed(table, columns).assign(cell=lambda table: table["cell"].mask(table["cell"] == 0))


def _ring_values(rings: Objects, ids: Any) -> dict[str, Any]:
    """Return what the rings measure, by nucleus; nothing for a nucleus without room for one."""
    at = np.searchsorted(ids, rings.ids)
    area = np.zeros(ids.size, np.int64)
    area[at] = rings.selections.area_px
    table: dict[str, Any] = {"ring_area_px2": area}
    for channel, found in rings.measured.items():
        for heading, values in found.columns.items():
            column = np.full(ids.size, np.nan)
            column[at] = values
            table[measure_column(channel, heading, RING)] = column
    return table


def cell_rows(cells: Objects, nuclei: pd.DataFrame | None, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the rows of `cells.csv`, with what the nuclei of each cell measure together."""
    if not cells.selections.names:
        return empty_table(columns)
    table = cells.values()
    if nuclei is not None:
        of_cell = nuclei["cell"].fillna(0).to_numpy(np.int64)
        area = nuclei["nucleus_area_px2"].to_numpy(np.int64)
        at = np.searchsorted(cells.ids, of_cell[of_cell > 0])
        table["n_nuclei"] = np.bincount(at, minlength=cells.ids.size)
        table["nucleus_area_px2"] = np.bincount(at, weights=area[of_cell > 0], minlength=cells.ids.size).astype(
            np.int64
        )
        for channel in cells.measured:
            for heading in UNION:
                name = measure_column(channel, heading, NUCLEUS)
                if name in nuclei:
                    mean, total = union_of_nuclei(cells.ids, of_cell, nuclei[name].to_numpy(np.float64), area)
                    table[name] = mean if heading == "Mean" else total
    return _typed(table, columns)


def _typed(table: dict[str, Any], columns: Sequence[Column]) -> pd.DataFrame:
    return pd.DataFrame({c.name: table[c.name] for c in columns}).astype({c.name: c.dtype for c in columns})
