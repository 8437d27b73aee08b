"""Stacks as ImageJ itself has them: projections to the last bit, frames and channels by ImageJ that opens the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from java import in_java

from bridge.images.label_images import write_labels
from bridge.images.reader import read_plane
from bridge.pipeline.run import run
from bridge.source import ChannelFile
from bridge.synthetic import synthetic_field

RNG = np.random.default_rng(9)


@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_projections_are_imagejs(tmp_path: Path, dtype: str, n: int) -> None:
    made = RNG.integers(0, 250 if dtype == "uint8" else 65000, (2, n, 2, 30, 40))  # T, Z, C
    stack = (made * 1.37).astype(dtype) if dtype == "float32" else made.astype(dtype)
    path = tmp_path / "z.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TZCYX"})
    files = in_java(
        """
answer = []
Z = J("ij.plugin.ZProjector")
for k, name in enumerate(("AVG_METHOD", "MAX_METHOD", "MIN_METHOD", "SUM_METHOD")):
    projector = Z(J("ij.IJ").openImage(given["path"]))
    projector.setMethod(getattr(Z, name))
    projector.setStartSlice(1)
    projector.setStopSlice(given["n"])
    projector.doHyperStackProjection(True)
    file = f"{given['path']}.{name}.tif"
    assert J("ij.io.FileSaver")(projector.getProjection()).saveAsTiffStack(file)
    answer.append(file)
""",
        {"path": str(path), "n": n},
    )
    for how, file in zip(("mean", "max", "min", "sum"), files, strict=True):
        theirs = tifffile.imread(file).reshape(2, 2, 30, 40)
        for t, c in np.ndindex(2, 2):
            ours = read_plane(ChannelFile(path, str(c + 1), None, t, how)).pixels
            np.testing.assert_array_equal(ours, theirs[t, c], how)
            assert ours.dtype == theirs.dtype


def test_frames_of_a_hyperstack_are_witnessed(tmp_path: Path) -> None:
    """ImageJ opens the stack itself and finds each plane; the Results' labels name the slice as ImageJ does."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    (images / "DMSO").mkdir(parents=True)
    fields = [synthetic_field(seed=k, size_px=120, n_cells=5) for k in (1, 2)]
    stack = np.stack([np.stack([f.phase, f.edu]) for f in fields])
    tifffile.imwrite(
        images / "DMSO" / "movie.tif",
        stack,
        imagej=True,
        metadata={"axes": "TCYX", "Labels": ["phase", "EdU", "phase2", "EdU2"]},
    )
    for k, field in enumerate(fields, 1):
        write_labels(masks / f"DMSO_movie_t{k}_mask.tif", field.cells)
    report = run(images, tmp_path / "out", masks=masks, segment="1", measure=["2"], count="none", edu_threshold=["300"])
    assert not report.failures
    assert not [w for w in report.warnings if "witness" in w or "does not open" in w]
    for k, name in ((1, "EdU"), (2, "EdU2")):
        table = pd.read_csv(tmp_path / "out" / "measurements" / "DMSO" / f"DMSO_movie_t{k}_2_Results.csv")
        assert table["Label"][0] == f"movie.tif:00001:{name}"
