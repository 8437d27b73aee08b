"""The scripts of Fiji's menu, run with ImageJ's window, Groovy and Appose as Fiji has them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import jgo
import make_site
from window import LIMIT_S, in_the_window

import bridge.fiji_menu
from bridge.fiji_menu import LIBRARY

# What stands in for Fiji's script menu: the lines of parameters are taken out, and bound to what is given or their values.
DRIVE = """
import json, re
properties = ["-Dplugins.dir=" + HOME, "-Djava.io.tmpdir=" + HOME, *PROPERTIES]
if HEADLESS:
    jpype.startJVM("-Duser.home=" + HOME, "-Djava.awt.headless=true", *properties, classpath=[str(jar) for jar in [*core_jars(), *JARS]], convertStrings=True)
    IJ = jpype.JClass("ij.IJ")
    field = jpype.JClass("ij.Menus").class_.getDeclaredField("pluginsPath")  # imagej-legacy begins the menus without a window
    field.setAccessible(True)
    field.set(None, HOME + "/plugins/")
else:
    begin(*properties, jars=JARS)
MACROS = Path(HOME) / "plugins/Cellpose Fiji Bridge"
J = jpype.JClass

def script(name):
    # The text of a script without its parameters, and the value of each, or None.
    text = (MACROS / (name.replace(" ", "_") + ".groovy")).read_text("utf-8")
    values = {}
    for how, parameter in re.findall(r"^#@ \\w+ \\((.*)\\) (\\w+)$", text, re.M):
        found = re.search(r'value = ("([^"]*)"|\\w+)', how)
        values[parameter] = None if not found else found[2] if found[2] is not None else found[1] == "true"
    return "\\n".join("" if line.startswith("#@") else line for line in text.splitlines()), {n: v for n, v in values.items() if n != "imp"}, list(values)

def groovy(name, **given):
    jpype.java.lang.Thread.currentThread().setContextClassLoader(J("java.lang.ClassLoader").getSystemClassLoader())
    binding = J("groovy.lang.Binding")()
    code, values, _ = script(name)
    for parameter, value in {**values, **given}.items():
        binding.setVariable(parameter, value if not isinstance(value, bool) else J("java.lang.Boolean").valueOf(value))
    return J("groovy.lang.GroovyShell")(binding).evaluate(code)

def in_the_menu(*names):
    # What imagej-legacy does for a script: its name is a command, whose options are its parameters; one that is missing would be asked for.
    kind = J("groovy.lang.GroovyClassLoader")(J("java.lang.ClassLoader").getSystemClassLoader())
    plugin = kind.parseClass("class FijiScript implements ij.plugin.PlugIn { static action; void run(String name) { action.accept(name, ij.Macro.getOptions()) } }")
    loader = J("ij.IJ").class_.getDeclaredField("classLoader")
    loader.setAccessible(True)
    loader.set(None, kind)
    @jpype.JImplements("java.util.function.BiConsumer")
    class Action:
        @jpype.JOverride
        def accept(self, name, options):
            given = {}
            for parameter, value in script(str(name))[1].items():
                told = J("ij.Macro").getValue(str(options), parameter, "<missing>")
                if str(told) == "<missing>" and parameter != "what":
                    raise ValueError(parameter + " is missing in: " + str(options))
                given[parameter] = str(told) == "true" if isinstance(value, bool) else str(told)
            if "imp" in script(str(name))[2]:
                given["imp"] = IJ.getImage()
            groovy(str(name), **given)
    field = plugin.getDeclaredField("action")
    field.setAccessible(True)
    field.set(None, Action())
    for name in names:
        J("ij.Menus").getCommands().put(name, 'FijiScript("' + name + '")')

def segment(imp, **given):
    J("ij.IJ").log("\\\\Clear")
    groovy("Segment Image", imp=imp, **{"model": "demo", "diameter": "30", "nuclei_model": "demo", **given})
    return str(J("ij.IJ").getLog() or "").strip()

def words_of_status():
    return str(J("ij.IJ").getInstance().getInfo()) + "|".join(words(J("ij.IJ").getInstance()))

def results(path):
    table = J("ij.measure.ResultsTable").getResultsTable()
    table.saveAs(str(path))
"""


def jars_of_fiji(folder: Path, endpoint: str = "org.apposed:appose:0.9.0+org.apache.groovy:groovy:4.0.28") -> list[str]:
    """Groovy and Appose, or what else Fiji brings, of Maven Central."""
    made = jgo.build(
        endpoint=endpoint, cache_dir=folder, repositories={}, resolver=jgo.maven.PythonResolver(lenient=True),
    )  # fmt: skip
    return [str(jar) for place in (made.jars_dir, made.modules_dir) for jar in Path(place).glob("*.jar")]


def drive(code: str, jars: list[str], folder: Path, limit_s: int = LIMIT_S, **names: object) -> Any:
    """Run code in a process with ImageJ's window, in a Fiji with our menu; return what it hands to `done`, as JSON."""
    (folder / "plugins").mkdir()
    (folder / "ij.jar").touch()
    bridge.fiji_menu.install(folder)
    given = {"PROPERTIES": [], "HEADLESS": False, "JARS": jars, "FOLDER": str(folder), **names}
    return json.loads(in_the_window(DRIVE + code, folder, errors_end_it=False, limit_s=limit_s, **given))


def bring_wheel(fiji: Path) -> list[str]:
    """Put the wheel and its versions into a Fiji, as an update site does; return what lets it be installed without downloads."""
    for name, content in make_site.fiji_files().items():
        if name.startswith(LIBRARY):
            path = fiji / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    # Where uv lies, Appose fetches none; a Python that is there is named, so uv fetches none.
    uv, own = os.environ.get("UV") or shutil.which("uv"), fiji / "envs" / ".uv" / "bin" / "uv"
    assert uv
    own.parent.mkdir(parents=True)
    shutil.copy(uv, own)
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return [f"-Dappose.envs-dir={fiji / 'envs'}", f"-Dcellpose-fiji.python={python}"]
