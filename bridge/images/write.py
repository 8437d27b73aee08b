"""Images that ImageJ opens with their scale, their channels' names and their ROIs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.calibration import PIXELS, Calibration, imagej_calibration
from bridge.files import whole_file


def write_image(
    path: Path,
    pixels: npt.NDArray[Any],
    calibration: Calibration = PIXELS,
    channels: Sequence[str] = (),
    overlay: Sequence[bytes] = (),
) -> None:
    """Write an image as ImageJ's TIFF.

    Parameters
    ----------
    path : Path
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X), or (C, Y, X) with `channels`
    calibration : Calibration
    channels : sequence of str
        Names of the channels; each is shown on a grey scale of its own.
    overlay : sequence of bytes
        Encoded ROIs, which the image carries as its overlay.

    Raises
    ------
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "edu.tif"
    >>> write_image(path, np.full((4, 5), 7, np.uint16), Calibration(0.5, 0.5, "micron"))
    >>> from bridge.images.reader import inspect
    >>> inspect(path).calibration.width
    0.5
    """
    import tifffile

    scale, how = imagej_calibration(calibration)
    metadata: dict[str, Any] = {"axes": "YX"}
    if channels:
        shown = [level for image in pixels for level in np.percentile(image, (0.1, 99.9)).tolist()]
        metadata = {"axes": "CYX", "mode": "grayscale", "Labels": list(channels), "Ranges": tuple(shown)}
    if overlay:
        metadata["Overlays"] = list(overlay)
    with whole_file(path) as part:
        tifffile.imwrite(part, pixels, imagej=True, metadata={**metadata, **scale}, **how)
