"""Flat fields estimated from the images of an experiment."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.acquisition.flat_field import estimate_flat_field
from bridge.acquisition.judgement import FEWEST_FIELDS, FEWEST_FOR_SHADING
from bridge.calibration import PIXELS
from bridge.errors import InputError
from bridge.files import new_file
from bridge.images.reader import read_plane
from bridge.images.write import write_image
from bridge.names import safe_name
from bridge.pipeline.preflight import make_plan
from bridge.settings_file import settings_from

if TYPE_CHECKING:
    from bridge.settings import Settings
    from bridge.source import ChannelFile

_log = logging.getLogger(__name__)


def flat_field(images: Path | str, out: Path | str, settings: Settings | None = None, **options: Any) -> list[Path]:
    """Estimate how bright the light is at each pixel, for each measured channel, from all fields.

    Parameters
    ----------
    images : Path or str
        Folder of images, as for `bridge.run`.
    out : Path or str
        Folder for ``CHANNEL.tif``, float32, mean 1: what ``--flat-field`` takes.
    settings : Settings, optional
        Or give the options by name.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        Fewer than five fields of a size, or they differ in size.
    OutputError
        A file is there already.
    """
    s = settings or settings_from(options, "flat_field")
    plan = make_plan(Path(images), s)
    written = []
    for channel in plan.measured_channels:
        files = [file for item in plan.fields if (file := plan.measured(item).get(channel)) is not None]
        if len(files) < FEWEST_FIELDS:
            raise InputError(
                f"{channel}: too few fields for a flat field (got {len(files)}, expected at least {FEWEST_FIELDS}). Take an image of even light instead, and give it with --flat-field."
            )
        if len(files) < FEWEST_FOR_SHADING:
            _log.warning(
                "%s: a flat field of %d fields still shows their cells; %d and more are better",
                channel,
                len(files),
                FEWEST_FOR_SHADING,
            )
        path = new_file(Path(out) / f"{safe_name(channel)}.tif")
        write_image(path, estimate_flat_field(_pixels(channel, files, s)), PIXELS)
        written.append(path)
    return written


def _pixels(channel: str, files: list[ChannelFile], settings: Settings) -> Iterator[Any]:
    shape: tuple[int, ...] | None = None
    for file in files:
        pixels = read_plane(file, settings.rgb_channel).pixels.astype(np.float64)
        if shape is not None and pixels.shape != shape:
            raise InputError(
                f"{file.path}: not the size of the other fields of {channel} (got {pixels.shape[0]} x {pixels.shape[1]}, expected {shape[0]} x {shape[1]} px). Make a flat field for each size."
            )
        shape = pixels.shape
        yield pixels
