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
    chosen, share = _resolved(held_out, names)
    out += [name for name in chosen if name not in out]
    if share:
        wanted = max(1, round(share * len(names)))
        out += [name for name in _shuffled(names) if name not in out][: max(0, wanted - len(out))]
    left = [name for name in names if name not in out]
    seen: dict[str, str] = {}
    for name in (*out, *left):
        other = seen.setdefault(pixels[name], name)
        if other != name and (name in out) != (other in out):
            raise InputError(
                f"{name} and {other}: the same pixels (got one for training and one held out, expected different images). Remove one: a model that has seen an image cannot be judged by it."
            )
        if other != name:
            raise InputError(f"{other} and {name}: the same pixels (got one image twice, expected each once). Remove one.")  # fmt: skip
    if not left:
        raise InputError(
            f"{names[0]}: held out, as are all the others (got {len(names)} images, expected some that are not). Hold fewer out, or take others: those that an earlier training held out stay so."
        )
    n = min(max(1, round(validation * len(left))), len(left) - 1) if validation and len(left) >= FEW else 0
    judges = _shuffled(left)[:n]
    order = [name for name in names if name in out]
    return Split(
        tuple(name for name in left if name not in judges), tuple(sorted(judges, key=names.index)), tuple(order)
    )


def _resolved(held_out: Sequence[str], names: Sequence[str]) -> tuple[list[str], float]:
    """Return the names that are meant, and the share. A name may hold a comma, or look like a number."""
    if not held_out:
        return [], 0.2 if len(names) >= FEW else 0.0
    if len(held_out) == 1 and held_out[0] not in names:
        try:
            share = float(held_out[0])
        except ValueError:
            pass
        else:
            if not 0 < share < 1:
                raise InputError(f"--held-out {held_out[0]}: not a share, and no image of this name (got {held_out[0]}, expected more than 0 and less than 1). Correct it.")  # fmt: skip
            return [], share
    chosen: list[str] = []
    for word in held_out:
        parts = [word] if word in names else [part.strip() for part in word.split(",") if part.strip()]
        for part in parts:
            if part in names:
                chosen.append(part)
            elif part != "none":
                raise InputError(f"--held-out {part}: no image of this name (got {part}, expected one of {', '.join(names)}). Correct it.")  # fmt: skip
    return list(dict.fromkeys(chosen)), 0.0


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
