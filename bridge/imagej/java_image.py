"""The worker's images: NumPy's bytes as ImageJ's images, with everything that ImageJ takes from a file, and back."""

from __future__ import annotations

from typing import Any


def make_image(j: Any, request: dict[str, Any], pixels: bytearray) -> Any:
    """Return the image as ImageJ has it after it opened the file."""
    processor = _processor(j, request["dtype"], request["width"], request["height"], pixels)
    given = request["calibration"]
    if given["inverted_lut"]:
        processor.invertLut()
    image = j("ij.ImagePlus")(request["title"], processor)
    calibration = j("ij.measure.Calibration")(image)
    calibration.pixelWidth, calibration.pixelHeight = given["width"], given["height"]
    calibration.setUnit(given["unit"])
    calibration.xOrigin, calibration.yOrigin = given["x_origin"], given["y_origin"]
    calibration.setInvertY(given["invert_y"])
    values = given["values"]
    coefficients = values["coefficients"] or None
    calibration.setFunction(values["function"], coefficients, values["unit"], values["zero_clip"])
    image.setCalibration(calibration)
    return image


def into_stack(j: Any, image: Any, processor: Any, plane: int, label: str) -> None:
    """Make the image a slice of a stack, all of whose slices are itself, so that ImageJ labels it as one."""
    stack = j("ij.ImageStack")(processor.getWidth(), processor.getHeight())
    for k in range(max(2, plane + 1)):
        stack.addSlice(label if k == plane and label else None, processor.getPixels())
    calibration = image.getCalibration()
    image.setStack(stack)
    image.setSlice(plane + 1)
    image.setCalibration(calibration)


def _processor(j: Any, dtype: str, width: int, height: int, pixels: bytearray) -> Any:
    """Make ImageJ's processor of the type, from bytes."""
    import jpype

    n = width * height
    buffer = jpype.nio.convertToDirectBuffer(pixels).order(j("java.nio.ByteOrder").nativeOrder())
    if dtype == "uint8":
        array: Any = jpype.JArray(jpype.JByte)(n)
        buffer.get(array)
        return j("ij.process.ByteProcessor")(width, height, array, None)
    if dtype == "uint16":
        array = jpype.JArray(jpype.JShort)(n)
        buffer.asShortBuffer().get(array)
        return j("ij.process.ShortProcessor")(width, height, array, None)
    array = jpype.JArray(jpype.JFloat)(n)
    buffer.asFloatBuffer().get(array)
    return j("ij.process.FloatProcessor")(width, height, array, None)


def pixels_of(j: Any, processor: Any, dtype: str, n: int) -> bytearray:
    """Return the pixels of a processor as bytes."""
    import jpype
    import numpy as np

    content = bytearray(n * np.dtype(dtype).itemsize)
    buffer = jpype.nio.convertToDirectBuffer(content).order(j("java.nio.ByteOrder").nativeOrder())
    view = {"uint8": lambda: buffer, "uint16": buffer.asShortBuffer, "float32": buffer.asFloatBuffer}[dtype]()
    view.put(processor.getPixels())  # a fresh handle: JPype caches what an old one showed
    return content
