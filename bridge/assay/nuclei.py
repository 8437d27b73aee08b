"""Which cell a nucleus lies in, and the ring around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.labels import Labels, label_ids


def cell_of_nuclei(nuclei: Labels, cells: Labels) -> npt.NDArray[np.int64]:
    """Return the cell of each nucleus: the one that holds most of its pixels.

    Parameters
    ----------
    nuclei, cells : ndarray of uint8, uint16 or uint32, shape (Y, X)

    Returns
    -------
    ndarray of int64, shape (n_nuclei,)
        In the order of the nuclei's labels; 0 for an orphan, of which more pixels lie outside of all cells than in any
        one. Of two cells that hold as many, it is the one with the smaller label.

    Examples
    --------
    >>> nuclei, cells = np.array([[1, 1, 1, 2]]), np.array([[0, 7, 7, 0]])
    >>> cell_of_nuclei(nuclei, cells).tolist()
    [7, 0]
    """
    ids = label_ids(nuclei)
    inside = nuclei > 0
    pairs, n = np.unique(np.stack([nuclei[inside], cells[inside]]).astype(np.int64), axis=1, return_counts=True)
    # The last of each nucleus wins: by pixels, then a cell before none, then the smaller label.
    outside = pairs[1] == 0
    order = np.lexsort((-pairs[1], ~outside, n, pairs[0]))
    nucleus, cell = pairs[0][order], pairs[1][order]
    last = np.append(nucleus[1:] != nucleus[:-1], True) if nucleus.size else np.zeros(0, np.bool_)
    found: npt.NDArray[np.int64] = cell[last]
    assert found.size == ids.size
    return found


def union_of_nuclei(
    cell_ids: npt.NDArray[Any], of_cell: npt.NDArray[np.int64], values: npt.NDArray[np.float64], area: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean over all pixels of each cell's nuclei, and the sum of the nuclei's values.

    Parameters
    ----------
    cell_ids : ndarray, shape (n_cells,)
        Ascending.
    of_cell : ndarray of int64, shape (n_nuclei,)
        As `cell_of_nuclei` returns it.
    values, area : ndarray, shape (n_nuclei,)
        What each nucleus measures, and its pixels.

    Returns
    -------
    mean, total : ndarray of float64, shape (n_cells,)
        NaN for a cell without nucleus.
    """
    at = np.searchsorted(cell_ids, of_cell)
    known = of_cell > 0
    weighted, total, pixels, n = (
        np.bincount(at[known], weights=w[known], minlength=cell_ids.size)
        for w in (values * area, values, area.astype(np.float64), np.ones(of_cell.size))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: npt.NDArray[np.float64] = np.where(n > 0, weighted / pixels, np.nan)
    return mean, np.where(n > 0, total, np.nan)


def rings_of(nuclei: Labels, cells: Labels, width_px: int) -> Labels:
    """Return a ring around each nucleus: the cytoplasm next to it.

    Parameters
    ----------
    nuclei, cells : ndarray of uint8, uint16 or uint32, shape (Y, X)
    width_px : int

    Returns
    -------
    ndarray, shape (Y, X)
        With the labels of the nuclei. A pixel between two nuclei goes to the nearer one; a ring stays within the cell of
        its nucleus, that of an orphan outside of all cells. A nucleus without room has none.

    Examples
    --------
    >>> nuclei, cells = np.array([[0, 0, 0, 4, 0, 0]], np.uint16), np.array([[0, 0, 7, 7, 7, 7]], np.uint16)
    >>> rings_of(nuclei, cells, 2).tolist()
    [[0, 0, 4, 0, 4, 4]]
    """
    from skimage.segmentation import expand_labels

    ring: Labels = np.where(nuclei == 0, expand_labels(nuclei, width_px), 0).astype(nuclei.dtype)
    owner = np.zeros(int(nuclei.max(initial=0)) + 1, np.int64)
    owner[label_ids(nuclei)] = cell_of_nuclei(nuclei, cells)
    ring[cells != owner[ring]] = 0
    return ring
