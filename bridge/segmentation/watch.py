"""Who waits for a network sees how far it is, and may stop it between two batches of tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bridge.errors import StoppedError


@dataclass(frozen=True)
class Watch:
    """How one who waits is told and asked.

    Attributes
    ----------
    progress : callable, optional
        Is given the share of the network's work that is done, from 0 to 1.
    stop : callable, optional
        Returns whether the work shall stop.
    begin, share : float
        The part of the whole work that is watched through this.
    """

    progress: Callable[[float], object] | None = None
    stop: Callable[[], bool] | None = None
    begin: float = 0.0
    share: float = 1.0

    def part(self, k: int, n: int) -> Watch:
        """Return the watch of part `k` of `n` equal ones."""
        return replace(self, begin=self.begin + self.share * k / n, share=self.share / n)

    def tell(self, done: float) -> None:
        """Say which share of this part is done.

        Raises
        ------
        StoppedError
            It shall stop.

        Examples
        --------
        >>> Watch(print).part(1, 2).tell(0.5)
        0.75
        """
        if self.stop is not None and self.stop():
            raise StoppedError("stopped")
        if self.progress is not None:
            self.progress(self.begin + self.share * done)

    def over(self, net: Any, n_tiles: int, at_once: int) -> Any:
        """Return what stands where Cellpose expects its network, and tells after so many tiles how far it is."""
        return net if self.progress is None and self.stop is None else _Watched(net, self, n_tiles, at_once)


class _Watched:
    def __init__(self, net: Any, watch: Watch, n_tiles: int, at_once: int) -> None:
        self._net, self._watch, self._n_tiles, self._at_once, self._done = net, watch, n_tiles, at_once, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)

    def __call__(self, tiles: Any) -> tuple[Any, ...]:
        found = []
        for k in range(0, len(tiles), self._at_once):
            self._tell()
            some = tiles[k : k + self._at_once]
            found.append(self._net(some)[:2])
            self._done += len(some)
        self._tell()
        if len(found) == 1:
            return tuple(found[0])
        import torch

        return tuple(torch.cat(kind) for kind in zip(*found, strict=True))

    def _tell(self) -> None:
        self._watch.tell(min(1.0, self._done / self._n_tiles))


NOBODY = Watch()
