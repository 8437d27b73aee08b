"""The file that an image is from, as ImageJ would open it: what the witness compares, and what names its slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """One plane of an image file.

    Attributes
    ----------
    path : Path
    plane : int
        Its slice in the stack that ImageJ opens, from 0.
    n_planes : int
        Slices of that stack.
    label : str
        ImageJ's label of the slice.
    rgb_sample : int or None
        Of a colour image: 0 red, 1 green, 2 blue.
    own_scale : bool
        Its scale is, by intention, not the one that ImageJ reads: from an OME header, inch, or given by the user.
    """

    path: Path
    plane: int = 0
    n_planes: int = 1
    label: str = ""
    rgb_sample: int | None = None
    own_scale: bool = False
