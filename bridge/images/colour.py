"""Colour images: one of their channels, or the two planes that a network sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError

COLOURS = ("red", "green", "blue")


def two_planes(pixels: npt.NDArray[Any], how: str) -> npt.NDArray[np.float32]:
    """Return what a network of two channels sees of an image: the cell and the nucleus.

    Parameters
    ----------
    pixels : ndarray, shape (Y, X) or (Y, X, 3)
    how : {"adaptive", "merged"}
        adaptive: green and blue; a grey image, and nothing. merged: green and blue, each with red added and halved; a
        grey image twice.

    Returns
    -------
    ndarray of float32, shape (2, Y, X)

    Examples
    --------
    >>> colour = np.array([[[10, 20, 30]]], np.uint8)
    >>> two_planes(colour, "adaptive").ravel().tolist(), two_planes(colour, "merged").ravel().tolist()
    ([20.0, 30.0], [15.0, 20.0])
    """
    if pixels.ndim == 3 and (pixels[..., :1] == pixels[..., :3]).all():
        pixels = pixels[..., 0]
    if pixels.ndim == 2:
        grey = pixels.astype(np.float32)
        return np.stack([grey, grey if how == "merged" else np.zeros_like(grey)])
    red, green, blue = (pixels[..., k].astype(np.float32) for k in range(3))
    if how == "merged":
        return np.stack([(green + red) / 2, (blue + red) / 2])
    return np.stack([green, blue])


def one_of_rgb(path: Path, pixels: npt.NDArray[Any], wanted: str | None) -> tuple[int, str]:
    """ImageJ measures a colour image as (R+G+B)/3: a third of a green signal. So one sample is taken, and said."""
    if wanted is not None:
        return COLOURS.index(wanted), f"colour image: its {wanted} channel is used"
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2]):
        return 0, "colour image with three equal channels: read as grey"
    lit = [i for i in range(3) if pixels[..., i].any()]
    if len(lit) == 1:
        return lit[0], f"colour image with signal in {COLOURS[lit[0]]} only: that channel is used"
    raise InputError(
        f"{path}: a colour image with signal in {' and '.join(COLOURS[i] for i in lit)} (expected one channel; "
        "ImageJ would measure the average of the three). Split the channels, or name one with --rgb-channel."
    )
