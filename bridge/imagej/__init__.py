"""ImageJ's arithmetic, twice: by ImageJ's own classes in a process of their own, and bit for bit in numba."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.imagej.agreement import DoubleEntry
    from bridge.imagej.engine import Engine, Measured
    from bridge.imagej.fiji import FijiEngine
    from bridge.imagej.native import NativeEngine, statistics
    from bridge.imagej.rolling_ball import Background, subtract_background

__all__ = [
    "Background",
    "DoubleEntry",
    "Engine",
    "FijiEngine",
    "Measured",
    "NativeEngine",
    "statistics",
    "subtract_background",
]
_HOMES = {
    "DoubleEntry": "agreement",
    "Engine": "engine",
    "FijiEngine": "fiji",
    "Measured": "engine",
    "NativeEngine": "native",
    "Background": "rolling_ball",
    "statistics": "native",
    "subtract_background": "rolling_ball",
}


# Lazily: the worker, a module of this package, needs neither numba nor the engines to start.
def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bridge.imagej' has no attribute {name!r}")
    return getattr(importlib.import_module(f"bridge.imagej.{_HOMES[name]}"), name)
