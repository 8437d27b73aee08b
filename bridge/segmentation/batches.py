"""Images that are looked at at the same time share batches: a card is busy with many tiles only, and small images have few."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class _Call:
    """Tiles (B, C, Y, X) of one image, and what the network says of them."""

    tiles: Any
    found: tuple[Any, ...] | None = None
    error: BaseException | None = None

    @property
    def answered(self) -> bool:
        return self.found is not None or self.error is not None


class Batches:
    """Stands where Cellpose expects its network: who calls it waits until a batch is full, or until all others wait, too.

    Parameters
    ----------
    net : torch module
        From tiles (B, C, Y, X) to outputs (B, 3, Y, X) and styles (B, 256).

    Examples
    --------
    >>> import torch
    >>> net = Batches(lambda tiles: (tiles * 2, tiles[:, 0, 0]))
    >>> with net.image(8):
    ...     net(torch.ones(3, 1, 4, 4))[0].shape
    torch.Size([3, 1, 4, 4])
    """

    def __init__(self, net: Any) -> None:
        self._net = net
        self._changed = threading.Condition()
        self._waiting: list[_Call] = []
        self._images, self._most, self._busy = 0, 1, False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by copy before anything is there
            raise AttributeError(name)
        return getattr(self._net, name)

    @contextmanager
    def image(self, most: int) -> Iterator[None]:
        """Say that an image is being looked at.

        Parameters
        ----------
        most : int
            Tiles in a batch.
        """
        with self._changed:
            self._images += 1
            self._most = most
        try:
            yield
        finally:
            with self._changed:
                self._images -= 1
                self._changed.notify_all()

    def __call__(self, tiles: Any) -> tuple[Any, ...]:
        """Return outputs and styles of tiles, as Cellpose's network does."""
        call = _Call(tiles)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: call.answered or (not self._busy and self._is_due()))
                if call.answered:
                    break
                some, most = self._next(), self._most
                self._busy = True
            # In this thread, of whichever image it is: one batch at a time.
            self._compute(some, most)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        if call.error is not None:
            raise call.error
        assert call.found is not None
        return call.found

    def _is_due(self) -> bool:
        return len(self._waiting) >= self._images or sum(len(call.tiles) for call in self._waiting) >= self._most

    def _next(self) -> list[_Call]:
        """Take the longest waiting, and with it what has the same size and room in its batch."""
        some: list[_Call] = []
        room = self._most
        for call in list(self._waiting):
            if not some or (call.tiles.shape[1:] == some[0].tiles.shape[1:] and len(call.tiles) <= room):
                some.append(call)
                room -= len(call.tiles)
        self._waiting = [call for call in self._waiting if all(call is not other for other in some)]
        return some

    def _compute(self, some: list[_Call], most: int) -> None:
        import torch

        try:
            tiles = torch.cat([call.tiles for call in some]) if len(some) > 1 else some[0].tiles
            parts = [self._net(tiles[k : k + most])[:2] for k in range(0, len(tiles), most)]
            whole = parts[0] if len(parts) == 1 else [torch.cat(kind) for kind in zip(*parts, strict=True)]
            first = 0
            for call in some:
                call.found = tuple(kind[first : first + len(call.tiles)] for kind in whole)
                first += len(call.tiles)
        except BaseException as error:
            for call in some:
                call.error = error
