"""Install Bridge builds the environment by Appose's own builder and the real uv; then the scripts use it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
import tifffile
from fiji_scripts import bring_wheel, drive, jars_of_fiji
from window import needs_window

from bridge.fiji_menu import LIBRARY
from bridge.synthetic import synthetic_field

INSTALL = """
LIB = Path(HOME) / LIBRARY
good = (LIB / "requirements.txt").read_text()
said = {}

def install(torch="as PyPI has it"):
    return pool.submit(groovy, "Install Bridge", torch=torch)

# What cannot be had is said, and a second try heals.
(LIB / "requirements.txt").write_text(good + "no-such-package-cellpose-fiji==9\\n")
system = J("java.lang.System")
for name, value in (("proxyHost", "127.0.0.1"), ("proxyPort", "9")):  # Fiji's proxy, where none answers
    system.setProperty("https." + name, value)
call = install()
problem = asking("Install Bridge", "Python could not be installed: ")
said["proxy"] = "|".join(words(problem))
press(problem, "OK")
call.result()
for name in ("proxyHost", "proxyPort"):
    system.clearProperty("https." + name)
call = install()
problem = asking("Install Bridge", "Python could not be installed: ")
said["failed"] = "|".join(words(problem))
press(problem, "OK")
call.result()
(LIB / "requirements.txt").write_text(good)

# Stopped by its button.
call = install()
press(wait_for(lambda: titled("Install Bridge"), "the window"), "Cancel")
# A Python that is importing cannot stop; after 20 s it is ended, and that is said.
def frozen():
    return next((w for w in jpype.JClass("java.awt.Window").getWindows() if w.isShowing() and "did not answer for 20 s" in "".join(words(w))), None)
while not call.done():
    if (window_of_error := frozen()) is not None:
        press(window_of_error, "OK")
    time.sleep(0.2)
call.result()
said["stopped"] = "Segment Image" not in words_of_status() and titled("Install Bridge") is None

call = install()
shown = wait_for(lambda: titled("Install Bridge"), "the window")
call.result()
said["lines"] = "|".join(words(shown))
screenshot(FOLDER + "/install.png", 180, 100, 760, 420)
press(shown, "Close")

image = IJ.openImage(FOLDER + "/f1.tif")
image.show()
said["log"] = segment(image)
worker = lambda: J("ij.IJ").getProperty("cellpose-fiji.service")
def told(code):
    task = worker().task("import sys; task.outputs['said'] = " + code).waitFor()
    return str(task.outputs.get("said") or task.error)
said["python"] = told("sys.prefix")

# Another wheel: built again, unasked.
for wheel in LIB.glob("*.whl"):
    wheel.unlink()
os.rename(NEXT, LIB / os.path.basename(NEXT))
groovy("Stop Worker")
said["again"] = segment(image)
said["new"] = told("str(__import__('bridge.errors').errors.REBUILT)")
done(json.dumps(said))
"""


@needs_window
@pytest.mark.slow
def test_it_fails_in_words_heals_and_follows_a_new_wheel(tmp_path: Path) -> None:
    properties = bring_wheel(tmp_path)
    wheel = next((tmp_path / LIBRARY).glob("*.whl"))
    following = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(following, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item, old.read(item) + (b"REBUILT = 7\n" if item.filename == "bridge/errors.py" else b""))
    tifffile.imwrite(tmp_path / "f1.tif", synthetic_field(seed=8, size_px=200, n_cells=8).phase)
    said = drive(
        INSTALL, jars_of_fiji(tmp_path / "jgo"), tmp_path, 400, NEXT=str(following), LIBRARY=LIBRARY,
        PROPERTIES=properties,
    )  # fmt: skip
    shutil.rmtree(tmp_path / "envs")  # gigabytes
    assert "tunnel error" in said["proxy"]
    assert "no-such-package-cellpose-fiji" in said["failed"]
    assert "Nothing is lost: mend it and choose Install Bridge again" in said["failed"]
    assert said["stopped"]
    assert "Done. Plugins > Cellpose Fiji Bridge > Segment Image" in said["lines"]
    assert "both engines agree to the last digit (demo, diameter 30.0 px)" in said["log"]
    assert said["python"] == str(tmp_path / "envs" / "cellpose-fiji-bridge")
    assert "both engines agree to the last digit (demo, diameter 30.0 px)" in said["again"]
    assert said["new"] == "7"
