"""The macros of Fiji's menu ask the Python process that stays; what they write is what the command line writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile
from fiji_scripts import drive, jars_of_fiji
from window import needs_window

import bridge
from bridge.synthetic import synthetic_field

MACROS_ASK = """
in_the_menu("Ask Worker")
(MACROS / "command.txt").rename(MACROS / "command.bak")  # of nobody else's use
worker = lambda: J("ij.IJ").getProperty("cellpose-fiji.service")
def macro(name, argument):
    return pool.submit(lambda: str(IJ.runMacroFile(str(MACROS / name), argument)))
said = {}

# Without Python anywhere: one sentence, and the macro ends.
call = macro("Segment_and_Measure.ijm", RUN)
wait_for(call.done, "the refusal")
said["nowhere"] = str(IJ.getLog())
before = set(os.listdir(HOME))
IJ.log("\\\\Clear")

(MACROS / "command.bak").rename(MACROS / "command.txt")
call = macro("Segment_and_Measure.ijm", RUN)
wait_for(lambda: "fields" in words_of_status(), "the run")
# Another call meanwhile waits for its end.
image = IJ.openImage(FOLDER + "/images/DMSO/f1_phase.tif")
image.show()
said["meanwhile"] = segment(image)
said["run"] = call.result()
said["alive"] = bool(worker().isAlive())

call = macro("Correct_Cells.ijm", "results=[" + FOLDER + "/out] field=[DMSO_f1] apply=[yes]")
shown = asking("Correct cells", "delete: select, Delete")
manager = RoiManager.getInstance()
manager.select(0)
manager.runCommand("Delete")
press(shown, "OK")
said["corrected"] = call.result()
said["left"] = [name for name in set(os.listdir(HOME)) - before if name.startswith("cellpose-fiji-")]
done(json.dumps(said))
"""


@needs_window
@pytest.mark.slow
def test_macros_go_through_the_process_that_stays(tmp_path: Path) -> None:
    images = tmp_path / "images" / "DMSO"
    images.mkdir(parents=True)
    for n in (1, 2, 3):
        field = synthetic_field(seed=n, size_px=260, n_cells=8)
        for name, pixels in (("phase", field.phase), ("EdU", field.edu)):
            tifffile.imwrite(images / f"f{n}_{name}.tif", pixels)
    told = f"images=[{tmp_path / 'images'}] out=[{tmp_path / 'out'}] model=[demo] diameter=[30] count=[none]"
    said = drive(MACROS_ASK, jars_of_fiji(tmp_path / "jgo"), tmp_path, 240, RUN=told)
    assert (
        "Ask Worker: Python is not installed. Plugins > Cellpose Fiji Bridge > Install Bridge does it"
        in said["nowhere"]
    )
    assert said["run"] == f"OK: 3 of 3 fields done. Results in {tmp_path / 'out'}"
    assert "both engines agree to the last digit (demo, diameter 30.0 px)" in said["meanwhile"]
    assert said["alive"]
    assert said["corrected"].startswith("OK: 1 field corrected: 1 deleted.")
    assert said["left"] == []
    bridge.run(tmp_path / "images", tmp_path / "own", model="demo", diameter=30, count="none")
    own, theirs = ((tmp_path / name / "cells.csv").read_text("utf-8").splitlines() for name in ("own", "out"))
    assert len(theirs) == len(own) - 1  # the deleted one
    others = [[line for line in lines if not line.startswith("DMSO_f1,")] for lines in (own, theirs)]
    assert others[0] == others[1]
