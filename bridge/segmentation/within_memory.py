"""A card that runs out of memory: smaller batches, then the processor; the size of a tile stays, since it changes masks."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from bridge.segmentation.watch import NOBODY, Watch

if TYPE_CHECKING:
    from bridge.segmentation.backend import Backend, Prediction, Window

_log = logging.getLogger(__name__)


class WithinMemory:
    """A loaded model on a card; where its memory does not suffice, what does is found once and kept for later images.

    Parameters
    ----------
    backend : Backend
    on_processor : callable
        Loads the same model for the processor.
    """

    def __init__(self, backend: Backend, on_processor: Callable[[], Backend]) -> None:
        self._backend, self._on_processor = backend, on_processor
        self._most: int | None = None  # tiles at once
        self._lessening = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by copy and pickle before anything is there
            raise AttributeError(name)
        return getattr(self._backend, name)

    @property
    def inference(self) -> str:
        """What computes the network, in words."""
        return self._backend.inference + (f", {self._most} tiles at once" if self._most is not None else "")

    def predict(
        self,
        image: npt.NDArray[Any],
        diameter_px: float | None,
        batch_size: int,
        normalize: bool,
        watch: Watch = NOBODY,
    ) -> Prediction:
        """Run the network on an image, with as many tiles at once as the memory has room for."""
        while True:
            backend, at_once = self._backend, min(batch_size, self._most or batch_size)
            try:
                return backend.predict(image, diameter_px, at_once, normalize, watch)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or backend.device == "cpu":
                    raise
            self._less(backend, at_once)

    def masks(
        self, prediction: Prediction, flow_threshold: float, cellprob_threshold: float, window: Window
    ) -> tuple[npt.NDArray[Any], Counter[str]]:
        """Make a label image, on the processor where the card's memory does not suffice."""
        backend = self._backend
        try:
            return backend.masks(prediction, flow_threshold, cellprob_threshold, window)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or backend.device == "cpu":
                raise
        self._less(backend, 1)
        return self._backend.masks(prediction, flow_threshold, cellprob_threshold, window)

    def _less(self, backend: Backend, at_once: int) -> None:
        with self._lessening:
            # Images that share batches run out of memory together: once is enough.
            if backend is self._backend and at_once <= (self._most or at_once):
                self._lessen(at_once)

    def _lessen(self, at_once: int) -> None:
        device = self._backend.device
        if at_once > 1:
            self._most = at_once // 2
            _log.warning("%s: out of memory with %d tiles at once; tries %d", device, at_once, self._most)
        else:
            self._most = None
            self._backend = self._on_processor()
            _log.warning("%s: out of memory with one tile; goes on, slowly, on the processor", device)
        if device == "cuda":
            import torch

            torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch or Python says that memory is full.

    Examples
    --------
    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("CUDA out of memory")), out_of_memory(RuntimeError("shape"))
    (True, True, False)
    """
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in ("out of memory", "alloc"))
