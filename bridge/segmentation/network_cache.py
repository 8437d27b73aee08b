"""What the network said of an image, kept in a folder: other thresholds then need no second look."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridge.files import whole_file
from bridge.segmentation.backend import Prediction
from bridge.segmentation.watch import NOBODY, Watch

if TYPE_CHECKING:
    from bridge.segmentation.backend import Backend


class NetworkCache:
    """A loaded model that looks at no image twice.

    Parameters
    ----------
    backend : Backend
        Of Cellpose; what a Mask R-CNN says is not kept.
    folder : Path
        One file for each image, model and scale: 12 bytes a px.
    identity : callable
        Returns what tells the network, and what computes it, from another one.
    """

    def __init__(self, backend: Backend, folder: Path, identity: Callable[[], dict[str, Any]]) -> None:
        self._backend, self._folder, self._identity = backend, folder, identity

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by copy and pickle before anything is there
            raise AttributeError(name)
        return getattr(self._backend, name)

    def predict(
        self,
        image: npt.NDArray[Any],
        diameter_px: float | None,
        batch_size: int,
        normalize: bool,
        watch: Watch = NOBODY,
    ) -> Prediction:
        """Return what the network says of an image (Y, X) or (C, Y, X), or what it said before."""
        identity = self._identity()
        path = self._folder / f"{_key(identity, image, diameter_px, normalize)}.npz"
        kept = _read(path, image.shape[-2:])
        if kept is not None:
            exact = kept.pop("exact")
            # Cells in doubt are looked at exactly: for these the network is needed after all.
            anew: Any = cache(partial(self._backend.predict, image, diameter_px, batch_size, normalize))
            again = None if exact else lambda doubtful: anew().again(doubtful)
            return Prediction(**kept, again=again)
        found = self._backend.predict(image, diameter_px, batch_size, normalize, watch)
        if (
            isinstance(found, Prediction) and self._identity() == identity
        ):  # not where a full card was given up meanwhile
            with whole_file(path) as part, part.open("wb") as file:
                np.savez(file, flows=found.flows, cellprob=found.cellprob, niter=found.niter, exact=found.again is None)
        return found


def _key(identity: dict[str, Any], image: npt.NDArray[Any], diameter_px: float | None, normalize: bool) -> str:
    told = [identity, diameter_px, normalize, image.shape, image.dtype.str]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:40]


def _read(path: Path, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """Return what is in a file; None where there is none, or a damaged one."""
    try:
        with np.load(path, allow_pickle=False) as content:
            found = {
                "flows": content["flows"], "cellprob": content["cellprob"], "niter": content["niter"].item(),
                "exact": bool(content["exact"]),
            }  # fmt: skip
    except Exception:  # a damaged zip raises whatever it likes
        return None
    fitting = found["flows"].shape == (2, *shape) and found["cellprob"].shape == shape
    return found if fitting and found["flows"].dtype == found["cellprob"].dtype == np.float32 else None
