"""How effects move under other choices: each choice is what a run with it would have given."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from small import DEMO, given, tree

import bridge
from bridge.cli.main import main
from bridge.errors import InputError, OutputError
from bridge.pipeline.robustness import AS_RUN, _sentence
from bridge.pipeline.run import Report, run


@pytest.fixture(scope="module")
def robust(finished: tuple[Path, Path, Report], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    out = tmp_path_factory.mktemp("robust") / "out"
    shutil.copytree(finished[1], out)
    before = tree(out)
    found = bridge.robustness(out, flow_thresholds=[0.4, 0.1])
    assert found.sentence.startswith("Every condition stays on its side of DMSO in all ")
    after = tree(out)
    assert {name: after[name] for name in before} == before
    new = {"robustness.csv", "figures/robustness.png", "figures/robustness.svg", "records/_experiment/robustness.json"}
    assert after.keys() - before.keys() == new
    bridge.robustness(out, flow_thresholds=[0.4, 0.1])  # again: the same
    assert tree(out) == after
    return out, found.table.set_index(["choice", "value", "condition"])


def difference(table: pd.DataFrame, choice: str, value: str) -> float:
    return float(table.loc[(choice, value, "Drug"), "difference"])


def of_run(out: Path) -> float:
    compared = pd.read_csv(out / "comparisons.csv")
    return float(compared.loc[compared["what"] == "EdU-positive nuclei (%)", "difference"].iloc[0])


def test_as_run_and_as_other_runs(
    robust: tuple[Path, pd.DataFrame], finished: tuple[Path, Path, Report], tmp_path: Path
) -> None:
    out, table = robust
    assert difference(table, AS_RUN, "") == pytest.approx(of_run(out), rel=1e-12)
    # The network says the same again, and masks at the run's own threshold are the run's.
    assert difference(table, "flow threshold", "0.4") == pytest.approx(of_run(out), rel=1e-12)
    run(finished[0], tmp_path / "off", **DEMO, rolling_ball="none", engine="native")
    assert difference(table, "rolling ball", "off") == pytest.approx(of_run(tmp_path / "off"), rel=1e-12)
    run(finished[0], tmp_path / "gate", **{**DEMO, "edu_threshold": ["240"]}, engine="native")
    assert difference(table, "gate", "240") == pytest.approx(of_run(tmp_path / "gate"), rel=1e-12)


def test_other_choices(robust: tuple[Path, pd.DataFrame]) -> None:
    out, table = robust
    assert [*dict.fromkeys(choice for choice, _, _ in table.index)] == [
        AS_RUN, "rolling ball", "gate", "compartment", "border", "smallest", "flow threshold",
    ]  # fmt: skip
    cells = pd.read_csv(out / "cells.csv")
    positive = cells.assign(positive=cells["cell_EdU_Mean"] > 300).groupby(["replicate", "condition"])["positive"]
    share = 100 * positive.mean().unstack()
    assert difference(table, "compartment", "whole cell") == pytest.approx((share["Drug"] - share["DMSO"]).mean())
    nuclei = pd.read_csv(out / "nuclei.csv")
    inside = nuclei[~nuclei["touches_border"]].groupby(["replicate", "condition"])["EdU_positive"]
    share = 100 * inside.mean().unstack()
    assert difference(table, "border", "without those it cuts") == pytest.approx((share["Drug"] - share["DMSO"]).mean())


def test_a_conclusion_that_does_not_survive() -> None:
    table = pd.DataFrame(
        [
            (AS_RUN, "", "A", -5.0), (AS_RUN, "", "B", 3.0), ("gate", "300", "A", -4.0), ("gate", "300", "B", None),
            ("border", "out", "A", 2.0), ("border", "out", "B", 1.0),
        ],
        columns=["choice", "value", "condition", "difference"],
    )  # fmt: skip
    assert _sentence(table, "DMSO") == (
        "Not every difference from DMSO survives: the sign turns for A with border out (2 other choices tried); "
        "1 difference could not be computed (see note)."
    )


def test_what_cannot_be_shown(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (experiment / "DMSO").rename(experiment / "Mix")
    for mask in (tmp_path / "masks").glob("DMSO_*"):
        mask.rename(mask.with_name(mask.name.replace("DMSO", "Mix")))
    out = tmp_path / "out"
    run(experiment, out, **given(experiment), engine="native")
    with pytest.raises(InputError) as refused:
        bridge.robustness(out)
    assert str(refused.value) == (
        f"{out}: no control to compare with (expected a condition such as DMSO). Name one with --control."
    )
    with pytest.raises(InputError) as refused:
        bridge.robustness(out, control="Mix", flow_thresholds=[0.2])
    assert str(refused.value) == (
        "--flow-threshold: the cells of this run are given label images (expected cells found by Cellpose). Leave it out."
    )
    with pytest.raises(SystemExit) as ended:
        main(["robustness", str(out), "--control", "Mix"])
    assert ended.value.code == 0
    assert "Every condition stays on its side of Mix in all 9 other choices." in capsys.readouterr().out
    (out / "robustness.csv").write_text("mine")
    with pytest.raises(OutputError, match="was changed since it was written"):
        bridge.robustness(out, control="Mix")
    experiment.rename(tmp_path / "gone")
    with pytest.raises(InputError, match="the images of this run are not there any more"):
        bridge.robustness(out, control="Mix")
