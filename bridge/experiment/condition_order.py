"""The order of conditions: as asked, the control first, doses by their amount."""

from __future__ import annotations

import re
from collections.abc import Sequence

from natsort import natsort_keygen, ns

from bridge.errors import InputError
from bridge.names import one_spelling

_CONTROLS = ("dmso", "control", "ctrl", "vehicle", "untreated", "mock")
_PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_DOSE = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:[.,]\d+)?)[ _]?([fpnuµmk]?)(M|g/m[lL]|g|Gy|J|U|L|l)(?![A-Za-z0-9])")
_natural = natsort_keygen(alg=ns.IGNORECASE | ns.FLOAT)


def ordered(conditions: Sequence[str], first: Sequence[str], control: str | None) -> list[str]:
    """Return conditions in the order of figures and tables.

    Parameters
    ----------
    conditions : sequence of str
    first : sequence of str
        Those that were put in order by hand.
    control : str or None
        Comes first where it was not put elsewhere.

    Returns
    -------
    list of str
        Those of `first`, the control, then the others by name, amounts of one substance by their value.

    Examples
    --------
    >>> ordered(["Drug 1 µM", "Drug 0.5 µM", "DMSO", "Drug 50 nM"], [], "DMSO")
    ['DMSO', 'Drug 50 nM', 'Drug 0.5 µM', 'Drug 1 µM']
    """
    known = list(first)
    if control is not None and control not in known:
        known.insert(0, control)
    return known + sorted((name for name in conditions if name not in known), key=_key)


def _key(condition: str) -> tuple[object, float, object]:
    amounts = _DOSE.findall(one_spelling(condition))
    if len(amounts) != 1:
        return _natural(condition), 0.0, ""
    number, prefix, _ = amounts[0]
    return _natural(_DOSE.sub(" ", one_spelling(condition))), float(number.replace(",", ".")) * _PREFIXES[prefix], ""


def control_of(conditions: Sequence[str], named: str | None, edu_control: str | None = None) -> str | None:
    """Return the condition that the others are compared with.

    Parameters
    ----------
    conditions : sequence of str
    named : str or None
        By the user.
    edu_control : str or None
        The control of the gate, which is no treatment.

    Returns
    -------
    str or None
        None where no name says it, or several do.

    Raises
    ------
    InputError
        The named one is not there.

    Examples
    --------
    >>> control_of(["Drug", "DMSO 0.1 %"], None), control_of(["DMSO", "vehicle"], None)
    ('DMSO 0.1 %', None)
    """
    if named is not None:
        return require_condition(conditions, named, "--control")
    found = [
        name for name in conditions if name != edu_control and set(re.split(r"[^a-z]+", name.lower())) & set(_CONTROLS)
    ]
    exact = [name for name in found if name.lower() in _CONTROLS]
    return found[0] if len(found) == 1 else exact[0] if len(exact) == 1 else None


def require_condition(conditions: Sequence[str], name: str, flag: str) -> str:
    """Return the condition of this name, however it is spelt.

    Raises
    ------
    InputError
        There is none.
    """
    same = [condition for condition in conditions if one_spelling(condition) == one_spelling(name)]
    if not same:
        listed = ", ".join(conditions[:8]) + (" ..." if len(conditions) > 8 else "")
        raise InputError(f"{flag} {name}: no such condition (got {listed}). Give the name of one of them.")
    return same[0]
