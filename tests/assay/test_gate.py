"""Gates: from a control, by hand, between two groups; never where the data do not carry one."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.assay.gate import control_gate, gate_draws, mixture_gate


def groups(seed: int, negative: int, positive: int, field: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    dark = rng.normal(field, 25, negative)  # after a rolling ball: around zero, and below it
    bright = 900 * rng.lognormal(0, 0.5, positive)
    return np.concatenate([dark, bright])


def test_the_gate_of_a_control() -> None:
    rng = np.random.default_rng(0)
    gate = control_gate(rng.normal(0, 30, 1000), 99)
    assert gate.value == pytest.approx(30 * 2.33, abs=6)
    assert gate.false_positive_rate == 0.01
    assert gate.note == ""
    weak = control_gate(rng.normal(0, 30, 120), 99)
    assert weak.note == "only 120 control cells: the gate is uncertain (expected 300 and more)"
    nothing = control_gate(np.zeros(0), 99)
    assert np.isnan(nothing.value)
    assert nothing.note == "the control has no cells"


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8])
def test_two_groups_are_told_apart(share: float) -> None:
    errors = []
    for seed in range(6):
        positive = round(share * 600)
        values = groups(seed, 600 - positive, positive)
        gate = mixture_gate(values)
        assert gate.note == ""
        errors.append(abs((values > gate.value).mean() - share))
    assert max(errors) < 0.02


def test_one_group_is_not_called() -> None:
    rng = np.random.default_rng(1)
    one = "one group only: all are negative, or all are positive"
    tail = "one group with a tail, or two that overlap: no gate divides them"
    for values in (rng.normal(0, 25, 600), 900 * rng.lognormal(0, 0.3, 600)):
        assert mixture_gate(values).note in (one, tail)
    # Skewed, as real negatives are: a criterion that only compares fits sees two groups here.
    for seed in range(5):
        skewed = np.random.default_rng(seed).gamma(2.0, 20.0, 600)
        assert np.isnan(mixture_gate(skewed).value)
    assert mixture_gate(np.zeros(100)).note == "most cells have one and the same value"
    assert mixture_gate(np.arange(5.0)).note == "too few cells (got 5, expected 30 and more)"


def test_one_bright_field_of_the_control_makes_the_gate_uncertain() -> None:
    """Cells of a field are alike: drawing cells alone would show a gate that is 5 times too certain."""
    rng = np.random.default_rng(2)
    fields = [rng.normal(0, 10, 200) for _ in range(4)] + [rng.normal(25, 10, 200)]
    gate = control_gate(np.concatenate(fields), 99)
    drawn, rates = gate_draws(gate, [fields], 99, 400, rng)
    alone, _ = gate_draws(gate, [[np.concatenate(fields)]], 99, 400, rng)
    assert np.ptp(np.percentile(drawn, (2.5, 97.5))) > 3 * np.ptp(np.percentile(alone, (2.5, 97.5)))
    assert rates.mean() == pytest.approx(0.01, abs=0.003)
