from __future__ import annotations

import numpy as np
import pytest

from bridge.errors import LabelError
from bridge.evaluation import match_labels


def test_shifted_square() -> None:
    true = np.zeros((20, 30), np.uint16)
    true[5:15, 5:15] = 7
    predicted = np.zeros_like(true)
    predicted[5:15, 8:18] = 9
    match = match_labels(true, predicted)
    assert (match.true.tolist(), match.predicted.tolist()) == ([7], [9])
    assert match.iou.tolist() == [70 / 130]
    assert match_labels(true, np.roll(predicted, 1, axis=1)).true.size == 0  # 60 / 140


def test_exactly_half_is_no_match() -> None:
    true = np.array([[1, 1, 1, 0]], np.uint16)
    predicted = np.array([[0, 2, 2, 2]], np.uint16)
    assert match_labels(true, predicted).true.size == 0  # 2 / 4


def test_gaps_empty_images_and_small_cells() -> None:
    empty = np.zeros((3, 3), np.uint16)
    one = empty.copy()
    one[0, 0] = 60000
    match = match_labels(one, one)
    assert (match.n_true, match.n_predicted, match.iou.tolist()) == (1, 1, [1.0])
    for a, b, counts in ((empty, empty, (0, 0)), (one, empty, (1, 0)), (empty, one, (0, 1))):
        match = match_labels(a, b)
        assert (match.n_true, match.n_predicted, match.true.size) == (*counts, 0)
    assert match_labels(one, one, min_area_px=2).n_true == 0


def test_sizes_differ() -> None:
    with pytest.raises(
        LabelError, match=r"^label images differ in size \(got \(2, 2\) and \(3, 3\), expected the same\)"
    ):
        match_labels(np.zeros((2, 2), np.uint16), np.zeros((3, 3), np.uint16))


def test_against_an_independent_count() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 9, (8, 10)).repeat(5, 0).repeat(5, 1).astype(np.uint16)
    predicted = np.where(rng.random(true.shape) < 0.15, rng.integers(0, 9, true.shape), true).astype(np.uint16)
    match = match_labels(true, predicted)
    expected = {}
    for i in range(1, 9):
        for j in range(1, 9):
            a, b = true == i, predicted == j
            iou = (a & b).sum() / (a | b).sum()
            if iou > 0.5:
                expected[i, j] = iou
    assert (
        dict(zip(zip(match.true.tolist(), match.predicted.tolist(), strict=True), match.iou.tolist(), strict=True))
        == expected
    )
