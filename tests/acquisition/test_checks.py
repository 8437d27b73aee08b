"""Numbers of single images, and which fields they mark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from bridge.acquisition.flat_field import divided, estimate_flat_field, moved
from bridge.acquisition.image_numbers import image_numbers
from bridge.acquisition.judgement import Checked, judge
from bridge.acquisition.shift import estimate_shift
from bridge.grey_scale import percentiles
from bridge.imagej.fiji import FijiEngine
from bridge.images.acquisition_settings import acquisition_settings
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=3, size_px=400, n_cells=40)


def test_focus_falls_with_blur_alone() -> None:
    sharp = image_numbers(FIELD.edu)["focus"]
    blurred = [ndimage.gaussian_filter(FIELD.edu.astype(np.float32), s).astype(np.uint16) for s in (1, 2, 4)]
    found = [image_numbers(image)["focus"] for image in blurred]
    assert sharp > found[0] > found[1] > found[2]
    assert found[2] < 0.5 * sharp
    # Another exposure, or an offset of the camera, is no other focus.
    brighter = (FIELD.edu.astype(np.float64) * 2 + 500).round().astype(np.uint16)
    assert image_numbers(brighter)["focus"] == pytest.approx(sharp, rel=0.01)


def test_the_ground_is_outside_the_cells() -> None:
    labels = np.zeros((120, 120), np.uint16)
    labels[40:60, 40:60] = 1
    image = np.full((120, 120), 300, np.uint16)
    image[36:64, 36:64] = 3000  # its glow
    numbers = image_numbers(image, labels)
    assert (numbers["ground"], numbers["ground_mad"]) == (300, 0)
    full = np.where(labels > 0, 4095, image).astype(np.uint16)
    assert image_numbers(full, labels)["full_share"] == 1
    assert image_numbers(np.ones((90, 90), np.uint8), np.ones((90, 90), np.uint16))["ground"] is None


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-6, 5)])
def test_shift_of_images_with_opposite_contrast(shift: tuple[int, int]) -> None:
    x, y = shift
    other = moved(FIELD.topro, -x, -y)
    found = estimate_shift(FIELD.topro.max() - FIELD.topro, other, 20)
    assert found is not None
    np.testing.assert_allclose(found, shift, atol=0.5)
    np.testing.assert_array_equal(moved(other, x, y)[20:-20, 20:-20], FIELD.topro[20:-20, 20:-20])


def test_a_shift_that_cannot_be_told() -> None:
    rng = np.random.default_rng(1)
    noise = [rng.poisson(100, (300, 300)).astype(np.uint16) for _ in range(2)]
    assert estimate_shift(*noise, 10) is None
    assert estimate_shift(np.ones((300, 300), np.uint16), noise[0], 10) is None
    assert estimate_shift(noise[0][:100, :100], noise[0][:100, :100], 10) is None


def _checked(k: int, image: np.ndarray, **more: object) -> Checked:
    labels = FIELD.cells if image.shape == FIELD.cells.shape else None
    return Checked(f"f{k}", "DMSO", "1", "", {"EdU": image_numbers(image, labels)}, **more)  # type: ignore[arg-type]


def test_what_is_marked() -> None:
    noisy = [np.random.default_rng(k).poisson(FIELD.edu).astype(np.uint16) for k in range(6)]
    plain = judge([_checked(k, image) for k, image in enumerate(noisy)], ["EdU"], 50)
    assert (plain.warnings, plain.flags) == ([], {})
    assert set(plain.table["check"]) == {"saturated", "black", "ground", "focus"}
    blurred = ndimage.gaussian_filter(noisy[0].astype(np.float32), 3).astype(np.uint16)
    bright = (noisy[1] + 300).astype(np.uint16)
    marked = judge([_checked(k, image) for k, image in enumerate([blurred, bright, *noisy[2:]])], ["EdU"], 50)
    assert marked.flags == {"f1": ["ground"], "f0": ["focus"]}
    assert marked.warnings[0].startswith("1 of 6 fields: EdU: raw grey level outside the cells ")
    assert marked.warnings[1].startswith("1 of 6 fields: EdU: focus (Vollath F4 / mean^2) ")
    assert marked.warnings[1].endswith(" (f0)")
    # Too few fields to say what is usual.
    assert judge([_checked(k, image) for k, image in enumerate([blurred, *noisy[2:4]])], ["EdU"]).flags == {}


def test_images_stretched_by_an_export() -> None:
    low, high = np.percentile(FIELD.edu, (0, 100))
    stretched = ((FIELD.edu - low) / (high - low) * 255).round().astype(np.uint8)
    both = judge([_checked(0, stretched), _checked(1, stretched)], ["EdU"])
    assert "autoscaled" in both.flags["f0"]
    assert any("8 bits from 0 to 255 in every field" in text for text in both.warnings)
    comb = (np.random.default_rng(1).integers(0, 100, (90, 90)) * 2).astype(np.uint8)
    assert judge([_checked(0, comb)], ["EdU"]).flags == {"f0": ["autoscaled"]}
    full = np.random.default_rng(1).integers(0, 200, (90, 90)).astype(np.uint8)
    assert "autoscaled" not in judge([_checked(0, full)], ["EdU"]).flags.get("f0", [])


def test_what_should_be_the_same_in_all_fields() -> None:
    fields = [_checked(k, FIELD.edu, settings={"EdU": {"exposure": "100 ms"}}) for k in range(3)]
    odd = [
        *fields,
        _checked(3, FIELD.edu, settings={"EdU": {"exposure": "400 ms"}}),
        _checked(4, (FIELD.edu // 300).astype(np.uint8), settings={"EdU": {"exposure": "100 ms"}}),
    ]
    judged = judge(odd, ["EdU"])
    assert judged.flags["f3"] == ["other exposure"]
    assert "other type" in judged.flags["f4"]
    assert "1 of 5 fields: EdU: exposure 400 ms, 100 ms in most fields: their grey levels cannot be compared (f3)" in judged.warnings  # fmt: skip


def test_uneven_light_is_estimated(tmp_path: Path, imagej_with_macros: FijiEngine) -> None:
    y, x = np.mgrid[:200, :200] / 199
    light = (0.6 + 0.8 * np.exp(-((x - 0.5) ** 2 + (y - 0.4) ** 2) * 3)).astype(np.float64)
    light /= light.mean()
    images = [
        (synthetic_field(seed=k, size_px=200, n_cells=10).edu * light).round().astype(np.uint16) for k in range(30)
    ]
    flat = estimate_flat_field(images)
    assert float(np.abs(flat / light - 1)[10:-10, 10:-10].max()) < 0.12
    shading = judge([_checked(k, image) for k, image in enumerate(images)], ["EdU"]).table.set_index("check")
    assert bool(shading.loc["illumination", "flagged"])
    even = judge([_checked(k, divided(image, flat)) for k, image in enumerate(images)], ["EdU"]).table.set_index(
        "check"
    )
    assert not bool(even.loc["illumination", "flagged"])

    # ImageJ's Image Calculator gives the same floats.
    flat = (flat / np.float32(flat.mean(dtype=np.float64))).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", images[0], imagej=True)
    tifffile.imwrite(tmp_path / "f.tif", flat, imagej=True)
    macro = (
        'setBatchMode(true); d = getArgument(); open(d + "a.tif"); open(d + "f.tif"); '
        'imageCalculator("Divide create 32-bit", "a.tif", "f.tif"); saveAs("Tiff", d + "r.tif"); close(); return "done";'
    )
    assert imagej_with_macros.run_macro(macro, f"{tmp_path}/") == "done"
    ours = images[0].astype(np.float32) / flat
    np.testing.assert_array_equal(ours, tifffile.imread(tmp_path / "r.tif"))


def test_exposure_as_files_say_it(tmp_path: Path) -> None:
    image = np.zeros((8, 8), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", image, imagej=True, metadata={"Info": "Exposure Time = 100 ms\nObjective: 20x"}
    )
    assert acquisition_settings(tmp_path / "a.tif") == {"exposure": "100 ms", "objective": "20x"}
    ome = {"axes": "CYX", "Plane": {"ExposureTime": [0.1, 0.4], "ExposureTimeUnit": ["s", "s"]}}
    tifffile.imwrite(tmp_path / "b.ome.tif", np.zeros((2, 8, 8), np.uint16), metadata=ome)
    assert acquisition_settings(tmp_path / "b.ome.tif", 1)["exposure"].startswith("0.4")
    tifffile.imwrite(tmp_path / "c.tif", image)
    assert acquisition_settings(tmp_path / "c.tif") == {}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_percentiles_are_numpys(kind: type[np.generic]) -> None:
    rng = np.random.default_rng(5)
    for shape in ((1, 2), (13, 7), (200, 311)):
        image = rng.integers(0, 250, shape).astype(kind)
        wanted = (0, 0.1, 1, 33.3, 50, 99, 99.9, 100)
        np.testing.assert_allclose(percentiles(image, wanted), np.percentile(image, wanted), rtol=1e-12, atol=0)
