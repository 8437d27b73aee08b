"""The engine, the background subtraction and the calibration that settings ask for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.calibration import Calibration
from bridge.files import sha256
from bridge.imagej.background import Background
from bridge.imagej.both import DoubleEntry
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.fiji_folder import fiji_root
from bridge.imagej.maven import IMAGEJ_VERSION
from bridge.imagej.native import NativeEngine

if TYPE_CHECKING:
    from bridge.imagej.engine import Engine
    from bridge.images.image import Plane
    from bridge.settings import Settings
    from bridge.source import Source


def background_of(settings: Settings) -> Background | None:
    """Return the background subtraction that the settings ask for."""
    if settings.rolling_ball == "none":
        return None
    return Background(
        float(settings.rolling_ball), settings.light_background, settings.sliding_paraboloid, settings.disable_smoothing,
        settings.create_background,
    )  # fmt: skip


def engine_of(settings: Settings) -> Engine:
    """Return the engine that the settings ask for, not started yet."""
    if settings.engine == "native":
        return NativeEngine()
    fiji = FijiEngine(settings.fiji, settings.java, settings.java_memory, settings.timeout)
    return fiji if settings.engine == "fiji" else DoubleEntry(fiji, strict=settings.fiji == "core")


def engine_identity(settings: Settings) -> str:
    """Return what tells the ImageJ that measures from another one."""
    source = settings.fiji
    if source == "core" or settings.engine == "native":
        return f"ImageJ {IMAGEJ_VERSION}"
    if source.count(":") >= 2 and not Path(source).exists():
        return source
    return ", ".join(
        f"{jar.name} {sha256(jar)[:12]}" for jar in sorted(fiji_root(Path(source)).glob("jars/ij-1.*.jar"))
    )


def calibration_of(settings: Settings, found: Calibration) -> Calibration:
    """Return a file's calibration, with the scale that the settings put in its place."""
    if settings.pixel_size is None:
        return found
    return dataclasses.replace(found, width=settings.pixel_size, height=settings.pixel_size, unit="micron")


def source_of(settings: Settings, plane: Plane) -> Source | None:
    """Return the file a plane is from, for ImageJ to open itself."""
    if plane.source is None or settings.pixel_size is None:
        return plane.source
    return dataclasses.replace(plane.source, own_scale=True)
