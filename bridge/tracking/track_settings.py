"""How cells are followed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bridge.errors import InputError


@dataclass(frozen=True)
class TrackSettings:
    """How cells are followed.

    Attributes
    ----------
    max_move_px : float or None
        No cell moves farther from one frame to the next; None: one median diameter.
    gap_frames : int
        A cell may be missing in so many frames.
    min_daughter_life : int
        Both daughters of a division are seen in so many frames, unless the series ends.
    division_confidence : float
        A candidate needs at least this, 0 to 1; above 1 there are no divisions.
    drift : bool
        Take the drift of the stage out.
    trackastra : str or None
        Folder of a model of Trackastra, whose network then says which cells are the same and which divide, in place of
        `bridge.tracking.link`; gaps are closed as without.
    """

    max_move_px: float | None = None
    gap_frames: int = 2
    min_daughter_life: int = 3
    division_confidence: float = 0.3
    drift: bool = True
    trackastra: str | None = None

    def __post_init__(self) -> None:
        if self.max_move_px is not None and not 0 < self.max_move_px < math.inf:
            raise InputError(f"--max-move {self.max_move_px:g}: not a way a cell can go (expected more than 0 px). Correct it.")  # fmt: skip
        for flag, n in (("--gap-frames", self.gap_frames), ("--min-daughter-life", self.min_daughter_life)):
            if n < 0:
                raise InputError(f"{flag} {n}: not a number of frames (expected 0 and more). Correct it.")
        if not self.division_confidence >= 0:
            raise InputError(f"--division-confidence {self.division_confidence:g}: not a confidence (expected 0 to 1, or 2 for no divisions). Correct it.")  # fmt: skip
