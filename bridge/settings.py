"""Every option of a run once: a field here is a TOML key, a command-line flag and a line in `run.json`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic.dataclasses import dataclass

from bridge.assay_settings import AssaySettings
from bridge.image_settings import ImageSettings
from bridge.measurements import DEFAULT_WORDS, IMAGEJ_ONLY, WORDS
from bridge.setting_options import (
    CELLPOSE,
    COUNT,
    FILTERS,
    MACHINE,
    MEASURE,
    PATHS,
    PLAN,
    SEGMENT,
    Option,
    options_of,
    split_words,
)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Settings(AssaySettings, ImageSettings):
    """Everything a run can be told.

    Examples
    --------
    >>> Settings(rolling_ball=25).rolling_ball
    25.0
    >>> Settings(measurements=["area,mean"]).measurements
    ('area', 'mean')
    """

    pattern: Annotated[
        str | None,
        Option(
            PLAN,
            "How file names are built, e.g. '{condition}/{replicate}_f{field}_{channel}.tif'. Literal text selects: "
            "files that do not match are listed as ignored. Default: a folder for each condition.",
        ),
    ] = None
    samples: Annotated[
        Path | None,
        Option(
            PLAN,
            "Sample sheet (CSV or XLSX): file, folder or well -> condition, replicate, sample, order; or plate-shaped tables.",
        ),
    ] = None
    samples_sheet: Annotated[str | None, Option(PLAN, "Sheet of the workbook given with --samples.")] = None
    segment: Annotated[
        str | None, Option(PLAN, "Channel (name or number) in which the cells are found. Default: phase contrast.")
    ] = None
    segment_with: Annotated[
        tuple[str, ...],
        Option(
            PLAN,
            "Further channels that the network sees with it: for Cellpose the nuclei.",
            many=True,
        ),
    ] = ()
    measure: Annotated[
        tuple[str, ...],
        Option(
            PLAN,
            "Channel or channels that are measured; 'none' for none. Default: EdU or BrdU.",
            many=True,
        ),
    ] = ()
    count: Annotated[
        str | None,
        Option(PLAN, "Channel in which nuclei are counted; 'none' for none. Default: TO-PRO-3, DAPI, Hoechst."),
    ] = None
    rgb_channel: Annotated[
        Literal["red", "green", "blue"] | None,
        Option(PLAN, "Which channel of a colour image holds the signal."),
    ] = None
    z: Annotated[
        str | None,
        Option(
            PLAN, "Of z stacks: the number of the slice that is taken, or ImageJ's projection max, mean, sum or min."
        ),
    ] = None
    layout: Annotated[
        str | None,
        Option(
            PLAN,
            "How a microscope named the files (see the documentation); 'none': do not look. Default: found by itself.",
        ),
    ] = None
    allow_missing: Annotated[bool, Option(PLAN, "Run although conditions or lines of the sheet have no field.")] = False

    colour: Annotated[
        Literal["adaptive", "merged"] | None,
        Option(
            SEGMENT,
            "What the network sees of colour images. adaptive: green as the cell, blue as the nucleus. merged: the same "
            "with red added to both, halved. Default: one channel.",
        ),
    ] = None
    model: Annotated[
        str | None,
        Option(
            SEGMENT,
            "Cellpose model: a built-in name, the path of a fine-tuned one, or cyto_0. "
            "Default: cyto3 (with Cellpose 4 and a GPU: cpsam_v2).",
        ),
    ] = None
    diameter: Annotated[
        float | Literal["auto", "style"] | None,
        Option(
            SEGMENT,
            "Cell diameter in px; 'auto': run, take the median found, run again; 'style': the same after a first "
            "estimate by the model's size model. Default: the model's own.",
        ),
    ] = None
    flow_threshold: Annotated[
        float, Field(ge=0), Option(CELLPOSE, "Largest flow error a cell may have; 0 keeps all.")
    ] = 0.4
    cellprob_threshold: Annotated[float, Option(CELLPOSE, "Lower it to find more and larger cells.")] = 0.0
    min_size: Annotated[int, Field(ge=0), Option(CELLPOSE, "Cells of fewer px are removed.")] = 15
    border: Annotated[Literal["keep", "drop"], Option(CELLPOSE, "Keep or drop cells that touch the image border.")] = (
        "keep"
    )
    inference: Annotated[
        Literal["auto", "torch", "openvino", "compile"],
        Option(
            CELLPOSE,
            "What computes Cellpose. auto: on a processor OpenVINO for Cellpose 3 where it can, at the same masks. compile: torch.compile.",
        ),
    ] = "auto"
    precision: Annotated[
        Literal["exact", "fast"],
        Option(
            CELLPOSE,
            "exact: the masks of Cellpose itself. fast: bfloat16 where the processor has it; some cells differ.",
        ),
    ] = "exact"
    masks: Annotated[
        Path | None,
        Option(SEGMENT, "Folder of label images (_mask, _masks, _cp_masks, _seg.npy) to use instead of Cellpose."),
    ] = None
    normalise: Annotated[str, Option(SEGMENT, "Percentiles of the image that become 0 and 1 for the network.")] = "1,99"
    normalise_tile: Annotated[
        int, Field(ge=0), Option(SEGMENT, "Take the percentiles of blocks of this side in px; 0: of the whole image.")
    ] = 0
    invert: Annotated[bool, Option(SEGMENT, "Show the network dark cells on a bright ground as bright ones.")] = False
    accept_labels: Annotated[
        bool,
        Option(
            SEGMENT,
            "Take label images that do not look like any: one id in several places, ids in many places, a numbered background.",
        ),
    ] = False

    max_size: Annotated[int | None, Field(ge=1), Option(FILTERS, "Largest cell in px.")] = None
    min_circularity: Annotated[
        float | None, Field(ge=0, le=1), Option(FILTERS, "Least circularity (ImageJ's: 4 pi area / perimeter^2).")
    ] = None
    min_mean: Annotated[
        float | None, Option(FILTERS, "Least mean grey level in the image in which the cells are found.")
    ] = None
    regions: Annotated[
        Path | None,
        Option(
            FILTERS,
            "ROI file for all fields, or a folder with one for each (FIELD_RoiSet.zip or .roi): cells outside are not counted.",
        ),
    ] = None

    count_model: Annotated[
        str | None, Option(COUNT, "Cellpose model for the count channel. Default: nuclei (Cellpose 4: as --model).")
    ] = None
    count_diameter: Annotated[
        float | Literal["auto", "style"] | None, Option(COUNT, "Diameter of a nucleus in px, 'auto' or 'style'.")
    ] = None

    rolling_ball: Annotated[
        float | Literal["none"],
        Option(MEASURE, "Radius in px of ImageJ's Subtract Background; 'none' leaves the image as it is."),
    ] = 50.0
    light_background: Annotated[bool, Option(MEASURE, "The background is brighter than the cells.")] = False
    sliding_paraboloid: Annotated[bool, Option(MEASURE, "Sliding paraboloid instead of the rolling ball.")] = False
    disable_smoothing: Annotated[bool, Option(MEASURE, "No 3 x 3 smoothing before the ball is rolled.")] = False
    create_background: Annotated[
        bool, Option(MEASURE, "Measure the background itself (ImageJ: 'Create background (don't subtract)').")
    ] = False
    measurements: Annotated[
        tuple[str, ...],
        Option(
            MEASURE,
            f"What ImageJ measures, in its own words: {', '.join(WORDS)}. Default: {', '.join(DEFAULT_WORDS)}.",
            many=True,
        ),
    ] = DEFAULT_WORDS
    decimals: Annotated[int, Field(ge=0, le=9), Option(MEASURE, "Decimal places in Results files.")] = 3
    pixel_size: Annotated[
        float | None, Field(gt=0), Option(MEASURE, "Pixel size in um, instead of what the files say.")
    ] = None
    ring: Annotated[
        int | None,
        Field(ge=1),
        Option(MEASURE, "Also measure a ring of this width in px around each nucleus, within its cell (cytoplasm)."),
    ] = None
    engine: Annotated[
        Literal["both", "fiji", "native"],
        Option(
            MEASURE,
            "Who does the arithmetic: ImageJ (fiji), the same arithmetic without Java (native), or both, compared to the last bit.",
        ),
    ] = "both"
    fiji: Annotated[
        str,
        Option(
            MEASURE,
            "Where ImageJ comes from: core (ImageJ 1.54p from Maven Central), the path of a Fiji folder, "
            "or group:artifact:version.",
        ),
    ] = "core"
    save_subtracted: Annotated[bool, Option(MEASURE, "Keep the background-subtracted images.")] = False

    pictures: Annotated[
        Literal["all", "sample", "none"] | None,
        Option(
            MACHINE,
            "Of which fields overlays are drawn: all, sample (5 of each condition) or none. Default: all, above 1,000 fields a sample.",
        ),
    ] = None
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Option(MACHINE, "Where Cellpose runs.")] = "auto"
    keep_network: Annotated[
        bool, Option(MACHINE, "Keep what the network says: other thresholds need no second look.")
    ] = False
    batch_size: Annotated[int, Field(ge=1), Option(MACHINE, "Tiles that go through the network at once.")] = 8
    tile: Annotated[
        int,
        Field(ge=512),
        Option(CELLPOSE, "Images with a longer side (px) are segmented in overlapping tiles of this size."),
    ] = 4096
    java: Annotated[
        Path | None,
        Option(MACHINE, "JAVA_HOME to run ImageJ in. Default: Fiji's own, else the one installed with this program."),
    ] = None
    java_memory: Annotated[str, Field(pattern=r"^\d+[mgMG]$"), Option(MACHINE, "Memory for ImageJ, e.g. 4g.")] = "4g"
    timeout: Annotated[float, Field(gt=0), Option(MACHINE, "Seconds after which ImageJ times out.")] = 300.0

    @field_validator("measurements", "measure", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return split_words(value)

    @field_validator("measurements")
    @classmethod
    def _known_measurements(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [word for word in value if word not in WORDS]
        if unknown:
            raise ValueError(f"unknown measurement (got {unknown[0]}, expected {', '.join(WORDS)})")
        if "area" not in value:
            raise ValueError("area cannot be left out: it is what proves that ImageJ's cell is the label's")
        return tuple(word for word in WORDS if word in value)

    @model_validator(mode="after")
    def _measured_by_imagej_alone(self) -> Self:
        alone = [word for word in self.measurements if word in IMAGEJ_ONLY]
        if alone and self.engine != "fiji":
            raise ValueError(
                f"measurements: {', '.join(alone)}: measured by ImageJ only (got engine {self.engine}, expected fiji); give --engine fiji with it"
            )
        return self

    @model_validator(mode="after")
    def _paraboloid_needs_imagej(self) -> Self:
        if self.sliding_paraboloid and self.engine != "fiji" and self.rolling_ball != "none":
            raise ValueError(
                f"sliding-paraboloid: the sliding paraboloid is computed by ImageJ only (got engine {self.engine}, expected fiji); give --engine fiji with it"
            )
        return self

    @property
    def filters_cells(self) -> bool:
        """Whether some of the cells may be left out."""
        return any(getattr(self, name) is not None for name in self.in_groups(FILTERS))

    @property
    def nuclei_model(self) -> str | None:
        """The model of the count channel; where one network was chosen for everything, it; None for Cellpose's `nuclei`."""
        return self.count_model or (self.model if self.model in ("demo", "cyto_0") else None)

    @property
    def percentiles(self) -> tuple[float, float]:
        """The percentiles of `normalise`."""
        low, high = self.normalise.split(",")
        return float(low), float(high)

    @field_validator("normalise", mode="after")
    @classmethod
    def _rising_percentiles(cls, value: str) -> str:
        try:
            low, high = map(float, value.split(","))
        except ValueError:
            low = high = 0.0
        if not 0 <= low < high <= 100:
            raise ValueError(f"not two rising percentiles (got {value}, expected e.g. 1,99)")
        return value

    @field_validator("rolling_ball", mode="after")
    @classmethod
    def _positive_radius(cls, value: float | str) -> float | str:
        if isinstance(value, float) and not value > 0:
            raise ValueError(f"the radius must be positive (got {value})")
        return value

    @field_validator("diameter", "count_diameter", mode="after")
    @classmethod
    def _positive_diameter(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, float) and not value > 0:
            raise ValueError(f"the diameter must be positive (got {value})")
        return value

    def as_json(self) -> dict[str, Any]:
        """Return the settings as plain data, as they stand in `run.json`."""
        plain: dict[str, Any] = TypeAdapter(Settings).dump_python(self, mode="json")
        return plain

    def in_groups(self, *groups: str, paths: bool = True) -> dict[str, Any]:
        """Return the settings of these groups (see `GROUPS`), as plain data.

        Parameters
        ----------
        *groups : str
        paths : bool
            False leaves out `PATHS`: elsewhere the same file has another path, so its hash counts.
        """
        plain = self.as_json()
        return {
            name: plain[name] for name, group in _groups().items() if group in groups and (paths or name not in PATHS)
        }


@lru_cache(maxsize=1)
def _groups() -> dict[str, str]:
    return {name: option.group for name, option in options_of(Settings).items()}
