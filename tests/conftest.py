"""What the tests share: a running ImageJ, the demo network, a small experiment on disk, and the data beside the checkout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import settings as hypothesis_settings

from bridge.imagej import FijiEngine
from bridge.segmentation import Segmenter
from bridge.synthetic import synthetic_field

hypothesis_settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
hypothesis_settings.load_profile("ci")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images that lie beside the checkout, not in it."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real images (../shared/data) is not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def imagej() -> Iterator[FijiEngine]:
    with FijiEngine() as engine:
        yield engine


@pytest.fixture(scope="session")
def imagej_with_macros() -> Iterator[FijiEngine]:
    with FijiEngine(macros=True) as engine:
        yield engine


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    return Segmenter("demo", device="cpu")


@pytest.fixture(scope="session")
def cyto_0() -> Segmenter:
    return Segmenter("cyto_0", device="cpu")


@pytest.fixture
def image_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a TIFF below tmp_path and return its path."""

    def write(name: str = "edu.tif", pixels: np.ndarray | None = None, **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.full((40, 50), 100, np.uint16) if pixels is None else pixels, **options)
        return path

    return write


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Two conditions, two replicates, small synthetic fields with phase, EdU and TO-PRO-3."""
    folder = tmp_path / "images"
    for i, condition in enumerate(("DMSO", "Drug")):
        for j, replicate in enumerate(("day1", "day2")):
            field = synthetic_field(seed=40 + 2 * i + j, size_px=160, n_cells=8, positive_share=0.5 - 0.4 * i)
            for channel, pixels in (("phase", field.phase), ("EdU", field.edu), ("TO-PRO-3", field.topro)):
                path = folder / condition / replicate / f"f1_{channel}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(
                    path, pixels, imagej=True, resolution=(2.0, 2.0), metadata={"axes": "YX", "unit": "um"}
                )
    return folder


DEMO = {"model": "demo", "diameter": 37.0, "count_model": "demo", "count_diameter": 24.0, "device": "cpu"}


def tree(folder: Path, skip: tuple[str, ...] = ("run.json",)) -> dict[str, bytes]:
    """Every file of a results folder; records hold no times, so whole trees can be compared."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in skip and not path.name.startswith(".")
    }


def env_without(*names: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in names}
