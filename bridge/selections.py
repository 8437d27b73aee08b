"""What the rooms `rois` and `imagej` share: the ROIs of one image, and the pixels they select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
POLYGON, BOX, OVAL = 0, 1, 2


@dataclass(frozen=True)
class Outlines:
    """The outlines of several ROIs, in px, as ImageJ holds them.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n_vertices,)
        Relative to the ROI's box.
    ring : ndarray of int64, shape (n_rings + 1,)
        Ring i has the vertices ``ring[i]:ring[i + 1]``.
    first : ndarray of int64, shape (n_rois + 1,)
        ROI k has the rings ``first[k]:first[k + 1]``; a box or an oval has none.
    box : ndarray of int64, shape (n_rois, 4)
        Left, top, width, height.
    kind : ndarray of uint8, shape (n_rois,)
        `POLYGON`, `BOX` or `OVAL`.
    whole : ndarray of bool, shape (n_rois,)
        All vertices are pixel corners.
    traced : ndarray of bool, shape (n_rois,)
        ImageJ takes its perimeter as that of an outline along pixel edges.
    rotated : ndarray of float64, shape (n_rois, 2)
        Length and width of a rotated rectangle, which ImageJ measures unasked; NaN for all others.
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    ring: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    box: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    whole: npt.NDArray[np.bool_]
    traced: npt.NDArray[np.bool_]
    rotated: npt.NDArray[np.float64]


@dataclass(frozen=True)
class RoiProblem:
    """Why the pixels of a ROI are not known.

    Attributes
    ----------
    roi : int
        Its place in the set.
    text : str
        Its name and what is wrong.
    has_area : bool
        It selects pixels all the same; a line or a point has none.
    """

    roi: int
    text: str
    has_area: bool


@dataclass(frozen=True)
class Selections:
    """The ROIs of one image, in the order of their ROI set.

    Attributes
    ----------
    names : tuple of str
    encoded : bytes
        The ROIs as ImageJ's decoder reads them, one after another.
    offset : ndarray of int64, shape (n_rois + 1,)
        ROI k is ``encoded[offset[k]:offset[k + 1]]``.
    shape : (int, int)
        Height and width of the image in px.
    row, left, right : ndarray of int32, shape (n_spans,)
        Runs of pixels: columns ``left`` to ``right - 1`` of ``row``, clipped to the image.
    first : ndarray of int64, shape (n_rois + 1,)
        ROI k selects the runs ``first[k]:first[k + 1]``, by row and column.
    group : ndarray of uint8, shape (n_rois,)
        ImageJ's group of each ROI, 0 for none.
    outlines : Outlines
    points : ndarray of int64, shape (n_rois,)
        Number of points of a point ROI, each of which ImageJ measures in a row of its own; 0 for all others.
    slice_of : ndarray of int64, shape (n_rois, 2)
        Slice and frame of a stack that a ROI belongs to; 0 for none.
    problems : tuple of RoiProblem
        ROIs whose pixels are not known.
    """

    names: tuple[str, ...]
    encoded: bytes
    offset: Ints
    shape: tuple[int, int]
    row: npt.NDArray[np.int32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    first: Ints
    group: npt.NDArray[Any]
    outlines: Outlines
    points: Ints
    slice_of: Ints
    problems: tuple[RoiProblem, ...] = ()

    @property
    def problem(self) -> str:
        """Why the pixels of a ROI are not known, the first of them; empty if they all are."""
        return self.problems[0].text if self.problems else ""

    @property
    def without_pixels(self) -> tuple[str, ...]:
        """Names of the ROIs that select no pixel of the image: outside of it, too thin, or none of the kind."""
        return tuple(self.names[k] for k in np.flatnonzero(np.diff(self.first) == 0))

    @property
    def area_px(self) -> Ints:
        """Number of pixels of each ROI."""
        return self._sums(self.right.astype(np.int64) - self.left)

    @property
    def centre_px(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Centroid (x, y) of each ROI; the centre of the first pixel is (0.5, 0.5)."""
        length = self.right.astype(np.int64) - self.left
        x = self._sums((self.left.astype(np.int64) + self.right - 1) * length // 2)
        y = self._sums(self.row * length)
        return x / self.area_px + 0.5, y / self.area_px + 0.5

    @property
    def extent_px(self) -> Ints:
        """Longer side of each ROI's bounding box."""
        if not self.names:
            return np.zeros(0, np.int64)
        begin, end = self.first[:-1], self.first[1:]
        if (begin == end).any():
            raise ValueError("a ROI without pixels has no extent")
        height = self.row[end - 1] - self.row[begin] + 1
        width = np.maximum.reduceat(self.right, begin) - np.minimum.reduceat(self.left, begin)
        longer: Ints = np.maximum(height, width).astype(np.int64)
        return longer

    @property
    def bounds_px(self) -> Ints:
        """Part of each ROI's box within the image: left, top, width, height, zeros outside; shape (n_rois, 4).

        Source: ij.process.ImageProcessor.setRoi.
        """
        left, top, width, height = self.outlines.box.T
        rows, columns = self.shape
        first_x, first_y = np.maximum(left, 0), np.maximum(top, 0)
        last_x, last_y = np.minimum(left + width, columns), np.minimum(top + height, rows)
        found: Ints = np.stack([first_x, first_y, last_x - first_x, last_y - first_y], axis=1)
        beyond = (left < 0) | (top < 0) | (left + width > columns) | (top + height > rows)
        found[beyond & ((found[:, 2] <= 0) | (found[:, 3] <= 0))] = 0
        return found

    @property
    def by_place(self) -> Ints:
        """The ROIs from top to bottom: in this order a pass over their pixels stays within few rows of the image."""
        if not self.row.size:
            return np.zeros(0, np.int64)
        # A ROI whose pixels are not known has no run: the last one then begins behind the end.
        return np.argsort(self.row[np.minimum(self.first[:-1], self.row.size - 1)], kind="stable")

    def _sums(self, of_runs: Ints) -> Ints:
        total: Ints = np.concatenate([np.zeros(1, np.int64), np.cumsum(of_runs)])
        sums: Ints = total[self.first[1:]] - total[self.first[:-1]]
        return sums
