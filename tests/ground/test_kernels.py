"""Compiled kernels on disk: damaged or stale ones are compiled anew, never run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bridge

SCRIPT = """
import numpy as np
from bridge.imagej.java_math import _atan, atan2
print(atan2(1.0, 2.0), sum(atan2.stats.cache_hits.values()), sum(atan2.stats.cache_misses.values()))
"""


def answer(folder: Path, code: str = SCRIPT, package: Path | None = None) -> str:
    script = folder / "script.py"
    script.write_text(code)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "kernels"), "PYTHONDONTWRITEBYTECODE": "1"}
    if package is not None:
        environment["PYTHONPATH"] = str(package)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env=environment)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_damaged_kernels_are_compiled_anew(tmp_path: Path) -> None:
    first = answer(tmp_path)
    assert first.split()[1:] == ["0", "1"]
    assert answer(tmp_path).split() == [first.split()[0], "1", "0"]
    for pattern in ("*.nbc", "*.nbi"):
        for path in (tmp_path / "kernels").rglob(pattern):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(bytes(content))
        assert answer(tmp_path).split() == [first.split()[0], "0", "1"]
        assert answer(tmp_path).split() == [first.split()[0], "1", "0"]
        for path in (tmp_path / "kernels").rglob(pattern):
            path.write_bytes(path.read_bytes()[:50])
        assert answer(tmp_path).split() == [first.split()[0], "0", "1"]


@pytest.mark.slow
def test_a_kernel_that_takes_in_a_changed_one_is_compiled_anew(tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "bridge"
    shutil.copytree(Path(bridge.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import numpy as np
from bridge.calibration import PIXELS
from bridge.imagej.outlines import feret
from bridge.rois.roiset import selections_of
labels = np.zeros((9, 9), np.uint16)
labels[2:4, 2:8] = 1
print(feret(selections_of(labels), PIXELS).angle.tolist())
"""
    before = answer(tmp_path, code, copy.parent)
    assert before == answer(tmp_path, code, copy.parent)
    source = copy / "imagej" / "java_math.py"
    text = source.read_text()
    assert text.count("    angle = _HALF_PI if x == 0 else _atan(abs(y / x))\n") == 1
    source.write_text(text.replace("else _atan(abs(y / x))", "else 0.25"))
    # The file of the kernel that is called is another one: numba alone would run the old code.
    assert answer(tmp_path, code, copy.parent) == f"[{-0.25 * (180.0 / 3.141592653589793) + 180.0}]\n" != before


def test_no_folder_for_kernels_is_one_sentence(tmp_path: Path) -> None:
    code = """
import numba.core.caching as caching
from bridge.errors import MissingDependencyError
caching.CacheImpl._locator_classes = []
try:
    import bridge.rois.trace
except MissingDependencyError as error:
    print(error)
"""
    said = answer(tmp_path, code)
    assert said.startswith("compiled kernels: no folder for them can be written (cannot cache function ")
    assert said.endswith("). Set CELLPOSE_FIJI_CACHE to a folder that can be written.\n")


def test_one_variable_moves_the_kernels_too(tmp_path: Path) -> None:
    code = """
import os
os.environ.pop("NUMBA_CACHE_DIR", None)
os.environ["CELLPOSE_FIJI_CACHE"] = "here"
import bridge.kernels, numba
print(numba.config.CACHE_DIR)
"""
    assert answer(tmp_path, code) == f"{Path('here') / 'kernels'}\n"
