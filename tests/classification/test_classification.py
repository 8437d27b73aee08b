"""Features, classifier, validation: what is told apart, and what is honest about it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bridge.classification.classifier import UNCERTAIN, fit, read_classifier
from bridge.classification.features import feature_columns, features_of
from bridge.classification.validation import validate
from bridge.errors import InputError
from bridge.synthetic import two_types


def of_field(seed: int, share: float, hard: bool = False) -> tuple[pd.DataFrame, np.ndarray]:
    field = two_types(seed, share, size_px=320, n_cells=26, hard=hard)
    of_nuclei = np.unique(field.nuclei)[1:].astype(np.int64)
    images = {"green": field.cytoplasm, "DAPI": field.nucleus}
    features = features_of(field.cells, images, field.nuclei, of_nuclei)
    return features, np.array(["HEK", "N2a"])[field.kind[features.index]]


def of_fields(shares: list[float], hard: bool = False) -> tuple[pd.DataFrame, list[str], list[str]]:
    parts = [of_field(40 + k, share, hard) for k, share in enumerate(shares)]
    features = pd.concat([f for f, _ in parts], ignore_index=True)
    fields = [f"f{k}" for k, (f, _) in enumerate(parts) for _ in range(len(f))]
    return features, [str(name) for _, names in parts for name in names], fields


def test_features_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((60, 70), np.uint16)
    labels[5:25, 10:40], labels[30:50, 20:30], labels[40:44, 50:60] = 4, 9, 2
    image = (rng.normal(500, 30, labels.shape) + np.where(labels == 4, 300, 0)).astype(np.uint16)
    nuclei = np.zeros_like(labels)
    nuclei[10:18, 15:25], nuclei[12:16, 30:36], nuclei[28:32, 21:25] = 1, 2, 3
    found = features_of(labels, {"c": image}, nuclei, np.array([4, 4, 9]))
    assert found.index.tolist() == [2, 4, 9]
    assert list(found.columns) == [c.name for c in feature_columns(["c"], True)]
    background = np.median(image[labels == 0])
    for label in (2, 4, 9):
        own = image[labels == label].astype(float) - background
        row = found.loc[label]
        assert row["cell_area_px2"] == own.size
        for name, value in (("mean", own.mean()), ("p10", np.percentile(own, 10)), ("p90", np.percentile(own, 90))):
            assert row[f"cell_c_{name}"] == pytest.approx(value, abs=1e-9)
    assert found["n_nuclei"].tolist() == [0, 2, 1]
    # Of the third nucleus only what lies in its cell counts.
    assert found["nucleus_area_px2"].fillna(0).tolist() == [0, 80 + 24, 8]
    assert np.isnan(found.loc[2, "nucleus_c_mean"])
    assert found.loc[4, "cell_elongation"] == pytest.approx(1.5, abs=0.01)
    assert found.loc[2, "cell_boundary"] == pytest.approx((4 + 10 + 4 + 10) ** 2 / 40)


def test_no_cell_and_no_image() -> None:
    empty = features_of(np.zeros((9, 9), np.uint16), {"c": np.ones((9, 9), np.uint8)}, None)
    assert empty.empty
    assert list(empty.columns) == [c.name for c in feature_columns(["c"], False)]
    whole = features_of(np.ones((9, 9), np.uint16), {"c": np.full((9, 9), 7, np.uint8)}, None)
    assert np.isfinite(whole.drop(columns="cell_c_rim").to_numpy()).all()


def test_two_types_are_told_apart_on_fields_held_out() -> None:
    features, classes, fields = of_fields([0.0, 1.0, 0.0, 1.0, 0.5, 0.5])
    found = validate(features, classes, fields, fields, 0.2)
    assert found.balanced_accuracy is not None
    assert found.balanced_accuracy > 0.9
    of_mixed = found.scores[(found.scores["validation"] == "mixed") & (found.scores["class"] == "all")]
    assert float(of_mixed["recall"].iloc[0]) > 0.85
    assert not found.warnings
    held_out = found.confusion[found.confusion["validation"] == "held out"]
    assert held_out["n_cells"].sum() == len(classes)
    assert list(dict.fromkeys(held_out["called"])) == ["HEK", "N2a", UNCERTAIN]
    assert found.curve["balanced_accuracy"].iloc[-1] > found.curve["balanced_accuracy"].iloc[0]


def test_what_the_hard_version_does_not_reach() -> None:
    features, classes, fields = of_fields([0.5] * 5, hard=True)
    found = validate(features, classes, fields, fields, 0.2)
    assert found.balanced_accuracy is not None
    assert 0.6 < found.balanced_accuracy < 1.0


def test_chance_stays_chance() -> None:
    rng = np.random.default_rng(1)
    features = pd.DataFrame(rng.normal(size=(300, 12)), columns=[f"f{k}" for k in range(12)])
    classes = [str(c) for c in rng.choice(["a", "b"], 300)]
    fields = [f"field{k % 6}" for k in range(300)]
    found = validate(features, classes, fields, fields, 0.2)
    assert found.balanced_accuracy is not None
    assert 0.4 < found.balanced_accuracy < 0.6


def test_a_day_that_is_a_class_is_said() -> None:
    features, classes, fields = of_fields([0.0, 1.0, 0.0, 1.0])
    assert validate(features, classes, fields, fields, 0.2).warnings == (
        "every field holds one class only: a score on such fields may be that of the day, the exposure or the well. Label some cells in mixed fields, too",
    )
    alone = validate(*of_fields([0.0, 1.0]), of_fields([0.0, 1.0])[2], 0.2)
    assert alone.balanced_accuracy is None
    assert alone.curve.empty
    assert alone.warnings[1] == (
        "the classifier is not validated: a class has cells in one field or replicate only (expected each class in two and more). Label cells in another one"
    )


def test_three_classes_and_a_margin() -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(centre, 1, (60, 2)) for centre in ((0, 0), (6, 0), (0, 6))])
    model = fit(pd.DataFrame(x, columns=["a", "b"]), ["one"] * 60 + ["two"] * 60 + ["three"] * 60, [], 0.3)
    points = pd.DataFrame({"a": [0.0, 6.0, 0.0, 3.0, np.nan], "b": [0.0, 0.0, 6.0, 0.0, 6.0]}, index=[7, 8, 9, 11, 12])
    found = model.classify(points)
    assert found["class"].tolist()[:4] == ["one", "two", "three", UNCERTAIN]
    assert found.index.tolist() == [7, 8, 9, 11, 12]
    np.testing.assert_allclose(model.probabilities(points).sum(axis=1), 1)
    assert model.classify(points.iloc[:0]).empty


def test_json_and_back(tmp_path: Path) -> None:
    features, classes, _ = of_fields([0.5, 0.5])
    model = fit(features, classes, ["green", "DAPI"])
    model.write(tmp_path / "a.json")
    again = read_classifier(tmp_path / "a.json")
    assert again == model
    pd.testing.assert_frame_equal(again.classify(features), model.classify(features))
    again.write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("mean"), "no 'mean'"),
        (lambda c: c.update(kind="x"), "another kind of file"),
        (lambda c: c["coefficients"][0].pop(), "coefficients of another number than its features and classes"),
        (lambda c: c.update(intercepts=[float("nan"), 0.0]), "a number that is none"),
        (lambda c: c.update(mean="abc"), "could not convert string to float: 'a'"),
    ],
)
def test_damaged_classifiers(tmp_path: Path, change, said: str) -> None:  # type: ignore[no-untyped-def]
    fit(pd.DataFrame({"a": [0.0, 1, 2, 3], "b": [0.0, 1, 1, 0]}), ["x", "x", "y", "y"], []).write(tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    change(content)
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as refused:
        read_classifier(tmp_path / "c.json")
    assert str(refused.value) == (
        f"{tmp_path / 'c.json'}: not a classifier of cells ({said}; expected the classifier.json that classify writes). Train it again with --truth."
    )
    with pytest.raises(
        InputError, match=r"no such file .expected a classifier.\. Check the path given with --classifier"
    ):
        read_classifier(tmp_path / "none.json")
