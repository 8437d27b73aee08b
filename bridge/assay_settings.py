"""The options of the assay: who is positive, what is compared with what, in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from bridge.setting_options import ASSAY, Option, split_words


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AssaySettings:
    """What makes cells positive, and conditions comparable.

    Examples
    --------
    >>> AssaySettings(positive=["EdU,pH3"], edu_threshold=["EdU=300"]).thresholds("EdU")
    {'EdU': 300.0}
    >>> AssaySettings(edu_threshold=["250"]).thresholds("EdU")
    {'EdU': 250.0}
    """

    positive: Annotated[
        tuple[str, ...],
        Option(
            ASSAY, "Measured channels that have a gate; 'none' for none. Default: the first measured one.", many=True
        ),
    ] = ()
    edu_control: Annotated[
        str | None, Option(ASSAY, "Condition without EdU or without the click reaction: the gate is its percentile.")
    ] = None
    gate_percentile: Annotated[
        float, Field(gt=50, lt=100), Option(ASSAY, "Percentile of that control, in each replicate on its own.")
    ] = 99.0
    edu_threshold: Annotated[
        tuple[str, ...],
        Option(ASSAY, "Gate by hand, a grey level: 300, or EdU=300 pH3=120 for several channels.", many=True),
    ] = ()
    gate_measure: Annotated[
        Literal["Mean", "Median", "IntDen", "RawIntDen", "Max"],
        Option(ASSAY, "What of a nucleus or cell the gate is for."),
    ] = "Mean"
    control: Annotated[
        str | None,
        Option(
            ASSAY, "Condition that the others are compared with. Default: DMSO, control, vehicle, untreated or mock."
        ),
    ] = None
    order: Annotated[
        tuple[str, ...], Option(ASSAY, "Conditions in their order; those not named follow.", many=True)
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Option(
            ASSAY,
            "Fields that are left out of every table and figure: FIELD_ID ..., or a file that lists them.",
            many=True,
        ),
    ] = ()
    cell_table: Annotated[
        Literal["auto", "csv", "parquet"],
        Option(
            ASSAY,
            "Tables of single cells and nuclei: cells.csv, or a folder cells.parquet with a part for each condition. auto: the folder above 1,048,575 rows, which is what a sheet of Excel holds.",
        ),
    ] = "auto"

    @field_validator("exclude")
    @classmethod
    def _from_any_folder(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(path.resolve()) if (path := Path(name)).suffix and path.is_file() else name for name in value)

    @field_validator("positive", "edu_threshold", mode="before")
    @classmethod
    def _split_lists(cls, value: object) -> object:
        return split_words(value)

    @field_validator("edu_threshold")
    @classmethod
    def _numbers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                float(text.rpartition("=")[2])
            except ValueError as error:
                raise ValueError(f"not a grey level (got {text}, expected e.g. 300 or EdU=300)") from error
        if len(value) > 1 and not all("=" in text for text in value):
            raise ValueError("several gates need their channels (expected e.g. EdU=300 pH3=120)")
        return value

    def thresholds(self, first: str) -> dict[str, float]:
        """Return the gates given by hand, by channel; one without a channel is that of the first."""
        parts = [text.rpartition("=") for text in self.edu_threshold]
        return {channel or first: float(number) for channel, _, number in parts}
