"""Which images are trained on, which choose the epoch, which are never seen; and what a difference over few images says."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bridge.errors import InputError

FEW = 6  # fewer images than this leave nothing to choose an epoch by, and no interval


@dataclass(frozen=True)
class Split:
    """What each image is for; whole images, never parts of one.

    Attributes
    ----------
    train, validation, held_out : tuple of str
        Names of the images that the network learns from, that choose the best epoch, and that are never seen.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    held_out: tuple[str, ...]


def split(
    pixels: Mapping[str, str],
    held_out: Sequence[str] = (),
    validation: float = 0.2,
    held_out_before: Collection[str] = (),
) -> Split:
    """Decide, before anything is trained, what each image is for.

    Parameters
    ----------
    pixels : dict of str to str
        Name of each image, and a hash of its pixels.
    held_out : sequence of str
        Names, or one share, or "none". Nothing: a fifth of six and more images, else none.
    validation : float
        Share of the training images, if they are six or more.
    held_out_before : collection of str
        Hashes of pixels that earlier cycles held out: they stay so.

    Raises
    ------
    InputError
        No such image, nothing left to train on, or the same pixels on both sides.

    Examples
    --------
    >>> split({"a": "1", "b": "2", "c": "3"}, ["b"])
    Split(train=('a', 'c'), validation=(), held_out=('b',))
    """
    names = list(pixels)
    out = [name for name in names if pixels[name] in held_out_before]
    share = _share(held_out, names)
    if share is None:
        unknown = [name for name in held_out if name not in pixels and name != "none"]
        if unknown:
            raise InputError(f"--held-out {unknown[0]}: no image of this name (got {unknown[0]}, expected one of {', '.join(names)}). Correct it.")  # fmt: skip
        out += [name for name in held_out if name != "none" and name not in out]
    elif share:
        wanted = max(1, round(share * len(names)))
        out += [name for name in _shuffled(names) if name not in out][: max(0, wanted - len(out))]
    left = [name for name in names if name not in out]
    for name in left:
        for other in out:
            if pixels[name] == pixels[other]:
                raise InputError(
                    f"{name} and {other}: the same pixels (got one for training and one held out, expected different images). Remove one: a model that has seen an image cannot be judged by it."
                )
    if not left:
        raise InputError("--held-out: no image is left to train on (got all of them held out). Hold fewer out.")
    n = max(1, round(validation * len(left))) if validation and len(left) >= FEW else 0
    chosen = _shuffled(left)[:n]
    order = [name for name in names if name in out]
    return Split(
        tuple(name for name in left if name not in chosen), tuple(sorted(chosen, key=names.index)), tuple(order)
    )


def _share(held_out: Sequence[str], names: Sequence[str]) -> float | None:
    if not held_out:
        return 0.2 if len(names) >= FEW else 0.0
    if len(held_out) == 1 and held_out[0] not in names:
        try:
            return float(held_out[0])
        except ValueError:
            return None
    return None


def _shuffled(names: Sequence[str]) -> list[str]:
    # By a hash of the name: the same choice on every machine, and mostly the same when images are added.
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def difference_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean difference over images; NaN for fewer than six images.

    Examples
    --------
    >>> difference_interval([0.1, 0.2])
    (nan, nan)
    >>> low, high = difference_interval([0.1, 0.2, 0.3, 0.1, 0.2, 0.3])
    >>> 0.1 < low < 0.2 < high < 0.3
    True
    """
    if len(differences) < FEW:
        return float("nan"), float("nan")
    from scipy.stats import bootstrap

    values = np.asarray(differences, np.float64)
    found = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return float(found.low), float(found.high)
