"""A first look: one field, several models and diameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import make_experiment

import bridge
from bridge.errors import InputError, ModelError


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_experiment(tmp_path_factory.mktemp("look") / "images")


def test_panels_of_diameters_and_thresholds(images: Path, tmp_path: Path) -> None:
    said: list[str] = []
    found = bridge.preview(
        images,
        tmp_path / "look.png",
        "Drug_day1_f1",
        [20, "own", "auto"],
        cellprob_thresholds=[0, 3],
        model="demo",
        say=said.append,
    )
    assert found.field_id == "Drug_day1_f1"
    assert found.table["asked"].tolist() == ["20", "20", "own", "own", "auto", "auto"]
    assert found.table["n_cells"].between(3, 12).all()
    of = found.table.pivot_table(index="asked", columns="cellprob_threshold", values="median_diameter_px")
    assert (of[3.0] < of[0.0]).all()  # a higher threshold, smaller cells: the second from the same look of the network
    assert len(said) == 6
    picture = np.asarray(Image.open(found.picture))
    assert picture.shape[1] > 3 * 560
    assert (picture == (255, 214, 0)).all(-1).sum() > 5000
    run = bridge.run(
        images,
        tmp_path / "out",
        model="demo",
        diameter=20,
        count="none",
        measure="none",
        exclude=["DMSO_day1_f1", "DMSO_day2_f1", "Drug_day2_f1"],
        allow_missing=True,
    )
    assert run.n_cells == found.table["n_cells"][0]


def test_default_panels_and_nuclei(images: Path, tmp_path: Path) -> None:
    found = bridge.preview(images, tmp_path / "n.png", nuclei=True, count_model="demo")
    assert (
        found.table["asked"].tolist() == [str(round(30 * 2 / 3)), "own", str(round(30 * 1.5)), "auto"]
        or len(found.table) == 4
    )
    assert found.field_id == "DMSO_day2_f1"


def test_what_cannot_be_looked_at(images: Path, tmp_path: Path) -> None:
    for how, kind, said in (
        ({"field": "x"}, InputError, "--field x: no such field, or one with a problem (expected one of DMSO_day1_f1, DMSO_day2_f1, Drug_day1_f1, Drug_day2_f1). Look at: cellpose-fiji plan"),
        ({"diameters": ["big"], "model": "demo"}, InputError, "--diameters big: not a diameter (expected px, own, auto or style). Correct it."),
        ({"nuclei": True, "count": "none"}, InputError, f"{images}: no channel with nuclei to look at (expected one). Name it with --count."),
    ):  # fmt: skip
        with pytest.raises(kind) as refused:
            bridge.preview(images, tmp_path / "x.png", **how)
        assert str(refused.value) == said
    with pytest.raises(InputError, match=r"not a PNG"):
        bridge.preview(images, tmp_path / "x.jpg")
    with pytest.raises(ModelError, match="no such model"):
        bridge.preview(images, tmp_path / "x.png", models=["nonsense"])
