"""Compiled kernels: numba's compiler, with a cache on disk that trusts nothing damaged or stale."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from bridge.cache import VARIABLE, cache_folder
from bridge.errors import MissingDependencyError

if os.environ.get(VARIABLE):
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder() / "kernels"))  # read when numba is imported

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

_ROOMS = ("imagej", "rois", "segmentation/dynamics")  # whose kernels call each other


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call, and keep the machine code on disk.

    Raises
    ------
    MissingDependencyError
        There is no folder to keep it in.

    Examples
    --------
    >>> from bridge.imagej.java_math import atan2  # a kernel
    >>> atan2(1.0, 1.0), is_compiled(atan2)
    (0.7853981633974483, True)
    """
    compiled = numba.njit(nogil=True)(function)
    try:
        compiled._cache = _Cache(function)
    except RuntimeError as error:
        raise MissingDependencyError(
            f"compiled kernels: no folder for them can be written ({error}). Set {VARIABLE} to a folder that can be written."
        ) from error
    return compiled


def is_compiled(of: Any) -> bool:
    """Return whether a kernel's machine code is on disk."""
    return bool(of._cache._cache_file._load_index())


class _Cache(FunctionCache):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CacheFile(
            cache_path=self._cache_path, filename_base=self._impl.filename_base, source_stamp=_source()
        )


class _CacheFile(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's own cache file knows nothing of damage, nor of a changed kernel that another one has taken in."""

    def _load_index(self) -> dict[Any, str]:
        try:
            found: dict[Any, str] = super()._load_index()
        except Exception:  # whatever a damaged file makes pickle raise
            return {}
        return found

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            raise OSError(f"{name}: damaged")  # numba then compiles anew
        return pickle.loads(content[32:])


@cache
def _source() -> str:
    """Return a hash of the source of all kernels."""
    digest = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((Path(__file__).parent / room).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
