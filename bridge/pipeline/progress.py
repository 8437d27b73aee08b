"""How far a run or a training is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, failed, total : int
        Fields.
    now : str
        What is being done.
    """

    done: int
    failed: int
    total: int
    now: str
