from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.errors import LabelError
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import as_labels, label_areas, label_ids, touches_border


@pytest.mark.parametrize(("top", "dtype"), [(3, "uint16"), (65535, "uint16"), (65536, "uint32"), (2**24, "uint32")])
def test_type_follows_the_largest_id_and_nothing_is_renumbered(tmp_path: Path, top: int, dtype: str) -> None:
    labels = as_labels(np.array([[0, top], [1, top]], np.int64))
    assert labels.dtype == dtype
    path = tmp_path / "a_mask.tif"
    write_labels(path, labels)
    again = read_labels(path)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, labels)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((2, 2, 2), int), "not a 2-D label image (got shape (2, 2, 2), expected (Y, X)). Save one plane."),
        (np.array([[0.5]]), "ids that are not whole numbers (expected integers). Save the label image as 16-bit."),
        (np.array([[-1]]), "negative ids (got -1, expected 0 and above). Save the label image again."),
        (
            np.array([[2**24 + 1]]),
            "an id ImageJ cannot hold exactly (got 16777217, expected at most 16777216). Renumber the cells.",
        ),
        (np.array([[True]]), "a binary mask (expected one id for each cell). Label the cells first."),
    ],
)
def test_refused(array: np.ndarray, text: str) -> None:
    with pytest.raises(LabelError) as refused:
        as_labels(array, "x.tif")
    assert str(refused.value) == f"x.tif: {text}"


def test_areas_ids_and_border() -> None:
    labels = np.zeros((5, 5), np.uint16)
    labels[0, 0] = 7
    labels[2, 2:4] = 3
    labels[4, 1] = 9
    assert label_ids(labels).tolist() == [3, 7, 9]
    assert label_areas(labels)[[3, 7, 9]].tolist() == [2, 1, 1]
    assert np.flatnonzero(touches_border(labels)).tolist() == [7, 9]
