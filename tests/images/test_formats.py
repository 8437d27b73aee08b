"""Files of microscopes: every pixel as an independent second reader has it, every dimension found, damage refused."""

from __future__ import annotations

import contextlib
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from images.made import MAKERS, make_czi, make_lif, make_ome_tiff, make_zarr

from bridge.errors import InputError, MissingDependencyError
from bridge.images.reader import inspect, read_plane, scenes
from bridge.source import ChannelFile, at_address

RNG = np.random.default_rng(3)
CHANNELS = ["Phase", "EdU"]


def pixels(s: int = 1, t: int = 1, c: int = 2, z: int = 1, height: int = 40, width: int = 56) -> npt.NDArray[np.uint16]:
    return RNG.integers(1, 60000, (s, t, c, z, height, width)).astype(np.uint16)


def refusal(path: Path | ChannelFile) -> str:
    with pytest.raises(InputError) as refused:
        read_plane(path)
    return str(refused.value)


@pytest.mark.parametrize("suffix", MAKERS)
@pytest.mark.parametrize("shape", [(1, 1, 2, 1), (3, 1, 2, 1), (2, 3, 1, 1), (1, 2, 2, 3)])
def test_every_plane_is_found(tmp_path: Path, suffix: str, shape: tuple[int, int, int, int]) -> None:
    made = pixels(*shape)
    path = MAKERS[suffix](tmp_path / f"made{suffix}", made, CHANNELS[: shape[2]])
    found = scenes(path)
    assert len(found) == shape[0]
    assert len({info.scene_name for info in found}) == shape[0]
    for info in found:
        assert (info.n_frames, len(info.channels), info.n_slices) == shape[1:]
        assert (info.height, info.width, info.dtype) == (40, 56, "uint16")
        assert info.calibration.pixel_size_um == pytest.approx(0.65, rel=1e-12)
        assert info.interval_s == (600.0 if shape[1] > 1 and suffix != ".czi" else info.interval_s)
    if shape[2] == 2:
        assert found[0].channels == ("Phase", "EdU")
    for s, t, c, z in np.ndindex(shape):
        file = ChannelFile(path, str(c + 1), s, t, str(z + 1))
        np.testing.assert_array_equal(read_plane(file).pixels, made[s, t, c, z])


def second_reader(path: Path, s: int, t: int, c: int, z: int) -> Any:
    """Another library's reading of a plane."""
    if path.suffix == ".czi":
        import czifile

        with czifile.CziFile(path) as file:
            for block in file.filtered_subblock_directory:
                at = {d.dimension: d.start for d in block.dimension_entries}
                if (at.get("S", 0), at.get("T", 0), at["C"], at.get("Z", 0)) == (s, t, c, z):
                    return np.squeeze(block.data_segment().data())
    if path.suffix == ".lif":
        from readlif.reader import LifFile

        return np.asarray(LifFile(path).get_image(s).get_frame(z=z, t=t, c=c))
    if path.suffix == ".tif":
        return tifffile.imread(path, series=s).reshape(-1, 2, 2, 40, 56)[t, c, z]
    import tensorstore

    inside = next(path.rglob("0/.zarray"), None) or next(
        p for p in path.rglob("zarr.json") if '"array"' in p.read_text()
    )
    driver = "zarr" if inside.name == ".zarray" else "zarr3"
    array = tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": str(inside.parent)}}).result()
    return array[t, c, z].read().result()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # readlif leaves files open
@pytest.mark.parametrize("suffix", MAKERS)
def test_another_library_has_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    n = 1 if suffix == ".zarr" else 2
    path = MAKERS[suffix](tmp_path / f"made{suffix}", pixels(n, 2, 2, 2), CHANNELS)
    for s, t, c, z in np.ndindex(n, 2, 2, 2):
        ours = read_plane(ChannelFile(path, str(c + 1), s, t, str(z + 1))).pixels
        np.testing.assert_array_equal(ours, second_reader(path, s, t, c, z))


@pytest.mark.parametrize(("version", "shards"), [("0.4", False), ("0.5", True)])
def test_kinds_of_ome_zarr(tmp_path: Path, version: str, shards: bool) -> None:
    made = pixels(1)
    path = make_zarr(tmp_path / "a.zarr", made, CHANNELS, version=version, shards=shards)
    plane = read_plane(ChannelFile(path, "EdU"))
    np.testing.assert_array_equal(plane.pixels, made[0, 0, 1, 0])
    np.testing.assert_array_equal(plane.pixels, second_reader(path, 0, 0, 1, 0))


def test_fields_of_a_plate_are_named_by_their_well(tmp_path: Path) -> None:
    path = make_zarr(tmp_path / "plate.zarr", pixels(3), CHANNELS)
    assert [info.scene_name for info in scenes(path)] == ["A01-1", "A02-1", "A03-1"]
    assert read_plane(ChannelFile(path, "EdU", 1)).title == "plate.zarr - A02-1"


@pytest.mark.parametrize("suffix", MAKERS)
def test_a_path_alone_stands_for_one_image(tmp_path: Path, suffix: str) -> None:
    path = MAKERS[suffix](tmp_path / f"many{suffix}", pixels(2), CHANNELS)
    names = ", ".join(info.scene_name for info in scenes(path))
    assert refusal(path) == f"{path}: 2 images in one file (got {names}; expected 1). Give its folder to run or convert, which take each as a field."  # fmt: skip
    assert refusal(ChannelFile(path, "1", 7)) == (
        f"{path}: no scene 8 in it (got 2). It was changed since the plan was made: plan again."
    )


@pytest.mark.parametrize("z", ["max", "mean", "sum", "min", "2"])
def test_z_stacks(tmp_path: Path, z: str) -> None:
    made = pixels(1, 1, 1, 4)
    path = make_ome_tiff(tmp_path / "z.ome.tif", made, ["EdU"])
    stack = made[0, 0, 0]
    of = {
        "max": stack.max(0),
        "min": stack.min(0),
        "sum": stack.sum(0, dtype=np.float32),
        "mean": np.floor(stack.mean(0) + 0.5),
    }
    expected = of.get(z, stack[1])
    found = read_plane(ChannelFile(path, None, z=z))
    np.testing.assert_allclose(found.pixels, expected, rtol=1e-7)
    assert found.pixels.dtype == (np.float32 if z == "sum" else np.uint16)
    assert (found.source is None) == (z != "2")
    assert refusal(ChannelFile(path, None, z="9")) == f"{path}: no slice 9 in it (got 4 slices). Correct --z."


def test_addresses_lead_back() -> None:
    file = ChannelFile(Path("a/b#c.czi"), "EdU", 3, 0, "max")
    assert at_address(Path("a"), file.address("b#c.czi"), Path("t"), "EdU") == file
    assert at_address(Path("a"), "b.tif", Path("t")) == ChannelFile(Path("a/b.tif"))
    with pytest.raises(InputError):
        at_address(Path("a"), "../b.czi#scene=1", Path("t"))


# ---------------------------------------------------------------- TIFF's other dialects


def test_companion_file(tmp_path: Path) -> None:
    made = pixels(1)[0, 0, :, 0]
    head = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    for c in range(2):
        binary = f'{head} UUID="urn:uuid:{c}"><BinaryOnly MetadataFile="f.companion.ome" UUID="urn:uuid:9"/></OME>'
        tifffile.imwrite(tmp_path / f"f_c{c}.ome.tif", made[c], description=binary, metadata=None)
    data = "".join(f'<TiffData FirstC="{c}" IFD="0"><UUID FileName="f_c{c}.ome.tif">urn:uuid:{c}</UUID></TiffData>' for c in range(2))  # fmt: skip
    (tmp_path / "f.companion.ome").write_text(
        f'{head} UUID="urn:uuid:9"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="56" SizeY="40" SizeC="2" SizeZ="1" SizeT="1">'
        f'<Channel ID="Channel:0:0" Name="Phase"/><Channel ID="Channel:0:1" Name="EdU"/>{data}</Pixels></Image></OME>'
    )
    path = tmp_path / "f.companion.ome"
    for c, name in enumerate(CHANNELS):
        np.testing.assert_array_equal(read_plane(ChannelFile(path, name)).pixels, made[c])
    assert inspect(path).parts == (tmp_path / "f_c0.ome.tif", tmp_path / "f_c1.ome.tif")
    part = tmp_path / "f_c0.ome.tif"
    assert refusal(part) == f"{part}: a part of f.companion.ome (expected that file beside it). Give that file instead."
    shutil.copy(tmp_path / "f_c0.ome.tif", tmp_path / "f_c1.ome.tif")
    scenes.__globals__["_scenes"].cache_clear()
    assert refusal(ChannelFile(path, "EdU")) == (
        f"{path}: f_c1.ome.tif beside it is not the file that its OME header means (got urn:uuid:0, expected urn:uuid:1). Copy that file there."
    )


def test_lsm(tmp_path: Path) -> None:
    """Made by hand from a TIFF: the tag of Zeiss's confocals, channels as samples of a page."""
    made = pixels(1, c=3)[0, 0, :, 0].astype(np.uint8)
    info = bytearray(328)
    struct.pack_into("<II5i", info, 0, 0x0400494C, 328, 56, 40, 1, 3, 1)
    struct.pack_into("<3d", info, 40, 0.65e-6, 0.65e-6, 1e-6)
    path = tmp_path / "a.lsm"
    how = {
        "planarconfig": "separate",
        "photometric": "minisblack",
        "extrasamples": ("unspecified",) * 2,
        "metadata": None,
    }
    with tifffile.TiffWriter(path) as file:
        file.write(made, extratags=[(34412, 1, len(info), bytes(info), True)], **how)
        file.write(made[:, ::4, ::4], subfiletype=1, **how)  # its thumbnail
    found = inspect(path)
    assert (found.channels, found.n_slices, found.n_frames) == (("1", "2", "3"), 1, 1)
    assert found.calibration.pixel_size_um == pytest.approx(0.65)
    for c in range(3):
        np.testing.assert_array_equal(read_plane(ChannelFile(path, str(c + 1))).pixels, made[c])


@pytest.mark.parametrize("heights", [True, False])
def test_stk(tmp_path: Path, heights: bool) -> None:
    """Made by hand: one directory, whose planes follow each other; slices where they lie at different heights."""
    made = pixels(1, 1, 1, 3)[0, 0, 0]
    n, size = len(made), made[0].nbytes
    data = 8 + 2 + 12 * 10 + 4
    uic1 = data + made.nbytes
    uic2 = uic1 + 8
    entries = [
        (256, 3, 1, 56), (257, 3, 1, 40), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, data), (278, 3, 1, 40),
        (279, 4, 1, size), (33628, 5, 1, uic1), (33629, 5, n, uic2),
    ]  # fmt: skip
    content = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        content += struct.pack("<HHII", tag, kind, count, value)
    content += struct.pack("<I", 0) + made.tobytes() + struct.pack("<II", 0, 1)
    for k in range(n):  # height as a fraction, then days and milliseconds when it was made, and when changed
        content += struct.pack("<6I", k + 1 if heights else 0, 1, 2451545, 1000 * 60 * k, 2451545, 0)
    path = tmp_path / "a.stk"
    path.write_bytes(content)
    found = scenes(path)[0]
    assert (found.n_slices, found.n_frames) == ((3, 1) if heights else (1, 3))
    assert found.interval_s == (None if heights else 60.0)
    for k in range(n):
        where = ChannelFile(path, None, None, None, str(k + 1)) if heights else ChannelFile(path, None, None, k)
        np.testing.assert_array_equal(read_plane(where).pixels, made[k])
    path.write_bytes(content[: data + 2 * size + 50])
    assert "damaged TIFF" in refusal(ChannelFile(path, None, None, None if heights else 2, "3" if heights else None))


# ---------------------------------------------------------------- damage


def cuts(content: bytes) -> Iterator[bytes]:
    for part in (0.02, 0.3, 0.6, 0.9, 0.999):
        yield content[: int(len(content) * part)]


@pytest.mark.parametrize("suffix", [".czi", ".lif", ".ome.tif"])
def test_a_file_that_was_cut_never_becomes_numbers(tmp_path: Path, suffix: str) -> None:
    made = pixels(2)
    whole = MAKERS[suffix](tmp_path / f"whole{suffix}", made, CHANNELS).read_bytes()
    for k, content in enumerate(cuts(whole)):
        path = tmp_path / f"cut{k}{suffix}"
        path.write_bytes(content)
        for s, c in np.ndindex(2, 2):
            try:
                found = read_plane(ChannelFile(path, str(c + 1), s)).pixels
            except InputError:
                continue
            else:
                np.testing.assert_array_equal(found, made[s, 0, c, 0])


@pytest.mark.parametrize("suffix", [".czi", ".lif"])
def test_flipped_bytes_are_refused_or_harmless_in_kind(tmp_path: Path, suffix: str) -> None:
    """Whatever a flipped byte does, it is one sentence or an image of the promised shape."""
    whole = bytearray(MAKERS[suffix](tmp_path / f"whole{suffix}", pixels(1), CHANNELS).read_bytes())
    rng = np.random.default_rng(0)
    for k in range(60):
        content = bytearray(whole)
        for at in rng.integers(0, len(content), 8):
            content[at] ^= 0xFF
        path = tmp_path / f"flip{k}{suffix}"
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            assert read_plane(ChannelFile(path, "1")).pixels.shape == (40, 56)


def test_tile_that_is_missing_from_a_czi(tmp_path: Path) -> None:
    from pylibCZIrw import czi

    path = tmp_path / "mosaic.czi"
    made = pixels(1)[0, 0, 0, 0]
    with czi.create_czi(str(path)) as file:
        for y, x in ((0, 0), (0, 28), (20, 0)):
            file.write(np.ascontiguousarray(made[y : y + 20, x : x + 28]), plane={"C": 0, "T": 0, "Z": 0}, location=(x, y))  # fmt: skip
        file.write_metadata("made", channel_names={0: "EdU"})
    assert refusal(path) == f"{path}: 25.0% of channel 1, slice 1, frame 1 is in no tile: its tiles make no rectangle, or the file was damaged. Copy it again, or export the region from ZEN."  # fmt: skip
    with czi.create_czi(str(tmp_path / "whole.czi")) as file:
        for y, x in ((0, 0), (0, 28), (20, 0), (20, 28)):
            file.write(np.ascontiguousarray(made[y : y + 20, x : x + 28]), plane={"C": 0, "T": 0, "Z": 0}, location=(x, y))  # fmt: skip
        file.write_metadata("made", channel_names={0: "EdU"})
    np.testing.assert_array_equal(read_plane(tmp_path / "whole.czi").pixels, made)


@pytest.mark.parametrize(("version", "shards"), [("0.4", False), ("0.5", False), ("0.5", True)])
def test_chunk_that_is_missing_from_an_ome_zarr(tmp_path: Path, version: str, shards: bool) -> None:
    made = pixels(1)
    if shards:
        made[0, 0, 0, 0, :20, :28] = 0  # an empty chunk is not written
        path = make_zarr(tmp_path / "a.zarr", made, CHANNELS, version=version, shards=True)
        gone = "1 of 4"
    else:
        path = make_zarr(tmp_path / "a.zarr", made, CHANNELS, version=version)
        chunk = path / "0" / ("c/0/0/0/0/1" if version == "0.5" else "0.0.0.0.1")
        chunk.unlink()
        gone = "1 of 4"
    assert refusal(ChannelFile(path, "Phase")) == (
        f"{path}: damaged OME-Zarr ({gone} chunks of a plane are not there; if they were empty, write it with write_empty_chunks). Copy the file again."
    )
    np.testing.assert_array_equal(read_plane(ChannelFile(path, "EdU")).pixels, made[0, 0, 1, 0])


@pytest.mark.parametrize("name", ["a.czi", "a.lif", "a.nd2", "a.lsm", "a.stk", "a.companion.ome", "a.xlef", "a.lof"])
@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"<?xml version='1.0'?><OME/>", bytes(range(256)) * 40])
def test_files_that_are_something_else(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: ")


def test_header_with_a_document_type(tmp_path: Path) -> None:
    path = make_lif(tmp_path / "a.lif", pixels(1), CHANNELS)
    head = "<LMSDataContainerHeader"
    content = path.read_bytes().replace(f'{head} Version="2">'.encode("utf-16-le"), f"<!DOCTYPE a>{head}>".encode("utf-16-le"))  # fmt: skip
    path.write_bytes(content)
    assert "document type" in refusal(path) or "damaged" in refusal(path)


def test_zarr_that_leads_outside(tmp_path: Path) -> None:
    secret = make_zarr(tmp_path / "secret.zarr", pixels(1), CHANNELS)
    path = make_zarr(tmp_path / "plate.zarr", pixels(2), CHANNELS)
    file = path / "zarr.json"
    file.write_text(file.read_text().replace('"A/01"', f'"../{secret.name}"'))
    assert "names a file outside" in refusal(ChannelFile(path, "EdU", 0)) or "damaged" in refusal(path)


def test_library_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = make_czi(tmp_path / "a.czi", pixels(1), CHANNELS)
    monkeypatch.setitem(sys.modules, "pylibCZIrw.czi", None)
    with pytest.raises(MissingDependencyError) as refused:
        inspect(path)
    assert str(refused.value) == (
        f"{path}: CZI files need a library that is not installed (expected the extra czi). Install it: pip install 'cellpose-fiji-bridge[czi]'"
    )


# ---------------------------------------------------------------- what a hostile tester found


def ome_set(folder: Path, pages: dict[str, npt.NDArray[Any]], header: str, **how: Any) -> Path:
    """A header in the first file, one page in each; the other files' options by their names."""
    for k, (name, page) in enumerate(pages.items()):
        head = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
        text = f'{head} UUID="urn:uuid:{k}">{header}</OME>'
        tifffile.imwrite(folder / name, page, description=text, metadata=None, **how.get(name.partition(".")[0], {}))
    return folder / next(iter(pages))


def one_image(k: int, data: str, c: int = 1, t: int = 1) -> str:
    return (
        f'<Image ID="Image:{k}" Name="pos{k}"><Pixels ID="Pixels:{k}" DimensionOrder="XYCZT" Type="uint16" SizeX="56" SizeY="40" SizeC="{c}" SizeZ="1" SizeT="{t}">'
        f"{''.join(f'<Channel ID={chr(34)}Channel:{k}:{i}{chr(34)}/>' for i in range(c))}{data}</Pixels></Image>"
    )


def test_planes_that_a_header_leaves_out(tmp_path: Path) -> None:
    made = pixels(1, 2)[0, :, 0, 0]
    path = ome_set(tmp_path, {"a.ome.tif": made[0]}, one_image(0, '<TiffData FirstT="0" IFD="0"/>', t=2))
    assert refusal(ChannelFile(path, None, None, 0)) == (
        f"{path}: damaged TIFF (its OME header says of 1 of 2 planes in no place where they are). Export or copy the image again."
    )


@pytest.mark.parametrize("how", [{"compression": "jpeg"}, {"photometric": "miniswhite"}])
def test_second_file_of_another_kind(tmp_path: Path, how: dict[str, str]) -> None:
    made = pixels(1)[0, 0, :, 0].astype(np.uint8)
    data = "".join(f'<TiffData FirstC="{c}" IFD="0"><UUID FileName="{n}.ome.tif">urn:uuid:{c}</UUID></TiffData>' for c, n in enumerate("ab"))  # fmt: skip
    path = ome_set(tmp_path, {"a.ome.tif": made[0], "b.ome.tif": made[1]}, one_image(0, data, c=2), b=how)
    assert "differ in size, type or compression" in refusal(ChannelFile(path, "2"))


def test_leica_images_of_one_name(tmp_path: Path) -> None:
    path = make_lif(tmp_path / "a.lif", pixels(2), CHANNELS)
    path.write_bytes(path.read_bytes().replace("Series002".encode("utf-16-le"), "Series001".encode("utf-16-le")))
    assert refusal(path) == (
        f"{path}: images of the same name in one folder (got 2 images, 1 names). Rename them in LAS X, or export them as TIFF."
    )


@pytest.mark.parametrize("axis", ["H", "I", "V", "B", "R"])
def test_czi_with_other_dimensions(tmp_path: Path, axis: str) -> None:
    path = make_czi(tmp_path / "a.czi", pixels(t=3), CHANNELS)  # Zeiss's writer knows no other: renamed in the file
    path.write_bytes(path.read_bytes().replace(b"T\0\0\0", axis.encode() + b"\0\0\0"))
    assert refusal(ChannelFile(path, "EdU")) == f"{path}: dimensions that are no channel, slice or frame (got {axis} = 3, expected 1). Export one of them as TIFF."  # fmt: skip


@pytest.mark.parametrize(
    "said", [{"images": 10**9, "slices": 10**9}, {"images": 10**9, "frames": 10**9}, {"images": 50, "slices": 50}]
)
def test_stack_that_promises_more_than_there_is(tmp_path: Path, said: dict[str, int]) -> None:
    path = tmp_path / "a.tif"
    text = "ImageJ=1.54p\n" + "".join(f"{name}={n}\n" for name, n in said.items())
    tifffile.imwrite(path, pixels()[0, 0, 0, 0], description=text, metadata=None)
    assert "has room for 1" in refusal(ChannelFile(path, None, None, 0, "1"))


def test_zarr_that_promises_a_billion_frames(tmp_path: Path) -> None:
    path = make_zarr(tmp_path / "a.zarr", pixels(1), CHANNELS)
    file = path / "0" / "zarr.json"
    file.write_text(file.read_text().replace('"shape": [\n    1,', '"shape": [\n    1000000000,'))
    assert (
        refusal(path) == f"{path}: promises 1000000000 x 2 x 1 planes (expected 1 to 1,000,000). Copy the file again."
    )
