"""Functions of java.lang.StrictMath, bit for bit: the C library rounds the last bit otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from bridge.kernels import kernel

_HALF_PI = 1.5707963267948966
# Sun's fdlibm, s_atan.c: atan of 0.5, 1, 1.5 and infinity, as a double and what it lacks; the polynomial.
_AT = np.array([4.63647609000806093515e-01, 7.85398163397448278999e-01, 9.82793723247329054082e-01, _HALF_PI])
_AT_REST = np.array(
    [2.26987774529616870924e-17, 3.06161699786838301793e-17, 1.39033110312309984516e-17, 6.12323399573676603587e-17]
)
_POLYNOMIAL = (
    3.33333333333329318027e-01, -1.99999999998764832476e-01, 1.42857142725034663711e-01, -1.11111104054623557880e-01,
    9.09088713343650656196e-02, -7.69187620504482999495e-02, 6.66107313738753120669e-02, -5.83357013379057348645e-02,
    4.97687799461593236017e-02, -3.65315727442169155270e-02, 1.62858201153657823623e-02,
)  # fmt: skip


@kernel
def atan2(y: Any, x: Any) -> Any:
    """Return the angle of (x, y) for x of 0 or more, in radians, as fdlibm's e_atan2.c."""
    if y == 0:
        return y
    angle = _HALF_PI if x == 0 else _atan(abs(y / x))
    return -angle if y < 0 else angle


@kernel
def _atan(x: Any) -> Any:
    """Return the arc tangent of a number of 0 or more."""
    if x >= 2.0**66:
        return _AT[3] + _AT_REST[3]
    part = -1
    if x < 0.4375:
        if x < 2.0**-29:
            return x
    elif x < 0.6875:
        part, x = 0, (2.0 * x - 1.0) / (2.0 + x)
    elif x < 1.1875:
        part, x = 1, (x - 1.0) / (x + 1.0)
    elif x < 2.4375:
        part, x = 2, (x - 1.5) / (1.0 + 1.5 * x)
    else:
        part, x = 3, -1.0 / x
    p = _POLYNOMIAL
    z = x * x
    w = z * z
    odd = z * (p[0] + w * (p[2] + w * (p[4] + w * (p[6] + w * (p[8] + w * p[10])))))
    even = w * (p[1] + w * (p[3] + w * (p[5] + w * (p[7] + w * p[9]))))
    if part < 0:
        return x - x * (odd + even)
    return _AT[part] - ((x * (odd + even) - _AT_REST[part]) - x)
