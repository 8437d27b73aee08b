"""The options for images that were not taken as they should have been: uneven light, a shift between channels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from bridge.setting_options import MEASURE, Option


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ImageSettings:
    """What is done to measured images before their background is subtracted; nothing, unless it is asked for.

    Examples
    --------
    >>> ImageSettings(shift=["EdU=3,-2"]).shifts
    {'EdU': (3, -2)}
    """

    flat_field: Annotated[
        Path | None,
        Option(
            MEASURE,
            "Measured images are divided by it (its mean made 1): a TIFF, or a folder with CHANNEL.tif; cellpose-fiji "
            "flat-field estimates one.",
        ),
    ] = None
    shift: Annotated[
        tuple[str, ...],
        Option(
            MEASURE,
            "Measured images are moved, e.g. EdU=3,-2: px to the right and downwards, onto the image of the cells.",
            many=True,
        ),
    ] = ()

    @field_validator("shift")
    @classmethod
    def _whole_pixels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                _shift(text)
            except ValueError as error:
                raise ValueError(f"not a shift in whole px (got {text}, expected e.g. EdU=3,-2)") from error
        return value

    @property
    def shifts(self) -> dict[str, tuple[int, int]]:
        """Px to the right and downwards, by channel."""
        return dict(map(_shift, self.shift))


def _shift(text: str) -> tuple[str, tuple[int, int]]:
    channel, _, numbers = text.rpartition("=")
    x, y = map(int, numbers.split(","))
    if not channel:
        raise ValueError(text)
    return channel, (x, y)
