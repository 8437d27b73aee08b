from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from bridge.errors import LabelError
from bridge.scores.boundary import boundary_f1
from bridge.scores.matching import match_labels
from bridge.scores.neurips import score_neurips
from bridge.scores.overlaps import overlaps
from bridge.scores.score import Counts, aggregated_jaccard, score


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


# ---------------------------------------------------------------- scores


def random_labels(rng: np.random.Generator, n: int, gaps: bool) -> np.ndarray:
    labels = rng.integers(0, n + 1, (9, 11)).repeat(4, 0).repeat(4, 1)
    return (labels * (7 if gaps else 1)).astype(np.uint16)


def disturbed(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    other = np.where(rng.random(labels.shape) < 0.25, rng.choice(labels.ravel(), labels.shape), labels)
    other[other == other.max()] = 0
    return np.roll(other, int(rng.integers(0, 3)), axis=1).astype(np.uint16)


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_those_of_the_best_assignment(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = random_labels(rng, 12, gaps=bool(seed % 2))
    predicted = disturbed(rng, true)
    ids_true, ids_predicted = (np.unique(a[a > 0]) for a in (true, predicted))
    iou = np.array([
        [((true == i) & (predicted == j)).sum() / ((true == i) | (predicted == j)).sum() for j in ids_predicted]
        for i in ids_true
    ])  # fmt: skip
    found = score(true, predicted)
    assert (found.n_true, found.n_predicted) == iou.shape
    for threshold, counts in found.by_iou.items():
        rows, columns = linear_sum_assignment(iou >= threshold, maximize=True)
        tp = int((iou[rows, columns] >= threshold).sum())
        assert (counts.tp, counts.fp, counts.fn) == (tp, iou.shape[1] - tp, iou.shape[0] - tp)
        assert counts.average_precision == tp / (iou.shape[0] + iou.shape[1] - tp)
        if threshold > 0.5:
            assert counts.iou_sum == pytest.approx(iou[iou >= threshold].sum(), abs=1e-12)
    both, either = ((true > 0) & (predicted > 0)).sum(), ((true > 0) | (predicted > 0)).sum()
    assert found.pixels.iou == both / either
    assert found.pixels.dice == 2 * both / (both + either)
    assert found.pixels.accuracy == ((true > 0) == (predicted > 0)).mean()
    inside_true = [sum(((true == i) & (predicted == j)).sum() * 2 > (true == i).sum() for i in ids_true) for j in ids_predicted]  # fmt: skip
    assert found.merged == sum(n > 1 for n in inside_true)


EMPTY = np.zeros((10, 10), np.uint16)
SQUARE = np.pad(np.ones((4, 5), np.uint16), ((3, 3), (2, 3))) * 9


def test_nothing_against_nothing_is_perfect() -> None:
    found = score(EMPTY, EMPTY)
    for counts in found.by_iou.values():
        assert (counts.average_precision, counts.precision, counts.recall, counts.f1) == (1, 1, 1, 1)
        assert np.isnan(counts.mean_iou)
        assert counts.panoptic_quality == 1
    assert (found.pixels.dice, found.pixels.iou, found.pixels.precision, found.pixels.recall) == (1, 1, 1, 1)
    assert (found.pixels.accuracy, found.count_error, aggregated_jaccard(overlaps(EMPTY, EMPTY))) == (1, 0, 1)


def test_all_missed_and_all_false() -> None:
    missed, false = score(SQUARE, EMPTY), score(EMPTY, SQUARE)
    for found, error in ((missed, -1), (false, 1)):
        counts = found.by_iou[0.5]
        assert (counts.average_precision, counts.precision, counts.recall, counts.f1) == (0, 0, 0, 0)
        assert (found.pixels.dice, found.pixels.accuracy, found.count_error) == (0, 0.8, error)
    assert aggregated_jaccard(overlaps(SQUARE, EMPTY)) == aggregated_jaccard(overlaps(EMPTY, SQUARE)) == 0


def test_one_label_far_from_one_is_one_cell() -> None:
    # Cellpose 3 counts cells by the largest label and gives 1 / 9.
    assert score(SQUARE, SQUARE).by_iou[0.95] == Counts(1, 0, 0, 1.0)


def test_one_huge_cell_merges_all() -> None:
    true = EMPTY.copy()
    true[1:4, 1:4], true[1:4, 5:8], true[6:9, 1:4] = 1, 2, 3
    found = score(true, EMPTY + 1)
    assert (found.merged, found.split, found.count_error) == (1, 0, -2)
    assert found.by_iou[0.5].tp == 0
    assert (found.pixels.recall, found.pixels.precision) == (1, 27 / 100)
    # Each true cell of 9 px takes the one of 100 px: 27 shared, 3 x 100 in the unions.
    assert aggregated_jaccard(overlaps(true, EMPTY + 1)) == 27 / 300
    turned = score(EMPTY + 1, true)
    assert (turned.merged, turned.split) == (0, 1)


def test_exactly_one_half_counts_once() -> None:
    # Each half of the cell has an IoU of exactly 0.5: two partners are possible, one counts.
    true = np.array([[1, 1, 1, 1]], np.uint16)
    halves = np.array([[1, 1, 2, 2]], np.uint16)
    assert score(true, halves).by_iou[0.5] == Counts(1, 1, 0, 0.5)
    assert score(true, halves).by_iou[0.55] == Counts(0, 2, 1, 0.0)


def test_touching_nuclei_merged_hide_from_the_pixels() -> None:
    true = EMPTY.copy()
    true[2:8, 1:5], true[2:8, 5:9] = 1, 2
    found = score(true, (true > 0).astype(np.uint16))
    assert found.pixels.dice == 1
    assert found.by_iou[0.55].f1 == 0
    assert found.merged == 1


def test_counts_add_up() -> None:
    total = sum((score(SQUARE, SQUARE).by_iou[0.5], score(SQUARE, EMPTY).by_iou[0.5]), Counts())
    assert (total.precision, total.recall, total.f1) == (1, 0.5, 2 / 3)
    pixels = score(SQUARE, SQUARE).pixels + score(EMPTY, EMPTY).pixels
    assert (pixels.tp, pixels.tn) == (20, 180)


def test_the_challenges_rule() -> None:
    true = EMPTY.copy()
    true[3:6, 3:6] = 1
    true[0:3, 6:9] = 2  # in the strip along the border
    assert score_neurips(true, true) == Counts(1, 0, 0, 1.0)
    assert score_neurips(true, EMPTY) == Counts(0, 0, 1, 0.0)
    large = np.zeros((5000, 5000), np.uint8)  # 25 million px: in patches
    large[100:110, 100:110] = 1
    large[1995:2005, 100:110] = 2  # cut by two patches, so in the border of both
    assert score_neurips(large, large) == Counts(1, 0, 0, 1.0)


# ---------------------------------------------------------------- against independent implementations


@pytest.mark.parametrize("seed", range(10))
def test_stardist_counts_the_same(seed: int) -> None:
    from stardist.matching import matching

    rng = np.random.default_rng(100 + seed)
    true = random_labels(rng, 12, gaps=bool(seed % 2))
    predicted = disturbed(rng, true)
    found = score(true, predicted)
    for threshold, ours in found.by_iou.items():
        theirs = matching(true, predicted, thresh=threshold)
        assert (ours.tp, ours.fp, ours.fn) == (theirs.tp, theirs.fp, theirs.fn)
        assert (ours.average_precision, ours.f1) == pytest.approx((theirs.accuracy, theirs.f1), abs=1e-12)
        if ours.tp:
            assert (ours.precision, ours.recall) == pytest.approx((theirs.precision, theirs.recall), abs=1e-12)
        if threshold > 0.5:  # at one half there are several best sets of partners
            # stardist adds up in 32 bit.
            assert ours.panoptic_quality == pytest.approx(theirs.panoptic_quality, abs=1e-6)
            assert not ours.tp or ours.mean_iou == pytest.approx(theirs.mean_matched_score, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_coco_and_scikit_image_see_the_same_overlaps(seed: int) -> None:
    from pycocotools import mask
    from skimage.metrics import contingency_table

    rng = np.random.default_rng(200 + seed)
    true = random_labels(rng, 9, gaps=True)
    predicted = disturbed(rng, true)
    found = overlaps(true, predicted)
    table = contingency_table(true, predicted).tocoo()
    theirs = {(int(t), int(p)): int(n) for t, p, n in zip(table.row, table.col, table.data, strict=True) if t and p}
    ours = {(int(t), int(p)): int(n) for t, p, n in zip(found.true, found.predicted, found.both_px, strict=True)}
    assert ours == theirs

    def encoded(labels: np.ndarray, i: int) -> object:
        return mask.encode(np.asfortranarray(labels == i, np.uint8))

    for t, p, iou in zip(found.true[:20], found.predicted[:20], found.iou[:20], strict=True):
        assert iou == pytest.approx(mask.iou([encoded(predicted, p)], [encoded(true, t)], [0])[0, 0], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_cellposes_own_metrics_agree_on_labels_without_gaps(seed: int) -> None:
    from cellpose import metrics

    rng = np.random.default_rng(300 + seed)
    true = random_labels(rng, 9, gaps=False)
    predicted = np.unique(disturbed(rng, true), return_inverse=True)[1].reshape(true.shape).astype(np.uint16)
    found = score(true, predicted)
    theirs, tp, _, _ = metrics.average_precision(true, predicted, threshold=[0.55, 0.75, 0.9])
    ours = [found.by_iou[t] for t in (0.55, 0.75, 0.9)]
    assert [c.tp for c in ours] == tp.tolist()
    assert [c.average_precision for c in ours] == pytest.approx(theirs.tolist(), abs=1e-6)


def test_outlines_within_a_tolerance() -> None:
    square = np.zeros((20, 20), np.uint16)
    square[5:15, 5:15] = 1
    # 36 outline pixels; shifted by 4, the upper and lower rows share 8 (within 2 px), a right column 2 of 8 at each end.
    assert boundary_f1(square, np.roll(square, 4, axis=1), 2) == pytest.approx((8 + 8 + 2 + 2) / 36)
    halves = square.copy()
    halves[5:15, 10:15] = 2
    assert boundary_f1(halves, square, 0) == pytest.approx(2 * 36 / (36 + 52))  # the line between two cells counts
    assert (boundary_f1(EMPTY, EMPTY), boundary_f1(SQUARE, EMPTY)) == (1, 0)


def test_the_last_patches_are_filled_up_as_the_challenge_does() -> None:
    labels = np.zeros((5100, 5000), np.uint16)
    labels[5090:5100, 100:110] = 1  # at the lower border of the image, not of its patch
    labels[0:9, 100:110] = 2
    labels[1995:2005, 300:310] = 3  # cut by two patches: at the border of both
    assert score_neurips(labels, labels) == Counts(1, 0, 0, 1.0)
