"""A hash of the source that computes a step's outputs: changed code makes them again, and nobody has to remember a number."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_PACKAGE = "bridge"
# Words only: what they say changes no result.
_NO_RESULT = {"bridge", "bridge.errors", "bridge.pipeline.step"}


def code_hash(modules: Iterable[str]) -> str:
    """Return a hash of modules and of everything they import from this package.

    Comments, docstrings and the layout of the code do not count, nor does what is imported for type checkers alone.

    Parameters
    ----------
    modules : iterable of str
        Dotted names.

    Returns
    -------
    str
        SHA-256, hexadecimal.

    Examples
    --------
    >>> code_hash(["bridge.rois.trace"]) == code_hash(["bridge.rois.encode"])
    False
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name in _NO_RESULT:
            continue
        found.add(name)
        waiting += _parsed(name)[1]
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(f"{name} {_parsed(name)[0]}\n".encode())
    return digest.hexdigest()


def _parsed(name: str) -> tuple[str, tuple[str, ...]]:
    path = source_of(name)
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


def source_of(name: str) -> Path:
    """Return the source file of a module: of this package without importing it, of a step from elsewhere as loaded."""
    first, *parts = name.split(".")
    if first != _PACKAGE:
        return Path(str(sys.modules[name].__file__))
    root = importlib.util.find_spec(_PACKAGE)
    assert root is not None
    assert root.submodule_search_locations is not None
    path = Path(root.submodule_search_locations[0]).joinpath(*parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@lru_cache(maxsize=1000)
def _read(path: Path, changed_ns: int, size: int) -> tuple[str, tuple[str, ...]]:  # noqa: ARG001 what a new file has anew
    tree = ast.parse(path.read_bytes())
    imports: set[str] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _says_nothing(part)]  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == _PACKAGE:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            imports |= {name for name in (node.module, *names) if source_of(name).is_file()}
        elif isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names if alias.name.split(".")[0] == _PACKAGE}
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(sorted(imports))


def _says_nothing(node: ast.stmt) -> bool:
    """Whether a statement is a docstring, or imports for type checkers."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
