"""Two label images, two tables: where they differ, in words."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bridge.names import number

if TYPE_CHECKING:
    import numpy.typing as npt


class Row(NamedTuple):
    """A row of a table that differs."""

    key: str
    words: str


def differing(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> tuple[int, int]:
    """Return how many cells of two label images are not the same pixels, and how many pixels that concerns.

    The numbers of the cells do not matter. A cell that is there in one alone counts once.

    Examples
    --------
    >>> differing(np.array([[1, 1, 2, 0]]), np.array([[5, 5, 0, 0]]))
    (1, 1)
    >>> differing(np.array([[1, 1, 2, 2]]), np.array([[7, 7, 1, 1]]))
    (0, 0)
    """
    if np.array_equal(before, after):
        return 0, 0
    many = int(after.max()) + 1
    keys, n = np.unique(before.ravel().astype(np.int64) * many + after.ravel(), return_counts=True)
    first, second = np.divmod(keys, many)
    in_both = (first != 0) & (second != 0)
    whole = (n == np.bincount(before.ravel())[first]) & (n == np.bincount(after.ravel())[second])
    same = (in_both & whole) | (keys == 0)
    cells, others = set(first[~same].tolist()) - {0}, set(second[~same].tolist()) - {0}
    overlapped = set(second[~same & in_both].tolist())
    pixels = int(n[~same].sum())
    return len(cells) + len(others - overlapped), pixels


def changed_rows(bundled: Path, here: Path) -> tuple[list[Row], str]:
    """Return the rows in which two tables differ, and what keeps them from being compared row by row."""
    tables = []
    for path in (bundled, here):
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            try:
                tables.append(list(csv.reader(file)))
            except csv.Error as error:
                return [], f"it is no table (got {error}, expected rows of numbers)"
    before, after = tables
    if before[:1] != after[:1]:
        return (
            [],
            f"it has other columns (got {', '.join(before[0]) if before else 'none'}, expected {', '.join(after[0])})",
        )
    if len(before) != len(after):
        return [], f"it has other rows (got {len(before) - 1}, expected {len(after) - 1})"
    heading = after[0]
    at, what = (heading.index("label"), "cell") if "label" in heading else (0, "row")
    found = []
    for old, new in zip(before[1:], after[1:], strict=True):
        if old == new:
            continue
        columns = [k for k, (a, b) in enumerate(zip(old, new, strict=False)) if a != b] or [0]
        more = f", and {number(len(columns) - 1, 'column')} more" if len(columns) > 1 else ""
        k = columns[0]
        got, expected = (old[k] if k < len(old) else ""), (new[k] if k < len(new) else "")
        found.append(Row(f"{what} {new[at]}", f"{heading[k]} got {got}, expected {expected}{more}"))
    return found, "" if found else "its bytes differ (got other line ends, expected those that the program writes)"
