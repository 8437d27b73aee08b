"""Polygons of other programs -> the bytes of ImageJ's ROIs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Polygon:
    """An area of another program.

    Attributes
    ----------
    name : str
    rings : list of ndarray of float64, shape (n_points, 2)
        x and y in px; a pixel is inside if an odd number of rings encloses it.
    """

    name: str
    rings: list[npt.NDArray[np.float64]]


def encode_polygon(polygon: Polygon) -> bytes:
    """Make an ImageJ ROI of a polygon: a polygon of one ring, a composite of several.

    Examples
    --------
    >>> square = np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [1.0, 3.0]])
    >>> encode_polygon(Polygon("a", [square]))[:4]
    b'Iout'
    """
    from roifile import ROI_TYPE, ImagejRoi

    corners = np.concatenate(polygon.rings)
    if len(polygon.rings) == 1:
        whole = bool((corners == np.round(corners)).all())
        single = ImagejRoi.frompoints(corners.astype(np.int32) if whole else corners, name=polygon.name)
        if whole and _along_edges(corners):
            single.roitype = ROI_TYPE.TRACED  # ImageJ then measures its perimeter as that of pixels
        return bytes(single.tobytes())
    path: list[Any] = []
    for ring in polygon.rings:
        for k, (x, y) in enumerate(ring.tolist()):
            path += [float(k > 0), x, y]  # 0: move, 1: line
        path.append(4.0)  # close
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    composite = ImagejRoi(
        roitype=ROI_TYPE.RECT, multi_coordinates=np.array(path, np.float32), shape_roi_size=len(path),
        left=int(low[0]), top=int(low[1]), right=int(high[0]), bottom=int(high[1]), name=polygon.name,
    )  # fmt: skip
    return bytes(composite.tobytes())


def _along_edges(corners: npt.NDArray[np.float64]) -> bool:
    step = np.diff(corners, axis=0, append=corners[:1])
    return bool(((step[:, 0] == 0) | (step[:, 1] == 0)).all())
