"""Measured images as they go to the engines: as they were taken, unless light or shift are to be corrected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bridge.acquisition.flat_field import divided, moved
from bridge.errors import InputError
from bridge.images.image import Plane
from bridge.images.reader import read_plane
from bridge.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.settings import Settings

_ENDINGS = (".tif", ".tiff")


def flat_field_of(settings: Settings, channel: str) -> Path | None:
    """Return the file of a channel's flat field, None where none is asked for.

    Raises
    ------
    InputError
        The folder holds none for this channel.
    """
    given = settings.flat_field
    if given is None or given.is_file():
        return given
    if not channel:
        raise InputError(
            f"{given}: a folder of flat fields, and an image whose channel is not named. Name the file, or the channel with --channel."
        )
    for name in dict.fromkeys((channel, safe_name(channel))):
        for ending in _ENDINGS:
            if (path := given / f"{name}{ending}").is_file():
                return path
    raise InputError(
        f"{given}: no flat field of {channel} (expected {safe_name(channel)}.tif). Make it with cellpose-fiji flat-field, or name a file."
    )


def prepared(plane: Plane, channel: str, settings: Settings) -> Plane:
    """Return a measured image with its light and its shift corrected, where that was asked for.

    Raises
    ------
    InputError
        The flat field has another size, or is not above 0 everywhere; or the grey levels are calibrated.
    """
    flat_file, shift = flat_field_of(settings, channel), settings.shifts.get(channel, (0, 0))
    if flat_file is None and shift == (0, 0):
        return plane
    pixels = plane.pixels
    if flat_file is not None:
        if plane.calibration.values:
            raise InputError(
                f"{plane.title}: its grey levels are calibrated (got {plane.calibration.values.unit}, expected grey levels). They cannot be divided by a flat field."
            )
        flat = read_plane(flat_file, settings.rgb_channel).pixels.astype(np.float32)
        if flat.shape != pixels.shape:
            raise InputError(
                f"{flat_file}: not the size of {plane.title} (got {flat.shape[0]} x {flat.shape[1]}, expected {pixels.shape[0]} x {pixels.shape[1]} px). Use a flat field of the same camera and binning."
            )
        if not flat.min() > 0:
            raise InputError(
                f"{flat_file}: not a flat field (got grey levels down to {flat.min():g}, expected all above 0). Use an image of even light."
            )
        pixels = divided(pixels, flat)
    return replace(plane, pixels=moved(pixels, *shift), taken=plane.pixels, source=None)


def require_known_shifts(settings: Settings, channels: Sequence[str]) -> None:
    """Refuse a shift of a channel that is not measured.

    Raises
    ------
    InputError
    """
    for channel in settings.shifts:
        if channel not in channels:
            raise InputError(
                f"--shift {channel}: not measured (got {', '.join(channels) or 'nothing'}). Name a measured channel."
            )
