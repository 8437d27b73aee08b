"""The diameter from the style vector, and what a network sees of colour images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import bridge
from bridge.errors import ModelError
from bridge.images.colour import two_planes
from bridge.images.label_images import read_labels, write_labels
from bridge.images.reader import read_plane
from bridge.segmentation.models import DEMO, resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.segmentation.size_model import SizeModel, fit_size_model, read_size_model, write_size_model
from bridge.synthetic import synthetic_field


def test_a_size_model_is_what_cellposes_own_formula_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    styles = rng.normal(size=(60, 256)).astype(np.float32)
    logs = rng.normal(size=60) * 0.3
    ours = fit_size_model(styles, logs, 30.0)
    # cellpose.train.train_size and models.SizeModel._size_estimation, in its own words.
    smean, ymean = styles.mean(axis=0), logs.mean()
    x = (styles - smean).T
    a = np.linalg.solve(x @ x.T + np.eye(256), x @ (logs - ymean))
    theirs = np.exp(a @ (styles[3] - smean) + np.log(30.0) + ymean)
    assert ours.estimate_px(styles[3]) == pytest.approx(theirs, rel=1e-5)
    write_size_model(tmp_path / "m_size.npy", ours)
    again = read_size_model(tmp_path / "m_size.npy")
    assert again.estimate_px(styles[3]) == ours.estimate_px(styles[3])
    from cellpose.models import SizeModel as Theirs

    class Model:
        pretrained_model, device, diam_mean = "m", None, 30.0

    read_by_cellpose = Theirs(Model(), pretrained_size=str(tmp_path / "m_size.npy"))
    assert float(read_by_cellpose._size_estimation(styles[3])) == pytest.approx(theirs, rel=1e-5)
    zero = SizeModel(np.zeros(256), np.zeros(256), 0.0, 27.0, square=True)
    assert zero.estimate_px(np.zeros(256)) == pytest.approx(27 * 2 / np.sqrt(np.pi))


def test_a_size_model_is_no_plain_pickle(tmp_path: Path) -> None:
    np.save(tmp_path / "a_size.npy", np.zeros(3))
    with pytest.raises(ModelError) as refused:
        read_size_model(tmp_path / "a_size.npy")
    assert str(refused.value) == (
        f"{tmp_path / 'a_size.npy'}: not a size model (expected A, smean, diam_mean and ymean in it). Train it again."
    )


def test_train_size_and_diameter_style(tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    for k in range(3):
        field = synthetic_field(seed=820 + k, size_px=192, n_cells=9)
        tifffile.imwrite(folder / f"f{k}.tif", field.phase)
        write_labels(folder / f"f{k}_mask.tif", field.cells)
    how = {"base": "demo", "epochs": 1, "crops": 1, "crop": 96, "device": "cpu", "held_out": ["f2"]}
    trained = bridge.train(folder, tmp_path / "m", size=True, **how)
    assert trained.model.with_name("m_1_size.npy").is_file()
    segmenter = Segmenter(str(trained.model), "cpu")
    image = tifffile.imread(folder / "f2.tif")
    estimate = segmenter.style_diameter_px(image)
    assert 25 < estimate < 55  # the cells are 37 px wide
    found = segmenter.segment(image, diameter="style")
    assert found.diameter_px is not None
    assert found.diameter_px != estimate
    with pytest.raises(ModelError) as refused:
        Segmenter(resolve_model(DEMO), "cpu").segment(image, diameter="style")
    assert (
        str(refused.value)
        == "demo: has no size model (expected demo_model_size.npy beside it). Train it with --size, or use --diameter auto."
    )


def test_two_planes() -> None:
    colour = np.stack([np.full((2, 3), v, np.uint8) for v in (10, 20, 30)], axis=-1)
    grey = np.full((2, 3), 7, np.uint16)
    assert two_planes(colour, "adaptive")[:, 0, 0].tolist() == [20, 30]
    assert two_planes(colour, "merged")[:, 0, 0].tolist() == [15, 20]
    assert two_planes(grey, "adaptive")[:, 0, 0].tolist() == [7, 0]
    assert two_planes(grey, "merged")[:, 0, 0].tolist() == [7, 7]
    assert two_planes(np.repeat(grey[..., None], 3, axis=2), "adaptive")[:, 0, 0].tolist() == [7, 0]


def test_a_colour_image_is_segmented_by_green_and_blue(tmp_path: Path) -> None:
    field = synthetic_field(seed=33, size_px=160, n_cells=8)
    grey = np.clip(field.phase / field.phase.max() * 255, 0, 255).astype(np.uint8)
    colour = np.stack([np.zeros_like(grey), grey, np.zeros_like(grey)], axis=-1)
    tifffile.imwrite(tmp_path / "c.tif", colour, photometric="rgb")
    tifffile.imwrite(tmp_path / "g.tif", grey)
    options = {"model": "demo", "diameter": 37.0, "device": "cpu"}
    one = bridge.segment(tmp_path / "g.tif", tmp_path / "one", **options)
    two = bridge.segment(tmp_path / "c.tif", tmp_path / "two", colour="adaptive", **options)
    # Nothing in blue: the same two planes as of a grey image, so the same cells.
    assert np.array_equal(read_labels(one), read_labels(two))
    assert len(np.unique(read_labels(one))) > 4
    plane = read_plane(tmp_path / "c.tif", measured=False, colour="merged")
    assert plane.seen.shape == (2, 160, 160)
    assert np.array_equal(plane.pixels, grey)
    merged = bridge.segment(tmp_path / "c.tif", tmp_path / "three", colour="merged", **options)
    assert read_labels(merged).shape == (160, 160)


def test_a_run_on_colour_images(tmp_path: Path) -> None:
    field = synthetic_field(seed=33, size_px=160, n_cells=8)
    grey = np.clip(field.phase / field.phase.max() * 255, 0, 255).astype(np.uint8)
    (tmp_path / "images" / "A").mkdir(parents=True)
    tifffile.imwrite(
        tmp_path / "images" / "A" / "f1_phase.tif", np.stack([0 * grey, grey, 0 * grey], axis=-1), photometric="rgb"
    )
    tifffile.imwrite(tmp_path / "images" / "A" / "f1_EdU.tif", field.edu)
    how = {"model": "demo", "diameter": 37.0, "device": "cpu", "engine": "native", "count": "none"}
    report = bridge.run(tmp_path / "images", tmp_path / "out", colour="adaptive", **how)
    assert (report.exit_code, report.failures) == (0, ())
    assert report.n_cells > 0
