"""Segment Image on the image that is open: ImageJ's window, Groovy and Appose as Fiji has them, the real worker."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from fiji_scripts import drive, jars_of_fiji
from window import needs_window

import bridge
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=8, size_px=320, n_cells=14)
PIXELS = FIELD.phase[:200, :300]  # not square


@pytest.fixture(scope="module")
def jars(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return jars_of_fiji(tmp_path_factory.mktemp("jgo"))


KINDS = """
said = {}
for name, given in KINDS.items():
    imp = IJ.openImage(FOLDER + "/" + name.removeprefix("DUP_"))
    if name.startswith("DUP_"):
        imp = imp.duplicate()  # never saved
    imp.show()
    if name == "depth.tif":
        imp.setSlice(2)
    imp.setRoi(J("ij.gui.OvalRoi")(20, 20, 60, 40))
    before = (imp.getRoi(), imp.getCurrentSlice(), imp.changes, list(imp.getProcessor().getPixelsCopy()))
    J("ij.plugin.filter.Analyzer").setMeasurements(2)
    log = segment(imp, **given)
    out = FOLDER + "/" + name + ".d"
    os.makedirs(out)
    results(out + "/Results.csv")
    intact = before == (imp.getRoi(), imp.getCurrentSlice(), imp.changes, list(imp.getProcessor().getPixelsCopy()))
    said[name] = [log, intact, RoiManager.getInstance().getCount(), J("ij.plugin.filter.Analyzer").getMeasurements(), imp.getOverlay() is None]
    imp.changes = False
    imp.close()
done(json.dumps(said))
"""


@needs_window
@pytest.mark.slow
def test_results_are_those_of_the_saved_file(jars: list[str], tmp_path: Path) -> None:
    """8, 16 and 32 bit, a scale, colour, channels of a stack, an odd name: byte for byte."""
    sixteen, eight = PIXELS, (PIXELS // 256).astype(np.uint8)
    nothing = np.zeros_like(eight)
    tifffile.imwrite(tmp_path / "green.tif", np.stack([nothing, eight, nothing], -1), photometric="rgb")
    tifffile.imwrite(tmp_path / "u8.tif", eight)
    tifffile.imwrite(tmp_path / "u16.tif", sixteen)
    tifffile.imwrite(tmp_path / "f32.tif", sixteen.astype("float32") - 777.25)
    scaled = {"resolution": (1 / 0.325, 1 / 0.325), "metadata": {"unit": "um"}, "imagej": True}
    tifffile.imwrite(tmp_path / "scaled.tif", sixteen, **scaled)
    tifffile.imwrite(tmp_path / "Zählung (β) a=1.x.tif", sixteen)
    for name in ("red", "blue"):
        shown = [nothing] * 3
        shown[("red", "green", "blue").index(name)] = eight
        tifffile.imwrite(tmp_path / f"{name}.tif", np.stack(shown, -1), photometric="rgb")
    tifffile.imwrite(tmp_path / "grey.tif", np.stack([eight] * 3, -1), photometric="rgb")
    tifffile.imwrite(tmp_path / "mixed.tif", np.stack([eight, 255 - eight, eight // 2], -1), photometric="rgb")
    oblong = {"resolution": (1 / 0.325, 1 / 0.65), "metadata": {"unit": "um"}, "imagej": True}
    tifffile.imwrite(tmp_path / "oblong.tif", sixteen, **oblong)
    depth = {"imagej": True, "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "depth.tif", np.stack([sixteen // 3, sixteen, sixteen // 2]), **depth)
    tifffile.imwrite(tmp_path / "none.tif", np.full((100, 150), 7, np.uint16))
    channels = {"imagej": True, "metadata": {"axes": "CYX", "Labels": ["phase", "EdU"]}}
    tifffile.imwrite(tmp_path / "two.tif", np.stack([sixteen, sixteen[:, ::-1]]), **channels)
    kinds: dict[str, dict[str, str]] = {
        name: {} for name in ("green.tif", "u8.tif", "u16.tif", "f32.tif", "scaled.tif", "Zählung (β) a=1.x.tif")
    }
    kinds |= {
        name: {} for name in ("red.tif", "blue.tif", "grey.tif", "oblong.tif", "depth.tif", "DUP_u16.tif", "none.tif")
    }
    kinds["mixed.tif"] = {"colour": "green"}
    kinds["two.tif"] = {"cells": "phase", "measured": "2"}
    said = drive(KINDS, jars, tmp_path, KINDS=kinds)
    tifffile.imwrite(tmp_path / "DUP_u16.tif", sixteen)
    for name, given in kinds.items():
        log, intact, n_managed, measurements, no_overlay = said[name]
        assert intact, name
        assert no_overlay
        assert measurements == 2
        assert "cells, both engines agree to the last digit (demo, diameter 30.0 px)" in log, log
        if name == "none.tif":  # without a cell ImageJ has no table
            assert n_managed == 0
            assert log.endswith("none.tif: 0 cells, both engines agree to the last digit (demo, diameter 30.0 px)")
            continue
        out = Path(tempfile.mkdtemp(dir=tmp_path))
        how = {"rgb_channel": given["colour"]} if "colour" in given else {"z": "2"} if name == "depth.tif" else {}
        own = {"channel": given["cells"]} if "cells" in given else how
        mask = bridge.segment(tmp_path / name, out=out, model="demo", diameter=30, **own)
        roiset = bridge.trace(mask, out=out)
        own = {"channel": given["measured"]} if "measured" in given else how
        expected = bridge.measure(tmp_path / name, roiset, out=out, engine="native", **own).read_bytes()
        assert (tmp_path / f"{name}.d" / "Results.csv").read_bytes() == expected
        assert n_managed == expected.count(b"\n") - 1 > 3


STAYS = """
worker = lambda: J("ij.IJ").getProperty("cellpose-fiji.service")
def pid():
    task = worker().task("import os; task.outputs['pid'] = os.getpid()").waitFor()
    return int(str(task.outputs.get("pid")))
def temporary():
    return [name for name in os.listdir(HOME) if name.startswith("cellpose-fiji-")]

small, large = IJ.openImage(FOLDER + "/small.tif"), IJ.openImage(FOLDER + "/large.tif")
small.show()
said = {"first": segment(small)}
first = pid()
said["again"] = segment(small, rois="both")
said["overlay"], said["managed"] = small.getOverlay().size(), RoiManager.getInstance().getCount()
said["same process"] = pid() == first

large.show()
call = pool.submit(segment, large, diameter="5", measured="none")
wait_for(lambda: "of the network" in words_of_status(), "the network")
large.getWindow().toFront()
large.getCanvas().requestFocus()
pressed = time.monotonic()
def again():
    robot.keyPress(27)
    robot.keyRelease(27)
    return call.done()
wait_for(again, "the end by Esc")
said["stopped"] = call.result() == "" and "Segment Image: Stopped." in words_of_status() and pid() == first
said["after"] = segment(small)

call = pool.submit(segment, large, diameter="5", measured="none")
wait_for(lambda: "of the network" in words_of_status(), "the network")
os.kill(first, 9)
press(asking("Segment Image", "The Python process ended in the middle of its work (out of memory?). The next call starts a new one."), "OK")
call.result()
said["new"] = segment(small)
said["new process"] = pid() != first

# Frozen: Esc ends it.
frozen = pid()
call = pool.submit(segment, large, diameter="5", measured="none")
wait_for(lambda: "of the network" in words_of_status(), "the network")
os.kill(frozen, 19)
IJ.setKeyDown(27)
press(asking("Segment Image", "The Python process did not answer for 20 s, and was ended. The next call starts a new one."), "OK")
call.result()
said["thawed"] = segment(small)
said["no corpse"] = pid() != frozen

groovy("Stop Worker")
said["ended"] = worker() is None
said["left"] = temporary()
done(json.dumps(said))
"""


@needs_window
@pytest.mark.slow
def test_the_worker_stays_is_stopped_by_esc_and_starts_anew(jars: list[str], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "small.tif", PIXELS)
    tifffile.imwrite(tmp_path / "large.tif", synthetic_field(seed=9, size_px=900, n_cells=60).phase)
    said = drive(STAYS, jars, tmp_path, 240)
    for call in ("first", "again", "after", "new", "thawed"):
        assert "both engines agree to the last digit" in said[call]
    assert said["overlay"] == said["managed"] > 3
    assert said["same process"]
    assert said["stopped"]
    assert said["new process"]
    assert said["no corpse"]
    assert said["ended"]
    assert said["left"] == []


REFUSED = """
small = IJ.openImage(FOLDER + "/small.tif")
small.show()
for name, wrong in WRONG.items():
    call = pool.submit(segment, small, **wrong)
    press(asking("Segment Image", SENTENCES[name]), "OK")
    call.result()
done(json.dumps([small.getOverlay() is None, str(J("ij.IJ").getLog() or "")]))
"""


@needs_window
@pytest.mark.slow
def test_what_is_wrong_is_one_sentence(jars: list[str], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "small.tif", PIXELS)
    wrong = {
        "radius": {"radius": "wide"},
        "channel": {"cells": "3"},
        "diameter": {"diameter": "big"},
        "model": {"model": "cyto9"},
    }
    sentences = {
        "radius": "Radius of the rolling ball: not a number of px (got wide, expected e.g. 50, or none). Correct it.",
        "channel": "small.tif: no such channel (got 3, expected shown, or one of 1). Correct the channel.",
        "diameter": "segment: diameter: ",
        "model": "cyto9",
    }
    assert drive(REFUSED, jars, tmp_path, WRONG=wrong, SENTENCES=sentences) == [True, ""]


CALLED = """
image = IJ.openImage(FOLDER + "/three.tif")
image.show()
said = {"log": segment(image, cells="1", measured="2", nuclei="3", nuclei_diameter="12", threshold="%s")}
rois = list(RoiManager.getInstance().getRoisAsArray())
said["groups"] = [roi.getGroup() for roi in rois]
said["colours"] = sorted({str(roi.getStrokeColor().getRGB() & 0xFFFFFF) for roi in rois})
window.toBack()
image.getWindow().setLocation(100, 160)
image.getWindow().toFront()
time.sleep(1)
screenshot(FOLDER + "/called.png", 80, 120, 700, 560)
said["cells"] = segment(image, cells="1", measured="2", threshold="%s", rois="overlay")
said["of overlay"] = [roi.getGroup() for roi in image.getOverlay().toArray()]
done(json.dumps(said))
"""


@needs_window
@pytest.mark.slow
def test_positive_cells_are_those_of_a_run(jars: list[str], tmp_path: Path) -> None:
    """By their nuclei: groups and colours of the ROIs are the column EdU_positive of the same field."""
    images = tmp_path / "images" / "DMSO"
    images.mkdir(parents=True)
    for name, pixels in (("phase", FIELD.phase), ("EdU", FIELD.edu), ("TOPRO", FIELD.topro)):
        tifffile.imwrite(images / f"f1_{name}.tif", pixels)
    tifffile.imwrite(
        tmp_path / "three.tif", np.stack([FIELD.phase, FIELD.edu, FIELD.topro]), imagej=True, metadata={"axes": "CYX"}
    )
    gate = 150.0
    bridge.run(
        tmp_path / "images", tmp_path / "out", model="demo", diameter=30, count_diameter=12, edu_threshold=[f"{gate}"],
        engine="native", allow_missing=True,
    )  # fmt: skip
    cells = pd.read_csv(tmp_path / "out" / "cells.csv", dtype={"EdU_positive": "boolean"})
    expected = [0 if pd.isna(call) else 1 if call else 2 for call in cells["EdU_positive"]]
    assert {1, 2} <= set(expected)
    said = drive(CALLED % (gate, gate), jars, tmp_path)
    assert said["groups"] == expected
    assert {str(0xE69F00), str(0x0072B2)} <= set(said["colours"])
    n = expected.count(1)
    assert f"both engines agree to the last digit, {n} of {n + expected.count(2)} positive above {gate}" in said["log"]
    whole = [1 if mean > gate else 2 for mean in cells["cell_EdU_Mean"]]
    assert said["of overlay"] == whole
    assert f"{whole.count(1)} of {len(whole)} positive above {gate}" in said["cells"]


LOOP = """
in_the_menu("Segment Image")
macro = MACRO.replace('getDirectory("Images")', '"' + FOLDER + '/in/"').replace('getDirectory("Results")', '"' + FOLDER + '/out/"')
IJ.runMacro(macro)
log = str(IJ.getLog())
IJ.log("\\\\Clear")
ended = "still running"
IJ.runMacro('open("' + FOLDER + '/in/a.tif"); run("Segment Image", "' + WRONG + '"); File.saveString("on", "' + FOLDER + '/on.txt");')
done(json.dumps([log, str(IJ.getLog()), os.path.exists(FOLDER + "/on.txt")]))
"""


@needs_window
@pytest.mark.slow
def test_macro_of_the_documentation_loops_over_a_folder(jars: list[str], tmp_path: Path) -> None:
    """With an image without cells in its middle: its file holds no numbers of the one before; an error ends a macro."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name, pixels in (("a", PIXELS), ("b", np.full((100, 150), 7, np.uint16)), ("c", PIXELS[:, ::-1])):
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", pixels)
    documented = (Path(__file__).parents[2] / "docs" / "fiji.md").read_text("utf-8")
    macro = next(part for part in documented.split("```") if "getFileList" in part)
    macro = macro.removeprefix("ijm").replace("model=cyto3 diameter=own", "model=demo diameter=30")
    line = macro.split('run("Segment Image", "')[1].split('"')[0]
    wrong = line.replace("radius=50", "radius=wide")
    log, ended, went_on = drive(LOOP, jars, tmp_path, MACRO=macro, WRONG=wrong)
    assert "a.tif: " in log
    assert "b.tif: 0 cells" in log
    for name in "ac":
        mask = bridge.segment(tmp_path / "in" / f"{name}.tif", out=tmp_path / "own", model="demo", diameter=30)
        roiset = bridge.trace(mask, out=tmp_path / "own")
        own = bridge.measure(tmp_path / "in" / f"{name}.tif", roiset, out=tmp_path / "own", engine="native")
        assert (tmp_path / "out" / f"{name}_Results.csv").read_bytes() == own.read_bytes()
    empty = tmp_path / "out" / "b_Results.csv"
    assert not empty.exists() or empty.read_bytes().strip() == b""
    assert "Segment Image: Radius of the rolling ball: not a number of px (got wide" in ended
    assert not went_on


HEADLESS = """
image = IJ.openImage(FOLDER + "/f1.tif")
log = segment(image, rois="overlay")
done(json.dumps([image.getOverlay().size(), log]))
"""


@pytest.mark.slow
@needs_window
def test_headless_the_rois_are_an_overlay(jars: list[str], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "f1.tif", PIXELS)
    n, _ = drive(HEADLESS, jars, tmp_path, HEADLESS=True)
    assert n > 3
