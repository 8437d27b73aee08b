"""What this machine has, and the one command that fixes what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bridge.cache import cache_folder
from bridge.errors import BridgeError


@dataclass(frozen=True)
class Fact:
    """One line of the report.

    Attributes
    ----------
    what, found : str
    advice : str
        Empty where nothing is missing.
    """

    what: str
    found: str
    advice: str = ""


def checkup(fiji: str = "core", java: Path | None = None, start: bool = True) -> list[Fact]:
    """Look at everything a run needs.

    Parameters
    ----------
    fiji : str
        As in the settings.
    java : Path, optional
        As in the settings.
    start : bool
        Also start ImageJ.

    Returns
    -------
    list of Fact
    """
    facts = [
        _python(),
        _memory(),
        *_packages(),
        _kernels(),
        _cellpose(),
        _gpu(),
        _java(fiji, java),
        *_weights(),
        _formats(),
    ]
    facts.append(_imagej(fiji, java) if start else _imagej_cached(fiji))
    if Path(fiji).is_dir():
        facts.append(_macros(Path(fiji)))
    return facts


def _python() -> Fact:
    version = platform.python_version()
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return Fact("Python", f"{version} on {platform.system()} {platform.machine()}")
    return Fact("Python", version, "Use Python 3.11 or 3.12: Cellpose 3 has no packages for others.")


def _memory() -> Fact:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Fact(
        "Machine",
        f"{os.cpu_count()} processor cores, {free:.0f} GB free on this disk",
        "" if free > 2 else "Make room on this disk.",
    )


def _kernels() -> Fact:
    from bridge.rois.trace import compiled

    return Fact("Kernels", "compiled" if compiled() else "are compiled at their first use, in half a minute")


def _packages() -> list[Fact]:
    facts = []
    for name in ("pyimagej", "scyjava", "jpype1", "roifile", "tifffile", "torch"):
        try:
            facts.append(Fact(name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            facts.append(Fact(name, "missing", "pip install --force-reinstall cellpose-fiji-bridge"))
    return facts


def _cellpose() -> Fact:
    from bridge.segmentation.models import cellpose_version, default_model

    try:
        version = cellpose_version()
    except BridgeError as error:
        return Fact("Cellpose", "not usable", str(error))
    return Fact("Cellpose", f"{'.'.join(map(str, version))}, default model {default_model()}")


def _gpu() -> Fact:
    import torch

    if torch.cuda.is_available():
        return Fact("GPU", f"{torch.cuda.get_device_name(0)} (CUDA {torch.version.cuda})")
    if torch.backends.mps.is_available():
        return Fact("GPU", "Apple GPU (MPS)")
    card = _nvidia_card()
    if card and torch.version.cuda is None:
        return Fact(
            "GPU", f"{card}, but this torch is built for the processor only", "pip install --force-reinstall torch"
        )
    if card:
        return Fact(
            "GPU",
            f"{card}, but torch {torch.__version__} cannot use it",
            "Update the NVIDIA driver to one that knows CUDA " + str(torch.version.cuda) + ".",
        )
    return Fact("GPU", "none: Cellpose runs on the processor (about 10 s for 1024 x 1024 px on two cores)")


def _nvidia_card() -> str | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def _java(fiji: str, java: Path | None) -> Fact:
    from bridge.imagej.fiji_folder import fiji_root
    from bridge.imagej.java import java_home, java_version

    try:
        root = fiji_root(Path(fiji)) if fiji != "core" and Path(fiji).exists() else None
        home = java_home(root, java)
    except BridgeError as error:
        return Fact("Java", "not usable", str(error))
    return Fact("Java", f"{java_version(home) or 'unknown'} ({home})")


def _imagej(fiji: str, java: Path | None) -> Fact:
    from bridge.imagej.fiji import FijiEngine
    from bridge.imagej.maven import IMAGEJ_VERSION

    try:
        with FijiEngine(fiji, java) as engine:
            info = engine.info
    except BridgeError as error:
        return Fact("ImageJ", "does not start", str(error))
    gateway = f", ImageJ2 {info['gateway']}" if info["gateway"] else ""
    other = "" if info["imagej"] == IMAGEJ_VERSION else f" (not {IMAGEJ_VERSION}, which the native engine equals)"
    sites = f", update sites {', '.join(info['update_sites'])}" if info["update_sites"] else ""
    return Fact("ImageJ", f"{info['imagej']}{other}{gateway} starts, in Java {info['java']}{sites}")


def _imagej_cached(fiji: str) -> Fact:
    found = sorted(path.name for path in (cache_folder() / "imagej").glob("*") if not path.name.startswith("."))
    return Fact("ImageJ", f"{fiji}; fetched: {', '.join(found) or 'nothing yet'}")


def _macros(fiji: Path) -> Fact:
    from bridge.fiji_menu import look

    try:
        found = look(fiji)
    except BridgeError as error:
        return Fact("Macros", "not usable", str(error))
    if found.missing:
        return Fact("Macros", f"{len(found.missing)} are not in {found.folder}", found.advice)
    if found.outdated:
        return Fact("Macros", f"of another version in {found.folder}: {', '.join(found.outdated)}", found.advice)
    return Fact("Macros", f"in {found.folder}, starting {found.command}", found.advice)


def _formats() -> Fact:
    """Say which files of microscopes are read; that some are not is nothing to fix."""
    from bridge.images.bioformats_jar import VERSION, jar

    libraries = {"CZI": "pylibCZIrw", "LIF": "liffile", "ND2": "nd2", "OME-Zarr": "zarr"}
    there = [kind for kind, library in libraries.items() if importlib.util.find_spec(library)]
    missing = [kind for kind in libraries if kind not in there]
    more = f"; not {', '.join(missing)}: pip install 'cellpose-fiji-bridge[formats]'" if missing else ""
    others = f"by Bio-Formats {VERSION}: OIR, VSI, ..." if jar() else "not OIR, VSI, ...: cellpose-fiji bioformats"
    return Fact("Microscopes' files", f"{', '.join(['TIFF', 'PNG', *there])}{more}; {others}")


def _weights() -> list[Fact]:
    from bridge.segmentation.cyto_0 import CYTO_0
    from bridge.segmentation.models import DEMO

    there = [DEMO, *([CYTO_0] if (cache_folder() / "models" / CYTO_0).is_file() else [])]
    try:
        from cellpose import models

        folder = Path(models.MODEL_DIR)
        there += (
            sorted(path.name for path in folder.glob("*") if path.is_file() and path.suffix != ".txt")
            if folder.is_dir()
            else []
        )
    except ImportError:
        pass
    return [Fact("Models on this machine", ", ".join(there))]
