"""Images and their ground truth, by the names that people and programs give them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from bridge.errors import LabelError
from bridge.evaluation.pairs import find_pairs, read_pair
from bridge.images.label_images import write_labels
from bridge.synthetic import synthetic_field


def test_names_and_twins_as_cellpose_writes_them(tmp_path: Path) -> None:
    labels = synthetic_field(seed=3, size_px=64, n_cells=3).cells
    image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    for name in ("000_img.tif", "001.tif", "001_flows.tif"):
        tifffile.imwrite(tmp_path / name, image)
    Image.fromarray(image.astype(np.uint8)).save(tmp_path / "001_cp_output.png")
    write_labels(tmp_path / "000_masks.tif", labels)
    write_labels(tmp_path / "001_cp_masks.tif", labels)
    np.save(tmp_path / "001_seg.npy", np.array({"masks": labels}, dtype=object), allow_pickle=True)
    found = find_pairs(tmp_path)
    assert [(pair.name, pair.image.name, pair.labels.name) for pair in found.pairs] == [
        ("000", "000_img.tif", "000_masks.tif"), ("001", "001.tif", "001_cp_masks.tif")
    ]  # fmt: skip
    assert found.warnings == ()
    np.testing.assert_array_equal(read_pair(found.pairs[1])[1], labels)
    other = labels.copy()
    other[0, 0] = 99
    np.save(tmp_path / "001_seg.npy", np.array({"masks": other}, dtype=object), allow_pickle=True)
    with pytest.raises(LabelError) as refused:
        read_pair(found.pairs[1])
    assert str(refused.value) == (
        f"{tmp_path / '001_cp_masks.tif'}: not the label image that 001_seg.npy holds (expected the same cells in both). Remove the older one of the two."
    )
