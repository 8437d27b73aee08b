"""Any readable image -> one plane and its calibration. Nothing is guessed, and a damaged file never becomes numbers."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_LOSSY_COMPRESSIONS = {
    "OJPEG",
    "JPEG",
    "JPEG_LOSSY",
    "ALT_JPEG",
    "LERC",
    "APERIO_JP2000_YCBC",
    "APERIO_JP2000_RGB",
    "JPEG2000",
    "JPEGXR",
    "JPEGXL",
    "WEBP",
}
COLOURS = ("red", "green", "blue")
MAX_PIXELS = 2**30
_UINT32 = 2**32 - 1

# What ImageJ writes into a file's description for a micrometre, and ImageJ's other metric units.
_MICROMETRE = {"micron", "microns", "um", "µm", "μm", "\\u00b5m", "micrometer", "micrometre"}
_UNIT_IN_UM = {"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, **dict.fromkeys(_MICROMETRE, 1.0)}
_OME_UNIT_IN_UM = {**dict.fromkeys(_MICROMETRE, 1.0), "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "Å": 1e-4}


@dataclass(frozen=True)
class Calibration:
    """Size of a pixel in the unit that ImageJ uses for the file.

    Attributes
    ----------
    width, height : float
        Pixel width and height, in `unit`.
    unit : str
        ImageJ's unit (``"pixel"`` when the image is not calibrated).
    """

    width: float = 1.0
    height: float = 1.0
    unit: str = "pixel"

    @property
    def pixel_size_um(self) -> float | None:
        """Width of a pixel in um, None when the image is not calibrated."""
        factor = _UNIT_IN_UM.get(self.unit.lower())
        return None if factor is None else self.width * factor

    @property
    def pixel_area_um2(self) -> float | None:
        """Area of a pixel in um2, None when the image is not calibrated."""
        factor = _UNIT_IN_UM.get(self.unit.lower())
        return None if factor is None else self.width * factor * self.height * factor


PIXELS = Calibration()


@dataclass(frozen=True)
class ImageInfo:
    """What an image file says about itself, before its pixels are decoded.

    Attributes
    ----------
    path : Path
    height, width : int
        In px.
    dtype : str
        NumPy name of the pixels' type.
    channels : tuple of str
        Names (or numbers, from 1) of the channels; one entry for a single plane.
    colour : bool
        Red, green and blue samples in each pixel.
    calibration : Calibration
    notices : tuple of str
        What the user should be told about the file.
    lossy : str
        The compression, where it changes grey values; else empty.
    """

    path: Path
    height: int
    width: int
    dtype: str
    channels: tuple[str, ...] = ("1",)
    colour: bool = False
    calibration: Calibration = PIXELS
    notices: tuple[str, ...] = ()
    lossy: str = ""
    page_of_channel: tuple[int, ...] = field(default=(0,), repr=False)


@dataclass(frozen=True)
class Plane:
    """One decoded channel of one field.

    Attributes
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
    calibration : Calibration
    title : str
        The title ImageJ would give the image: its file name.
    notices : tuple of str
    two_planes : ndarray of float32, shape (2, Y, X), or None
        What a network of two channels sees, where that was asked for.
    """

    pixels: npt.NDArray[Any]
    calibration: Calibration
    title: str
    notices: tuple[str, ...] = ()
    two_planes: npt.NDArray[np.float32] | None = None

    @property
    def seen(self) -> npt.NDArray[Any]:
        """What the network sees: the two planes, or the pixels."""
        return self.pixels if self.two_planes is None else self.two_planes


def imagej_scale(calibration: Calibration) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what tells ImageJ the scale of a TIFF: entries of its description, and options of `tifffile.imwrite`."""
    if calibration.unit == "pixel":
        return {}, {}
    return {"unit": calibration.unit}, {"resolution": (_per_pixel(calibration.width), _per_pixel(calibration.height))}


def _per_pixel(size: float) -> tuple[int, int]:
    """Return pixels per unit as the fraction from which ImageJ gets exactly this pixel size, or the nearest it can get.

    Every size that was read from a TIFF can be had; not each that a person gives: no double's inverse is 0.325.

    Examples
    --------
    >>> _per_pixel(0.5), _per_pixel(1 / (3076923 / 1000000))
    ((2, 1), (3076923, 1000000))
    """
    inverse = min(max(1 / size, 1 / _UINT32), float(_UINT32))
    parts = [
        # Both numbers of a TIFF's fraction have 32 bits.
        Fraction(float(wanted)).limit_denominator(max(1, min(most, int(_UINT32 / wanted))))
        for wanted in (inverse, np.nextafter(inverse, np.inf), np.nextafter(inverse, 0))
        for most in (10**3, 10**6, _UINT32)
    ]
    best = min(
        (part for part in parts if 0 < part <= _UINT32), key=lambda part: abs(_size_of(*part.as_integer_ratio()) - size)
    )
    return best.as_integer_ratio()


def _size_of(numerator: int, denominator: int) -> float:
    """Return the size of a pixel from pixels per unit, with ImageJ's own two divisions (TiffDecoder); 0 if there is none."""
    return 1.0 / (numerator / denominator) if numerator and denominator else 0.0


def inspect(path: Path) -> ImageInfo:
    """Read what a file says about itself and check that it is whole as far as its directory tells.

    Parameters
    ----------
    path : Path
        TIFF (8, 16, 32 bit; ImageJ hyperstack and OME-TIFF with several channels), PNG or JPEG.

    Returns
    -------
    ImageInfo

    Raises
    ------
    InputError
        Unreadable, damaged, a z or t stack, or of a type that cannot be measured.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such image. Check the path.")
    state = path.stat()
    return _inspect(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=100_000)
def _inspect(path: Path, changed_ns: int, size: int) -> ImageInfo:  # noqa: ARG001 what a new file has anew
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        return _inspect_tiff(path)
    if suffix in SUFFIXES:
        return _inspect_with_pillow(path)
    raise InputError(
        f"{path}: not an image this program reads (got {suffix or 'no suffix'}, expected TIFF, PNG or JPEG). Save it as TIFF."
    )


def read_plane(
    path: Path,
    channel: str | None = None,
    rgb_channel: str | None = None,
    measured: bool = True,
    colour: str | None = None,
) -> Plane:
    """Decode one channel of an image completely.

    Parameters
    ----------
    path : Path
    channel : str, optional
        Name or number (from 1) of the channel; needed when the file has several.
    rgb_channel : {"red", "green", "blue"}, optional
        Which channel of a colour image to take. Without it a colour image is used only where one channel holds
        all of the signal or all three are equal.
    measured : bool
        False for an image that only shows where the cells are: then JPEG is allowed.
    colour : {"adaptive", "merged"}, optional
        Also return the two planes a network sees: see `two_planes`.

    Returns
    -------
    Plane

    Raises
    ------
    InputError
        Damaged in any way, NaN or infinite pixels, ambiguous colour, lossy format for a measured image.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> file = Path(tempfile.mkdtemp()) / "edu.tif"
    >>> tifffile.imwrite(file, np.full((4, 5), 7, np.uint16))
    >>> read_plane(file).pixels.shape
    (4, 5)
    """
    info = inspect(path)
    if measured:
        require_lossless(info)
    pixels = decode(info, channel_index(info, channel))
    notices = list(info.notices)
    seen = two_planes(pixels, colour) if colour is not None else None
    if pixels.ndim == 3 and seen is not None:
        pixels = pixels[..., 1]
        notices.append(f"colour image: the network sees its channels as {colour}")
    elif pixels.ndim == 3:
        pixels, notice = _one_of_rgb(path, pixels, rgb_channel)
        notices.append(notice)
    return Plane(_measurable(path, pixels), info.calibration, path.name, tuple(notices), seen)


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


def require_lossless(info: ImageInfo) -> None:
    """Refuse an image whose compression changes grey values.

    Raises
    ------
    InputError
        JPEG or the like.
    """
    if info.lossy:
        raise InputError(
            f"{info.path}: JPEG changes grey values (got {info.lossy}, expected TIFF or PNG). Export the original as TIFF."
        )


def decode(info: ImageInfo, index: int = 0) -> npt.NDArray[Any]:
    """Return the pixels of one channel as they are in the file, (Y, X) or (Y, X, RGB), in native byte order.

    Raises
    ------
    InputError
        The file is damaged in any way.
    """
    if info.path.suffix.lower() in (".tif", ".tiff"):
        return _decode_tiff(info.path, info.page_of_channel[index])
    return _decode_with_pillow(info.path)


def channel_index(info: ImageInfo, channel: str | None) -> int:
    """Return the position of a channel, given by name (any case) or number from 1.

    Raises
    ------
    InputError
        No such channel, or none named where there are several.
    """
    if len(info.channels) == 1:
        return 0
    listed = ", ".join(f"{i} = {name}" if name != str(i) else name for i, name in enumerate(info.channels, 1))
    if channel is None:
        raise InputError(f"{info.path}: has {len(info.channels)} channels ({listed}). Name one.")
    for i, name in enumerate(info.channels):
        if name.lower() == channel.lower():
            return i
    if channel.isdecimal() and 1 <= int(channel) <= len(info.channels):
        return int(channel) - 1
    raise InputError(f"{info.path}: no such channel (got {channel}, expected one of {listed}). Correct the channel.")


def saturation_level(pixels: npt.NDArray[Any]) -> float | None:
    """Return the grey level at which the camera was full, or None where nothing is saturated.

    The level is the image's maximum if it is that of a full 8-, 10-, 12-, 14- or 16-bit camera, or if at least 0.01 % of
    the pixels pile up at it (some cameras stop below a power of two).

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)

    Returns
    -------
    float or None

    Examples
    --------
    >>> saturation_level(np.array([[0, 4095]], np.uint16))
    4095.0
    """
    top = float(pixels.max())
    if top == float(pixels.min()):
        return None
    depths = {"uint8": (8,), "uint16": (10, 12, 14, 16)}.get(pixels.dtype.name, ())
    if top in {float(2**k - 1) for k in depths}:
        return top
    count = int(np.count_nonzero(pixels == top))
    if pixels.dtype == np.float32 or count < max(20, 1e-4 * pixels.size):
        return None
    # A camera that is full piles its pixels up at one level; the tail of a histogram does not.
    below = max(int(np.count_nonzero(pixels == level)) for level in (top - 1, top - 2, top - 3))
    return top if count > 4 * max(below, 1) else None


# ---------------------------------------------------------------- TIFF


@contextmanager
def _tifffile_on_record(path: Path) -> Iterator[list[str]]:
    """Tifffile logs damage and goes on with zeros; here what it logs is an error."""
    import tifffile

    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logger = logging.getLogger("tifffile")
    logger.addHandler(listener)
    try:
        yield said
    except InputError:
        raise
    except MemoryError:
        raise
    except tifffile.TiffFileError as error:
        raise _damaged(path, str(error)) from error
    except Exception as error:
        # The codecs raise types of their own (zlib.error, imagecodecs' DeflateError, struct.error, ...).
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    finally:
        logger.removeHandler(listener)
    if said:
        raise _damaged(path, said[0])


def _damaged(path: Path, why: str) -> InputError:
    why = re.sub(r"<tifffile[^>]*>\s*", "", why.replace(str(path), path.name)).strip().rstrip(".")
    return InputError(f"{path}: damaged TIFF ({why}). Export or copy the image again.")


def _inspect_tiff(path: Path) -> ImageInfo:
    import tifffile

    with _tifffile_on_record(path) as said, tifffile.TiffFile(path, is_ome=False) as tif:
        page = tif.pages.first
        if said:
            raise _damaged(path, said[0])
        height, width = page.imagelength, page.imagewidth
        _require_size(path, height, width)
        description = page.description or ""
        count = len(tif.pages)
        for other in tif.pages:
            _require_whole(path, tif.filehandle.size, other.aspage())
        _require_depth(path, page)
        samples = page.samplesperpixel
        colour = samples in (3, 4) and page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
        if samples > 1 and not colour:
            raise InputError(
                f"{path}: {samples} samples in each pixel (expected 1, or 3 for colour). Save one channel for each page."
            )
        # ImageJ writes an 8-bit image with a colour look-up table as a palette; its indices are the grey levels.
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not tif.is_imagej:
            raise InputError(
                f"{path}: indexed colour (a palette; expected grey levels). Save it as an 8- or 16-bit grey TIFF."
            )
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise InputError(
                f"{path}: an inverted grey scale (white is 0; expected black). Save it from Fiji after Image > Lookup Tables > Invert LUT."
            )
        dtype = str(page.dtype)
        lossy = (
            getattr(page.compression, "name", "")
            if getattr(page.compression, "name", "") in _LOSSY_COMPRESSIONS
            else ""
        )
        notices: list[str] = []
        if description.lstrip().startswith("<?xml") or "<OME" in description[:2000]:
            channels, pages, calibration = _read_ome(path, description, count)
        elif tif.is_imagej:
            channels, pages = _read_hyperstack(path, tif.imagej_metadata or {}, count)
            calibration = _tiff_calibration(page, description, notices)
        else:
            if count > 1:
                raise InputError(
                    f"{path}: a stack of {count} pages that does not say what they are (got {count} pages, expected 1). "
                    "Save it from Fiji as a hyperstack with channels, or one plane for each file."
                )
            shape = re.search(r'"shape": \[([\d, ]+)\]', description)
            said_planes = (
                int(np.prod([int(n) for n in shape.group(1).split(",")[:-2]] or [1])) if shape and not colour else 1
            )
            if tif.is_stk or page.imagedepth > 1 or said_planes > 1:
                raise _stack(path, max(said_planes, page.imagedepth, 2), 1)
            channels, pages = ("1",), (0,)
            calibration = _tiff_calibration(page, description, notices)
    return ImageInfo(path, height, width, dtype, channels, colour, calibration, tuple(notices), lossy, pages)


def _require_size(path: Path, height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise InputError(f"{path}: an image without pixels (got {height} x {width}). Export it again.")
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{path}: too large (got {height} x {width} px, expected at most {MAX_PIXELS} px in all). Crop it."
        )


def _require_whole(path: Path, file_size: int, page: Any) -> None:
    """Every strip and tile must be there: tifffile reads a byte count of 0 as zeros, ImageJ hangs on it."""
    offsets, counts = page.dataoffsets, page.databytecounts
    expected = int(np.prod(page.chunked))
    # tifffile (and ImageJ) write one long strip for a contiguous image of several planes.
    one_strip = len(offsets) == 1 and page.compression == 1
    if (len(offsets) != len(counts) or len(offsets) < expected) and not one_strip:
        raise _damaged(path, f"{len(offsets)} of {expected} strips")
    for i, (offset, count) in enumerate(zip(offsets, counts, strict=False)):
        if count == 0 or offset == 0:
            raise _damaged(path, f"strip {i + 1} of {len(offsets)} is empty")
        if offset + count > file_size:
            raise _damaged(
                path, f"strip {i + 1} of {len(offsets)} ends at byte {offset + count} of {file_size}: the file was cut"
            )
    if page.compression == 1:
        needed = (page.imagelength * page.imagewidth * page.samplesperpixel * page.bitspersample + 7) // 8
        if not page.is_tiled and sum(counts) < needed:
            raise _damaged(path, f"{sum(counts)} bytes of pixels where {needed} are needed")


def _require_depth(path: Path, page: Any) -> None:
    if page.dtype is None or page.dtype.name not in ("uint8", "uint16", "uint32", "int32", "float32", "bool"):
        name = "an unknown type" if page.dtype is None else page.dtype.name
        raise InputError(
            f"{path}: pixels of a type ImageJ does not measure (got {name}, expected 8- or 16-bit unsigned or 32-bit). Save it as 16-bit or 32-bit."
        )


def _read_hyperstack(path: Path, metadata: dict[str, Any], count: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    slices, frames = int(metadata.get("slices", 1)), int(metadata.get("frames", 1))
    n = int(metadata.get("channels", 1))
    if slices > 1 or frames > 1 or (n == 1 and int(metadata.get("images", count)) > 1):
        raise _stack(path, slices if slices > 1 else int(metadata.get("images", count)) // max(frames, 1), frames)
    labels = metadata.get("Labels") or []
    names = tuple(str(label) for label in labels) if len(labels) == n and len(set(labels)) == n and all(labels) else ()
    return names or tuple(str(i + 1) for i in range(n)), tuple(range(n))


def _stack(path: Path, slices: int, frames: int) -> InputError:
    return InputError(
        f"{path}: a z or t stack (got {slices} slices and {frames} frames, expected 1 and 1). "
        "Save one plane or a projection for each field."
    )


def _read_ome(path: Path, description: str, count: int) -> tuple[tuple[str, ...], tuple[int, ...], Calibration]:
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        raise InputError(f"{path}: its OME header declares a document type (expected none). Export the image again.")
    try:
        root = ElementTree.fromstring(description.encode())
    except ElementTree.ParseError as error:
        raise _damaged(path, f"its OME header is not XML: {error}") from error
    images = [node for node in root if _tag(node) == "Image"]
    pixels = [node for image in images for node in image if _tag(node) == "Pixels"]
    if not pixels:
        raise InputError(
            f"{path}: its OME header holds no image; the pixels are in another file. Export the field as one OME-TIFF."
        )
    if len(pixels) > 1:
        raise InputError(f"{path}: {len(pixels)} images in one file (expected 1). Save one file for each field.")
    node = pixels[0]
    for uuid in node.iter():
        named = uuid.get("FileName") if _tag(uuid) == "UUID" else None
        if named and Path(named).name != path.name:
            raise InputError(
                f"{path}: its OME header refers to another file (got {named}). "
                "Export the field as one OME-TIFF that holds all of its channels."
            )
    size = {axis: int(node.get(f"Size{axis}", "1")) for axis in "CZT"}
    if size["Z"] > 1 or size["T"] > 1:
        raise _stack(path, size["Z"], size["T"])
    named_channels = [child for child in node if _tag(child) == "Channel"]
    samples = sum(int(c.get("SamplesPerPixel", "1")) for c in named_channels) or size["C"]
    planes = len(named_channels) if named_channels and samples == size["C"] else size["C"]
    if planes > count:
        raise _damaged(path, f"its OME header promises {planes} planes, the file holds {count}")
    names = [c.get("Name") or str(i) for i, c in enumerate(named_channels, 1)]
    if len(names) != planes or len(set(names)) != planes:
        names = [str(i + 1) for i in range(planes)]
    page_of = list(range(planes))
    for data in (child for child in node if _tag(child) == "TiffData"):
        # The OME default: IFD 0, and all planes that follow unless one IFD is named.
        first_page, first_channel = int(data.get("IFD", "0")), int(data.get("FirstC", "0"))
        n = int(data.get("PlaneCount", "1" if data.get("IFD") else str(planes)))
        for k in range(min(n, planes - first_channel)):
            page_of[first_channel + k] = first_page + k
    if max(page_of) >= count:
        raise _damaged(path, f"its OME header names page {max(page_of) + 1} of {count}")
    width, height = node.get("PhysicalSizeX"), node.get("PhysicalSizeY")
    calibration = PIXELS
    if width and float(width) > 0:
        factor = _OME_UNIT_IN_UM.get(node.get("PhysicalSizeXUnit", "µm"))
        if factor is not None:
            calibration = Calibration(float(width) * factor, float(height or width) * factor, "micron")
    return tuple(names), tuple(page_of), calibration


def _tag(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]


def _tiff_calibration(page: Any, description: str, notices: list[str]) -> Calibration:
    """Pixel size as ImageJ 1.54p reads it (measured over every combination of unit, resolution unit and resolution)."""

    def per_pixel(name: str) -> float:
        tag = page.tags.get(name)
        return _size_of(*tag.value) if tag is not None else 0.0

    width = per_pixel("XResolution")
    height = per_pixel("YResolution") or width
    if width <= 0:
        return PIXELS
    tag = page.tags.get("ResolutionUnit")
    code = int(tag.value) if tag is not None else 2  # 1 none, 2 inch, 3 cm
    from_imagej = description.startswith("ImageJ=")
    found = re.search(r"^unit=(.+)$", description, re.MULTILINE) if from_imagej else None
    unit = found.group(1).strip() if found else ""
    if code == 2 and width == 1 / 72:
        width = height = 1.0
        unit = unit or "pixel"
    if unit in ("inch", "in") or (not unit and code == 2 and not from_imagej):
        if width != 1:
            notices.append(f"its resolution is in inch, a printer's unit ({1 / width:g} dpi): taken as not calibrated")
        return PIXELS
    if unit == "um" and code == 3:
        width, height = width * 1e4, height * 1e4
    if not unit:
        unit = "cm" if code == 3 and not from_imagej else "pixel" if width == height == 1 else " "
    if unit == "cm" and width < 0.001:
        width, height, unit = width * 1e4, height * 1e4, "micron"
    if unit in ("pixel", "pixels") and width == height == 1:
        return PIXELS
    return Calibration(width, height, "micron" if unit.lower() in _MICROMETRE else unit)


def _decode_tiff(path: Path, page_index: int) -> npt.NDArray[Any]:
    import tifffile

    with _tifffile_on_record(path), tifffile.TiffFile(path, is_ome=False) as tif:
        first = tif.pages.first
        size = first.imagelength * first.imagewidth * first.samplesperpixel * first.dtype.itemsize
        if page_index < len(tif.pages):
            page = tif.pages[page_index].aspage()
            if page.samplesperpixel > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
                return np.asarray(np.moveaxis(page.asarray(), 0, -1))
            return np.asarray(page.asarray())
        # ImageJ writes one directory for a whole stack above 4 GB; the planes follow each other.
        offset = first.dataoffsets[0] + page_index * size
        if offset + size > tif.filehandle.size:
            raise _damaged(path, f"plane {page_index + 1} is missing: the file was cut")
        flat = tif.filehandle.read_array(tif.byteorder + first.dtype.char, size // first.dtype.itemsize, offset)
        plane: npt.NDArray[Any] = flat.reshape(first.imagelength, first.imagewidth)
        return plane


# ---------------------------------------------------------------- PNG and JPEG


def _inspect_with_pillow(path: Path) -> ImageInfo:
    from PIL import Image

    with _pillow_on_record(path), Image.open(path) as image:
        width, height = image.size
        _require_size(path, height, width)
        mode = image.mode
    with path.open("rb") as file:
        head = file.read(25)
    if head.startswith(b"\x89PNG") and head[24] == 16 and not mode.startswith("I"):
        raise InputError(
            f"{path}: a 16-bit PNG with colour or transparency (its reader keeps 8 bit only). Save it as a 16-bit grey TIFF."
        )
    dtypes = {
        "L": "uint8",
        "LA": "uint8",
        "1": "uint8",
        "RGB": "uint8",
        "RGBA": "uint8",
        "I;16": "uint16",
        "I;16B": "uint16",
        "I": "uint16",
    }
    if mode not in dtypes:
        raise InputError(
            f"{path}: pixels of a kind that is not measured (got mode {mode}, expected 8- or 16-bit grey). Save it as TIFF."
        )
    return ImageInfo(
        path,
        height,
        width,
        dtypes[mode],
        colour=mode in ("RGB", "RGBA"),
        lossy=path.suffix if path.suffix.lower() in (".jpg", ".jpeg") else "",
    )


def _decode_with_pillow(path: Path) -> npt.NDArray[Any]:
    from PIL import Image

    with _pillow_on_record(path), Image.open(path) as opened:
        opened.load()
        image: Image.Image = opened
        if image.mode in ("LA", "RGBA"):
            alpha = np.asarray(image.getchannel("A"))
            if alpha.min() < 255:
                raise InputError(f"{path}: transparent pixels (expected none). Save it without transparency.")
            image = image.convert(image.mode[:-1])
        if image.mode == "1":
            image = image.convert("L")
        pixels = np.array(image)
    if pixels.dtype == np.int32:
        if pixels.min() < 0 or pixels.max() > 65535:
            raise InputError(
                f"{path}: grey values outside 16 bit (got {pixels.min()} to {pixels.max()}). Save it as TIFF."
            )
        pixels = pixels.astype(np.uint16)
    return pixels


@contextmanager
def _pillow_on_record(path: Path) -> Iterator[None]:
    from PIL import Image

    with warnings.catch_warnings():
        # Pillow only warns from 89 Mpx on; our own limit decides.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            yield
        except (InputError, MemoryError):
            raise
        except Exception as error:
            why = str(error).replace(str(path), path.name).strip().rstrip(".")
            raise InputError(f"{path}: damaged or not an image ({why}). Export or copy the image again.") from error


# ---------------------------------------------------------------- pixels


def _one_of_rgb(path: Path, pixels: npt.NDArray[Any], wanted: str | None) -> tuple[npt.NDArray[Any], str]:
    """ImageJ measures a colour image as (R+G+B)/3: a third of a green signal. So one channel is taken, and said."""
    pixels = pixels[..., :3]
    if wanted is not None:
        return pixels[..., COLOURS.index(wanted)], f"colour image: its {wanted} channel is used"
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2]):
        return pixels[..., 0], "colour image with three equal channels: read as grey"
    lit = [i for i in range(3) if pixels[..., i].any()]
    if len(lit) == 1:
        return pixels[..., lit[0]], f"colour image with signal in {COLOURS[lit[0]]} only: that channel is used"
    raise InputError(
        f"{path}: a colour image with signal in {' and '.join(COLOURS[i] for i in lit)} (expected one channel; "
        "ImageJ would measure the average of the three). Split the channels, or name one with --rgb-channel."
    )


def _measurable(path: Path, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.dtype in (np.uint32, np.int32):
        if pixels.min() < -(2**24) or pixels.max() > 2**24:
            raise InputError(
                f"{path}: 32-bit integers that ImageJ cannot hold exactly (got up to {pixels.max()}, expected at most "
                f"{2**24}). Save it as 16-bit."
            )
        pixels = pixels.astype(np.float32)
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        bad = int(np.count_nonzero(~np.isfinite(pixels)))
        raise InputError(
            f"{path}: NaN or infinite pixels (got {bad}, expected none). ImageJ would leave them out of areas and means; replace them first."
        )
    return pixels
