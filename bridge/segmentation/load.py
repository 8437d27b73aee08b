"""A model of the installed Cellpose: which of the two adapters runs it, and on which device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bridge.errors import MissingDependencyError
from bridge.files import sha256, whole_file
from bridge.segmentation.backend import Backend
from bridge.segmentation.models import ModelFile, cellpose_version, require_version


def load_backend(model: ModelFile, device: str = "auto") -> Backend:
    """Load a model into the installed Cellpose.

    Raises
    ------
    MissingDependencyError
        The device is not there, or Cellpose is missing.
    """
    if cellpose_version()[0] == 3:
        from bridge.segmentation.cellpose3 import Cellpose3

        return Cellpose3(model, torch_device(device))
    from bridge.segmentation.cellpose4 import Cellpose4

    return Cellpose4(model, torch_device(device))


def new_network(path: Path, features: int = 32, seed: int = 0) -> ModelFile:
    """Write a network that has learnt nothing yet, to be trained from nothing.

    Parameters
    ----------
    path : Path
    features : int
        At its first level; Cellpose's own networks have 32.
    seed : int
        For its random weights.

    Raises
    ------
    ModelError
        Cellpose 4 is installed, which can only be trained further.
    """
    require_version("none", 3)
    from bridge.segmentation.cellpose3 import write_new_network

    with whole_file(path) as part:
        write_new_network(part, features, seed)
    return ModelFile("none", path, sha256(path))


def torch_device(name: str) -> Any:
    """Return the torch device that `auto`, `cpu`, `cuda` or `mps` means here.

    Raises
    ------
    MissingDependencyError
        Cellpose itself would fall back to the processor in silence.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there[name]:
        raise MissingDependencyError(
            f"--device {name}: not available on this machine (got {', '.join(k for k, v in there.items() if v)}). Run `cellpose-fiji doctor`, or leave it out."
        )
    return torch.device(name)
