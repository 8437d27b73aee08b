"""The worker's witness: ImageJ opens the image's file itself, and says where it differs from what it was handed."""

from __future__ import annotations

from typing import Any

# What of ij.measure.Calibration changes a number, and how it is called; the scale may differ by intention.
_SCALE = (("pixelWidth", "pixel width"), ("pixelHeight", "pixel height"))
_ORIGIN = (("xOrigin", "origin in x"), ("yOrigin", "origin in y"))
_RGB = 4  # ij.ImagePlus.COLOR_RGB


def testimony(j: Any, source: dict[str, Any], image: Any) -> dict[str, Any]:
    """Compare an image with its file, opened by ImageJ's own Opener.

    Parameters
    ----------
    j : callable
        Returns a class of Java.
    source : dict
        The fields of `bridge.source.Source`.
    image : ij.ImagePlus
        As it was made of the pixels that were decoded here, before anything was done with it.

    Returns
    -------
    dict
        ``differs``: in what; or ``cannot``: why ImageJ does not open the file.
    """
    imagej = j("ij.IJ")
    imagej.redirectErrorMessages(True)
    try:
        opened = j("ij.io.Opener")().openImage(source["path"])
    except Exception:  # whatever ImageJ or Java raises at a file that it does not know
        opened = None
    finally:
        imagej.redirectErrorMessages(False)
    if opened is None:
        return {"cannot": "ImageJ without plug-ins does not open files of this kind (e.g. their compression)"}
    try:
        return {"differs": _differences(j, source, image, opened)}
    finally:
        opened.close()


def _differences(j: Any, source: dict[str, Any], image: Any, opened: Any) -> list[str]:
    if int(opened.getStackSize()) != source["n_planes"]:
        return [f"number of slices (got {source['n_planes']}, ImageJ has {opened.getStackSize()})"]
    if source["n_planes"] > 1:
        opened.setSlice(source["plane"] + 1)
    ours, theirs = image.getProcessor(), opened.getProcessor()
    if (ours.getWidth(), ours.getHeight()) != (theirs.getWidth(), theirs.getHeight()):
        return [
            f"size (got {ours.getWidth()} x {ours.getHeight()}, ImageJ has {theirs.getWidth()} x {theirs.getHeight()} px)"
        ]
    is_colour = int(opened.getType()) == _RGB
    if is_colour and source["rgb_sample"] is None:
        return ["type (got grey, ImageJ has colour)"]
    pixels = theirs.getChannel(source["rgb_sample"] + 1) if is_colour else theirs.getPixels()
    if not is_colour and ours.getBitDepth() != theirs.getBitDepth():
        return [f"type (got {ours.getBitDepth()} bit, ImageJ has {theirs.getBitDepth()} bit)"]
    differs = [] if j("java.util.Arrays").equals(ours.getPixels(), pixels) else [_different_pixels(ours, pixels)]
    calibration, known = image.getCalibration(), opened.getCalibration()
    for name, words in (*(() if source["own_scale"] else _SCALE), *_ORIGIN):
        got, expected = float(getattr(calibration, name)), float(getattr(known, name))
        if got != expected:
            differs.append(f"{words} (got {got!r}, ImageJ has {expected!r})")
    if bool(calibration.getInvertY()) != bool(known.getInvertY()):
        differs.append("direction of y")
    if not is_colour:
        if bool(ours.isInvertedLut()) != bool(theirs.isInvertedLut()):
            differs.append("look-up table, which is inverted in one of them")
        if _values(calibration) != _values(known):
            differs.append(f"value calibration (got {_values(calibration)}, ImageJ has {_values(known)})")
    return differs


def _values(calibration: Any) -> tuple[int, tuple[float, ...], bool]:
    coefficients = calibration.getCoefficients()
    function = int(calibration.getFunction())
    of = () if coefficients is None else tuple(float(c) for c in coefficients)
    return function, of, bool(calibration.zeroClip())


def _different_pixels(ours: Any, theirs: Any) -> str:
    import numpy as np

    got, expected = np.array(ours.getPixels()), np.array(theirs)
    if got.shape != expected.shape:
        return f"number of pixels (got {got.size}, ImageJ has {expected.size})"
    differ = np.flatnonzero(got != expected)
    first = f", first {got[differ[0]]} where ImageJ has {expected[differ[0]]}" if differ.size else ""
    return f"{differ.size} of {got.size} pixels{first}"
