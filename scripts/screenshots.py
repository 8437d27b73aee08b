"""Make the pictures of ImageJ's windows in the README: uv run python scripts/screenshots.py (needs xvfb-run and openbox)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import bridge
import bridge.fiji_menu

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import numpy as np  # noqa: E402
import tifffile  # noqa: E402
from fiji_scripts import bring_wheel, drive, jars_of_fiji  # noqa: E402
from window import in_the_window  # noqa: E402

from bridge.synthetic import synthetic_field  # noqa: E402

MANAGER = """
begin()
IJ.open(image)
IJ.run('Enhance Contrast', 'saturated=0.2')
IJ.run('Set... ', 'zoom=100')
IJ.runMacro("roiManager('open', getArgument()); roiManager('show all with labels');", roiset)
manager = RoiManager.getInstance()
shown = WindowManager.getCurrentImage().getWindow()
shown.setLocation(40, 140)
manager.setLocation(40 + shown.getWidth() + 20, 140)
wait_for(lambda: manager.getCount() and manager.isShowing(), 'the ROI Manager')
IJ.run('Set Measurements...', 'area mean min integrated display redirect=None decimal=3')
IJ.runMacro("roiManager('deselect'); roiManager('measure'); roiManager('select', 11);", "")
robot.delay(1000)
table = WindowManager.getFrame('Results')
table.setBounds(40 + shown.getWidth() + 20, 140 + manager.getHeight() + 20, 640, 420)
robot.delay(1000)
screenshot(path, 30, 0, 1470, 960)
done('')
"""
REVIEW = """
begin()
said = start('Review_Field.ijm', f'results=[{results}] field=[{field}]')
reviewing()
panel = WindowManager.getFrame('Results').getTextPanel()
place = panel.getLocationOnScreen()
click_at(place.x + 60, place.y + 16 + 8.5 * 15)
manager = RoiManager.getInstance()
wait_for(lambda: manager.getSelectedIndex() >= 0, 'a cell is selected')
robot.delay(2000)
screenshot(path, 0, 0, 1600, 960)
done('')
"""
INSTALLED = """
begin('-Dplugins.dir=' + fiji)
robot.delay(1000)
place = window.getLocationOnScreen()
click_at(place.x + 325, place.y + 33)  # Plugins
robot.delay(800)
for key in (38, 39):  # up to its last entry, right into it
    robot.keyPress(key)
    robot.keyRelease(key)
    robot.delay(500)
screenshot(path, place.x, 0, 680, 280)
done('')
"""
INSTALLING = """
pool.submit(groovy, "Install Bridge", torch="as PyPI has it")
shown = wait_for(lambda: titled("Install Bridge"), "the window")
wait_for(lambda: any("Done." in text for text in words(shown)), "the end")
robot.delay(500)
place, size = shown.getLocationOnScreen(), shown.getSize()
screenshot(PICTURES + "/install.png", place.x, place.y, size.width, size.height)
done("0")
"""
OPEN = """
image = IJ.openImage(FOLDER + "/day1_drug.tif")
image.show()
IJ.run(image, "Enhance Contrast", "saturated=0.2")
log = segment(image, cells="1", measured="2", nuclei="3", nuclei_diameter="12", threshold="150")
J("ij.WindowManager").getFrame("Log").setVisible(False)
shown = image.getWindow()
shown.setLocation(30, 130)
IJ.run(image, "Set... ", "zoom=150")
manager, table = RoiManager.getInstance(), WindowManager.getFrame("Results")
manager.setLocation(40 + shown.getWidth(), 130)
table.setBounds(40 + shown.getWidth(), 140 + manager.getHeight(), 700, 330)
for each in (window, shown, manager, table):
    each.toFront()
IJ.showStatus(log.removeprefix("Segment Image: ").split(" (demo")[0])
robot.delay(1500)
screenshot(PICTURES + "/segment_image.png", 20, 120, 30 + shown.getWidth() + 700, 30 + shown.getHeight())
done("0")
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = bridge.demo.run_demo(folder / "demo")[0]
        field = report.plan.fields[0]
        roiset = report.out / "rois" / field.condition / f"{field.field_id}_RoiSet.zip"
        edu = next(iter(field.measure.values())).path
        in_the_window(MANAGER, folder, image=str(edu), roiset=str(roiset), path=str(ROOT / "docs/roi_manager.png"))
        given = {"results": str(report.out), "field": field.field_id, "path": str(ROOT / "docs/review.png")}
        in_the_window(REVIEW, folder, **given)
        fiji = folder / "Fiji"
        (fiji / "plugins").mkdir(parents=True)
        (fiji / "ij.jar").write_bytes(b"")
        bridge.fiji_menu.install(fiji)
        in_the_window(INSTALLED, folder, fiji=str(fiji), path=str(ROOT / "docs/menu.png"))
        made = synthetic_field(seed=8, size_px=400, n_cells=22)
        channels = np.stack([made.phase, made.edu, made.topro])
        tifffile.imwrite(folder / "day1_drug.tif", channels, imagej=True, metadata={"axes": "CYX"})
        jars = jars_of_fiji(folder / "jgo")
        # In a Fiji of its own each.
        drive(OPEN, jars, folder, 240, PICTURES=str(ROOT / "docs"))
        other = folder / "other"
        properties = bring_wheel(other)
        drive(INSTALLING, jars, other, 400, PICTURES=str(ROOT / "docs"), PROPERTIES=properties)


if __name__ == "__main__":
    main()
