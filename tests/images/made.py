"""Files of microscopes, made by the tests: written by other people's libraries, or by hand where none writes them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]  # (scenes, T, C, Z, Y, X)


def make_czi(path: Path, pixels: Pixels, channels: list[str], um: float | None = 0.65, names: bool = True) -> Path:
    """Write a CZI with a scene for each entry of the first axis."""
    from pylibCZIrw import czi

    with czi.create_czi(str(path)) as file:
        for s, t, c, z in np.ndindex(pixels.shape[:4]):
            where = (s * (pixels.shape[-1] + 50), 0)
            file.write(pixels[s, t, c, z], plane={"C": c, "T": t, "Z": z}, location=where, **({"scene": s} if len(pixels) > 1 else {}))  # fmt: skip
        scale = {"scale_x": um * 1e-6, "scale_y": um * 1e-6} if um else {}
        file.write_metadata("made", channel_names=dict(enumerate(channels)) if names else {}, **scale)
    return path


def make_lif(path: Path, pixels: Pixels, channels: list[str], um: float | None = 0.65) -> Path:
    """Write a LIF with an image for each entry of the first axis: a header and a block of memory for each."""
    elements, blocks = [], []
    n_t, n_c, n_z, height, width = pixels.shape[1:]
    bytes_of = pixels.dtype.itemsize
    for s, image in enumerate(pixels):
        # Stored as channel after channel within a slice, as Leica does.
        stored = np.ascontiguousarray(np.moveaxis(image, 1, 2))  # T, Z, C, Y, X
        plane = height * width * bytes_of
        size = {"1": (width, bytes_of), "2": (height, width * bytes_of), "3": (n_z, plane * n_c), "4": (n_t, plane * n_c * n_z)}  # fmt: skip
        length = {"1": (width - 1) * (um or 0) * 1e-6, "2": (height - 1) * (um or 0) * 1e-6, "3": 1e-6, "4": (n_t - 1) * 600.0}  # fmt: skip
        dimensions = "".join(
            f'<DimensionDescription DimID="{d}" NumberOfElements="{n}" Origin="0" Length="{length[d]:.12g}" Unit="{"s" if d == "4" else "m"}" BitInc="0" BytesInc="{step}"/>'
            for d, (n, step) in size.items()
            if n > 1
        )
        described = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * bytes_of}" NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" LUTName="{name}" '
            f'IsLUTInverted="0" BytesInc="{k * plane}" BitInc="0"/>'
            for k, name in enumerate(channels)
        )
        elements.append(
            f'<Element Name="Series{s + 1:03d}" Visibility="1" UniqueID="id{s}"><Data><Image><ImageDescription><Channels>{described}</Channels>'
            f'<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data><Memory Size="{stored.nbytes}" MemoryBlockID="MemBlock_{s}"/></Element>'
        )
        blocks.append(stored.tobytes())
    header = (
        '<LMSDataContainerHeader Version="2"><Element Name="made" Visibility="1"><Data><Experiment/></Data>'
        f"<Children>{''.join(elements)}</Children></Element></LMSDataContainerHeader>"
    ).encode("utf-16-le")
    with path.open("wb") as file:
        file.write(struct.pack("<IIBI", 0x70, len(header) + 5, 0x2A, len(header) // 2) + header)
        for s, block in enumerate(blocks):
            name = f"MemBlock_{s}".encode("utf-16-le")
            file.write(
                struct.pack("<IIBQBI", 0x70, 14 + len(name), 0x2A, len(block), 0x2A, len(name) // 2) + name + block
            )
    return path


def make_ome_tiff(path: Path, pixels: Pixels, channels: list[str], um: float | None = 0.65) -> Path:
    """Write an OME-TIFF with an image for each entry of the first axis."""
    import tifffile

    size = (
        {"PhysicalSizeX": um, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": um, "PhysicalSizeYUnit": "µm"} if um else {}
    )
    with tifffile.TiffWriter(path, ome=True) as file:
        for s, image in enumerate(pixels):
            said = {"axes": "TCZYX", "Channel": {"Name": channels}, "Name": f"pos{s + 1}", **size}
            if image.shape[0] > 1:
                said |= {"TimeIncrement": 600.0, "TimeIncrementUnit": "s"}
            file.write(image, photometric="minisblack", metadata=said)
    return path


def make_zarr(path: Path, pixels: Pixels, channels: list[str], um: float | None = 0.65, version: str = "0.5", shards: bool = False) -> Path:  # fmt: skip
    """Write an OME-Zarr: one image, or a plate with a well for each entry of the first axis."""
    import zarr

    form = 3 if version == "0.5" else 2

    def group(folder: Path, said: dict[str, Any]) -> None:
        made = zarr.open_group(str(folder), mode="a", zarr_format=form)
        made.attrs.update({"ome": {"version": version, **said}} if form == 3 else said)

    def image(folder: Path, planes: Pixels) -> None:
        axes = [
            {"name": "t", "type": "time", "unit": "second"}, {"name": "c", "type": "channel"},
            *({"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"),
        ]  # fmt: skip
        step = {"type": "scale", "scale": [600.0, 1.0, 1.0, um or 1.0, um or 1.0]}
        said = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [step]}], "version": version}
        group(folder, {"multiscales": [said], "omero": {"channels": [{"label": name} for name in channels]}})
        chunks = (1, 1, 1, *(max(1, n // 2) for n in planes.shape[-2:]))
        more = {"shards": (1, 1, 1, *(2 * n for n in chunks[-2:]))} if shards else {}
        array = zarr.create_array(
            str(folder / "0"), shape=planes.shape, dtype=planes.dtype, chunks=chunks, zarr_format=form, fill_value=0,
            config={"write_empty_chunks": False}, **more,
        )  # fmt: skip
        array[:] = planes

    if len(pixels) == 1:
        image(path, pixels[0])
        return path
    places = [(chr(ord("A") + s // 12), f"{s % 12 + 1:02d}") for s in range(len(pixels))]
    wells = [{"path": f"{row}/{column}", "rowIndex": ord(row) - 65, "columnIndex": int(column) - 1} for row, column in places]  # fmt: skip
    rows, columns = (list(dict.fromkeys(p[k] for p in places)) for k in (0, 1))
    group(path, {"plate": {"name": "made", "rows": [{"name": r} for r in rows], "columns": [{"name": c} for c in columns], "wells": wells, "version": version}})  # fmt: skip
    for (row, column), planes in zip(places, pixels, strict=True):
        group(path / row / column, {"well": {"images": [{"path": "0"}], "version": version}})
        image(path / row / column / "0", planes)
    return path


CHANNELS = ["Phase", "EdU"]
MAKERS = {".czi": make_czi, ".lif": make_lif, ".ome.tif": make_ome_tiff, ".zarr": make_zarr}
