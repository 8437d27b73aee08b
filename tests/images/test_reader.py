from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from bridge.calibration import PIXELS, Calibration
from bridge.errors import InputError
from bridge.grey_scale import saturation_level
from bridge.images.label_images import read_labels
from bridge.images.reader import inspect, read_plane
from bridge.pipeline.roiset_verbs import rasterize
from bridge.rois.roiset import encode_roiset
from bridge.source import ChannelFile

ImageFile = Callable[..., Path]
NOISE = np.random.default_rng(0).integers(1, 4000, (500, 500)).astype(np.uint16)


def refusal(path: Path | ChannelFile, **options: object) -> str:
    with pytest.raises(InputError) as refused:
        read_plane(path, **options)
    return str(refused.value)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
def test_grey_tiff_comes_back_as_it_was(image_file: ImageFile, dtype: str, compression: str | None) -> None:
    pixels = (NOISE % 200).astype(dtype)
    plane = read_plane(image_file(pixels=pixels, compression=compression, byteorder=">"))
    assert plane.pixels.dtype == dtype
    assert plane.pixels.dtype.isnative
    np.testing.assert_array_equal(plane.pixels, pixels)
    assert plane.title == "edu.tif"


def test_png_8_and_16_bit(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.uint16):
        path = tmp_path / f"{np.dtype(dtype).name}.png"
        Image.fromarray((NOISE % 256).astype(dtype) if dtype == np.uint8 else NOISE).save(path)
        plane = read_plane(path)
        assert plane.pixels.dtype == dtype
        np.testing.assert_array_equal(plane.pixels, NOISE % 256 if dtype == np.uint8 else NOISE)


def test_jpeg_is_for_finding_cells_only(tmp_path: Path) -> None:
    path = tmp_path / "phase.jpg"
    Image.fromarray((NOISE % 256).astype(np.uint8)).save(path)
    assert read_plane(path, measured=False).pixels.shape == NOISE.shape
    assert (
        refusal(path)
        == f"{path}: JPEG changes grey values (got .jpg, expected TIFF or PNG). Export the original as TIFF."
    )


def test_int32_is_read_as_imagej_reads_it(image_file: ImageFile) -> None:
    assert read_plane(image_file(pixels=NOISE.astype(np.int32))).pixels.dtype == np.float32
    path = image_file("big.tif", np.full((4, 4), 2**24 + 1, np.uint32))
    assert (
        refusal(path)
        == f"{path}: 32-bit integers that ImageJ cannot hold exactly (got up to 16777217, expected at most 16777216). Save it as 16-bit."
    )


def test_types_imagej_does_not_measure(image_file: ImageFile) -> None:
    path = image_file(pixels=np.ones((4, 4), np.float64))
    assert refusal(path) == (
        f"{path}: pixels of a type ImageJ does not measure (got float64, expected 8- or 16-bit unsigned or 32-bit). "
        "Save it as 16-bit or 32-bit."
    )


def test_nan_and_infinite_pixels(image_file: ImageFile) -> None:
    pixels = np.ones((4, 4), np.float32)
    pixels[0, 0], pixels[1, 1] = np.nan, np.inf
    path = image_file(pixels=pixels)
    assert refusal(path) == (
        f"{path}: NaN or infinite pixels (got 2, expected none). ImageJ would leave them out of areas and means; replace them first."
    )


# ---------------------------------------------------------------- colour


def test_colour_with_one_lit_channel_is_taken_and_said(image_file: ImageFile) -> None:
    rgb = np.zeros((10, 12, 3), np.uint8)
    rgb[..., 1] = np.arange(12)
    plane = read_plane(image_file(pixels=rgb, photometric="rgb"))
    np.testing.assert_array_equal(plane.pixels, rgb[..., 1])
    assert plane.warnings == ("colour image with signal in green only: that channel is used",)


def test_colour_with_two_lit_channels_must_be_named(image_file: ImageFile) -> None:
    rgb = np.zeros((10, 12, 3), np.uint8)
    rgb[..., 1] = 9
    rgb[..., 2] = np.arange(12)
    path = image_file(pixels=rgb, photometric="rgb")
    assert refusal(path) == (
        f"{path}: a colour image with signal in green and blue (expected one channel; ImageJ would measure the average of the "
        "three). Split the channels, or name one with --rgb-channel."
    )
    np.testing.assert_array_equal(read_plane(path, rgb_channel="blue").pixels, rgb[..., 2])


def test_grey_saved_as_colour(image_file: ImageFile) -> None:
    rgb = np.repeat((NOISE % 256).astype(np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_plane(image_file(pixels=rgb, photometric="rgb")).pixels, rgb[..., 0])


# ---------------------------------------------------------------- several channels


def test_hyperstack_channels_by_number(image_file: ImageFile) -> None:
    pixels = np.stack([NOISE, NOISE + 1, NOISE + 2])
    path = image_file(pixels=pixels, imagej=True, metadata={"axes": "CYX"})
    assert inspect(path).channels == ("1", "2", "3")
    np.testing.assert_array_equal(read_plane(ChannelFile(path, "2")).pixels, pixels[1])
    assert refusal(path) == f"{path}: has 3 channels (1, 2, 3). Name one."
    assert (
        refusal(ChannelFile(path, "4"))
        == f"{path}: no such channel (got 4, expected one of 1, 2, 3). Correct the channel."
    )


def test_ome_tiff_channels_by_name(image_file: ImageFile) -> None:
    pixels = np.stack([NOISE, NOISE + 7])
    path = image_file(
        "a.ome.tif",
        pixels,
        metadata={"axes": "CYX", "Channel": {"Name": ["Phase", "EdU"]}, "PhysicalSizeX": 650, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 650, "PhysicalSizeYUnit": "nm"},
    )  # fmt: skip
    assert inspect(path).channels == ("Phase", "EdU")
    plane = read_plane(ChannelFile(path, "edu"))
    np.testing.assert_array_equal(plane.pixels, pixels[1])
    assert plane.calibration.unit == "micron"
    assert plane.calibration.pixel_size_um == pytest.approx(0.65)


@pytest.mark.parametrize("axes", ["ZYX", "TYX"])
@pytest.mark.parametrize("ome", [False, True])
def test_stacks_are_refused_where_nobody_chose(image_file: ImageFile, axes: str, ome: bool) -> None:
    how = {"ome": True} if ome else {"imagej": True}
    path = image_file("s.ome.tif" if ome else "s.tif", np.stack([NOISE] * 4), metadata={"axes": axes}, **how)
    assert refusal(path) == (
        f"{path}: a z stack of 4 slices (expected 1). Say what to do with it: --z max, mean, sum or min, or --z with the number of a slice."
        if axes == "ZYX"
        else f"{path}: a stack of 4 frames (expected 1). Give its folder to run or convert, which take each as a field."
    )


def test_pages_that_do_not_say_what_they_are(image_file: ImageFile) -> None:
    path = image_file(pixels=np.stack([NOISE] * 3), metadata=None, photometric="minisblack")
    assert refusal(path) == (
        f"{path}: a stack of 3 pages that does not say what they are (got 3 pages, expected 1). "
        "Save it from Fiji as a hyperstack with channels, or one plane for each file."
    )


# ---------------------------------------------------------------- damage: never zeros in silence


def strips(path: Path) -> tuple[list[int], list[int]]:
    with tifffile.TiffFile(path) as tif:
        return list(tif.pages[0].dataoffsets), list(tif.pages[0].databytecounts)


def overwrite_count(path: Path, index: int, value: int) -> None:
    with tifffile.TiffFile(path, mode="r+") as tif:
        tag = tif.pages[0].tags["StripByteCounts"]
        counts = list(tag.value)
        counts[index] = value
        tag.overwrite(counts)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_cut_file(image_file: ImageFile, compression: str | None) -> None:
    path = image_file(pixels=NOISE, compression=compression, rowsperstrip=50)
    content = path.read_bytes()
    # tifffile writes the directory first, so the file still opens.
    path.write_bytes(content[: len(content) // 2])
    text = refusal(path)
    assert text.startswith(f"{path}: damaged TIFF (strip ")
    assert text.endswith(": the file was cut). Export or copy the image again.")


def test_strip_of_byte_count_0(image_file: ImageFile) -> None:
    path = image_file(pixels=NOISE, compression="zlib", rowsperstrip=50)
    overwrite_count(path, 3, 0)
    assert refusal(path) == f"{path}: damaged TIFF (strip 4 of 10 is empty). Export or copy the image again."


def test_corrupt_strip(image_file: ImageFile) -> None:
    path = image_file(pixels=NOISE, compression="zlib", rowsperstrip=50)
    offsets, counts = strips(path)
    content = bytearray(path.read_bytes())
    content[offsets[4] + 20 : offsets[4] + counts[4] - 4] = bytes(counts[4] - 24)
    path.write_bytes(content)
    text = refusal(path)
    assert text.startswith(f"{path}: damaged TIFF (")
    assert text.endswith("). Export or copy the image again.")


def test_strip_that_inflates_to_too_little(image_file: ImageFile) -> None:
    path = image_file(pixels=NOISE, compression="zlib", rowsperstrip=50)
    offsets, counts = strips(path)
    short = zlib.compress(NOISE[:1].tobytes())
    assert len(short) < counts[2]
    content = bytearray(path.read_bytes())
    content[offsets[2] : offsets[2] + len(short)] = short
    path.write_bytes(content)
    overwrite_count(path, 2, len(short))
    assert refusal(path).startswith(f"{path}: damaged TIFF (")


@pytest.mark.parametrize(
    ("name", "own", "of"),
    [
        ("outside.tif", "", "urn:uuid:1"), ("../outside.tif", "", "urn:uuid:1"), ("gone.ome.tif", ' UUID="urn:uuid:2"', "urn:uuid:1"),
        ("before.ome.tif", "", "urn:uuid:1"), ("outside.tif", ' UUID="urn:uuid:1"', "urn:uuid:1"),
    ],
)  # fmt: skip
def test_ome_header_that_names_another_file(image_file: ImageFile, name: str, own: str, of: str) -> None:
    image_file("outside.tif", NOISE + 9)
    header = (
        f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{own}><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYCZT" Type="uint16" SizeX="500" SizeY="500" SizeC="1" SizeZ="1" SizeT="1"><Channel ID="Channel:0:0"/>'
        f'<TiffData IFD="0"><UUID FileName="{name}">{of}</UUID></TiffData></Pixels></Image></OME>'
    )
    path = image_file("field.ome.tif", NOISE, description=header, metadata=None)
    if name == "before.ome.tif" or own.endswith('1"'):  # renamed: all of it is here
        np.testing.assert_array_equal(read_plane(path).pixels, NOISE)
        return
    if name == "outside.tif":  # beside it, and not what the header means
        assert (
            refusal(path)
            == f"{path}: outside.tif beside it is not the file that its OME header means (got no UUID, expected urn:uuid:1). Copy that file there."
        )
        return
    assert refusal(path) == (
        f"{path}: its OME header refers to another file (got {Path(name).name}, expected it in the same folder). "
        "Copy it there, or export the field as one OME-TIFF that holds all of its channels."
    )


def test_ome_header_that_promises_more_than_there_is(image_file: ImageFile) -> None:
    header = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYCZT" Type="uint16" SizeX="500" SizeY="500" SizeC="3" SizeZ="1" SizeT="1"/></Image></OME>'
    )
    path = image_file("field.ome.tif", NOISE, description=header, metadata=None)
    assert (
        refusal(path)
        == f"{path}: damaged TIFF (its OME header promises 3 planes, the file holds 1). Export or copy the image again."
    )


def test_document_type_in_ome_header(image_file: ImageFile) -> None:
    header = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><OME>&b;</OME>'
    path = image_file("field.ome.tif", NOISE, description=header, metadata=None)
    assert refusal(path) == f"{path}: its OME header declares a document type (expected none). Export the image again."


def test_not_an_image_at_all(tmp_path: Path) -> None:
    for name, text in (("a.tif", "damaged TIFF ("), ("a.png", "damaged or not an image (")):
        path = tmp_path / name
        path.write_bytes(b"no image")
        assert refusal(path).startswith(f"{path}: {text}")


def test_too_many_pixels_are_refused_before_memory_is_taken(
    image_file: ImageFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image_file(pixels=np.ones((4, 5), np.uint8))
    monkeypatch.setattr("bridge.images.image.MAX_PIXELS", 19)
    assert refusal(path) == f"{path}: too large (got 4 x 5 px, expected at most 19 px in all). Crop it."


# ---------------------------------------------------------------- calibration


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("um", "micron"), ("micron", "micron"), ("nm", "nm"), ("mm", "mm")],
)
def test_unit_of_an_imagej_tiff(image_file: ImageFile, unit: str, expected: str) -> None:
    path = image_file(pixels=NOISE, imagej=True, resolution=(4.0, 2.0), metadata={"axes": "YX", "unit": unit})
    assert inspect(path).calibration == Calibration(0.25, 0.5, expected)


def test_inch_is_a_printers_unit(image_file: ImageFile) -> None:
    info = inspect(image_file(pixels=NOISE, resolution=(300, 300), resolutionunit="INCH", metadata=None))
    assert info.calibration == PIXELS
    assert info.warnings == ("its resolution is in inch, a printer's unit (300 dpi): taken as not calibrated",)


def test_no_unit_means_pixels(image_file: ImageFile) -> None:
    assert inspect(image_file(pixels=NOISE)).calibration == PIXELS


@pytest.mark.parametrize(("top", "level"), [(1023, 1023.0), (4095, 4095.0), (4080, 4080.0), (65535, 65535.0)])
def test_saturation_level(top: int, level: float) -> None:
    pixels = np.minimum(NOISE, 240).astype(np.uint16)
    pixels[:3, :50] = top
    assert saturation_level(pixels) == level


def test_brightest_pixel_alone_is_not_saturated() -> None:
    pixels = NOISE.copy()
    pixels[0, 0] = 5000
    assert saturation_level(pixels) is None


# ---------------------------------------------------------------- kinds of file that would become other numbers


def test_16_bit_png_with_colour(tmp_path: Path) -> None:
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    rows = b"".join(b"\0" + np.tile(np.array([0, 1000, 0], ">u2"), 4).tobytes() for _ in range(4))
    path = tmp_path / "rgb16.png"
    header = (4).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0])
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    assert refusal(path) == (
        f"{path}: a 16-bit PNG with colour or transparency (its reader keeps 8 bit only). Save it as a 16-bit grey TIFF."
    )


def test_inverted_grey_scale(image_file: ImageFile) -> None:
    path = image_file(pixels=NOISE, photometric="miniswhite")
    assert refusal(path) == (
        f"{path}: an inverted grey scale (white is 0; expected black). Save it from Fiji after Image > Lookup Tables > Invert LUT."
    )


def test_planes_hidden_behind_one_page(image_file: ImageFile) -> None:
    path = image_file(pixels=np.stack([NOISE] * 5), photometric="minisblack", truncate=True)
    assert refusal(path).startswith(f"{path}: a z stack of 5 slices (expected 1).")


def test_jpeg_inside_a_tiff(image_file: ImageFile) -> None:
    path = image_file(pixels=(NOISE % 256).astype(np.uint8), compression="jpeg")
    assert (
        refusal(path)
        == f"{path}: JPEG changes grey values (got JPEG, expected TIFF or PNG). Export the original as TIFF."
    )
    assert read_plane(path, measured=False).pixels.shape == NOISE.shape


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ('<TiffData IFD="1" PlaneCount="2"/>', 3),
        ('<TiffData FirstC="1"/><TiffData FirstC="0" IFD="2"/>', 1),
        ("<TiffData/>", 2),
        ("", 2),
    ],
)
def test_pages_of_an_ome_tiff(image_file: ImageFile, data: str, value: int) -> None:
    header = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYCZT" Type="uint8" SizeX="8" SizeY="8" SizeC="2" SizeZ="1" SizeT="1" PhysicalSizeX="0.5" PhysicalSizeXUnit="\u03bcm">'
        f'<Channel ID="Channel:0:0" Name="Phase"/><Channel ID="Channel:0:1" Name="EdU"/>{data}</Pixels></Image></OME>'
    )
    pages = np.stack([np.full((8, 8), v, np.uint8) for v in (1, 2, 3)])
    path = image_file("a.ome.tif", pages, description=header.encode(), metadata=None, photometric="minisblack")
    assert read_plane(ChannelFile(path, "EdU")).pixels[0, 0] == value
    assert inspect(path).calibration == Calibration(0.5, 0.5, "micron")


def test_a_file_that_was_exchanged_is_read_anew(image_file: ImageFile) -> None:
    assert inspect(image_file(pixels=NOISE)).dtype == "uint16"
    assert inspect(image_file(pixels=NOISE.astype(np.float32))).dtype == "float32"


def test_dim_images_are_not_saturated() -> None:
    rng = np.random.default_rng(0)
    assert saturation_level(rng.poisson(12, (300, 300)).astype(np.uint8)) is None
    assert saturation_level(np.minimum(rng.poisson(12, (60, 60)), 30).astype(np.uint16)) is None


def ome_file(path: Path, **pixels: object) -> Path:
    """An OME-TIFF whose header says this of its pixels; None leaves an attribute out."""
    tifffile.imwrite(path, np.ones((4, 5), np.uint16), ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})  # fmt: skip
    with tifffile.TiffFile(path) as tif:
        header = tif.pages.first.description
    for name, value in pixels.items():
        header = re.sub(f' {name}="[^"]*"', "", header)
        if value is not None:
            header = header.replace("<Pixels ", f'<Pixels {name}="{value}" ', 1)
    tifffile.tiffcomment(path, header.encode())
    return path


@pytest.mark.parametrize(
    ("said", "width", "height"),
    [
        ({"PhysicalSizeY": "500", "PhysicalSizeYUnit": "nm"}, 0.5, 0.5),
        ({"PhysicalSizeX": "0.0005", "PhysicalSizeXUnit": "mm", "PhysicalSizeY": "0.25"}, 0.5, 0.25),
        ({"PhysicalSizeX": "0,5"}, 0.5, 0.5),
        ({"PhysicalSizeX": "5e-7", "PhysicalSizeXUnit": "m", "PhysicalSizeY": None}, 0.5, 0.5),
        ({"PhysicalSizeXUnit": "\u03bcm", "PhysicalSizeYUnit": "micrometers"}, 0.5, 0.5),
    ],
)
def test_units_of_an_ome_header(tmp_path: Path, said: dict[str, object], width: float, height: float) -> None:
    found = inspect(ome_file(tmp_path / "a.ome.tif", **said))
    assert (found.calibration.unit, found.warnings) == ("micron", ())
    np.testing.assert_allclose((found.calibration.width, found.calibration.height), (width, height), rtol=1e-12)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"PhysicalSizeX": "0"}, "0 µm"), ({"PhysicalSizeX": "-1"}, "-1 µm"), ({"PhysicalSizeY": "INF"}, "INF µm"), ({"PhysicalSizeX": "NaN"}, "NaN µm"),
        ({"PhysicalSizeX": "a lot"}, "a lot µm"), ({"PhysicalSizeXUnit": "pixel"}, "0.5 pixel"),
    ],
)  # fmt: skip
def test_pixel_sizes_that_cannot_be(tmp_path: Path, said: dict[str, object], text: str) -> None:
    found = inspect(ome_file(tmp_path / "a.ome.tif", **said))
    assert found.calibration == PIXELS
    assert found.warnings == (f"its OME header gives no usable pixel size (got {text}): taken as not calibrated",)


def test_marked_thumbnails_are_no_planes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels[::4, ::4], subfiletype=1, metadata=None)
        tif.write(pixels, metadata=None)
        tif.write(pixels[::2, ::2], subfiletype=1, metadata=None)
    np.testing.assert_array_equal(read_plane(path).pixels, pixels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits_is_not_measured(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "a.png"
    Image.fromarray((np.arange(64, dtype=np.uint8) % 2**bits).reshape(8, 8)).save(path, bits=bits) if bits > 1 else Image.fromarray(np.eye(8, dtype=bool)).save(path)  # fmt: skip
    if path.read_bytes()[24] != bits:
        path.write_bytes(_png_of(bits))
    if bits == 1:
        assert set(np.unique(read_plane(path).pixels)) == {0, 255}  # as ImageJ opens it
        return
    assert refusal(path) == (
        f"{path}: a PNG of {bits} bits a pixel (expected 8 or 16). Its grey levels are scaled by whoever opens it; save it as TIFF."
    )
    assert read_plane(path, measured=False).pixels.shape == (8, 8)


def _png_of(bits: int) -> bytes:
    """A grey PNG of 8 x 8 px with so many bits a pixel, which Pillow reads and does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\x00" + bytes([0b00011011] * bits) for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_an_inverted_grey_scale_still_has_a_size(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, NOISE, photometric="miniswhite")
    assert inspect(path).height == NOISE.shape[0]
    cells = np.zeros(NOISE.shape, np.uint16)
    cells[5:20, 5:20] = 3
    (tmp_path / "a_RoiSet.zip").write_bytes(encode_roiset(cells))
    mask = rasterize(tmp_path / "a_RoiSet.zip", path, tmp_path / "out")
    np.testing.assert_array_equal(tifffile.imread(mask), cells)


def test_a_chain_of_pages_that_bites_its_tail(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, NOISE, metadata=None)
    with tifffile.TiffFile(path) as tif:
        first, n_tags = tif.pages.first.offset, len(tif.pages.first.tags)
    content = bytearray(path.read_bytes())
    content[first + 2 + 12 * n_tags : first + 6 + 12 * n_tags] = struct.pack("<I", first)
    path.write_bytes(bytes(content))
    for read in (read_plane, read_labels):
        with pytest.raises(InputError, match=r"a\.tif: damaged TIFF \("):
            read(path)
