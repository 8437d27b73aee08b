"""Everything of a file that makes ImageJ's numbers: in ImageJ's window, in a run, and by ImageJ that opens the file itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from java import in_java
from window import in_the_window, needs_window

from bridge.calibration import PIXELS, Calibration, ValueCalibration
from bridge.errors import InputError
from bridge.imagej.background import Background
from bridge.imagej.both import DoubleEntry
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.native import NativeEngine
from bridge.images.label_images import write_labels
from bridge.images.reader import read_plane
from bridge.images.write import write_image
from bridge.measurements import IMAGEJ_ONLY, WORDS
from bridge.pipeline.run import run
from bridge.pipeline.verbs import measure
from bridge.rois.roiset import encode_roiset, selections_of
from bridge.source import ChannelFile, Source
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=77, size_px=150, n_cells=8)
LINE = ValueCalibration(0, (-100.0, 0.5), "nM")
SIGNED = ValueCalibration(0, (-32768.0, 1.0), "Gray Value")
CURVE = ValueCalibration(3, (-50.0, 0.5, 1e-3, -1e-6, 1e-10), "OD", True)
DENSITY = ValueCalibration(21, (), "Uncalibrated OD")
EXPONENTIAL = ValueCalibration(4, (1.5, 1e-3), "nM")
SCALES = ((1.0, 1.0, "pixel"), (0.325, 0.325, "micron"), (0.65, 0.3, "mm"))


def image_of(dtype: str) -> np.ndarray:
    if dtype == "uint8":
        return (FIELD.edu.astype(float) / FIELD.edu.max() * 255).astype(np.uint8)
    return FIELD.edu.astype(dtype)


def saved_by_imagej(folder: Path, wanted: list[tuple[str, str, Calibration]]) -> list[Path]:
    """Let ImageJ save images (name, type, calibration) with everything a calibration has."""
    for dtype in ("uint8", "uint16", "float32"):
        tifffile.imwrite(folder / f"{dtype}.raw.tif", image_of(dtype))
    given = [
        [
            str(folder / name), str(folder / f"{dtype}.raw.tif"), [c.width, c.height, c.unit, c.x_origin, c.y_origin, c.invert_y, c.inverted_lut],
            [c.values.function, c.values.coefficients, c.values.unit, c.values.zero_clip],
        ]
        for name, dtype, c in wanted
    ]  # fmt: skip
    in_java(
        """
import os
for path, raw, (width, height, unit, x, y, invert_y, inverted), (function, coefficients, value_unit, clip) in given:
    imp = J("ij.io.Opener")().openImage(raw)
    if inverted:
        ip = imp.getProcessor()
        ip.setLut(J("ij.process.LUT")(jpype.JArray(jpype.JByte)(256), jpype.JArray(jpype.JByte)([-1 - (k if k < 128 else k - 256) for k in range(256)]), jpype.JArray(jpype.JByte)(256)))
    cal = J("ij.measure.Calibration")(imp)
    cal.pixelWidth, cal.pixelHeight = width, height
    cal.setUnit(unit)
    cal.xOrigin, cal.yOrigin = x, y
    cal.setInvertY(invert_y)
    cal.setFunction(function, coefficients or None, value_unit, clip)
    imp.setCalibration(cal)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    assert J("ij.io.FileSaver")(imp).saveAsTiff(path)
answer = True
""",
        given,
    )
    return [folder / name for name, _, _ in wanted]


def every_calibration(values: tuple[ValueCalibration, ...]) -> list[tuple[str, str, Calibration]]:
    wanted = []
    for dtype in ("uint8", "uint16", "float32"):
        for i, scale in enumerate(SCALES):
            for j, of_values in enumerate(values):
                of = Calibration(*scale, values=of_values)
                wanted.append((f"images/all/{dtype}{i}{j}_EdU.tif", dtype, of))
        for k, (x, y, invert) in enumerate(((5.0, 7.5, False), (0.0, 0.0, True), (-3.0, 40.0, True))):
            of = Calibration(0.5, 0.25, "um", x, y, invert)
            wanted.append((f"images/all/{dtype}origin{k}_EdU.tif", dtype, of))
    wanted.append(("images/all/inverted_EdU.tif", "uint8", Calibration(inverted_lut=True, values=DENSITY)))
    return wanted


@needs_window
@pytest.mark.slow
def test_window_run_and_measure_give_the_same_bytes_over_every_calibration(tmp_path: Path) -> None:
    paths = saved_by_imagej(tmp_path, every_calibration((ValueCalibration(), LINE, SIGNED, CURVE, DENSITY)))
    paths += (alone := saved_by_imagej(tmp_path, [(f"images/alone/{d}_EdU.tif", d, Calibration(values=EXPONENTIAL)) for d in ("uint8", "uint16")]))  # fmt: skip
    for path in paths:
        folder = path.parent.name
        name = path.stem.removesuffix("_EdU")
        write_labels(tmp_path / "masks" / f"{folder}_{name}_mask.tif", FIELD.cells)
        zipped = tmp_path / "rois" / folder / f"{name}_RoiSet.zip"
        zipped.parent.mkdir(parents=True, exist_ok=True)
        zipped.write_bytes(encode_roiset(FIELD.cells))
    drive = "begin()\ndone(run('Measure_with_RoiSets.ijm', f'images=[{folder}/images] rois=[{folder}/rois] out=[{folder}/window]'))"
    said = in_the_window(drive, tmp_path, folder=str(tmp_path))
    assert said.startswith(f"OK: {len(paths)} images, "), said
    asked = {"masks": tmp_path / "masks", "segment": "EdU", "measure": "EdU", "count": "none"}
    shutil.move(tmp_path / "images" / "alone", tmp_path / "alone")
    report = run(tmp_path / "images", tmp_path / "run", **asked)
    assert report.failures == ()
    n = 0
    for path in (tmp_path / "run" / "measurements" / "all").glob("*_Results.csv"):
        window = tmp_path / "window" / "all" / path.name.removeprefix("all_")
        assert path.read_bytes() == window.read_bytes(), path.name
        n += 1
    assert n == len(paths) - 2
    sets = tmp_path / "rois" / "all"
    for name in ("uint8origin2", "uint1613", "inverted"):
        made = measure(tmp_path / "images" / "all" / f"{name}_EdU.tif", sets / f"{name}_RoiSet.zip", tmp_path / "one")
        assert made.read_bytes() == (tmp_path / "window" / "all" / made.name).read_bytes()
    for path in alone:
        made = measure(tmp_path / "alone" / path.name, sets / "inverted_RoiSet.zip", tmp_path / "one", engine="fiji")
        assert made.read_bytes() == (tmp_path / "window" / "alone" / made.name).read_bytes()
        with pytest.raises(InputError) as refused:
            measure(tmp_path / "alone" / path.name, sets / "inverted_RoiSet.zip", tmp_path / "two", engine="native")
        assert str(refused.value) == (
            f"{path.name}: its grey levels are calibrated with ImageJ's function 4, which is computed by ImageJ only "
            "(got engine native or both, expected fiji). Use --engine fiji."
        )
    shutil.move(tmp_path / "alone", tmp_path / "others" / "alone")
    report = run(tmp_path / "others", tmp_path / "run2", **asked, engine="fiji")
    assert report.failures == ()
    words = (
        "2 of 2 fields: the grey levels of EdU are calibrated (Analyze > Calibrate); its numbers are in nM, as ImageJ's"
    )
    assert words in report.warnings
    cells = pd.read_csv(tmp_path / "run2" / "cells.csv", float_precision="round_trip")
    grey = image_of("uint8")
    rows = cells[cells["field_id"] == "alone_uint8"]
    expected = [float(np.mean(1.5 * np.exp(1e-3 * grey[FIELD.cells == label]))) for label in rows["label"]]
    np.testing.assert_allclose(rows["cell_EdU_raw_Mean"], expected, rtol=1e-6)


@pytest.mark.parametrize("values", [LINE, SIGNED, CURVE, DENSITY, ValueCalibration(2, (1.0, -2e-2, 3e-4, 1e-9), "x")])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_measurement_of_calibrated_values(imagej: FijiEngine, dtype: str, values: ValueCalibration) -> None:
    words = tuple(word for word in WORDS if word not in IMAGEJ_ONLY)
    cells = selections_of(FIELD.cells)
    image = image_of(dtype)
    for calibration in (
        Calibration(0.65, 0.65, "micron", values=values),
        Calibration(0.5, 0.3, "mm", 4.0, -7.0, True, values, dtype == "uint8"),
    ):
        for background in (None, Background(12), Background(12, light_background=True)):
            DoubleEntry(imagej).measure(image, cells, "a.tif", background, calibration, words)


def test_a_value_calibration_that_gives_no_numbers() -> None:
    endless = Calibration(values=ValueCalibration(0, (0.0, 1e300), "nM"))
    with pytest.raises(InputError) as refused:
        NativeEngine().measure(image_of("uint8"), selections_of(FIELD.cells), "a.tif", None, endless)
    assert str(refused.value) == (
        "a.tif: its value calibration gives infinite numbers (function 0, coefficients 0.0, 1e+300). Calibrate the image again in Fiji (Analyze > Calibrate)."
    )


def test_a_value_calibration_that_lacks_a_number(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image_of("uint16"), imagej=True, metadata={"cf": 3, "c0": 1.0, "c1": 2.0, "vunit": "nM"})
    with pytest.raises(InputError) as refused:
        read_plane(path)
    assert str(refused.value) == (
        f"{path}: a value calibration that cannot be computed (got 2 coefficients of function 3, expected 5 numbers). "
        "Calibrate the image again in Fiji (Analyze > Calibrate)."
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    for i, of in enumerate((Calibration(0.5, 0.25, "micron", 5.0, 7.5, True, LINE), Calibration(values=CURVE), Calibration(values=DENSITY), Calibration(0.5, 0.5, "Å", values=ValueCalibration(0, (1.0, 2.0), "µM")))):  # fmt: skip
        write_image(tmp_path / f"{i}.tif", image_of("uint8"), of)
        assert read_plane(tmp_path / f"{i}.tif").calibration == of


# ---------------------------------------------------------------- the witness


def test_the_witness_sees_each_difference(imagej: FijiEngine, tmp_path: Path) -> None:
    (path,) = saved_by_imagej(tmp_path, [("a.tif", "uint16", Calibration(0.325, 0.325, "micron", values=LINE))])
    plane = read_plane(path)
    cells = selections_of(FIELD.cells)
    assert plane.source is not None
    told = imagej.measure(plane.pixels, cells, "a.tif", calibration=plane.calibration, source=plane.source)
    assert told.unwitnessed == ""
    other = plane.pixels.copy()
    other[3, 4] += 1
    at = plane.calibration.width

    def seen(pixels: np.ndarray = plane.pixels, **change: object) -> str:
        given = {**vars(plane.calibration), **change}
        with pytest.raises(InputError) as refused:
            imagej.measure(pixels, cells, "a.tif", None, Calibration(**given), source=plane.source)
        text = str(refused.value)
        assert text.startswith("a.tif: ImageJ opens this file otherwise: ")
        assert text.endswith(
            ". Nothing was measured, since a macro that opens it would get other numbers: open it in Fiji, save it as TIFF, and use that."
        )
        return text.removeprefix("a.tif: ImageJ opens this file otherwise: ").partition(". Nothing was measured")[0]

    first = f"{other[3, 4]} where ImageJ has {plane.pixels[3, 4]}"
    assert seen(other).replace("-", "") == f"1 of {other.size} pixels, first {first}"
    assert seen(width=np.nextafter(at, 1)) == f"pixel width (got {np.nextafter(at, 1)!r}, ImageJ has {at!r})".replace("np.float64(", "").replace("),", ",")  # fmt: skip
    assert seen(x_origin=2.0) == "origin in x (got 2.0, ImageJ has 0.0)"
    assert seen(invert_y=True) == "direction of y"
    assert seen(inverted_lut=True) == "look-up table, which is inverted in one of them"
    assert seen(values=ValueCalibration()) == "value calibration (got (20, (), False), ImageJ has (0, (-100.0, 0.5), False))"  # fmt: skip
    assert seen(x_origin=2.0, invert_y=True) == "origin in x (got 2.0, ImageJ has 0.0), and 1 more"
    stack = Source(path, 1, 3)
    with pytest.raises(InputError, match=r"number of slices \(got 3, ImageJ has 1\)"):
        imagej.measure(plane.pixels, cells, "a.tif", None, plane.calibration, source=stack)


def test_what_imagej_does_not_open_is_unwitnessed(imagej: FijiEngine, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image_of("uint16"), compression="zstd")
    plane = read_plane(path)
    told = DoubleEntry(imagej).measure(plane.pixels, selections_of(FIELD.cells), "a.tif", None, PIXELS, source=plane.source)  # fmt: skip
    assert told.unwitnessed == "ImageJ without plug-ins does not open files of this kind (e.g. their compression)"


@pytest.mark.parametrize("labels", [("phase", "EdU"), ("phase\nday 1", "EdU.tif"), ("", ""), ("x" * 70, "ü" * 70)])
def test_a_slice_is_labelled_as_imagej_labels_it(imagej: FijiEngine, tmp_path: Path, labels: tuple[str, str]) -> None:
    path = tmp_path / "s.tif"
    planes = np.stack([image_of("uint16"), image_of("uint16") + 7])
    with_labels = {"Labels": list(labels)} if any(labels) else {}
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "CYX", "mode": "composite", **with_labels})
    expected = in_java(
        """
imp = J("ij.io.Opener")().openImage(given[0])
answer = []
for k in (1, 2):
    imp.setSlice(k)
    roi = J("ij.gui.Roi")(3, 3, 5, 5)
    roi.setName("00001")
    J("ij.plugin.filter.Analyzer").setMeasurements(1 + 1024)
    answer.append(str(J("ij.gui.Overlay")(roi).measure(imp).getLabel(0)))
""",
        [str(path)],
    )
    cells = np.zeros(FIELD.cells.shape, np.uint16)
    cells[3:8, 3:8] = 1
    for k in (1, 2):
        plane = read_plane(ChannelFile(path, str(k)))
        told = DoubleEntry(imagej).measure(plane.pixels, selections_of(cells), "s.tif", None, source=plane.source)
        assert told.results_csv.decode().splitlines()[1].split(",")[1] == expected[k - 1]
