from __future__ import annotations

from pathlib import Path

from bridge.demo import CONDITIONS, run_demo


def test_the_demo_measures_what_is_true(tmp_path: Path) -> None:
    report, comparisons = run_demo(tmp_path)
    assert report.exit_code == 0
    assert [c.condition for c in comparisons] == list(CONDITIONS)
    for c in comparisons:
        assert c.true_cells >= 200
        assert c.found >= 0.95 * c.true_cells, c
        assert abs(c.measured_mean / c.true_mean - 1) <= 0.05, c
        assert abs(c.measured_contrast / c.true_contrast - 1) <= 0.05, c
        assert abs(c.measured_share - c.true_share) <= 0.02, c
        assert c.passed
    # The rolling ball leaves some tens of grey levels of noise: subtracted means are not the signal itself.
    assert all(5 < c.true_mean - c.signal_mean < 60 for c in comparisons)
    shares = [c.true_share for c in comparisons]
    assert max(shares) - min(shares) > 0.3
