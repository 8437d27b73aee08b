"""Synthetic movies with known tracks: cells that wander, touch and divide, and what a segmentation gets wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class SyntheticMovie:
    """A simulated movie of label images.

    Attributes
    ----------
    labels : list of ndarray of uint16, shape (Y, X)
        One a frame; ids are shuffled in every frame.
    truth : DataFrame
        One row for each label that shows a true cell: ``frame``, ``label``, ``cell`` (the same in all frames), ``parent``
        (the cell that divided into it, 0 for none).
    drift_px : ndarray of float64, shape (n_frames, 2)
        By how much (y, x) the stage has moved since the first frame.
    """

    labels: list[npt.NDArray[np.uint16]]
    truth: pd.DataFrame
    drift_px: npt.NDArray[np.float64]


@dataclass
class _Cell:
    name: int
    parent: int
    place: npt.NDArray[np.float64]
    speed: npt.NDArray[np.float64]
    radius: float
    stretch: float
    angle: float
    rest: int  # frames before it may divide


def synthetic_movie(
    seed: int,
    n_frames: int = 20,
    size_px: int = 512,
    n_cells: int = 60,
    step_px: float = 4.0,
    radius_px: float = 17.0,
    divisions: float = 0.006,
    drift_px: float = 0.0,
    errors: bool = False,
) -> SyntheticMovie:
    """Simulate a movie of label images.

    Parameters
    ----------
    seed : int
        The same seed gives the same movie on every machine.
    n_frames, size_px, n_cells : int
    step_px : float
        By how much a cell moves from one frame to the next, about.
    radius_px : float
        Of a cell.
    divisions : float
        Probability that a cell divides, in a frame.
    drift_px : float
        By how much the stage moves from one frame to the next, about.
    errors : bool
        2 % of the cells are missed, 1 % merged with a neighbour, 1 % split, in each frame.

    Returns
    -------
    SyntheticMovie

    Examples
    --------
    >>> movie = synthetic_movie(seed=1, n_frames=3, size_px=128, n_cells=5)
    >>> len(movie.labels), movie.labels[0].shape, sorted(movie.truth.columns)
    (3, (128, 128), ['cell', 'frame', 'label', 'parent'])
    """
    rng = np.random.default_rng(seed)
    cells = [
        _Cell(k + 1, 0, rng.uniform(0, size_px, 2), rng.normal(0, step_px / 2, 2), radius_px * rng.uniform(0.8, 1.1), rng.uniform(1, 1.4), rng.uniform(0, np.pi), int(rng.integers(0, 12)))
        for k in range(n_cells)
    ]  # fmt: skip
    names, stage, stages = n_cells, np.zeros(2), []
    frames, rows = [], []
    _push_apart(cells, 20)
    for frame in range(n_frames):
        if frame:
            names = _move(rng, cells, names, step_px, radius_px, divisions, size_px)
            if drift_px:
                stage = stage + rng.normal(0, drift_px, 2)
        stages.append(stage)
        labels, shown = _draw(cells, size_px, stage)
        if errors:
            labels = _with_errors(rng, labels, shown)
        labels, of_label = _shuffled(rng, labels, shown)
        parents = {cell.name: cell.parent for cell in cells}
        rows += [{"frame": frame, "label": label, "cell": cell, "parent": parents[cell]} for label, cell in of_label]
        frames.append(labels)
    truth = pd.DataFrame(rows, columns=["frame", "label", "cell", "parent"]).astype(np.int64)
    return SyntheticMovie(frames, truth.sort_values(["frame", "label"], ignore_index=True), np.array(stages))


def _move(
    rng: np.random.Generator, cells: list[_Cell], names: int, step: float, radius: float, divisions: float, size: int
) -> int:
    born = []
    for cell in cells:
        cell.speed = 0.7 * cell.speed + rng.normal(0, 0.5 * step, 2)
        cell.place = cell.place + cell.speed
        cell.angle += rng.normal(0, 0.1)
        cell.radius += 0.08 * (radius - cell.radius)
        cell.rest -= 1
        if cell.rest <= 0 and rng.random() < divisions:
            axis = np.array([np.sin(cell.angle), np.cos(cell.angle)])
            small = cell.radius / np.sqrt(2)
            for side in (-1, 1):
                names += 1
                place = cell.place + side * small * axis
                born.append(_Cell(names, cell.name, place, side * axis * step / 2, small, 1.1, cell.angle, 12))
            cell.rest = -(10**6)  # it is gone
    cells[:] = [c for c in cells if c.rest > -(10**6) + 10 and (c.place > -40).all() and (c.place < size + 40).all()] + born  # fmt: skip
    _push_apart(cells, 2)
    return names


def _push_apart(cells: list[_Cell], times: int) -> None:
    for _ in range(times):
        places, radius = np.array([c.place for c in cells]), np.array([c.radius for c in cells])
        pairs = cKDTree(places).query_pairs(2.2 * float(radius.max()), output_type="ndarray")
        if not len(pairs):
            return
        a, b = pairs.T
        gap = places[b] - places[a]
        distance = np.linalg.norm(gap, axis=1) + 1e-9
        push = np.maximum(0, 0.93 * (radius[a] + radius[b]) - distance)[:, None] * gap / distance[:, None] / 2
        np.subtract.at(places, a, push)
        np.add.at(places, b, push)
        for cell, place in zip(cells, places, strict=True):
            cell.place = place


def _draw(cells: list[_Cell], size: int, stage: Any) -> tuple[npt.NDArray[np.uint16], list[int]]:
    """Ellipses; where two of them meet, each pixel is of the nearer one."""
    labels, nearest = np.zeros((size, size), np.uint16), np.full((size, size), np.inf)
    shown = [0]
    for cell in cells:
        y0, x0 = cell.place + stage
        reach = int(cell.radius * cell.stretch) + 2
        top, left, bottom, right = (int(v) for v in (max(0, y0 - reach), max(0, x0 - reach), min(size, y0 + reach + 1), min(size, x0 + reach + 1)))  # fmt: skip
        if top >= bottom or left >= right:
            continue
        y, x = np.mgrid[top:bottom, left:right]
        u = np.cos(cell.angle) * (x - x0) + np.sin(cell.angle) * (y - y0)
        v = -np.sin(cell.angle) * (x - x0) + np.cos(cell.angle) * (y - y0)
        away = np.hypot(u / cell.stretch**0.5, v * cell.stretch**0.5) / cell.radius
        window = nearest[top:bottom, left:right]
        inside = (away < 1) & (away < window)
        if inside.any():
            shown.append(cell.name)
            window[inside] = away[inside]
            labels[top:bottom, left:right][inside] = len(shown) - 1
    return labels, shown


def _with_errors(rng: np.random.Generator, labels: npt.NDArray[np.uint16], shown: list[int]) -> npt.NDArray[np.uint16]:
    ids = np.unique(labels)[1:]
    kind = rng.random(ids.size)
    new = np.arange(len(shown) + ids.size + 1).astype(np.uint16)
    missed, merged, split = ids[kind < 0.02], ids[(kind >= 0.02) & (kind < 0.03)], ids[(kind >= 0.03) & (kind < 0.04)]
    places = np.array([np.argwhere(labels == k).mean(axis=0) for k in ids]) if merged.size else np.zeros((0, 2))
    for k in merged:
        at = int(np.searchsorted(ids, k))
        order = np.linalg.norm(places - places[at], axis=1).argsort()
        if order.size > 1:
            new[k] = ids[order[1]]
    new[missed] = 0
    found = new[labels]
    for extra, k in enumerate(split):
        y, x = np.nonzero(found == k)
        if y.size:
            half = x > np.median(x)
            found[y[half], x[half]] = len(shown) + extra
    return found


def _shuffled(
    rng: np.random.Generator, labels: npt.NDArray[np.uint16], shown: list[int]
) -> tuple[npt.NDArray[np.uint16], list[tuple[int, int]]]:
    ids = np.unique(labels)[1:]
    new = np.zeros(int(labels.max()) + 1, np.uint16)
    new[ids] = rng.permutation(ids.size) + 1
    of_label = [(int(new[k]), shown[k]) for k in ids.tolist() if k < len(shown)]
    return new[labels], sorted(of_label)
