"""Every reader on damaged and made-up files: a sentence of ours or a result, never anything else."""

from __future__ import annotations

import io
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small import hand_drawn, zipped

import bridge
from bridge.errors import BridgeError
from bridge.experiment.sample_sheet import read_sheet
from bridge.images.label_images import read_labels
from bridge.images.objects import read_objects
from bridge.images.reader import read_plane
from bridge.rois.draw import selections_to_labels
from bridge.rois.roiset import decode_roiset, encode_roiset
from bridge.settings_file import read_settings_file
from bridge.synthetic import synthetic_field

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
FIELD = synthetic_field(seed=9, size_px=64, n_cells=3)
pytestmark = pytest.mark.slow


def tiff(pixels: np.ndarray = FIELD.edu, **options: Any) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, pixels, **options)
    return content.getvalue()


def png(mode: str) -> bytes:
    content = io.BytesIO()
    image = Image.fromarray(FIELD.cells.astype(np.uint8))
    (image.convert(mode) if mode != "P" else Image.fromarray(FIELD.cells.astype(np.uint8), mode="P")).save(
        content, "PNG"
    )
    return content.getvalue()


def npy() -> bytes:
    content = io.BytesIO()
    what = {
        "masks": FIELD.cells,
        "outlines": np.zeros(3),
        "flows": [FIELD.edu, None],
        "filename": "a",
        "diameter": 30.0,
    }
    np.save(content, np.array(what, dtype=object), allow_pickle=True)
    return content.getvalue()


COCO = {
    "images": [{"id": 1, "file_name": "a.tif", "height": 4, "width": 5}], "categories": [{"id": 1, "name": "cell"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"size": [4, 5], "counts": [4, 3, 13]}}, {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 3, 0, 3, 3]]}],
}  # fmt: skip


def rois(content: bytes) -> None:
    found = decode_roiset(content, (120, 140), "a.zip")
    selections_to_labels(found, "a.zip")


READERS: dict[str, tuple[str, list[bytes], Callable[[Path], object]]] = {
    "roiset": (".zip", [encode_roiset(FIELD.cells), *(zipped(r) for r in hand_drawn(3, 2, (120, 140)))], lambda p: rois(p.read_bytes())),
    "roi": (".roi", [next(iter(r.values())) for r in hand_drawn(4, 1, (120, 140))], lambda p: rois(p.read_bytes())),
    "tiff": (".tif", [tiff(), tiff(imagej=True, metadata={"unit": "um", "cf": 0, "c0": 1, "c1": 2, "vunit": "x"}), tiff(ome=True), tiff(compression="zlib", tile=(16, 16))], lambda p: read_plane(p)),
    "png": (".png", [png("L"), png("RGB"), png("1")], lambda p: (read_objects(p, binary=True), read_plane(p, measured=False))),
    "labels": (".tif", [tiff(FIELD.cells), tiff(FIELD.cells, imagej=True)], lambda p: read_labels(p, foreign=True)),
    "palette": (".png", [png("P")], lambda p: read_labels(p)),
    "npy": ("_seg.npy", [npy()], lambda p: read_labels(p)),
    "coco": (".json", [json.dumps(COCO).encode()], lambda p: bridge.import_coco(p, Path(tempfile.mkdtemp()) / "o")),
    "sheet": (".csv", [b"well,condition,replicate\nA01,DMSO,1\nB02,Drug,2\n", "folder;condition\nä;5 µM\n".encode("utf-16")], read_sheet),
    "settings": (".toml", [b'model = "demo"\nrolling-ball = 50\nmeasure = ["EdU", "pH3"]\n'], read_settings_file),
    "record": (".json", [json.dumps({"settings": {"model": "demo", "measure": ["EdU"], "rolling_ball": 50.0}}).encode()], read_settings_file),
}  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["flip", "set", "cut", "insert", "repeat", "number"]))
        at = draw(st.integers(0, max(0, len(content) - 1)))
        if not content:
            break
        if kind == "flip":
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            content[at] = draw(st.sampled_from([0, 1, 127, 128, 255]))
        elif kind == "cut":
            del content[at : at + draw(st.integers(1, 64))]
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "repeat":
            content[at:at] = content[at : at + draw(st.integers(1, 64))]
        else:
            number = draw(st.sampled_from([0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
            content[at : at + 4] = number.to_bytes(4, draw(st.sampled_from(["big", "little"])))
    return bytes(content)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    suffix, originals, reader = READERS[name]
    path = tmp_path_factory.mktemp(name) / f"a{suffix}"
    for content in originals:
        path.write_bytes(content)
        reader(path)  # as they are, all can be read

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(damaged(originals))
    def read(content: bytes) -> None:
        path.unlink()
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                reader(path)
            except BridgeError:
                return

    read()
