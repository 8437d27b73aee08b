"""Real ImageJ 1.54p: what it measures, and what happens when it dies, hangs or runs out of memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bridge.calibration import PIXELS, Calibration
from bridge.errors import ImageJError, InputError, MissingDependencyError, RoiError
from bridge.imagej.background import Background, shrink_factor
from bridge.imagej.both import DoubleEntry
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.fiji_folder import fiji_root
from bridge.imagej.java import java_home, java_version
from bridge.imagej.maven import core_jars
from bridge.imagej.native import NativeEngine
from bridge.imagej.statistics import statistics
from bridge.images.reader import inspect
from bridge.rois.roiset import selections_of
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=3, size_px=150, n_cells=7)
ROISET = selections_of(FIELD.cells)


def test_raw_numbers_are_those_of_the_pixels(imagej: FijiEngine) -> None:
    measured = imagej.measure(FIELD.edu, ROISET, "a.tif", background=None)
    cells = [FIELD.edu[FIELD.cells == i].astype(np.float64) for i in range(1, FIELD.cells.max() + 1)]
    columns = measured.columns
    np.testing.assert_allclose(columns["Mean"], [c.mean() for c in cells], rtol=1e-15)
    np.testing.assert_allclose(columns["StdDev"], [c.std(ddof=1) for c in cells], rtol=1e-12)
    np.testing.assert_allclose(columns["RawIntDen"], [c.sum() for c in cells], rtol=1e-15)
    assert columns["Min"].tolist() == [c.min() for c in cells]
    assert columns["Max"].tolist() == [c.max() for c in cells]
    y, x = np.indices(FIELD.cells.shape) + 0.5
    np.testing.assert_allclose(columns["X"], [x[FIELD.cells == i].mean() for i in range(1, len(cells) + 1)], rtol=1e-14)
    np.testing.assert_allclose(columns["Y"], [y[FIELD.cells == i].mean() for i in range(1, len(cells) + 1)], rtol=1e-14)
    raw = statistics(FIELD.edu, ROISET)
    np.testing.assert_array_equal(raw.mean, columns["Mean"])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_rolling_ball_lowers_the_mean_and_returns_the_image(imagej: FijiEngine, dtype: str) -> None:
    image = (FIELD.edu // (20 if dtype == "uint8" else 1)).astype(dtype)
    measured = imagej.measure(image, ROISET, "a.tif", Background(50), return_pixels=True)
    assert measured.pixels is not None
    assert measured.pixels.dtype == dtype
    assert (measured.columns["Mean"] < statistics(image, ROISET).mean).all()
    means = [measured.pixels[FIELD.cells == i].mean(dtype=np.float64) for i in range(1, FIELD.cells.max() + 1)]
    np.testing.assert_allclose(measured.columns["Mean"], means, rtol=1e-12)


@pytest.mark.parametrize("option", ["light_background", "sliding_paraboloid", "disable_smoothing", "create_background"])
def test_each_option_of_imagej_changes_the_image(imagej: FijiEngine, option: str) -> None:
    plain = imagej.measure(FIELD.edu, ROISET, "a.tif", Background(20), return_pixels=True).pixels
    other = imagej.measure(FIELD.edu, ROISET, "a.tif", Background(20, **{option: True}), return_pixels=True).pixels
    assert plain is not None
    assert other is not None
    assert np.count_nonzero(plain != other) > 1000


def test_results_csv_is_imagejs_own(imagej: FijiEngine) -> None:
    labels = np.zeros((30, 30), np.uint16)
    labels[2:5, 2:5] = 1
    labels[10:12, 10] = 2
    image = np.zeros((30, 30), np.uint16)
    image[3, 3], image[10, 10] = 10, 7
    measured = imagej.measure(
        image, selections_of(labels), "a, b.tif", None, measurements=("area", "mean", "integrated")
    )
    # A comma in the title becomes a semicolon; a column with a fraction in it prints all its values with decimals.
    assert measured.results_csv.decode().replace(os.linesep, "\n") == (
        " ,Label,Area,Mean,IntDen,RawIntDen\n1,a; b.tif:00001,9,1.111,10,10\n2,a; b.tif:00002,2,3.500,7,7\n"
    )


def test_names_in_any_script(imagej: FijiEngine) -> None:
    measured = imagej.measure(FIELD.edu, ROISET, "µm-Größe-細胞.tif", None)
    assert "µm-Größe-細胞.tif:00001" in measured.results_csv.decode()


def test_no_cells_leave_the_header(imagej: FijiEngine) -> None:
    none = selections_of(np.zeros(FIELD.edu.shape, np.uint16))
    measured = imagej.measure(FIELD.edu, none, "a.tif", Background(50), measurements=("area", "mean"))
    assert measured.results_csv.decode().rstrip() == " ,Label,Area,Mean"
    assert measured.columns == {}


def test_calibration_scales_areas_only(imagej: FijiEngine) -> None:
    pixels = imagej.measure(FIELD.edu, ROISET, "a.tif", None)
    microns = imagej.measure(FIELD.edu, ROISET, "a.tif", None, Calibration(0.5, 0.5, "micron"))
    np.testing.assert_allclose(microns.columns["Area"], pixels.columns["Area"] * 0.25)
    np.testing.assert_allclose(microns.columns["IntDen"], pixels.columns["IntDen"] * 0.25)
    np.testing.assert_array_equal(microns.columns["RawIntDen"], pixels.columns["RawIntDen"])


@pytest.mark.parametrize("code", [1, 2, 3])
@pytest.mark.parametrize("description", [None, "", "um", "micron", "\\u00B5m", "nm", "mm", "cm", "inch"])
def test_calibration_is_read_as_imagej_reads_it(
    tmp_path: Path, imagej_with_macros: FijiEngine, description: str | None, code: int
) -> None:
    read = 'open(getArgument()); getPixelSize(unit, w, h); close(); return unit + "|" + d2s(w, 9) + "|" + d2s(h, 9);'
    for k, resolution in enumerate(
        ((4.0, 4.0), (4.0, 2.0), (1.0, 1.0), (72.0, 72.0), (300.0, 300.0), (20000.0, 20000.0))
    ):
        path = tmp_path / f"{k}.tif"
        text = None if description is None else "ImageJ=1.54p\n" + (f"unit={description}\n" if description else "")
        tifffile.imwrite(path, FIELD.edu, resolution=resolution, resolutionunit=code, description=text, metadata=None)
        unit, width, height = (imagej_with_macros.run_macro(read, str(path)) or "").split("|")
        ours = inspect(path).calibration
        if unit == "inches":  # the one difference: an inch is a printer's unit, so the image counts as not calibrated
            assert ours == PIXELS
            continue
        same = {"micron": {"microns", "micron", "µm"}, "pixel": {"pixel", "pixels", " "}, " ": {" ", "pixels"}}
        assert unit in same.get(ours.unit, {ours.unit}), (resolution, ours)
        assert (float(width), float(height)) == pytest.approx((ours.width, ours.height), abs=1e-9)


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(("radius", "factor"), [(5, 1), (10, 1), (11, 2), (30, 2), (31, 4), (100, 4), (101, 8)])
def test_image_smaller_than_the_ball_can_handle(imagej: FijiEngine, radius: float, factor: int) -> None:
    assert shrink_factor(radius) == factor
    with pytest.raises(InputError) as refused:
        imagej.measure(flat := np.ones((factor, 90), np.uint16), selections_of(flat), "a.tif", Background(radius))
    assert str(refused.value) == (
        f"a.tif: too small for a rolling ball of radius {radius} px (got {factor} x 90 px, expected sides of at least {factor + 1} px). "
        "Use a smaller radius, or --rolling-ball none."
    )
    with pytest.raises(InputError) as refused_too:
        NativeEngine().measure(flat, selections_of(flat), "a.tif", Background(radius))
    assert str(refused_too.value) == str(refused.value)
    large_enough = np.ones((factor + 1, 90), np.uint16)
    DoubleEntry(imagej).measure(large_enough, selections_of(large_enough), "a.tif", Background(radius))


def test_what_is_not_measured(imagej: FijiEngine) -> None:
    for engine in (imagej, NativeEngine(), DoubleEntry(imagej)):
        with pytest.raises(InputError) as refused:
            engine.measure(FIELD.edu.astype(np.int32), ROISET, "a.tif")
        assert str(refused.value) == (
            "a.tif: pixels of type int32 (expected uint8, uint16 or float32). Save it as 8-, 16- or 32-bit."
        )
        with pytest.raises(RoiError) as other:
            engine.measure(FIELD.edu[:100], ROISET, "a.tif")
        assert str(other.value) == (
            "a.tif: not the size of the image its ROIs were made for (got 100 x 150, expected 150 x 150 px). Use the ROI set of this image."
        )


# ---------------------------------------------------------------- death, hanging, memory


@pytest.mark.slow
def test_a_killed_imagej_is_replaced_and_the_numbers_are_the_same() -> None:
    with FijiEngine() as engine:
        before = engine.measure(FIELD.edu, ROISET, "a.tif")
        first = engine.process_id
        assert first is not None
        os.kill(first, signal.SIGKILL)
        after = engine.measure(FIELD.edu, ROISET, "a.tif")
        assert engine.process_id != first
    assert before.results_csv == after.results_csv


@pytest.mark.slow
def test_an_imagej_that_dies_twice_fails_that_image_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with FijiEngine() as engine:
        start = engine._begin

        def start_and_kill() -> None:
            start()
            assert engine.process_id is not None
            os.kill(engine.process_id, signal.SIGKILL)

        monkeypatch.setattr(engine, "_begin", start_and_kill)
        with pytest.raises(ImageJError, match=r"^a\.tif: ImageJ died.* twice\. Run `cellpose-fiji doctor`\.$"):
            engine.measure(FIELD.edu, ROISET, "a.tif")
        monkeypatch.undo()
        assert engine.measure(FIELD.edu, ROISET, "a.tif").columns["Area"].size == 7


@pytest.mark.slow
def test_an_imagej_that_hangs_is_replaced() -> None:
    with FijiEngine() as engine:
        engine.measure(FIELD.edu, ROISET, "a.tif")
        first = engine.process_id
        assert first is not None
        engine._timeout = 3
        os.kill(first, signal.SIGSTOP)

        def longer() -> None:
            # The fresh one may take its time to start.
            while engine.process_id == first:
                time.sleep(0.01)
            engine._timeout = 120

        patience = threading.Thread(target=longer)
        patience.start()
        assert engine.measure(FIELD.edu, ROISET, "a.tif").columns["Area"].size == 7
        patience.join()
        assert engine.process_id != first


@pytest.mark.slow
def test_a_late_answer_is_never_taken_for_another_one() -> None:
    """When the start outlasts the deadline: once the late reply was the answer to the next request, and so on."""
    other = FIELD.edu // 2
    with FijiEngine() as patient:
        expected = [patient.measure(pixels, ROISET, "a.tif").results_csv for pixels in (FIELD.edu, other)]
    engine = FijiEngine(timeout=0.1)
    try:
        with pytest.raises(MissingDependencyError, match=r"^ImageJ: did not start \(did not answer within 0\.1 s\)"):
            engine.start()
        assert engine.process_id is None
        engine._timeout = 120
        assert [engine.measure(pixels, ROISET, "a.tif").results_csv for pixels in (FIELD.edu, other)] == expected
    finally:
        engine.close()


@pytest.mark.slow
def test_an_answer_to_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with FijiEngine() as engine:
        engine.measure(FIELD.edu, ROISET, "a.tif")
        monkeypatch.setattr("bridge.imagej.fiji.digest", lambda blobs: "other")
        with pytest.raises(MissingDependencyError, match=r"^ImageJ: did not start \(answered another request\)\."):
            engine.measure(FIELD.edu, ROISET, "a.tif")


@pytest.mark.slow
def test_a_worker_that_reads_nothing_is_replaced() -> None:
    """More than a pipe holds: sending waits, and is under the deadline, too."""
    large = np.full((2000, 2000), 300, np.uint16)
    cells = selections_of(np.pad(np.ones((50, 50), np.uint16), ((0, 1950), (0, 1950))))
    with FijiEngine() as engine:
        engine.measure(large, cells, "a.tif")
        first = engine.process_id
        assert first is not None
        engine._timeout = 5
        os.kill(first, signal.SIGSTOP)

        def longer() -> None:
            while engine.process_id == first:
                time.sleep(0.01)
            engine._timeout = 120

        patience = threading.Thread(target=longer)
        patience.start()
        assert engine.measure(large, cells, "a.tif").columns["Area"].tolist() == [2500.0]
        patience.join()
        assert engine.process_id != first


@pytest.mark.slow
def test_out_of_memory_names_the_option() -> None:
    with FijiEngine(memory="24m") as engine, pytest.raises(ImageJError) as refused:
        engine.measure(np.ones((3000, 3000), np.uint16), selections_of(np.ones((3000, 3000), np.uint8)), "big.tif")
    assert (
        str(refused.value) == "big.tif: ImageJ ran out of memory (24m) twice. Give it more with --java-memory, e.g. 8g."
    )


def test_the_worker_ends_with_its_parent() -> None:
    code = (
        "import sys, time\nfrom bridge.imagej.fiji import FijiEngine\n"
        "engine = FijiEngine(); engine.start(); print(engine.process_id, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        worker = int(parent.stdout.readline())
    os.kill(worker, 0)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


# ---------------------------------------------------------------- where ImageJ and Java come from


def test_a_damaged_jar_in_the_cache_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLPOSE_FIJI_CACHE", str(tmp_path))
    (jar,) = core_jars()
    whole = jar.read_bytes()
    jar.write_bytes(whole[:1000])
    (again,) = core_jars()
    assert again.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1.54p", "ij-1.54p.jar", "imagej"]


def test_no_network_for_the_first_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLPOSE_FIJI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    with pytest.raises(MissingDependencyError) as refused, FijiEngine():
        pass
    text = str(refused.value)
    assert text.startswith("ImageJ 1.54p: could not be downloaded from Maven Central (")
    assert text.endswith("The first run needs a network, once; or name a Fiji folder with --fiji.")


def test_no_fiji_there(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError) as refused:
        fiji_root(tmp_path)
    assert (
        str(refused.value)
        == f"{tmp_path}: no Fiji (expected jars/ij-1.*.jar in it). Give the folder that Fiji was unpacked to."
    )


@pytest.mark.parametrize("layout", ["", "Fiji.app", "Fiji"])
def test_old_and_new_layout_of_fiji(tmp_path: Path, layout: str) -> None:
    root = tmp_path / layout
    (root / "jars").mkdir(parents=True)
    (root / "jars" / "ij-1.54p.jar").touch()
    with pytest.raises(MissingDependencyError) as refused:
        fiji_root(tmp_path)
    assert str(refused.value) == (
        f"{root}: ImageJ alone, no Fiji (expected jars/imagej-legacy-*.jar in it). "
        "Give the folder that Fiji was unpacked to, or leave out --fiji."
    )
    (root / "jars" / "imagej-legacy-2.0.3.jar").touch()
    java = root / "java" / "linux-amd64" / "zulu21" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.touch()
    assert fiji_root(tmp_path) == root
    assert java_home(root) == java.parent.parent


@pytest.fixture
def old_java(tmp_path: Path) -> Callable[[str], Path]:
    def make(version: str) -> Path:
        java = tmp_path / "jdk" / "bin" / "java"
        java.parent.mkdir(parents=True)
        java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        java.chmod(0o755)
        return tmp_path / "jdk"

    return make


def test_java_that_is_too_old(old_java: Callable[[str], Path]) -> None:
    home = old_java("1.8.0_392")
    assert java_version(home) == 8
    with pytest.raises(MissingDependencyError) as refused, FijiEngine(java=home):
        pass
    assert str(refused.value) == (
        f"{home}: Java is too old (got 8, expected 11 or later). Leave out --java: a newer one is installed with this program."
    )


def test_no_java_there(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError) as refused:
        java_home(named=tmp_path)
    assert (
        str(refused.value)
        == f"{tmp_path}: no Java (expected bin/java in it). Give a JAVA_HOME with --java, or leave it out."
    )
