"""The variance of a cell, split into its levels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bridge.assay.variance import variance_split


def experiment(rng: np.random.Generator, sd: dict[str, float], balanced: bool) -> pd.DataFrame:
    rows = []
    for condition in "ABCDEF":
        middle = 1000 * rng.random()  # no part of the split
        for replicate in range(4):
            of_replicate = middle + rng.normal(0, sd["replicates"])
            for sample in range(3):
                of_sample = of_replicate + rng.normal(0, sd["samples"])
                for field in range(4):
                    n = 40 if balanced else int(rng.integers(5, 80))
                    values = of_sample + rng.normal(0, sd["fields"]) + rng.normal(0, sd["cells"], n)
                    key = (condition, str(replicate), str(sample), f"{condition}{replicate}{sample}{field}")
                    rows += [(*key, value) for value in values]
    return pd.DataFrame(rows, columns=["condition", "replicate", "sample", "field_id", "x"])


@pytest.mark.parametrize("balanced", [True, False])
def test_known_parts_are_found(balanced: bool) -> None:
    sd = {"replicates": 6.0, "samples": 3.0, "fields": 5.0, "cells": 20.0}
    rng = np.random.default_rng(4)
    found = [variance_split(experiment(rng, sd, balanced), "x").set_index("level")["variance"] for _ in range(40)]
    mean = pd.concat(found, axis=1).mean(axis=1)
    for level, value in sd.items():
        assert mean[level] == pytest.approx(value**2, rel=0.2 if level != "samples" else 0.45)


def test_levels_that_are_not_there() -> None:
    rng = np.random.default_rng(1)
    units = experiment(rng, {"replicates": 1, "samples": 1, "fields": 1, "cells": 1}, True)
    one_field = units.assign(sample="", field_id=units["condition"] + units["replicate"])
    assert variance_split(one_field, "x")["level"].tolist() == ["replicates", "cells"]
    assert variance_split(units.assign(replicate="", sample=""), "x", "nucleus")["level"].tolist() == [
        "fields",
        "nuclei",
    ]
    assert variance_split(units[:0], "x").empty
    assert variance_split(units[:1], "x").empty
    constant = variance_split(units.assign(x=1.0), "x")
    assert constant["variance"].tolist() == [0, 0, 0, 0]
