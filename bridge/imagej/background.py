"""The options of ImageJ's Subtract Background."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.errors import InputError


@dataclass(frozen=True)
class Background:
    """ImageJ's Subtract Background, with every option explicit.

    Attributes
    ----------
    radius : float
        In px.
    light_background, sliding_paraboloid, disable_smoothing, create_background : bool
        ImageJ's own options.
    """

    radius: float = 50.0
    light_background: bool = False
    sliding_paraboloid: bool = False
    disable_smoothing: bool = False
    create_background: bool = False


FIFTY_PX = Background()


def shrink_factor(radius: float) -> int:
    """Return by how much ImageJ shrinks an image before it rolls a ball of this radius (px).

    Source: ij.plugin.filter.RollingBall of ImageJ 1.54p.
    """
    return 1 if radius <= 10 else 2 if radius <= 30 else 4 if radius <= 100 else 8


def require_rollable(shape: tuple[int, int], radius: float, name: str) -> None:
    """Refuse an image in which ImageJ's rolling ball has no defined answer.

    Raises
    ------
    InputError
        A side not larger than the shrink factor.
    """
    least = shrink_factor(radius) + 1
    if min(shape) < least:
        raise InputError(
            f"{name}: too small for a rolling ball of radius {radius:g} px (got {shape[0]} x {shape[1]} px, expected sides of at "
            f"least {least} px). Use a smaller radius, or --rolling-ball none."
        )
