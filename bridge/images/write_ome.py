"""Images for programs other than ImageJ: OME-TIFF, OME-Zarr, and colour PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bridge.calibration import PIXELS, Calibration
from bridge.files import whole_file, whole_folder
from bridge.grey_scale import display_range
from bridge.images.vendor import library
from bridge.labels import Labels

COLOURS = {
    "red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "cyan": (0, 1, 1), "magenta": (1, 0, 1), "yellow": (1, 1, 0), "grey": (1, 1, 1),
}  # fmt: skip
_CHUNK, _SMALLEST = 1024, 256


def write_ome_tiff(
    path: Path, planes: Sequence[npt.NDArray[Any]], channels: Sequence[str], calibration: Calibration = PIXELS
) -> None:
    """Write one field as an OME-TIFF.

    Parameters
    ----------
    path : Path
        ``*.ome.tif``.
    planes : sequence of ndarray, shape (Y, X)
        One for each channel, of one type.
    channels : sequence of str
    calibration : Calibration

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    import tifffile

    width, height = calibration.pixel_um
    size = {"PhysicalSizeX": width, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": height, "PhysicalSizeYUnit": "µm"}
    metadata = {"axes": "CYX", "Channel": {"Name": list(channels)}, **(size if width else {})}
    with whole_file(path) as part, tifffile.TiffWriter(part, ome=True) as file:
        file.write(np.stack(list(planes)), photometric="minisblack", metadata=metadata)


def write_ome_zarr(
    path: Path,
    planes: Sequence[npt.NDArray[Any]],
    channels: Sequence[str],
    calibration: Calibration = PIXELS,
    labels: Mapping[str, Labels] | None = None,
    version: Literal["0.4", "0.5"] = "0.5",
) -> None:
    """Write one field, and label images of it, as an OME-Zarr with smaller copies.

    Parameters
    ----------
    path : Path
        ``*.zarr``; a folder, which appears whole or not at all and replaces one that is there.
    planes : sequence of ndarray, shape (Y, X)
        One for each channel, of one type.
    channels : sequence of str
    calibration : Calibration
    labels : mapping of str to ndarray of unsigned int, shape (Y, X), optional
        Label images by name; ids stay as they are in every copy.
    version : {"0.4", "0.5"}
        Of OME-Zarr: 0.5 is Zarr 3, 0.4 Zarr 2, which older programs read.

    Raises
    ------
    MissingDependencyError
        zarr is not installed.
    OutputError
        The folder cannot be written.
    """
    zarr = library(path, "zarr", "zarr")
    form = 3 if version == "0.5" else 2
    um = calibration.pixel_um
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}]
    for axis in "yx":
        axes.append({"name": axis, "type": "space", **({"unit": "micrometer"} if um[0] else {})})
    scale = (um[1] or 1.0, um[0] or 1.0)

    def group(folder: Path, said: dict[str, Any]) -> None:
        made = zarr.open_group(str(folder), mode="a", zarr_format=form)
        made.attrs.update({"ome": {"version": version, **said}} if form == 3 else said)

    def image(folder: Path, name: str, pixels: npt.NDArray[Any], of: list[dict[str, str]], more: dict[str, Any]) -> None:  # fmt: skip
        datasets = []
        for level, small in enumerate(_pyramid(pixels, is_labels="image-label" in more)):
            chunks = (*(1,) * (small.ndim - 2), *(min(_CHUNK, n) for n in small.shape[-2:]))
            array = zarr.create_array(
                str(folder / str(level)), shape=small.shape, dtype=small.dtype, chunks=chunks, zarr_format=form, fill_value=0,
                config={"write_empty_chunks": True},
                **({"dimension_names": [axis["name"] for axis in of]} if form == 3 else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}),
            )  # fmt: skip
            array[:] = small
            step = [1.0] * (small.ndim - 2) + [s * n / m for s, n, m in zip(scale, pixels.shape[-2:], small.shape[-2:], strict=True)]  # fmt: skip
            datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": step}]})
        said = {"axes": of, "datasets": datasets, "name": name, **({"version": version} if form == 2 else {})}
        group(folder, {"multiscales": [said], **more})

    with whole_folder(path) as part:
        shown = [_shown(name, plane) for name, plane in zip(channels, planes, strict=True)]
        image(part, path.stem, np.stack(list(planes)), axes, {"omero": {"channels": shown}})
        if labels:
            group(part / "labels", {"labels": list(labels)})
        for name, ids in (labels or {}).items():
            own = {"source": {"image": "../../"}, **({"version": version} if form == 2 else {})}
            image(part / "labels" / name, name, ids, axes[1:], {"image-label": own})


def _pyramid(pixels: npt.NDArray[Any], is_labels: bool) -> list[npt.NDArray[Any]]:
    """Return an image and copies of half the size, until one is small: labels by every other pixel, images by means."""
    levels = [pixels]
    while max(levels[-1].shape[-2:]) > 2 * _SMALLEST and min(levels[-1].shape[-2:]) > 1:
        last = levels[-1]
        if is_labels:
            levels.append(np.ascontiguousarray(last[..., ::2, ::2]))
            continue
        even = last[..., : last.shape[-2] // 2 * 2, : last.shape[-1] // 2 * 2].astype(np.float32)
        mean = (even[..., ::2, ::2] + even[..., 1::2, ::2] + even[..., ::2, 1::2] + even[..., 1::2, 1::2]) / 4
        levels.append((np.rint(mean) if last.dtype.kind == "u" else mean).astype(last.dtype))
    return levels


def _shown(name: str, plane: npt.NDArray[Any]) -> dict[str, Any]:
    low, high = display_range([plane])
    largest = float(np.iinfo(plane.dtype).max) if plane.dtype.kind == "u" else float(high)
    return {"label": name, "color": "FFFFFF", "active": True, "window": {"min": 0.0, "max": largest, "start": low, "end": high}}  # fmt: skip


def write_colour(path: Path, planes: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write channels as one colour PNG to be looked at, or for networks that were trained on such: 8 bit, not to be measured.

    Parameters
    ----------
    path : Path
    planes : mapping of str to ndarray, shape (Y, X)
        By the name of a colour, see `COLOURS`; each from its 0.1 to its 99.9 percentile.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from PIL import Image

    shape = next(iter(planes.values())).shape
    picture = np.zeros((*shape, 3), np.float32)
    for colour, plane in planes.items():
        low, high = display_range([plane])
        grey = np.clip((plane.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255)
        picture += grey[..., None] * np.array(COLOURS[colour], np.float32)
    with whole_file(path) as part:
        Image.fromarray(np.rint(np.clip(picture, 0, 255)).astype(np.uint8)).save(part, format="PNG")
