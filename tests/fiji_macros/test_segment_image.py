"""Segment Image on the image that is open: ImageJ's window, Groovy and Appose as Fiji has them, the real worker."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import jgo
import numpy as np
import pytest
import tifffile
from window import in_the_window, needs_window

import bridge
import bridge.fiji_menu
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=8, size_px=320, n_cells=14)
PIXELS = FIELD.phase[:200, :300]  # not square

# What stands in for Fiji's script menu: the lines of parameters are taken out, and bound to what is given or their values.
DRIVE = """
import json, re
begin("-Dplugins.dir=" + HOME, "-Djava.io.tmpdir=" + HOME, jars=JARS)
MACROS = Path(HOME) / "plugins/Cellpose Fiji Bridge"
J = jpype.JClass
text = (MACROS / "Segment_Image.groovy").read_text("utf-8")
body = "\\n".join("" if line.startswith("#@") else line for line in text.splitlines())
defaults = {}
for kind, how, name in re.findall(r"^#@ (\\w+) \\((.*)\\) (\\w+)$", text, re.M):
    found = re.search(r'value = ("([^"]*)"|\\w+)', how)
    if found:
        defaults[name] = found[2] if found[2] is not None else found[1] == "true"
stop = (MACROS / "Stop_Worker.groovy").read_text("utf-8")
errors = []

def groovy(code, **bound):
    jpype.java.lang.Thread.currentThread().setContextClassLoader(J("java.lang.ClassLoader").getSystemClassLoader())
    binding = J("groovy.lang.Binding")()
    for name, value in bound.items():
        binding.setVariable(name, value if not isinstance(value, bool) else J("java.lang.Boolean").valueOf(value))
    return J("groovy.lang.GroovyShell")(binding).evaluate(code)

def segment(imp, **given):
    J("ij.IJ").log("\\\\Clear")
    groovy(body, imp=imp, **{**defaults, "model": "demo", "diameter": "30", **given})
    return str(J("ij.IJ").getLog() or "").strip()

def words_of_status():
    return str(J("ij.IJ").getInstance().getInfo()) + "|".join(words(J("ij.IJ").getInstance()))

def results(path):
    table = J("ij.measure.ResultsTable").getResultsTable()
    table.saveAs(str(path))
"""


@pytest.fixture(scope="module")
def jars(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Groovy and Appose, of Maven Central."""
    made = jgo.build(
        endpoint="org.apposed:appose:0.9.0+org.apache.groovy:groovy:4.0.28",
        cache_dir=tmp_path_factory.mktemp("jgo"), repositories={}, resolver=jgo.maven.PythonResolver(lenient=True),
    )  # fmt: skip
    return [str(jar) for folder in (made.jars_dir, made.modules_dir) for jar in Path(folder).glob("*.jar")]


def drive(code: str, jars: list[str], folder: Path, **names: object) -> Any:
    (folder / "plugins").mkdir()
    (folder / "ij.jar").touch()
    bridge.fiji_menu.install(folder)
    return json.loads(in_the_window(DRIVE + code, folder, errors_end_it=False, JARS=jars, FOLDER=str(folder), **names))


KINDS = """
said = {}
for name, given in KINDS.items():
    imp = IJ.openImage(FOLDER + "/" + name)
    imp.show()
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
    tifffile.imwrite(tmp_path / "none.tif", np.full((100, 150), 7, np.uint16))
    channels = {"imagej": True, "metadata": {"axes": "CYX", "Labels": ["phase", "EdU"]}}
    tifffile.imwrite(tmp_path / "two.tif", np.stack([sixteen, sixteen[:, ::-1]]), **channels)
    kinds: dict[str, dict[str, str]] = {
        name: {} for name in ("green.tif", "u8.tif", "u16.tif", "f32.tif", "scaled.tif", "Zählung (β) a=1.x.tif")
    }
    kinds["none.tif"] = {}
    kinds["two.tif"] = {"cells": "phase", "measured": "2"}
    said = drive(KINDS, jars, tmp_path, KINDS=kinds)
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
        own = {"channel": given["cells"]} if given else {}
        mask = bridge.segment(tmp_path / name, out=out, model="demo", diameter=30, **own)
        roiset = bridge.trace(mask, out=out)
        own = {"channel": given["measured"]} if given else {}
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
asking("Segment Image", "The Python process ended in the middle of its work (out of memory?). The next call starts a new one.").dispose()
call.result()
said["new"] = segment(small)
said["new process"] = pid() != first

groovy(stop)
said["ended"] = worker() is None
said["left"] = temporary()
done(json.dumps(said))
"""


@needs_window
@pytest.mark.slow
def test_the_worker_stays_is_stopped_by_esc_and_starts_anew(jars: list[str], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "small.tif", PIXELS)
    tifffile.imwrite(tmp_path / "large.tif", synthetic_field(seed=9, size_px=900, n_cells=60).phase)
    said = drive(STAYS, jars, tmp_path)
    for call in ("first", "again", "after", "new"):
        assert "both engines agree to the last digit" in said[call]
    assert said["overlay"] == said["managed"] > 3
    assert said["same process"]
    assert said["stopped"]
    assert said["new process"]
    assert said["ended"]
    assert said["left"] == []


REFUSED = """
small = IJ.openImage(FOLDER + "/small.tif")
small.show()
for name, wrong in WRONG.items():
    call = pool.submit(segment, small, **wrong)
    asking("Segment Image", SENTENCES[name]).dispose()
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
