"""What the tests share: a running ImageJ, the demo network, a small experiment on disk, and the data beside the checkout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import settings as hypothesis_settings
from small import CELL_COLUMNS, make_experiment

from bridge.imagej.fiji import FijiEngine
from bridge.segmentation.segmenter import Segmenter
from bridge.tables import COUNTS

hypothesis_settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
hypothesis_settings.load_profile("ci")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


# Whole files that drive ImageJ's window, train networks or run on real images; single slow tests are marked where they are.
SLOW_FILES = {
    "test_demo.py", "test_imagej_window.py", "test_macros.py", "test_reference.py", "test_size_and_colour.py",
    "test_training.py", "test_tuning.py",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in SLOW_FILES:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images that lie beside the checkout, not in it."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real images (../shared/data) is not on this machine")
    return SHARED


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fiji", default=os.environ.get("FIJI_HOME"), help="folder of a Fiji to test with")


@pytest.fixture(scope="session")
def fiji_folder(request: pytest.FixtureRequest) -> Path:
    """A Fiji of the user's."""
    named = request.config.getoption("--fiji")
    if not named:
        pytest.skip("no Fiji was named (pytest --fiji PATH, or FIJI_HOME)")
    return Path(named)


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
    return make_experiment(tmp_path / "images")


@pytest.fixture
def cells() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for condition, mean in (("DMSO", 300.0), ("=Drug & <b>", 100.0)):
        for replicate in ("1", "2", "3"):
            for label in range(1, 31):
                rows.append(
                    (
                        f"{condition[:1]}{replicate}",
                        condition,
                        replicate,
                        "",
                        label,
                        500 + label,
                        np.nan,
                        1.5,
                        2.5,
                        False,
                        rng.gamma(4, mean / 4),
                        400.0,
                        0.0,
                    )
                )
    return pd.DataFrame(rows, columns=[c.name for c in CELL_COLUMNS]).astype({c.name: c.dtype for c in CELL_COLUMNS})


@pytest.fixture
def counts(cells: pd.DataFrame) -> pd.DataFrame:
    table = (
        cells.groupby(["field_id", "condition", "replicate", "sample"], sort=False).size().reset_index(name="n_cells")
    )
    table["n_nuclei"] = table["n_cells"] + 2
    return table.reindex(columns=[c.name for c in COUNTS]).astype({c.name: c.dtype for c in COUNTS})
