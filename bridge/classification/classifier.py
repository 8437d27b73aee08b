"""A classifier of cells that can be read: multinomial logistic regression as JSON, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.errors import InputError
from bridge.files import write_text
from bridge.foreign import read_json

UNCERTAIN = "uncertain"
MARGIN = 0.2
LEAST_CELLS = 10  # of a class
_KIND = "cellpose-fiji classifier of cells"
_NETWORK = "classes by the network that finds the cells"


@dataclass(frozen=True)
class Classifier:
    """A classifier of cells.

    Attributes
    ----------
    classes : tuple of str
    channels : tuple of str
        Whose light it looks at.
    features : tuple of str
        `bridge.classification.features.feature_columns`, in their order.
    mean, scale : tuple of float
        Of each feature in the training cells; a missing feature counts as the mean.
    coefficients : tuple of tuple of float
        For each class one for each standardised feature.
    intercepts : tuple of float
    margin : float
        Where the two most probable classes are nearer than this, the class is `UNCERTAIN`.
    n_cells : dict
        Cells of each class that it was trained on.
    training : dict
        Which fields, and a hash of the truth.
    scores : dict
        Of its validation.
    encoder : dict
        Empty for declared features; else whose encoder it is: ``model``, ``model_sha256``.
    """

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]
    margin: float = MARGIN
    n_cells: dict[str, int] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    encoder: dict[str, str] = field(default_factory=dict)

    def probabilities(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of each class for each cell, shape (n_cells, n_classes)."""
        given = features[list(self.features)].to_numpy(np.float64)
        standard = np.nan_to_num((given - np.array(self.mean)) / np.array(self.scale), nan=0.0, posinf=0.0, neginf=0.0)
        score = standard @ np.array(self.coefficients).T + np.array(self.intercepts)
        weight = np.exp(score - score.max(axis=1, keepdims=True)) if len(score) else score
        found: npt.NDArray[np.float64] = weight / weight.sum(axis=1, keepdims=True)
        return found

    def classify(self, features: pd.DataFrame) -> pd.DataFrame:
        """Return class, probability and margin of each cell.

        Parameters
        ----------
        features : DataFrame
            Index: label.

        Returns
        -------
        DataFrame
            The same index; ``class`` (`UNCERTAIN` below the margin), ``class_probability`` of the most probable class,
            ``class_margin`` to the next one.
        """
        probability = self.probabilities(features)
        ranked = np.sort(probability, axis=1)
        best = probability.argmax(axis=1) if len(probability) else np.zeros(0, np.int64)
        margin = ranked[:, -1] - ranked[:, -2]
        names = np.where(margin < self.margin, UNCERTAIN, np.array(self.classes, object)[best])
        return pd.DataFrame(
            {"class": names.astype(object), "class_probability": ranked[:, -1], "class_margin": margin},
            index=features.index,
        )

    def write(self, path: Path) -> None:
        """Write it as JSON; the same classifier gives the same bytes."""
        write_text(path, json.dumps({"kind": _KIND, "version": 1, **asdict(self)}, indent=1, ensure_ascii=False) + "\n")


def fit(features: pd.DataFrame, classes: Sequence[str], channels: Sequence[str], margin: float = MARGIN) -> Classifier:
    """Fit a classifier.

    Parameters
    ----------
    features : DataFrame
        One row a cell.
    classes : sequence of str
        The true class of each.
    channels : sequence of str
    margin : float

    Returns
    -------
    Classifier

    Notes
    -----
    Multinomial logistic regression of scikit-learn on standardised features, classes weighted alike.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"cell_area_px2": np.r_[rng.normal(50, 5, 30), rng.normal(90, 5, 30)]})
    >>> found = fit(table, ["small"] * 30 + ["large"] * 30, [])
    >>> found.classify(pd.DataFrame({"cell_area_px2": [52.0, 88.0, 70.0]}))["class"].tolist()
    ['small', 'large', 'uncertain']
    """
    from sklearn.linear_model import LogisticRegression

    given = features.to_numpy(np.float64)
    given = np.where(np.isfinite(given), given, np.nan)
    there = np.isfinite(given).any(axis=0)
    mean = np.where(there, np.nanmean(np.where(there, given, 0.0), axis=0), 0.0)
    scale = np.where(there, np.nanstd(np.where(there, given, 0.0), axis=0), 1.0)
    scale = np.where(scale > 0, scale, 1.0)
    standard = np.nan_to_num((given - mean) / scale, nan=0.0)
    model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000).fit(standard, np.array(classes, object))
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        coefficients, intercepts = np.vstack([0 * coefficients, coefficients]), np.r_[0.0, intercepts]
    names = [str(name) for name in model.classes_]
    return Classifier(
        tuple(names), tuple(channels), tuple(features.columns), tuple(mean.tolist()), tuple(scale.tolist()),
        tuple(map(tuple, coefficients.tolist())), tuple(intercepts.tolist()), margin,
        {name: int(np.count_nonzero(np.array(classes, object) == name)) for name in names},
    )  # fmt: skip


def read_classifier(path: Path) -> Classifier:
    """Read a classifier that `Classifier.write` wrote.

    Raises
    ------
    InputError
        No such file, or another content.
    """
    try:
        content = dict(read_json(path))
        if content.pop("kind") != _KIND or content.pop("version") != 1:
            raise ValueError("another kind of file")
        found = _from(content)
        n, k = len(found.features), len(found.classes)
        of_features = {len(found.mean), len(found.scale), *map(len, found.coefficients)}
        if k < 2 or of_features != {n} or {len(found.coefficients), len(found.intercepts)} != {k}:
            raise ValueError("coefficients of another number than its features and classes")
        if (
            not np.isfinite([*found.mean, *found.scale, *np.ravel(found.coefficients), *found.intercepts]).all()
            or 0 in found.scale
        ):
            raise ValueError("a number that is none")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file (expected a classifier). Check the path given with --classifier.") from None  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)[:120]
        raise InputError(f"{path}: not a classifier of cells ({what}; expected the classifier.json that classify writes). Train it again with --truth.") from None  # fmt: skip
    return found


def write_network_classes(path: Path, classes: Sequence[str], sha256: str) -> None:
    """Write that the network which finds the cells tells their class, too."""
    content = {"kind": _NETWORK, "version": 1, "classes": list(classes), "model_sha256": sha256}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def classes_of(path: Path) -> tuple[tuple[str, ...], str | None]:
    """Return the classes of a run, and the network's hash where it is the network that tells them.

    Raises
    ------
    InputError
        Not a file of classes.
    """
    try:
        content = read_json(path)
        if content.get("kind") == _NETWORK:
            return tuple(map(str, content["classes"])), str(content["model_sha256"])
    except (KeyError, TypeError, ValueError):
        pass  # said below
    return read_classifier(path).classes, None


def _from(content: Mapping[str, Any]) -> Classifier:
    def numbers(name: str) -> tuple[float, ...]:
        return tuple(map(float, content[name]))

    def names(name: str) -> tuple[str, ...]:
        return tuple(map(str, content[name]))

    return Classifier(
        names("classes"), names("channels"), names("features"), numbers("mean"), numbers("scale"),
        tuple(tuple(map(float, row)) for row in content["coefficients"]), numbers("intercepts"),
        float(content["margin"]), dict(content["n_cells"]), dict(content["training"]), dict(content["scores"]),
        {str(k): str(v) for k, v in dict(content["encoder"]).items()},
    )  # fmt: skip
