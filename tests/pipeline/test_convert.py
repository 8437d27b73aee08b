"""Files of microscopes as other programs read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from images.made import MAKERS, make_czi, make_lif, make_ome_tiff, make_zarr
from PIL import Image

import bridge
from bridge.errors import InputError, OutputError
from bridge.images.reader import inspect, read_plane
from bridge.images.write_ome import write_ome_zarr
from bridge.source import ChannelFile

RNG = np.random.default_rng(5)
CHANNELS = ["DAPI", "GFP"]


def pixels(s: int = 1, t: int = 1, c: int = 2, z: int = 1) -> np.ndarray:
    return RNG.integers(1, 60000, (s, t, c, z, 40, 56)).astype(np.uint16)


@pytest.mark.parametrize("suffix", MAKERS)
@pytest.mark.parametrize("form", ["tiff", "ome-tiff", "ome-zarr"])
def test_pixels_and_scale_stay(tmp_path: Path, suffix: str, form: str) -> None:
    made = pixels(2)
    path = MAKERS[suffix](tmp_path / f"plate{suffix}", made, CHANNELS)
    found = bridge.convert(path, tmp_path / "out", form)  # type: ignore[arg-type]
    assert not found.failures
    assert len(found.files) == (4 if form == "tiff" else 2)
    for k, file in enumerate(found.files):
        for c in range(2) if form != "tiff" else [k % 2]:
            plane = read_plane(ChannelFile(file, str(c + 1) if form != "tiff" else None))
            np.testing.assert_array_equal(plane.pixels, made[k if form != "tiff" else k // 2, 0, c, 0])
            assert plane.calibration.pixel_size_um == pytest.approx(0.65, rel=1e-9)


def test_names(tmp_path: Path) -> None:
    make_ome_tiff(tmp_path / "in" / "a" / "movie.ome.tif", pixels(2, 3), CHANNELS) if (tmp_path / "in" / "a").mkdir(parents=True) is None else None  # fmt: skip
    make_czi(tmp_path / "in" / "one.czi", pixels(), CHANNELS)
    found = bridge.convert(tmp_path / "in", tmp_path / "out", channels=["GFP"])
    assert [p.relative_to(tmp_path / "out").as_posix() for p in found.files] == [
        *(f"a/movie_pos{s}_t{t}_GFP.tif" for s in (1, 2) for t in (1, 2, 3)), "one_GFP.tif",
    ]  # fmt: skip
    again = bridge.convert(tmp_path / "in" / "one.czi", tmp_path / "other", name="{channel}/{file}")
    assert [p.relative_to(tmp_path / "other").as_posix() for p in again.files] == ["DAPI/one.tif", "GFP/one.tif"]
    with pytest.raises(OutputError, match="is there already"):
        bridge.convert(tmp_path / "in" / "one.czi", tmp_path / "other", name="{channel}/{file}")
    with pytest.raises(
        OutputError, match=r"two images would be written to it .got one.czi and one.czi.. Put what differs into --name"
    ):
        bridge.convert(tmp_path / "in" / "one.czi", tmp_path / "third", name="{file}")


def test_imagej_opens_the_tiff_with_its_scale(tmp_path: Path) -> None:
    path = make_lif(tmp_path / "a.lif", pixels(), CHANNELS, um=0.65)
    (file, _) = bridge.convert(path, tmp_path / "out").files
    with tifffile.TiffFile(file) as tif:
        assert tif.imagej_metadata is not None
        assert tif.imagej_metadata["unit"] in ("micron", "um")
        assert 1 / (tif.pages[0].tags["XResolution"].value[0] / tif.pages[0].tags["XResolution"].value[1]) == pytest.approx(0.65)  # type: ignore[union-attr]  # fmt: skip


def test_projections(tmp_path: Path) -> None:
    made = pixels(z=3)
    path = make_zarr(tmp_path / "a.zarr", made, CHANNELS)
    (file,) = bridge.convert(path, tmp_path / "out", channels=["GFP"], z="max").files
    np.testing.assert_array_equal(read_plane(file).pixels, made[0, 0, 1].max(0))
    found = bridge.convert(path, tmp_path / "none")
    assert [message for _, message in found.failures] == [
        f"{path}: a z stack of 3 slices (expected 1). Say what to do with it: --z max, mean, sum or min, or --z with the number of a slice."
    ]


def test_colour_png(tmp_path: Path) -> None:
    path = make_czi(tmp_path / "a.czi", pixels(), CHANNELS)
    (file,) = bridge.convert(path, tmp_path / "out", "png", colours={"dapi": "blue", "2": "green"}).files
    picture = np.asarray(Image.open(file))
    assert picture.shape == (40, 56, 3)
    assert not picture[..., 0].any()
    assert picture[..., 1].max() == picture[..., 2].max() == 255
    for colours, said in (
        ({"DAPI": "mauve"}, "--colours: no colour mauve (expected red, green, blue, cyan, magenta, yellow, grey). Correct it."),
        ({}, "--as png: channels in colours (expected e.g. --colours DAPI=blue GFP=green). Give both or none."),
    ):  # fmt: skip
        with pytest.raises(InputError) as refused:
            bridge.convert(path, tmp_path / "out2", "png", colours=colours)
        assert str(refused.value) == said


def test_one_bad_file_leaves_the_others(tmp_path: Path) -> None:
    make_czi(tmp_path / "good.czi", pixels(), CHANNELS)
    (tmp_path / "bad.czi").write_bytes((tmp_path / "good.czi").read_bytes()[:9000])
    found = bridge.convert(tmp_path, tmp_path / "out")
    assert [p.name for p in found.files] == ["good_DAPI.tif", "good_GFP.tif"]
    assert [path.name for path, _ in found.failures] == ["bad.czi"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_with_labels(tmp_path: Path, version: str) -> None:
    """Read by another library's Zarr, its header by the models of yaozarrs."""
    import tensorstore
    import yaozarrs

    image = RNG.integers(1, 60000, (700, 601)).astype(np.uint16)
    labels = np.zeros((700, 601), np.uint32)
    labels[10:300, 20:200], labels[400:600, 300:590] = 7, 70_000
    path = tmp_path / "f.zarr"
    write_ome_zarr(path, [image], ["EdU"], inspect(_tiff(tmp_path)).calibration, {"cells": labels}, version)  # type: ignore[arg-type]
    yaozarrs.validate_zarr_store(str(path))
    driver = "zarr3" if version == "0.5" else "zarr"
    for inside, expected in (("0", image[None]), ("labels/cells/0", labels)):
        array = tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": str(path / inside)}}).result()
        np.testing.assert_array_equal(array.read().result(), expected)
    small = tensorstore.open(
        {"driver": driver, "kvstore": {"driver": "file", "path": str(path / "labels/cells/1")}}
    ).result()
    assert set(np.unique(small.read().result()).tolist()) == {0, 7, 70_000}
    assert inspect(path).calibration.pixel_size_um == pytest.approx(0.5)


def _tiff(folder: Path) -> Path:
    path = folder / "scale.tif"
    tifffile.imwrite(path, np.ones((4, 4), np.uint16), imagej=True, resolution=(2.0, 2.0), metadata={"unit": "um"})
    return path


def test_channels_of_files_with_one(tmp_path: Path) -> None:
    """By the name inside the file, or by the word in the file's own; what is not there is never another channel."""
    make_czi(tmp_path / "in" / "a.czi", pixels(c=1), ["DAPI"]) if (tmp_path / "in").mkdir() is None else None
    for word in ("phase", "EdU"):
        tifffile.imwrite(tmp_path / "in" / f"f1_{word}.tif", np.ones((40, 56), np.uint16))
    found = bridge.convert(tmp_path / "in", tmp_path / "out", channels=["EdU"])
    assert [p.name for p in found.files] == ["f1_EdU.tif"]
    assert dict(found.ignored)[tmp_path / "in" / "f1_phase.tif"] == "no channel of it was asked for"
    with pytest.raises(InputError) as refused:
        bridge.convert(tmp_path / "in", tmp_path / "none", channels=["GPF"])
    assert (
        str(refused.value)
        == f"{tmp_path / 'in'}: no image has a channel GPF (got DAPI, EdU, phase). Correct --channels."
    )
    (_, said), *_ = bridge.convert(
        tmp_path / "in" / "a.czi", tmp_path / "png", "png", colours={"DAPI": "blue", "GFP": "green"}
    ).failures
    assert said == f"{tmp_path / 'in' / 'a.czi'}: has no channel GFP (got DAPI). Correct --colours."


@pytest.mark.parametrize("name", ["a}", "{file", "{scene}", "", "{x}"])
def test_odd_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    path = make_czi(tmp_path / "one.czi", pixels(c=1), ["DAPI"])
    try:
        found = bridge.convert(path, tmp_path / "out", name=name)
    except InputError as refused:
        assert str(refused).startswith("--name: ")  # noqa: PT017
        assert name in ("a}", "{file", "{x}")
    else:
        assert [p.relative_to(tmp_path).as_posix() for p in found.files] == ["out/one.tif"]


def test_names_that_become_one(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a__b", "a_b", "c"):
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", np.ones((40, 56), np.uint16))
    with pytest.raises(OutputError, match=r"two images would be written to it \(got a__b.tif and a_b.tif\)"):
        bridge.convert(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
