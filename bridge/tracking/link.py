"""Which cell of one frame is which of the next: overlap, distance and size, all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from bridge.labels import Labels, label_areas, touches_border

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_NO_LINK = 1.0  # a pair that costs more is none
_SIZE, _OVERLAP = 0.5, 0.6  # weights beside the squared distance in units of the longest move


@dataclass(frozen=True)
class Cells:
    """The cells of one frame.

    Attributes
    ----------
    label, area_px : ndarray of int64, shape (n,)
        Ascending labels.
    y_px, x_px : ndarray of float64, shape (n,)
        Centroids; the centre of the first pixel is (0.5, 0.5).
    at_border : ndarray of bool, shape (n,)
    """

    label: Ints
    area_px: Ints
    y_px: Floats
    x_px: Floats
    at_border: npt.NDArray[np.bool_]

    @property
    def places(self) -> Floats:
        """(y, x) of each, shape (n, 2)."""
        return np.column_stack([self.y_px, self.x_px])


@dataclass(frozen=True)
class Links:
    """Pairs of cells.

    Attributes
    ----------
    first, second : ndarray of int64, shape (n,)
        Places in the cells of the earlier and the later frame.
    cost : ndarray of float64, shape (n,)
        0: the same outline at the same place; 1: just still a link.
    """

    first: Ints
    second: Ints
    cost: Floats


def cells_of(labels: Labels) -> Cells:
    """Return the cells of a label image.

    Parameters
    ----------
    labels : ndarray of unsigned int, shape (Y, X)

    Examples
    --------
    >>> found = cells_of(np.array([[0, 7, 7], [0, 0, 0], [2, 0, 0]], np.uint16))
    >>> found.label.tolist(), found.x_px.tolist(), found.at_border.tolist()
    ([2, 7], [0.5, 2.0], [True, True])
    """
    areas = label_areas(labels)
    ids = np.flatnonzero(areas)
    ids = ids[ids > 0]
    y, x = np.nonzero(labels)
    of = labels[y, x]
    n = areas.size
    sums = [np.bincount(of, weights=axis + 0.5, minlength=n)[ids] / areas[ids] for axis in (y, x)]
    return Cells(ids, areas[ids].astype(np.int64), sums[0], sums[1], touches_border(labels)[ids])


def drift(before: Cells, after: Cells, reach_px: float, step_px: float) -> tuple[float, float]:
    """Return by how much (y, x) a frame is moved against the one before: the move that most pairs of cells agree on.

    Parameters
    ----------
    before, after : Cells
    reach_px : float
        The largest drift looked for.
    step_px : float
        Pairs within such a step agree.

    Returns
    -------
    (float, float)
        (0, 0) unless clearly more pairs agree on another move.
    """
    if len(before.label) < 5 or len(after.label) < 5:
        return 0.0, 0.0
    near = cKDTree(before.places).query_ball_point(after.places, reach_px)
    first = np.concatenate([np.asarray(n, np.int64) for n in near])
    second = np.repeat(np.arange(len(near)), [len(n) for n in near])
    if not first.size:
        return 0.0, 0.0
    move = after.places[second] - before.places[first]
    tree = cKDTree(move)
    agree = tree.query_ball_point(move, step_px, return_length=True)
    best = move[int(agree.argmax())]
    still = len(tree.query_ball_point((0.0, 0.0), step_px))
    # Cells that stay where they are agree on no move, up to their own wandering.
    if agree.max() < 1.2 * still or agree.max() < 0.3 * min(len(before.label), len(after.label)):
        return 0.0, 0.0
    own = move[tree.query_ball_point(best, step_px)]
    y, x = np.median(own, axis=0).tolist()
    return y, x


def overlaps(before: Labels, after: Labels, moved: tuple[float, float]) -> tuple[Ints, Ints, Ints]:
    """Return labels of both frames that share pixels, and how many, after the drift is taken out."""
    dy, dx = (round(axis) for axis in moved)
    height, width = before.shape
    # after[y + dy, x + dx] shows what before[y, x] showed.
    rows = slice(max(0, -dy), min(height, height - dy)), slice(max(0, dy), min(height, height + dy))
    columns = slice(max(0, -dx), min(width, width - dx)), slice(max(0, dx), min(width, width + dx))
    one, other = before[rows[0], columns[0]], after[rows[1], columns[1]]
    both = (one > 0) & (other > 0)
    if not both.any():
        return (np.zeros(0, np.int64),) * 3
    base = int(other.max()) + 1
    keys, n = np.unique(one[both].astype(np.int64) * base + other[both], return_counts=True)
    return keys // base, keys % base, n.astype(np.int64)


def link(
    before: Cells,
    after: Cells,
    shared: tuple[Ints, Ints, Ints] | None,
    moved: tuple[float, float],
    max_move_px: float,
) -> Links:
    """Link the cells of two frames so that the sum of all costs is least.

    Parameters
    ----------
    before, after : Cells
    shared : (ndarray, ndarray, ndarray) or None
        As `overlaps` returns them; None where distance and size decide alone, as over a gap.
    moved : (float, float)
        The drift.
    max_move_px : float
        No cell moves farther, beyond the drift.

    Returns
    -------
    Links
        By their place in the earlier frame. Ties go to the lower label.
    """
    n, m = len(before.label), len(after.label)
    none = Links(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    if n == 0 or m == 0:
        return none
    places = before.places + np.array(moved)
    near = cKDTree(after.places).query_ball_point(places, max_move_px)
    first = np.repeat(np.arange(n), [len(k) for k in near])
    second = np.concatenate([np.sort(np.asarray(k, np.int64)) for k in near]) if first.size else np.zeros(0, np.int64)
    overlap = np.zeros(first.size)
    if shared is not None and shared[0].size:
        a, b = np.searchsorted(before.label, shared[0]), np.searchsorted(after.label, shared[1])
        part = shared[2] / np.minimum(before.area_px[a], after.area_px[b])
        keys, own = first * m + second, a * m + b
        missing = ~np.isin(own, keys) & (part > 0.5)  # large cells that moved far, and still lie on each other
        first, second = np.r_[first, a[missing]], np.r_[second, b[missing]]
        order = np.argsort(first * m + second, kind="stable")
        first, second = first[order], second[order]
        overlap = np.zeros(first.size)
        at = np.searchsorted(first * m + second, own)
        there = (at < first.size) & ((first * m + second)[np.minimum(at, first.size - 1)] == own)
        overlap[at[there]] = part[there]
    if not first.size:
        return none
    distance = np.linalg.norm(after.places[second] - places[first], axis=1) / max_move_px
    ratio = np.abs(np.log(after.area_px[second] / before.area_px[first]))
    cost = (distance**2 + _SIZE * ratio**2 + _OVERLAP * (1 - overlap)) / (1 + _OVERLAP)
    good = cost < _NO_LINK
    return _assigned(first[good], second[good], cost[good], n, m)


def _assigned(first: Ints, second: Ints, cost: Floats, n: int, m: int) -> Links:
    """Solve the assignment with the choice of no partner for each: a square problem of n + m, sparse."""
    tiny = 1e-6  # an explicit entry must not be 0
    own, other = np.arange(n), np.arange(m)
    rows = np.concatenate([first, own, n + other, n + second])
    columns = np.concatenate([second, m + own, other, m + first])
    half = _NO_LINK / 2
    values = np.concatenate([cost + tiny, np.full(n, half), np.full(m, half), np.full(first.size, tiny)])
    # Equal costs: the earlier entry, by the lower labels.
    values += np.concatenate([np.arange(first.size), np.zeros(n + m + first.size)]) * 1e-12
    matrix: Any = coo_array((values, (rows, columns)), shape=(n + m, n + m)).tocsr()
    a, b = min_weight_full_bipartite_matching(matrix)
    linked = (a < n) & (b < m)
    a, b = a[linked].astype(np.int64), b[linked].astype(np.int64)
    lookup = dict(zip(zip(first.tolist(), second.tolist(), strict=True), cost.tolist(), strict=True))
    return Links(a, b, np.array([lookup[pair] for pair in zip(a.tolist(), b.tolist(), strict=True)], np.float64))
