"""Every measurement of ImageJ's Set Measurements: the table that declares them, and both engines to the last bit."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from java import in_java
from roifile import ImagejRoi
from small import hand_drawn, zipped

from bridge.calibration import PIXELS, Calibration
from bridge.errors import InputError, RoiError
from bridge.imagej import computations
from bridge.imagej.background import Background
from bridge.imagej.both import DoubleEntry
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.java_math import atan2
from bridge.imagej.native import NativeEngine
from bridge.imagej.results import results_csv
from bridge.measurements import ALL_COLUMNS, DEFAULT_WORDS, IMAGEJ_ONLY, MEASUREMENTS, WORDS, bits_of
from bridge.rois.roiset import decode_roiset, selections_of
from bridge.selections import BOX
from bridge.settings_file import settings_from
from bridge.synthetic import synthetic_field

MACROS = Path(__file__).parents[2] / "fiji_macros"
BOTH = tuple(word for word in WORDS if word not in IMAGEJ_ONLY)


def shapes(size: int = 120) -> np.ndarray:
    """Cells with holes and in several parts, pixels alone, at the border, with gaps in the labels."""
    labels = synthetic_field(seed=5, size_px=size, n_cells=9).cells.astype(np.uint16)
    labels[20:40, 20:40] = 700
    labels[26:32, 26:32] = 0
    labels[100:104, 5:9] = labels[110:114, 5:9] = 701
    labels[60, 60] = 702
    labels[0, 70:90] = 65000
    labels[90:92, 90:92] = labels[92:94, 92:94] = 703
    return labels


def test_headings_bits_and_order_are_imagejs() -> None:
    fields = {
        "area": "AREA", "mean": "MEAN", "standard": "STD_DEV", "modal": "MODE", "min": "MIN_MAX", "centroid": "CENTROID",
        "center": "CENTER_OF_MASS", "perimeter": "PERIMETER", "bounding": "RECT", "fit": "ELLIPSE", "shape": "SHAPE_DESCRIPTORS",
        "feret's": "FERET", "integrated": "INTEGRATED_DENSITY", "median": "MEDIAN", "skewness": "SKEWNESS",
        "kurtosis": "KURTOSIS", "area_fraction": "AREA_FRACTION",
    }  # fmt: skip
    assert tuple(fields) == WORDS
    bits, headings = in_java(
        """
answer = [
    [int(getattr(J("ij.measure.Measurements"), name)) for name in given],
    [str(J("ij.measure.ResultsTable")().getDefaultHeading(rank)) for rank in range(36)],
]
""",
        list(fields.values()),
    )
    assert [m.bit for m in MEASUREMENTS] == bits
    assert [column.heading for column in ALL_COLUMNS] == [headings[column.rank] for column in ALL_COLUMNS]


def test_the_macro_measures_the_default() -> None:
    macro = (MACROS / "Measure_with_RoiSets.ijm").read_text()
    asked = re.search(r'run\("Set Measurements\.\.\.", "(.*?) display ', macro)
    assert asked is not None
    assert asked.group(1) == " ".join(DEFAULT_WORDS)
    columns = ",".join(c.heading for c in ALL_COLUMNS if any(m.default and c in m.columns for m in MEASUREMENTS))
    assert macro.count(f'" ,Label,{columns}') == 2


@pytest.mark.parametrize("calibration", [PIXELS, Calibration(1 / (20 / 13), 1 / (20 / 13), "micron")])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_both_engines_agree_in_every_bit(imagej: FijiEngine, dtype: str, calibration: Calibration) -> None:
    rng = np.random.default_rng(7)
    labels = shapes()
    cells = selections_of(labels)
    high = {"uint8": 256, "uint16": 65536, "float32": 4000}[dtype]
    noise = rng.normal(0.4 * high, 0.1 * high, labels.shape).clip(0, high - 1)
    flat = np.full(labels.shape, 7.0)
    dark = np.zeros(labels.shape)
    halves = np.where(rng.random(labels.shape) < 0.5, 0.0, high - 1.0)
    tiny = rng.integers(0, 3, labels.shape) * 1.0
    for image in (
        (noise, flat, dark, halves, tiny, -noise, 1e30 * noise)
        if dtype == "float32"
        else (noise, flat, dark, halves, tiny)
    ):
        pixels = image.astype(dtype)
        for background in (None, Background(12)):
            if background is not None and np.abs(image).max() > 1e6:
                continue
            measured = DoubleEntry(imagej).measure(pixels, cells, "a.tif", background, calibration, BOTH)
            assert list(measured.columns) == [c.heading for c in ALL_COLUMNS if c.native]


@pytest.mark.parametrize("calibration", [PIXELS, Calibration(1 / (20 / 13), 1 / (20 / 7), "micron")])
def test_outlines_that_people_draw(imagej: FijiEngine, calibration: Calibration) -> None:
    """Bounding rectangles of every kind of ROI; caliper diameters and perimeters where the vertices are pixel corners."""
    shape = (120, 140)
    image = np.ones(shape, np.uint8)
    for content in hand_drawn(seed=4, n=200, shape=shape):
        found = decode_roiset(zipped(content), shape)
        DoubleEntry(imagej).measure(image, found, "a.tif", None, calibration, ("bounding",))
        for word, known in (
            ("feret's", found.outlines.whole),
            ("perimeter", found.outlines.traced | (found.outlines.whole & (found.outlines.kind == BOX))),
        ):
            some = {name: roi for (name, roi), one in zip(content.items(), known, strict=True) if one}
            if some:
                DoubleEntry(imagej).measure(
                    image, decode_roiset(zipped(some), shape), "a.tif", None, calibration, (word,)
                )
            if not known.all():
                with pytest.raises(RoiError) as refused:
                    NativeEngine().measure(image, found, "a.tif", None, calibration, (word,))
                what = "Feret's diameter" if word == "feret's" else word
                assert str(refused.value) == (
                    f"a.tif: {found.names[int(np.argmin(known))]}: {what} of an outline that was drawn by hand is measured by ImageJ only "
                    f"(got {np.count_nonzero(~known)} such of {known.size} ROIs, expected outlines along pixel edges). Use --engine fiji, or leave the measurement out."
                )


def test_what_imagej_measures_unasked_stands_in_its_order(imagej: FijiEngine) -> None:
    drawn = {kind: [ImagejRoi.frombytes(roi) for roi in content.values()] for kind, content in enumerate(hand_drawn(3, 2, (120, 140)))}  # fmt: skip
    rotated, box = drawn[10], drawn[4]
    for groups in ((0, 4, 0), (3, 0, 0), (0, 0, 7), (9, 9, 9), (0, 0, 0)):
        for rois in ((box[0], rotated[0], rotated[1]), (rotated[0], box[0], box[1]), (box[0], box[1], rotated[1])):
            content = {}
            for i, (roi, group) in enumerate(zip(rois, groups, strict=True)):
                roi.group, roi.name = group, f"{i}"
                content[f"{i}.roi"] = roi.tobytes()
            found = decode_roiset(zipped(content), (120, 140))
            for calibration in (Calibration(0.65, 0.65, "micron"), Calibration(0.65, 0.6, "micron")):
                measured = DoubleEntry(imagej).measure(np.ones((120, 140), np.uint8), found, "a.tif", None, calibration)
                assert {"RRLength", "RRWidth"} <= set(measured.columns)


def test_outlines_at_random(imagej: FijiEngine) -> None:
    rng = np.random.default_rng(9)
    for fill in (0.3, 0.6, 0.9):
        labels = np.arange(1, 401, dtype=np.uint16).reshape(20, 20).repeat(9, axis=0).repeat(9, axis=1)
        labels *= rng.random(labels.shape) < fill
        cells = selections_of(labels)
        for calibration in (PIXELS, Calibration(0.65, 0.65, "micron"), Calibration(0.11, 0.7, "micron")):
            image = np.ones(labels.shape, np.uint8)
            DoubleEntry(imagej).measure(image, cells, "a.tif", None, calibration, ("perimeter", "bounding", "feret's"))


def test_java_s_arc_tangent() -> None:
    rng = np.random.default_rng(3)
    pairs = [(float(y), float(x)) for y, x in zip(rng.normal(size=4000), np.abs(rng.normal(size=4000)), strict=True)]
    pairs += [(float(y), float(x)) for y in range(-20, 21) for x in range(21)]
    pairs += [(y * 10.0**e, x) for e in range(-20, 22, 3) for y, x in pairs[:20]]
    assert [float(atan2(y, x)) for y, x in pairs] == in_java(
        "answer = [float(J('java.lang.Math').atan2(y, x)) for y, x in given]", pairs
    )


def test_zeros_of_both_signs(imagej: FijiEngine) -> None:
    labels = np.ones((4, 4), np.uint16)
    for signs in ([-0.0, -0.0, 0.0, 5.0], [0.0, -0.0, -0.0, -0.0], [-3.0, -0.0, 0.0, 2.0]):
        pixels = np.array(signs * 4, np.float32).reshape(4, 4)
        DoubleEntry(imagej).measure(pixels, selections_of(labels), "a.tif", None, PIXELS, BOTH)
        labels[0, 0] = 0


def test_imagej_alone_measures_the_rest(imagej: FijiEngine) -> None:
    labels = shapes()
    image = synthetic_field(seed=5, size_px=120, n_cells=9).edu
    measured = imagej.measure(image, selections_of(labels), "a.tif", None, PIXELS, WORDS)
    assert list(measured.columns) == [column.heading for column in ALL_COLUMNS]
    with pytest.raises(InputError) as refused:
        NativeEngine().measure(image, selections_of(labels), "a.tif", None, PIXELS, ("area", IMAGEJ_ONLY[0]))
    assert str(refused.value) == (
        f"a.tif: {IMAGEJ_ONLY[0]} is measured by ImageJ only (got engine native or both, expected fiji). Use --engine fiji, or leave it out."
    )
    with pytest.raises(InputError, match="measured by ImageJ only"):
        settings_from({"measurements": f"area,{IMAGEJ_ONLY[0]}"}, "test")
    assert settings_from({"measurements": f"area,{IMAGEJ_ONLY[0]}", "engine": "fiji"}, "test").engine == "fiji"


def test_each_declared_computation_is_there() -> None:
    for column in ALL_COLUMNS:
        if column.native:
            assert callable(getattr(computations, column.native))
    assert bits_of(WORDS) == sum(m.bit for m in MEASUREMENTS)


def test_numbers_of_any_size_are_printed_with_imagejs_digits() -> None:
    rng = np.random.default_rng(1)
    values = []
    for decimals in range(10):
        for exponent in range(-4, 13):
            for value in (rng.uniform(1, 10, 20) * 10.0**exponent).tolist():
                values += [
                    (v, decimals)
                    for v in (value, -value, float(np.float32(value)), round(value, 3), round(8 * value) / 8)
                ]
    printed = in_java("answer = [str(J('ij.measure.ResultsTable').d2s(v, d)) for v, d in given]", values)
    columns = [results_csv("a", ["b"], {"X": np.array([v])}, d, ("X",)).split(b",")[-1].strip() for v, d in values]
    assert [column.decode() for column in columns] == printed
