"""How well a classifier does on fields it has not seen: never on other cells of the same field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.classification.classifier import UNCERTAIN, fit
from bridge.tables import Column, typed_table

GOOD = 0.9  # balanced accuracy
_FOLDS = 5
_STEPS = (5, 10, 25, 50, 100, 200, 400)  # labelled cells of each class
_REPEATS = 3
SCORES = (
    Column("validation", "str", "", "held out: whole fields or replicates; mixed: trained on pure fields, tried on mixed ones"),
    Column("features", "str", "", "what the classifier looks at"),
    Column("class", "str", "", "class, or all"),
    Column("n_cells", "int64", "", "cells of known class"),
    Column("n_uncertain", "int64", "", "cells below the margin; they count as they would have been called"),
    Column("recall", "float64", "", "part of the cells of this class that are called so; of all: their mean, the balanced accuracy"),
    Column("precision", "float64", "", "part of the cells called so that are of this class"),
)  # fmt: skip
CONFUSION = (
    Column("validation", "str", "", "as in scores.csv"),
    Column("true", "str", "", "true class"),
    Column("called", "str", "", "class by the classifier; uncertain below the margin"),
    Column("n_cells", "int64", "", "cells"),
)
CURVE = (
    Column("cells_of_each_class", "int64", "", "labelled cells of each class that are learnt from"),
    Column("balanced_accuracy", "float64", "", "mean over held-out fields or replicates, and draws"),
    Column("lowest", "float64", "", "the lowest of them"),
    Column("highest", "float64", "", "the highest of them"),
)


@dataclass(frozen=True)
class Validation:
    """What validation found: scores, confusion, the learning curve, and why there is less than there could be."""

    scores: pd.DataFrame
    confusion: pd.DataFrame
    curve: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def balanced_accuracy(self) -> float | None:
        """On held-out fields; None where nothing could be held out."""
        rows = self.scores[(self.scores["validation"] == "held out") & (self.scores["class"] == "all")]
        return float(rows["recall"].iloc[0]) if len(rows) else None


def validate(
    features: pd.DataFrame,
    classes: Sequence[str],
    fields: Sequence[str],
    groups: Sequence[str],
    margin: float,
    words: str = "declared",
) -> Validation:
    """Validate on whole groups that were not trained on.

    Parameters
    ----------
    features : DataFrame
        One row a cell.
    classes, fields, groups : sequence of str
        Of each cell: its true class, its field, and what is held out together (a field or a replicate).
    margin : float
    words : str
        What these features are called in the table.

    Returns
    -------
    Validation
    """
    true, field, group = (np.array(values, object) for values in (classes, fields, groups))
    warnings = _warnings(true, field)
    called, certain, tried = (
        np.full(true.size, "", object),
        np.zeros(true.size, np.bool_),
        np.zeros(true.size, np.bool_),
    )
    folds = list(_folds(true, group))
    for learn, test in folds:
        _call(features, true, learn, test, margin, called, certain)
        tried |= test
    names = sorted(set(true))
    parts = [_scores("held out", words, true, called, certain, tried, names)] if tried.any() else []
    tables = [_confusion("held out", true, called, certain, tried, names)] if tried.any() else []
    if not folds:
        warnings.append(
            "the classifier is not validated: a class has cells in one field or replicate only (expected each class in two and more). Label cells in another one"
        )
    pure = np.array([len(set(true[field == name])) == 1 for name in field], np.bool_)
    if pure.any() and not pure.all() and set(true[pure]) == set(names):
        _call(features, true, pure, ~pure, margin, called, certain)
        parts.append(_scores("mixed", words, true, called, certain, ~pure, names))
        tables.append(_confusion("mixed", true, called, certain, ~pure, names))
    curve = _curve(features, true, folds)
    return Validation(
        typed_table([row for part in parts for row in part], SCORES),
        typed_table([row for part in tables for row in part], CONFUSION), curve, tuple(warnings),
    )  # fmt: skip


def _warnings(true: Any, field: Any) -> list[str]:
    if all(len(set(true[field == name])) == 1 for name in set(field)):
        return [
            "every field holds one class only: a score on such fields may be that of the day, the exposure or the well. Label some cells in mixed fields, too"
        ]
    return []


def _folds(true: Any, group: Any) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Groups learnt from and held out; all classes in what is learnt from, and each group held out once."""
    from sklearn.model_selection import StratifiedGroupKFold

    n: int = min(_FOLDS, *(len(set(group[true == name])) for name in set(true)))
    if n < 2:
        return
    for learn, test in StratifiedGroupKFold(n, shuffle=True, random_state=0).split(true, true.astype(str), group):
        if set(true[learn]) == set(true):
            yield _at(learn, true.size), _at(test, true.size)


def _at(places: Any, n: int) -> npt.NDArray[np.bool_]:
    found = np.zeros(n, np.bool_)
    found[places] = True
    return found


def _call(features: pd.DataFrame, true: Any, learn: Any, test: Any, margin: float, called: Any, certain: Any) -> None:
    model = fit(features[learn], true[learn], (), margin)
    probability = model.probabilities(features[test])
    called[test] = np.array(model.classes, object)[probability.argmax(axis=1)]
    ranked = np.sort(probability, axis=1)
    certain[test] = ranked[:, -1] - ranked[:, -2] >= margin


def _scores(
    validation: str, words: str, true: Any, called: Any, certain: Any, tried: Any, names: Sequence[str]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in names:
        own, so = tried & (true == name), tried & (called == name)
        both = np.count_nonzero(own & so)
        rows.append(
            {
                "validation": validation,
                "features": words,
                "class": name,
                "n_cells": np.count_nonzero(own),
                "n_uncertain": np.count_nonzero(own & ~certain),
                "recall": both / np.count_nonzero(own) if own.any() else np.nan,
                "precision": both / np.count_nonzero(so) if so.any() else np.nan,
            }
        )
    every = {
        "validation": validation,
        "features": words,
        "class": "all",
        "n_cells": np.count_nonzero(tried),
        "n_uncertain": np.count_nonzero(tried & ~certain),
        "recall": _mean(rows, "recall"),
        "precision": _mean(rows, "precision"),
    }
    return [every, *rows]


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    values = np.array([row[name] for row in rows], np.float64)
    return float(np.nanmean(values))


def _confusion(
    validation: str, true: Any, called: Any, certain: Any, tried: Any, names: Sequence[str]
) -> list[dict[str, Any]]:
    said = np.where(certain, called, UNCERTAIN)
    return [
        {"validation": validation, "true": a, "called": b, "n_cells": np.count_nonzero(tried & (true == a) & (said == b))}
        for a in names
        for b in (*names, UNCERTAIN)
    ]  # fmt: skip


def _curve(features: pd.DataFrame, true: Any, folds: Sequence[tuple[Any, Any]]) -> pd.DataFrame:
    """Draw a few labelled cells of each class from what is learnt from, and score on what is held out."""
    names, rng = sorted(set(true)), np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    if folds:
        most = min(np.count_nonzero(learn & (true == name)) for learn, _ in folds for name in names)
        for n in [*(step for step in _STEPS if step < most), most]:
            found: list[float] = []
            for learn, test in folds:
                for _ in range(_REPEATS if n < most else 1):
                    drawn = np.concatenate(
                        [rng.choice(np.flatnonzero(learn & (true == name)), n, replace=False) for name in names]
                    )
                    model = fit(features.iloc[drawn], true[drawn], ())
                    called = np.array(model.classes, object)[model.probabilities(features[test]).argmax(axis=1)]
                    recalls = [
                        np.mean(called[true[test] == name] == name) for name in names if (true[test] == name).any()
                    ]
                    found.append(float(np.mean(recalls)))
            rows.append({"cells_of_each_class": n, "balanced_accuracy": np.mean(found), "lowest": min(found), "highest": max(found)})  # fmt: skip
    return typed_table(rows, CURVE)
