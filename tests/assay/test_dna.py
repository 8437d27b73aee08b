from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bridge.assay.dna import dna_content, phase_table


def test_the_phases_of_the_cell_cycle() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for replicate, gain in (("day1", 1.0), ("day2", 3.0)):  # another lamp, another day
        for n, centre, edu in ((600, 2.0, False), (200, 4.0, False), (200, 3.0, True)):
            stain = gain * 50_000 * centre * rng.normal(1, 0.07, n)
            rows += [("DMSO", replicate, value, edu) for value in stain]
        rows += [("DMSO", replicate, gain * 50_000 * 0.6, False)] * 10
    nuclei = pd.DataFrame(rows, columns=["condition", "replicate", "dna", "positive"])
    positive = nuclei["positive"].astype("boolean")
    content = dna_content(nuclei, "dna", positive)
    for replicate in ("day1", "day2"):
        own = content[(nuclei["replicate"] == replicate) & ~nuclei["positive"]]
        assert own[own < 3].median() == pytest.approx(2.0, abs=0.08)
    table = phase_table(nuclei, content, positive, ["DMSO"])
    assert table[["g1", "s", "g2_m", "other"]].sum(axis=1).tolist() == pytest.approx([100, 100])
    for _, row in table.iterrows():
        assert (row["g1"], row["s"], row["g2_m"]) == pytest.approx((59.4, 19.8, 19.8), abs=1.0)
    assert phase_table(nuclei, content, positive.mask(nuclei["replicate"] == "day1"), ["DMSO"])[
        "replicate"
    ].tolist() == ["day2"]
