"""A network that torch compiles, where it is asked for: once, in half a minute or more, for all images of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

_log = logging.getLogger(__name__)


def compiled_or_not(net: Any, tiles: Any, name: str) -> tuple[Any, str]:
    """Return a network compiled by torch, or itself where that cannot be; and what computes it, in words.

    Parameters
    ----------
    net : torch module
        From tiles (B, C, Y, X) to outputs (B, 3, Y, X) and styles (B, 256).
    tiles : tensor (B, C, Y, X)
        Of the type, size and device that it will see. One tile: compiled for one at a time; two: for any number.
    name : str
        Named in the warning where torch cannot.

    Notes
    -----
    torch compiles at the first call, again for tiles of another size, and again for a batch of one, which it takes for a
    constant (its documentation of dynamic shapes); so, where several are expected, one tile alone is shown twice.
    """
    made, several = torch.compile(net), len(tiles) > 1
    if several:
        torch._dynamo.mark_dynamic(tiles, 0)
    try:
        with torch.no_grad():
            made(tiles)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:200]
        _log.warning("%s: torch cannot compile this network (%s); it computes it as it is", name, reason)
        return net, "torch"
    return (_Several(net, made) if several else made), "torch.compile"


class _Several:
    """Stands where Cellpose expects its network."""

    def __init__(self, net: Any, made: Callable[[Any], Any]) -> None:
        self._net, self._made = net, made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by copy before anything is there
            raise AttributeError(name)
        return getattr(self._net, name)

    def __call__(self, tiles: Any) -> tuple[Any, Any]:
        if len(tiles) > 1:
            output, style = self._made(tiles)[:2]
            return output, style
        output, style = self._made(torch.cat([tiles, tiles]))[:2]
        return output[:1], style[:1]
