"""Two undisturbed runs that the tests only read."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import DEMO, given, make_experiment

from bridge.pipeline.run import Report, run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Report]:
    """One undisturbed run that the tests only read."""
    folder = tmp_path_factory.mktemp("finished")
    images = make_experiment(folder / "images")
    report = run(images, folder / "results", **DEMO)
    return images, folder / "results", report


@pytest.fixture(scope="session")
def finished_with_masks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("with_masks")
    images = make_experiment(folder / "images")
    run(images, folder / "results", **given(images))
    return images, folder / "results"
