"""The native engine against ImageJ 1.54p itself: equal in every bit, and what happens when it is not."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import zipped

from bridge.calibration import PIXELS, Calibration
from bridge.errors import ImageJError, InputError, RoiError
from bridge.imagej import rolling_ball
from bridge.imagej.background import Background
from bridge.imagej.both import DoubleEntry, compare
from bridge.imagej.engine import Measured, Task
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.native import NativeEngine
from bridge.imagej.rolling_ball import subtract_background
from bridge.imagej.statistics import statistics
from bridge.rois.roiset import selections_of
from bridge.selections import RoiProblem, Selections
from bridge.synthetic import synthetic_field

RADII = (1, 5, 10, 11, 30, 31, 50, 100, 101, 150)
FIELD = synthetic_field(seed=3, size_px=150, n_cells=7)
CELLS = selections_of(FIELD.cells)


def no_cells(shape: tuple[int, ...]) -> Selections:
    return selections_of(np.zeros(shape, np.uint8))


def random_image(rng: np.random.Generator, dtype: str, least: int) -> np.ndarray:
    """Steps, ramps, single bright pixels, noise: of any shape down to one row or column more than ImageJ can do."""
    shape = tuple(int(side) for side in np.maximum(rng.integers(2, 70, 2), least))
    high = {"uint8": 255, "uint16": 65535, "float32": 5000}[dtype]
    kind = rng.integers(4)
    if kind == 0:
        image = rng.uniform(0, high, shape)
    elif kind == 1:
        image = np.add.outer(np.linspace(0, high / 2, shape[0]), np.linspace(0, high / 2, shape[1]))
    elif kind == 2:
        image = np.where(rng.random(shape) < 0.03, high, rng.uniform(0, high / 50, shape))
    else:
        image = np.full(shape, rng.uniform(0, high)) + rng.normal(0, high / 100, shape)
    if dtype == "float32" and rng.random() < 0.5:
        image = image - high / 2
    return (image if dtype == "float32" else np.clip(image, 0, high)).astype(dtype)


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_rolling_ball_is_imagejs_in_every_bit(imagej: FijiEngine, dtype: str, radius: float) -> None:
    rng = np.random.default_rng([radius, len(dtype)])
    least = {1: 2, 2: 3, 4: 5, 8: 9}[1 if radius <= 10 else 2 if radius <= 30 else 4 if radius <= 100 else 8]
    for i in range(300):
        image = random_image(rng, dtype, least)
        # Every fourth with other options of the menu command.
        light, rough, create = rng.random(3) < 0.5 if i % 4 == 0 else (False, False, False)
        how = Background(
            radius, light_background=bool(light), disable_smoothing=bool(rough), create_background=bool(create)
        )
        theirs = imagej.measure(image, no_cells(image.shape), "a.tif", how, return_pixels=True).pixels
        ours = subtract_background(image, how)
        assert theirs is not None
        assert ours.tobytes() == theirs.tobytes(), (i, image.shape, how)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("radius", [3.7, 50.0, 300.0])
def test_both_engines_agree_on_a_real_field(imagej: FijiEngine, dtype: str, radius: float) -> None:
    image = (FIELD.edu / (20 if dtype == "uint8" else 1 if dtype == "uint16" else 7)).astype(dtype)
    both = DoubleEntry(imagej)
    for calibration in (Calibration(1, 1, "pixel"), Calibration(0.3225, 0.5, "micron")):
        measured = both.measure(image, CELLS, "a.tif", Background(radius), calibration)
        assert measured.compared == 7 * 9 + image.size
        assert measured.differences == ()
        assert measured.pixels is None
    as_it_is = both.measure(image, CELLS, "a.tif", None, return_pixels=True)
    assert as_it_is.compared == 7 * 9
    np.testing.assert_array_equal(as_it_is.pixels, image)


def test_random_labels_and_images_agree(imagej: FijiEngine) -> None:
    both = DoubleEntry(imagej)
    rng = np.random.default_rng(8)
    for dtype in ("uint8", "uint16", "float32"):
        for words in (("area",), ("area", "mean", "integrated"), ("area", "standard", "min", "centroid")):
            coarse = rng.integers(0, 200, (20, 25)).repeat(4, 0).repeat(4, 1)
            labels = np.where(rng.random(coarse.shape) < 0.2, rng.integers(0, 200, coarse.shape), coarse)
            image = (rng.lognormal(4, 1, labels.shape) * 3).clip(0, 255 if dtype == "uint8" else 65535).astype(dtype)
            found = both.measure(
                image, selections_of(labels.astype(np.uint16)), "a, b.tif", None, measurements=words, decimals=int(rng.integers(10))
            )  # fmt: skip
            assert found.compared > 150


def test_sums_too_large_for_doubles_are_imagejs_too(imagej: FijiEngine) -> None:
    # Over 2,097,152 px at 65,535 the sum of squares is no longer exact; ImageJ adds it up over the histogram.
    rng = np.random.default_rng(1)
    image = rng.integers(60_000, 65_536, (1700, 1600)).astype(np.uint16)
    labels = np.ones(image.shape, np.uint16)
    found = DoubleEntry(imagej).measure(image, selections_of(labels), "a.tif", None)
    assert found.differences == ()
    assert float(image.astype(np.float64).__pow__(2).sum()) > 2**53


def test_pixels_that_are_no_numbers_are_left_out_as_in_imagej(imagej: FijiEngine) -> None:
    image = FIELD.edu.astype(np.float32)
    cells = FIELD.cells.copy()
    image[np.nonzero(cells == 1)] = np.nan
    ys, xs = np.nonzero(cells == 2)
    image[ys[:5], xs[:5]] = np.inf, -np.inf, np.nan, np.nan, np.inf
    found = DoubleEntry(imagej).measure(image, selections_of(cells), "a.tif", None)
    assert np.isnan(found.columns["Mean"][0])
    assert found.columns["Area"].tolist()[:2] == [0, ys.size - 5]
    with pytest.raises(InputError) as refused:
        NativeEngine().measure(image, selections_of(cells), "a.tif")
    assert str(refused.value) == "a.tif: NaN or infinite pixels (expected none). Replace them first."


# ---------------------------------------------------------------- the Results file

NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.integers(-(2**24), 2**24).map(float),
    st.floats(-1e4, 1e4).map(lambda value: round(value * 8) / 8),  # halves: which way they round
    st.sampled_from([0.0, -0.0, 0.0005, 0.5, 1.5, 2.5, 1e12, 1e13, 2.0**31, 2.0**31 - 128, -(2.0**31)]),
    st.just(float(np.finfo(np.float32).max)),
)
LARGE = Calibration(1e5, 3.7e4, "micron")


@given(st.lists(NUMBERS, min_size=1, max_size=40), st.integers(0, 9), st.sampled_from([PIXELS, LARGE]))
def test_numbers_are_printed_as_imagej_prints_them(
    imagej: FijiEngine, values: list[float], decimals: int, calibration: Calibration
) -> None:
    # Cells of one pixel: the mean is the value.
    image = np.array([values], np.float32)
    cells = selections_of(np.arange(1, len(values) + 1, dtype=np.uint16)[None])
    DoubleEntry(imagej).measure(image, cells, "a.tif", None, calibration, decimals=decimals)


@pytest.mark.parametrize(
    "column", [[1, 2, 3], [1, 2.5, 3], [*range(24), 0.5], [*range(23), 0.5, 7], [0.0001, 2, -0.0], [2**31, 1]]
)
@pytest.mark.parametrize("decimals", [0, 3, 9])
def test_when_a_column_has_decimals(imagej: FijiEngine, column: list[float], decimals: int) -> None:
    cells = selections_of(np.arange(1, len(column) + 1, dtype=np.uint16)[None])
    found = DoubleEntry(imagej).measure(np.array([column], np.float32), cells, "a.tif", None, decimals=decimals)
    if len(column) == 25 and decimals == 3:
        # The first 24 rows decide.
        first = found.results_csv.decode().splitlines()[1].split(",")[3]
        assert first == ("0" if column[24] == 0.5 else "0.000")


@pytest.mark.parametrize(
    "name",
    ["00001", "a.b", "n" * 30, "n" * 31, "m" * 29 + ".x", "ü" * 40, "🦠" * 20, "a, b", 'a "quoted" one'],
)
def test_names_and_titles_in_the_label_column(imagej: FijiEngine, name: str) -> None:
    from roifile import ROI_TYPE, ImagejRoi

    from bridge.rois.roiset import decode_roiset

    # Written by ImageJ's rule (UTF-16): roifile cuts names with characters beyond the first plane.
    text = name.encode("utf-16-be")
    roi = bytearray(ImagejRoi(roitype=ROI_TYPE.RECT, left=2, top=2, right=8, bottom=8, name="x").tobytes())
    second = int.from_bytes(roi[60:64], "big")
    roi[second + 16 : second + 24] = (second + 64).to_bytes(4, "big") + (len(text) // 2).to_bytes(4, "big")
    cells = decode_roiset(zipped({"entry.roi": bytes(roi[: second + 64]) + text}), (20, 20))
    assert cells.names == (name,)
    image = np.arange(400, dtype=np.uint16).reshape(20, 20)
    DoubleEntry(imagej).measure(image, cells, "EdU, 20x.tif", None)


def test_groups_make_a_column(imagej: FijiEngine) -> None:
    from roifile import ROI_TYPE, ImagejRoi

    from bridge.rois.roiset import decode_roiset

    rois = {
        f"{i}.roi": ImagejRoi(roitype=ROI_TYPE.OVAL, left=i, top=i, right=i + 9, bottom=i + 7, name=f"{i}", group=g)
        for i, g in enumerate((0, 3, 0, 255))
    }
    cells = decode_roiset(zipped({name: roi.tobytes() for name, roi in rois.items()}), (20, 20))
    image = np.arange(400, dtype=np.uint16).reshape(20, 20)
    found = DoubleEntry(imagej).measure(image, cells, "a.tif", None)
    assert found.columns["Group"].tolist() == [0, 3, 0, 255]


# ---------------------------------------------------------------- what each engine cannot, and when they differ


def test_no_java_with_the_native_engine() -> None:
    code = """
import subprocess, sys
class Refused(subprocess.Popen):
    def __init__(self, args, **options):
        assert "java" not in str(args) and "worker" not in str(args), args
        super().__init__(args, **options)  # numpy asks lscpu something
import numpy as np
from bridge.imagej.native import NativeEngine
from bridge.rois.roiset import selections_of
from bridge.selections import RoiProblem
subprocess.Popen = Refused
labels = np.zeros((60, 60), np.uint16); labels[5:20, 5:20] = 1
print(NativeEngine().measure(np.full((60, 60), 300, np.uint16), selections_of(labels), "a.tif").results_csv.decode())
assert not {"jpype", "scyjava", "imagej"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "1,a.tif:00001,225,0,0,0,0,12.500,12.500,0,0" in done.stdout


def test_the_sliding_paraboloid_is_imagejs_alone() -> None:
    with pytest.raises(InputError) as refused:
        NativeEngine().measure(FIELD.edu, CELLS, "a.tif", Background(sliding_paraboloid=True))
    assert str(refused.value) == (
        "a.tif: the sliding paraboloid is computed by ImageJ only (got engine native, expected fiji). "
        "Use --engine fiji, or the rolling ball."
    )


def test_a_roi_without_pixels_is_imagejs_alone(imagej: FijiEngine) -> None:
    problem = RoiProblem(0, "0001: of type line, which encloses no pixels (expected an area)", False)
    line = dataclasses.replace(CELLS, problems=(problem,))
    with pytest.raises(RoiError) as refused:
        NativeEngine().measure(FIELD.edu, line, "a.tif")
    assert str(refused.value) == (
        "a.tif: 0001: of type line, which encloses no pixels (expected an area). It is measured by ImageJ only: "
        "use --engine fiji, or remove it from the set."
    )


def test_one_bit_of_difference_names_the_cell(imagej: FijiEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = NativeEngine._measure

    def wrong(self: NativeEngine, task: Task) -> Measured:
        measured = real(self, task)
        measured.columns["IntDen"][3] = np.nextafter(measured.columns["IntDen"][3], np.inf)
        return measured

    right = imagej.measure(FIELD.edu, CELLS, "a.tif").columns["IntDen"][3]
    monkeypatch.setattr(NativeEngine, "_measure", wrong)
    with pytest.raises(ImageJError) as refused:
        DoubleEntry(imagej).measure(FIELD.edu, CELLS, "a.tif")
    difference = f"00004, IntDen: ImageJ {right!r}, native {np.nextafter(right, np.inf)!r}".replace("np.float64", "")
    assert str(refused.value) == (
        f"a.tif: ImageJ and the native engine differ in 1 of {7 * 9 + 150 * 150} numbers ({difference}). "
        "Nothing was measured: please report this with the image and its ROI set."
    )
    # A user's own Fiji may be newer: its numbers are kept, the differences listed.
    kept = DoubleEntry(imagej, strict=False).measure(FIELD.edu, CELLS, "a.tif")
    assert kept.differences == (difference,)
    assert kept.columns["IntDen"][3] == right


def test_differences_of_pixels_columns_and_files_are_found() -> None:
    one = NativeEngine().measure(FIELD.edu, CELLS, "a.tif", return_pixels=True)
    assert compare(one, one, CELLS) == (7 * 9 + 150 * 150, [])
    assert one.pixels is not None
    other = one.pixels.copy()
    other[20, 30] += 1
    pixel = f"background-subtracted pixel x=30 y=20: ImageJ {one.pixels[20, 30]}, native {other[20, 30]}"
    assert compare(one, dataclasses.replace(one, pixels=other), CELLS)[1] == [pixel]
    fewer = {name: values for name, values in one.columns.items() if name != "Max"}
    assert compare(one, dataclasses.replace(one, columns=fewer), CELLS)[1] == ["column Max is in one of them only"]
    text = one.results_csv.replace(b"1,a.tif", b"1,b.tif", 1)
    differences = compare(one, dataclasses.replace(one, results_csv=text), CELLS)[1]
    assert len(differences) == 1
    assert differences[0].startswith("Results file: ImageJ 1,a.tif:00001,")


def test_statistics_of_the_pixels_as_they_are() -> None:
    found = statistics(FIELD.edu, CELLS)
    cells = [FIELD.edu[FIELD.cells == i].astype(np.float64) for i in range(1, 8)]
    np.testing.assert_array_equal(found.n, [c.size for c in cells])
    np.testing.assert_allclose(found.mean, [c.mean() for c in cells], rtol=1e-15)
    np.testing.assert_allclose(found.standard, [c.std(ddof=1) for c in cells], rtol=1e-12)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("radius", [3, 8, 50, 200])
def test_bands_on_all_cores_give_the_same(
    monkeypatch: pytest.MonkeyPatch, kind: type[np.generic], radius: float
) -> None:
    rng = np.random.default_rng(0)
    image = (rng.normal(100, 20, (1531, 400)) + np.linspace(0, 80, 400)).clip(0, 255).astype(kind)
    whole = subtract_background(image, Background(radius))
    monkeypatch.setattr(rolling_ball, "_BAND", 7)
    np.testing.assert_array_equal(subtract_background(image, Background(radius)), whole)
