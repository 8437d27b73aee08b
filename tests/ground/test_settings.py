from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.errors import InputError
from bridge.pipeline.steps import ORDER
from bridge.setting_options import GROUPS
from bridge.settings import Settings
from bridge.settings_file import read_settings_file, settings_from


def test_every_setting_belongs_to_a_step_or_to_the_machine() -> None:
    assert set(Settings().in_groups(*GROUPS)) == set(Settings().as_json())
    named = {name for step in ORDER if not callable(step.settings) for name in step.settings}
    # The plan's decide which fields there are; of a given label image `segment` has the filters alone.
    assert named | {"plan", "machine", "segment", "filters"} == set(GROUPS)


def test_the_radius_belongs_to_measuring_alone() -> None:
    holders = [
        s.name for s in ORDER if not callable(s.settings) and "rolling_ball" in Settings().in_groups(*s.settings)
    ]
    assert holders == ["measure"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"rolling-ball": -1}, "test: rolling-ball: the radius must be positive (got -1.0). Correct the value."),
        ({"diameter": 0}, "test: diameter: the diameter must be positive (got 0.0). Correct the value."),
        (
            {"measurements": ["area", "men"]},
            "test: measurements: unknown measurement (got men, expected area, mean, standard, modal, min, centroid, center, perimeter, bounding, fit, shape, feret's, integrated, median, skewness, kurtosis, area_fraction). "
            "Correct the value.",
        ),
        (
            {"measurements": "mean"},
            "test: measurements: area cannot be left out: it is what proves that ImageJ's cell is the label's "
            "(got 'mean'). Correct the value.",
        ),
    ],
)
def test_refused_values(values: dict[str, object], text: str) -> None:
    with pytest.raises(InputError) as refused:
        settings_from(values, "test")
    assert str(refused.value) == text


def test_unknown_name() -> None:
    with pytest.raises(
        InputError, match=r"^test: unknown setting \(got rolling_bal, expected one of .*pattern, .*Correct the name\.$"
    ):
        settings_from({"rolling-bal": 50}, "test")


def test_settings_survive_run_json(tmp_path: Path) -> None:
    settings = settings_from(
        {"rolling_ball": "none", "diameter": "auto", "measure": "EdU,pH3", "measurements": ["mean,area"]}
    )
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"settings": settings.as_json()}))
    assert settings_from(read_settings_file(path)) == settings
    assert settings.measurements == ("area", "mean")
    assert settings.measure == ("EdU", "pH3")


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('rolling-ball = 25\nmeasure = ["EdU"]\nborder = "drop"\n')
    settings = settings_from(read_settings_file(path))
    assert (settings.rolling_ball, settings.measure, settings.border) == (25.0, ("EdU",), "drop")


def test_settings_file_that_is_none(tmp_path: Path) -> None:
    missing = tmp_path / "no.toml"
    with pytest.raises(InputError) as refused:
        read_settings_file(missing)
    assert str(refused.value) == f"{missing}: no such settings file. Check the path given with --settings."
    broken = tmp_path / "broken.toml"
    broken.write_text("a = = 1")
    with pytest.raises(
        InputError, match=r"not a settings file \(.*\)\. Give TOML, or the run\.json of an earlier run\.$"
    ):
        read_settings_file(broken)


def test_no_background_subtraction_stays_none_in_the_record(tmp_path: Path) -> None:
    settings = settings_from({"rolling_ball": "none"})
    assert settings.as_json()["rolling_ball"] == "none"


def test_paths_in_a_settings_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('images = "plate"\nsamples = "plate.csv"\n')
    assert read_settings_file(tmp_path / "s.toml") == {
        "images": str(tmp_path / "plate"),
        "samples": str(tmp_path / "plate.csv"),
    }


def test_names_are_no_paths_whatever_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "core").write_text("of a program that crashed")
    (tmp_path / "demo").mkdir()
    (tmp_path / "fine_tuned").write_text("")
    (tmp_path / "s.toml").write_text('model = "demo"\ncount-model = "fine_tuned"\nfiji = "core"\n')
    assert read_settings_file(tmp_path / "s.toml") == {
        "model": "demo", "count_model": str(tmp_path / "fine_tuned"), "fiji": "core",
    }  # fmt: skip
