"""The gate above which a cell or nucleus is positive: from a control, by hand, or from two groups that are told apart."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Wells = Sequence[Sequence[Values]]
"""Values by well, by field."""

FEWEST_CONTROLS = 300
_COFACTOR = 6.0  # times the noise of the negatives: below it the scale is linear, above it logarithmic
_CLEARLY, _APART, _VALLEY = 10.0, 2.0, 0.5
_FEWEST = 30


@dataclass(frozen=True)
class Gate:
    """A gate, and what it rests on.

    Attributes
    ----------
    method : str
        ``control``, ``threshold`` or ``mixture``.
    value : float
        Above it a unit is positive; NaN where nothing is called.
    n_control : int
        Units of the control.
    false_positive_rate : float
        Share of the control above the gate, which is taken off the shares; 0 where there is no control.
    separation, valley : float
        Of a mixture: Ashman's D, and the density between the two groups as a part of the lower peak's.
    note : str
        Why nothing is called, or what weakens the gate.
    """

    method: str
    value: float
    n_control: int = 0
    false_positive_rate: float = 0.0
    separation: float = float("nan")
    valley: float = float("nan")
    note: str = ""


def control_gate(control: Values, percentile: float) -> Gate:
    """Return the gate that leaves a part of the control below it.

    Parameters
    ----------
    control : ndarray of float64, shape (n,)
        What the units of the control measure, without EdU or without the click reaction.
    percentile : float

    Returns
    -------
    Gate

    Examples
    --------
    >>> gate = control_gate(np.arange(1000.0), 99)
    >>> round(gate.value, 2), gate.false_positive_rate
    (989.01, 0.01)
    """
    if not control.size:
        return Gate("control", float("nan"), note="the control has no cells")
    value = float(np.percentile(control, percentile))
    rate = float((control > value).mean())
    few = f"only {control.size} control cells: the gate is uncertain (expected {FEWEST_CONTROLS} and more)"
    return Gate("control", value, control.size, rate, note=few if control.size < FEWEST_CONTROLS else "")


def mixture_gate(values: Values) -> Gate:
    """Return the gate between two groups, if they can be told apart.

    Two normal distributions are fitted on an asinh scale, which is linear within the noise of the negatives and
    logarithmic above, so that no value is lost. They are called two groups only if the Bayesian information criterion
    prefers two by more than 10, Ashman's D is above 2 (Ashman et al. 1994) and the density between them falls below half of the
    lower peak's. The first two alone see two groups in every control. Without a control all positive and all negative
    cannot be told apart.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)

    Returns
    -------
    Gate
        Where both groups are as likely; NaN with a note where there are not two.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> gate = mixture_gate(np.concatenate([rng.normal(0, 20, 700), rng.normal(900, 200, 300)]))
    >>> 80 < gate.value < 400, gate.note
    (True, '')
    >>> mixture_gate(rng.normal(0, 20, 700)).note
    'one group only: all are negative, or all are positive'
    """
    if values.size < _FEWEST:
        return Gate("mixture", float("nan"), note=f"too few cells (got {values.size}, expected {_FEWEST} and more)")
    mode, noise = _negatives(values)
    if noise <= 0:
        return Gate("mixture", float("nan"), note="most cells have one and the same value")
    scaled = np.arcsinh((values - mode) / (_COFACTOR * noise))[:, None]
    one, two = _fit(scaled, 1), _fit(scaled, 2)
    order = np.argsort(two.means_.ravel())
    low, high = two.means_.ravel()[order]
    spread = np.sqrt(two.covariances_.ravel())[order]
    separation = float(np.sqrt(2) * (high - low) / np.hypot(*spread))
    between = np.linspace(low, high, 1001)[:, None]
    density = np.exp(two.score_samples(between))
    valley = float(density.min() / min(density[0], density[-1]))
    if one.bic(scaled) - two.bic(scaled) <= _CLEARLY or separation <= _APART:
        note = "one group only: all are negative, or all are positive"
        return Gate("mixture", float("nan"), separation=separation, valley=valley, note=note)
    if valley >= _VALLEY:
        note = "one group with a tail, or two that overlap: no gate divides them"
        return Gate("mixture", float("nan"), separation=separation, valley=valley, note=note)
    likely = two.predict_proba(between)[:, order[1]] >= 0.5
    cut = float(between[int(np.argmax(likely)), 0])
    value = float(mode + _COFACTOR * noise * np.sinh(cut))
    return Gate("mixture", value, separation=separation, valley=valley)


def _fit(scaled: npt.NDArray[np.float64], groups: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the rule judges what came out
        return GaussianMixture(groups, n_init=5 if groups > 1 else 1, random_state=0).fit(scaled)


def densest(values: Values) -> float:
    """Return where values lie densest: the narrowest tenth of them, then its half, and so on.

    Source: the half-sample mode of Bickel and Frühwirth (2006); its first half would miss a narrow group that is the
    smaller one.
    """
    part = np.sort(values)
    size = max(min(part.size, 20), part.size // 10)
    while True:
        narrowest = int(np.argmin(part[size - 1 :] - part[: part.size - size + 1]))
        part = part[narrowest : narrowest + size]
        if part.size <= 10:
            return float(part.mean())
        size = (part.size + 1) // 2


def _negatives(values: Values) -> tuple[float, float]:
    """Return where the values lie densest, and the spread of those below it (MAD)."""
    mode = densest(values)
    below = mode - values[values < mode]
    return mode, 1.4826 * float(np.median(below)) if below.size else 0.0


def resampled(wells: Wells, rng: np.random.Generator) -> Values:
    """Draw wells, of each its fields, and of each its cells, all with replacement; return the cells' values."""
    drawn: list[Values] = []
    for well in rng.integers(0, len(wells), len(wells)):
        fields = wells[well]
        drawn += [
            fields[k][rng.integers(0, fields[k].size, fields[k].size)]
            for k in rng.integers(0, len(fields), len(fields))
        ]
    return np.concatenate(drawn)


def gate_draws(gate: Gate, wells: Wells, percentile: float, n: int, rng: np.random.Generator) -> tuple[Values, Values]:
    """Return how the gate and its rate of false positives would come out in other experiments of the kind.

    A gate from a control is drawn anew from the control's wells, fields and cells: over cells alone its uncertainty
    came out 5.6 times too small on real data, where one field of one well was brighter. A threshold is certain. The gate
    of a mixture is taken as certain, too.

    Parameters
    ----------
    gate : Gate
    wells : sequence of sequences of ndarray of float64
        The control, by well and field.
    percentile : float
    n : int
    rng : Generator

    Returns
    -------
    value, false_positive_rate : ndarray of float64, shape (n,)
    """
    if gate.method != "control" or not gate.n_control:
        return np.full(n, gate.value), np.full(n, gate.false_positive_rate)
    values, rates = np.empty(n), np.empty(n)
    for k in range(n):
        control = resampled(wells, rng)
        values[k] = np.percentile(control, percentile)
        rates[k] = (control > values[k]).mean()
    return values, rates
