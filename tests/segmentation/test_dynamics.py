"""Our kernels against Cellpose's own functions, bit for bit: a Cellpose that changes one of them is seen here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cellpose import dynamics, metrics, utils
from scipy import ndimage

from bridge.images.label_images import read_labels
from bridge.segmentation.backend import Prediction, labels_of
from bridge.segmentation.dynamics.cells import cells_of
from bridge.segmentation.dynamics.flow_check import flow_errors
from bridge.segmentation.dynamics.follow import PAD, ends_of
from bridge.segmentation.dynamics.holes import fill_holes
from bridge.segmentation.dynamics.masks import masks_of
from bridge.segmentation.dynamics.shape_flows import targets_of_labels
from bridge.segmentation.segmenter import Segmenter
from bridge.synthetic import synthetic_field

WHOLE = (slice(None), slice(None))
CPU = torch.device("cpu")


def random_flows(seed: int, shape: tuple[int, int], smooth: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    flows = np.stack([ndimage.gaussian_filter(rng.normal(0, 1, shape), smooth) for _ in range(2)])
    flows *= 5 * rng.uniform(0.2, 1.5) / (np.abs(flows).max() + 1e-9)
    cellprob = ndimage.gaussian_filter(rng.normal(0, 1, shape), smooth)
    return flows.astype(np.float32), cellprob.astype(np.float32)


def of_cells(seed: int, shape: tuple[int, int], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Flows towards the middles of made cells, with noise: what a network says."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(0, shape, (n, 2))
    y, x = np.mgrid[: shape[0], : shape[1]]
    nearest = ((y[..., None] - middle[:, 0]) ** 2 + (x[..., None] - middle[:, 1]) ** 2).argmin(axis=2)
    towards = np.stack([middle[nearest, 0] - y, middle[nearest, 1] - x])
    distance = np.hypot(*towards) + 1e-3
    flows = 5 * towards / distance + rng.normal(0, rng.uniform(0, 2.5), (2, *shape))
    return flows.astype(np.float32), (rng.uniform(6, 14) - distance + rng.normal(0, 1, shape)).astype(np.float32)


MADE = [random_flows(k, (37 + 11 * k, 90 - 5 * k), 1 + k % 4) for k in range(8)] + [
    of_cells(k, (60 + 9 * k, 140 - 7 * k), 3 + 2 * k) for k in range(10)
]


@pytest.mark.parametrize("k", range(len(MADE)))
@pytest.mark.parametrize(("niter", "threshold"), [(200, 0.0), (7, -0.3), (331, 0.1), (1, 0.0)])
def test_pixels_end_where_cellpose_takes_them(k: int, niter: int, threshold: float) -> None:
    flows, cellprob = MADE[k]
    pixels, ends = ends_of(flows, cellprob, threshold, niter)
    inside = np.nonzero(cellprob > threshold)
    np.testing.assert_array_equal(pixels, np.ravel_multi_index(inside, cellprob.shape))
    if not pixels.size:
        return
    theirs = dynamics.follow_flows(flows * (cellprob > threshold) / 5.0, inds=inside, niter=niter, device=CPU)
    y, x = torch.from_numpy(theirs).int().numpy()
    np.testing.assert_array_equal(ends, (y + PAD) * (cellprob.shape[1] + 2 * PAD) + x + PAD)
    labels = cells_of(pixels, ends, cellprob.shape)
    expected = dynamics.get_masks_torch(torch.from_numpy(theirs).int(), inside, cellprob.shape, max_size_fraction=1.0)
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == expected.dtype


@pytest.mark.parametrize("k", range(len(MADE)))
def test_flows_are_checked_as_cellpose_does(k: int) -> None:
    flows, cellprob = MADE[k]
    labels = cells_of(*ends_of(flows, cellprob, 0.0, 200), cellprob.shape)
    if labels.max() == 0:
        return
    expected, _ = metrics.flow_error(labels, flows, device=CPU)
    np.testing.assert_array_equal(flow_errors(labels, flows)[1:], expected)


def test_targets_are_cellposes_own() -> None:
    for seed in range(4):
        labels = synthetic_field(seed=seed, size_px=180 + 50 * seed, n_cells=6 + 5 * seed).cells
        labels = np.where(labels % 3 == 1, 0, 5 * labels)  # numbers with gaps
        expected = dynamics.labels_to_flows([labels.astype(np.int32)], device=CPU)[0][1:4].astype(np.float32)
        np.testing.assert_array_equal(targets_of_labels(labels), expected)
    assert not targets_of_labels(np.zeros((5, 7), np.uint16)).any()


def test_holes_are_filled_as_cellpose_does() -> None:
    rng = np.random.default_rng(3)
    for k in range(60):
        blocks = rng.integers(0, 7, (rng.integers(2, 14), rng.integers(2, 14)))
        labels = np.kron(blocks, np.ones((3, 3), int)).astype(np.uint16)
        labels[rng.random(labels.shape) < 0.15] = 0
        if k % 2:
            ring = np.zeros((9, 9), np.uint16)
            ring[1:8, 1:8], ring[2:7, 2:7], ring[4, 4] = 1, 0, 5
            labels = ring * np.uint16(rng.integers(1, 3))
        expected = utils.fill_holes_and_remove_small_masks(labels.copy(), min_size=-1)
        fill_holes(labels)
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("flow_threshold", [0.0, 0.2, 0.4, 1.0])
def test_whole_masks_and_what_was_dropped(flow_threshold: float) -> None:
    for flows, cellprob in MADE:
        for window in (WHOLE, (slice(3, 41), slice(2, 30))):
            prediction = Prediction(flows, cellprob, 200)
            expected, dropped = labels_of(prediction, flow_threshold, 0.0, CPU, window)
            labels, ours = masks_of(flows, cellprob, 200, flow_threshold, 0.0, window)
            np.testing.assert_array_equal(labels, expected)
            assert ours == dropped


def test_of_a_network() -> None:
    backend = Segmenter("demo", device="cpu")._backend
    for seed in range(3):
        field = synthetic_field(seed=80 + seed, size_px=320, n_cells=25)
        prediction = backend.predict(field.phase, 37.0, 8, True)
        expected, dropped = labels_of(prediction, 0.4, 0.0, CPU)
        labels, ours = backend.masks(prediction, 0.4, 0.0)
        np.testing.assert_array_equal(labels, expected)
        assert ours == dropped
        assert labels.max() > 15


@pytest.mark.slow
def test_real_fields(shared_data, cyto_0) -> None:  # type: ignore[no-untyped-def]
    from PIL import Image

    backend = cyto_0._backend
    for path in sorted((shared_data / "nuclei_520x696" / "images").glob("*.png"))[:2]:
        image = np.asarray(Image.open(path))
        image = image if image.ndim == 2 else image[..., 0]
        truth = read_labels(path.parents[1] / "labels" / path.name)
        diameter = float(2 * np.sqrt(np.median(np.bincount(truth.ravel())[1:]) / np.pi))
        prediction = backend.predict(image, diameter, 8, True)
        expected, dropped = labels_of(prediction, 0.4, 0.0, CPU)
        labels, ours = backend.masks(prediction, 0.4, 0.0)
        np.testing.assert_array_equal(labels, expected)
        assert ours == dropped


def rounded_and_exact() -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Flows and cellprob of the same cells, once with a crumb and a cell of worse flows, and where these two are."""
    cells = synthetic_field(seed=4, size_px=300, n_cells=12).cells
    targets = targets_of_labels(cells)
    exact = [5 * targets[1:], 12 * targets[0] - 6]
    worse, (y, x) = cells == 5, np.argwhere(ndimage.binary_erosion(cells == 0, np.ones((9, 9))))[0]
    crumb = np.zeros(cells.shape, bool)
    crumb[y - 1 : y + 2, x - 1 : x + 3] = True  # Cellpose takes no fewer than 10 px for one
    rounded = [np.where(worse, 0.4 * exact[0], exact[0]), np.where(crumb, 1.0, exact[1]).astype(np.float32)]
    middle = np.array([y, x])[:, None, None] - np.indices(cells.shape)
    rounded[0] = np.where(crumb, np.sign(middle) * 5, rounded[0]).astype(np.float32)
    return rounded, exact, np.stack([worse, crumb])


def test_what_rounding_decides_about_is_looked_at_exactly() -> None:
    rounded, exact, (worse, crumb) = rounded_and_exact()
    found, _ = masks_of(*rounded, 200, 10.0, 0.0, WHOLE)
    of_worse, of_crumb = found[worse][0], found[crumb].max()
    assert (found == of_crumb).sum() < 0.02 * (found == of_worse).sum() < 0.02 * found.size
    threshold = float(flow_errors(found, rounded[0])[of_worse]) - 0.005
    asked: list[np.ndarray] = []

    def again(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(pixels.copy())
        flows, cellprob = (np.where(pixels, right, wrong) for right, wrong in zip(exact, rounded, strict=True))
        return flows, cellprob

    without_looking, _ = masks_of(*rounded, 200, threshold, 0.0, WHOLE)
    assert not without_looking[worse].any()
    assert without_looking[crumb].any()
    labels, _ = masks_of(*rounded, 200, threshold, 0.0, WHOLE, again)
    np.testing.assert_array_equal(labels, masks_of(*exact, 200, threshold, 0.0, WHOLE)[0])
    assert len(asked) == 1
    np.testing.assert_array_equal(asked[0], (found == of_worse) | (found == of_crumb))
    masks_of(*exact, 200, threshold, 0.0, WHOLE, again)
    assert len(asked) == 1


def test_there_is_an_end_of_looking() -> None:
    """Whatever a network says the second time."""
    rounded, _, _ = rounded_and_exact()
    calls: list[int] = []

    def again(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(int(pixels.sum()))
        # The same crumb again, a few pixels further each time.
        return np.roll(rounded[0], 4 * len(calls), 1), np.roll(rounded[1], 4 * len(calls), 1)

    masks_of(*rounded, 200, 0.4, 0.0, WHOLE, again)
    assert 1 <= len(calls) <= 2
    assert calls == sorted(calls)
