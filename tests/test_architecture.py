"""The arrows of the design: who imports whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bridge"
ROOMS = ("segmentation", "rois", "imagej", "analysis", "evaluation", "training")
GROUND = {"errors", "files", "paths", "settings", "images", "labels", "selections", "tables"}


def imports() -> dict[str, set[str]]:
    """Module (dotted, without `bridge.`) -> names it imports, also inside functions."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
        found[name] = names
    return found


IMPORTS = imports()


def room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("name", ROOMS)
def test_rooms_do_not_know_each_other(name: str) -> None:
    allowed = {name, *GROUND, *({"segmentation", "evaluation"} if name == "training" else ())}
    for module, names in IMPORTS.items():
        if room(module) == name:
            known = {room(n.removeprefix("bridge.")) for n in names if n.startswith("bridge.")}
            # The doctests' synthetic fields are no part of the room.
            assert known <= allowed, f"{module} imports {known - allowed}"


def test_the_ground_knows_no_room() -> None:
    for module, names in IMPORTS.items():
        if module in GROUND:
            known = {room(n.removeprefix("bridge.")) for n in names if n.startswith("bridge.")}
            assert known <= GROUND, f"{module} imports {known - GROUND}"


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("cellpose", {"segmentation", "doctor"}),
        ("torch", {"segmentation", "doctor"}),
        ("jpype", {"imagej.worker"}),
        ("scyjava", {"imagej.worker"}),
        ("imagej", {"imagej.worker"}),
        ("matplotlib", {"analysis"}),
        ("xlsxwriter", {"analysis"}),
        ("numba", {"rois", "imagej.native", "imagej.rolling_ball"}),
        ("roifile", {"rois"}),
        ("cyclopts", {"cli", "settings"}),
    ],
)
def test_heavy_libraries_have_one_owner(library: str, owners: set[str]) -> None:
    users = {m for m, names in IMPORTS.items() if any(n.split(".")[0] == library for n in names)}
    assert users
    assert all(user in owners or room(user) in owners for user in users), users


def test_the_library_never_prints() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"), (
                path
            )


def test_import_bridge_loads_nothing_heavy() -> None:
    code = "import sys, bridge; print([m for m in ('torch', 'jpype', 'scyjava', 'pandas', 'numba', 'matplotlib', 'numpy', 'cellpose') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_the_command_line_answers_without_the_heavy_ones() -> None:
    code = "import sys\nfrom bridge.cli import app\nprint([m for m in ('torch', 'jpype', 'scyjava', 'pandas', 'numba', 'matplotlib', 'cellpose') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_public_names_are_there() -> None:
    import bridge

    for name in bridge.__all__:
        assert getattr(bridge, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        bridge.nothing  # noqa: B018
