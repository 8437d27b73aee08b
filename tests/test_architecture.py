"""The arrows of the design: who imports whom, and what importing costs."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bridge"

# Every file and folder of the package stands in one layer; a layer imports itself and the layers below it. The rooms of
# one layer do not know each other: what two of them share is a border object of the ground.
GROUND = {
    "assay_settings", "cache", "calibration", "cores", "errors", "files", "foreign", "grey_scale", "image_settings", "kernels", "labels", "many_rows", "measurements", "names", "npy", "selections", "setting_options", "settings", "settings_file", "source", "pipe", "wheels",
    "synthetic", "synthetic_movie", "tables", "training_settings",
}  # fmt: skip
ROOMS = {
    "acquisition",
    "assay",
    "classification",
    "images",
    "imagej",
    "report",
    "rois",
    "scores",
    "segmentation",
    "tracking",
}
LAYERS: tuple[set[str], ...] = (
    GROUND, ROOMS, {"experiment"}, {"pipeline"}, {"evaluation"}, {"training"},
    {"__init__", "__main__", "cli", "demo", "doctor", "fiji_menu", "fiji_worker"},
)  # fmt: skip
MOST_LINES = 350


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


MODULES = modules()


def imported(path: Path, inside_functions: bool = True) -> set[str]:
    """Names of modules that a file imports, dotted; those for type checkers count as well."""
    names: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree) if inside_functions else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


IMPORTS = {module: imported(path) for module, path in MODULES.items()}


def place(module: str) -> str:
    return module.removeprefix("bridge.").split(".")[0]


def layer(module: str) -> int:
    return next(i for i, places in enumerate(LAYERS) if place(module) in places)


def test_every_file_and_folder_has_its_place() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there == set().union(*LAYERS)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows_point_downwards(module: str) -> None:
    if module == "__init__":
        return  # a table of the public names, each imported when it is used
    for name in IMPORTS[module]:
        if not name.startswith("bridge.") or place(name) not in set().union(*LAYERS):
            continue
        assert layer(name) <= layer(module), f"{module} imports {name}"
        if layer(module) == LAYERS.index(ROOMS) == layer(name):
            assert place(name) == place(module), f"the room {place(module)} knows {name}"


def test_files_are_short() -> None:
    long = {
        module: n for module, path in MODULES.items() if (n := len(path.read_text("utf-8").splitlines())) > MOST_LINES
    }
    assert long == {}


def test_no_circles() -> None:
    graph = {
        module: {
            name.removeprefix("bridge.")
            for name in imported(path, inside_functions=False)
            if name.removeprefix("bridge.") in MODULES.keys() - {module} and name.startswith("bridge.")
        }
        for module, path in MODULES.items()
    }
    list(graphlib.TopologicalSorter(graph).static_order())


def test_no_package_is_named_like_a_public_function() -> None:
    import bridge

    assert not {path.parent.name for path in PACKAGE.rglob("__init__.py")} & set(bridge.__all__)


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("cellpose", {"segmentation", "doctor"}),
        ("torch", {"segmentation", "doctor"}),
        ("jpype", {"imagej.worker", "imagej.java_image", "images.bioformats_worker"}),
        ("scyjava", {"imagej.worker"}),
        ("imagej", {"imagej.worker"}),
        ("matplotlib", {"report"}),
        ("xlsxwriter", {"report"}),
        ("numba", {"kernels", "imagej.native"}),
        ("roifile", {"rois"}),
        ("pycocotools", {"scores"}),
        ("pyarrow", {"many_rows"}),
        ("cyclopts", {"cli"}),
        ("openpyxl", {"experiment"}),
        ("pylibCZIrw", {"images.czi"}),
        ("liffile", {"images.lif"}),
        ("nd2", {"images.nd2_file"}),
    ],
)
def test_heavy_libraries_have_one_owner(library: str, owners: set[str]) -> None:
    users = {m for m, names in IMPORTS.items() if any(n.split(".")[0] == library for n in names)}
    assert all(user in owners or place(user) in owners for user in users), users


def test_the_library_never_prints() -> None:
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"), (
                path
            )


def loaded(code: str, *watched: str) -> str:
    code = f"import sys\n{code}\nprint([m for m in {watched!r} if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


HEAVY = ("torch", "jpype", "scyjava", "pandas", "numba", "matplotlib", "cellpose")


def test_import_bridge_loads_nothing_heavy() -> None:
    assert loaded("import bridge", *HEAVY, "numpy") == "[]"


def test_the_command_line_answers_without_the_heavy_ones() -> None:
    assert loaded("from bridge.cli import app", *HEAVY) == "[]"


def test_imagej_starts_without_the_kernels() -> None:
    assert loaded("from bridge.imagej.fiji import FijiEngine", "numba", "torch", "pandas") == "[]"


def test_public_names_are_there() -> None:
    import bridge

    for name in bridge.__all__:
        assert getattr(bridge, name) is not None
    assert bridge.demo.run_demo
    assert bridge.doctor.checkup
    assert bridge.fiji_menu.install
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        bridge.nothing  # noqa: B018
