"""What each change of the training brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from small import make_pairs

import bridge
from bridge.cli.main import main
from bridge.errors import InputError
from bridge.tables import read_table
from bridge.training.tables import ABLATION


def test_an_ablation_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_pairs(tmp_path / "pairs", 3, seed=870)
    for path in folder.glob("f?.tif"):
        grey = tifffile.imread(path).astype(float)
        grey = (grey / grey.max() * 255).astype(np.uint8)
        tifffile.imwrite(path, np.stack([0 * grey, grey, grey // 9], axis=-1), photometric="rgb")
    loose = ["--cellprob-threshold", "-99", "--flow-threshold", "0"]  # the demo network knows grey images only
    words = [
        "ablate",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--base",
        "demo",
        "--held-out",
        "f2",
        "--epochs",
        "1",
        "--crops",
        "1",
        "--device",
        "cpu",
        *loose,
    ]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    table = read_table(tmp_path / "out" / "ablation.csv", ABLATION)
    assert table["arm"].tolist() == [
        "base", "+ fine-tuning", "+ channels (adaptive)", "+ diameter (auto)", "instead: diameter fixed at 30 px",
        "instead: flow threshold 0", "instead: merged channels", "instead: 512 px training crops",
    ]  # fmt: skip
    assert (table["n_images"] == 1).all()
    assert table["ap_50_difference"].iloc[1] == table["ap_50"].iloc[1] - table["ap_50"].iloc[0]
    assert table["ap_50_difference"].iloc[5] == table["ap_50"].iloc[5] - table["ap_50"].iloc[3]
    assert "ablation.csv" in capsys.readouterr().out


def test_an_ablation_needs_something_to_judge_by(tmp_path: Path) -> None:
    pairs = make_pairs(tmp_path / "pairs", 3)
    with pytest.raises(InputError) as refused:
        bridge.ablate(pairs, tmp_path / "out")
    assert (
        str(refused.value)
        == f"{pairs}: no image is held out (got 3 images, expected some to judge by). Name some with --held-out."
    )
