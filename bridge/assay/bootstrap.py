"""Bootstrap of a share: wells, their fields and their cells are drawn again, and so is the gate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from typing import Any

    from bridge.assay.gate import Values

    Places = npt.NDArray[np.int64]  # of rows


@dataclass(frozen=True)
class Columns:
    """Units as arrays: every one of a hundred thousand fields has a share, and a table of its own would cost more than that.

    Attributes
    ----------
    positive : ndarray of object, shape (n_units,)
        True, False or missing.
    values : ndarray of float64, shape (n_channels, n_units)
    sample, field : ndarray of int64, shape (n_units,)
        Numbered in the order of their names.
    """

    positive: npt.NDArray[Any]
    values: Values
    sample: Places
    field: Places

    @classmethod
    def of(cls, units: pd.DataFrame, channels: Sequence[str]) -> Columns:
        """Take them from a table with ``sample``, ``field_id``, ``_positive`` and the channels."""
        values = np.stack([units[channel].to_numpy(np.float64) for channel in channels])
        sample, field = (pd.factorize(units[name], sort=True)[0] for name in ("sample", "field_id"))
        return cls(units["_positive"].to_numpy(object), values, sample, field)

    def wells(self, at: Places) -> list[list[Values]]:
        """Return the values of each field of each sample of these units, shape (n_channels, n_units_of_field)."""
        at = at[np.lexsort((self.field[at], self.sample[at]))]
        sample, field = self.sample[at], self.field[at]
        ends = np.flatnonzero((sample[1:] != sample[:-1]) | (field[1:] != field[:-1])) + 1
        wells = itertools.groupby(np.split(at, ends), key=lambda places: self.sample[places[0]])
        return [[self.values[:, places] for places in fields] for _, fields in wells]


def sources(wells: list[list[Any]]) -> list[str]:
    """Return what is drawn again, in words."""
    fields = sum(map(len, wells))
    return [*(["wells"] if len(wells) > 1 else []), *(["fields"] if fields > len(wells) else []), "cells"]


def redrawn(wells: list[list[npt.NDArray[np.float64]]], gates: list[Values], rng: np.random.Generator) -> Values:
    """Return the share above the drawn gates of wells, fields and cells that are drawn, too; shape (n_draws,)."""
    n_draws = gates[0].size
    chances, sizes, owner = [], [], []
    for k, fields in enumerate(wells):
        for values in fields:
            above = np.ones((n_draws, values.shape[1]), np.bool_)
            for channel, drawn in zip(values, gates, strict=True):
                above &= channel[None] > drawn[:, None]
            # Half a cell more of each kind: no positive of ten does not mean that there are none.
            chances.append((above.sum(axis=1) + 0.5) / (values.shape[1] + 1.0))
            sizes.append(values.shape[1])
            owner.append(k)
    chance, size = np.array(chances), np.array(sizes)
    of_well = [np.flatnonzero(np.array(owner) == k) for k in range(len(wells))]
    positive, n = np.zeros(n_draws), np.zeros(n_draws)
    draw = np.arange(n_draws)
    for _ in range(len(wells)):
        well = rng.integers(0, len(wells), n_draws)
        for k, places in enumerate(of_well):
            here = draw[well == k]
            for _ in range(places.size):
                field = places[rng.integers(0, places.size, here.size)]
                positive[here] += rng.binomial(size[field], chance[field, here])
                n[here] += size[field]
    share: Values = positive / n
    return share
