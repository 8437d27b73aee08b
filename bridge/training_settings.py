"""Every option of a training once: a field here is a command-line flag and a line in `training.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, field_validator
from pydantic.dataclasses import dataclass

from bridge.setting_options import MACHINE, PAIRS, RECIPE, SCORES, TRAIN, Option


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TrainSettings:
    """Everything a training can be told; what is None is the preset's.

    Examples
    --------
    >>> TrainSettings(preset="challenge", held_out=["f7", "f8"]).held_out
    ('f7', 'f8')
    """

    base: Annotated[
        str | None,
        Option(
            TRAIN,
            "Model that is trained further: as --model of run; 'none' begins from nothing. Default: cyto3; a Mask R-CNN begins from nothing.",
        ),
    ] = None
    kind: Annotated[
        Literal["cellpose", "mask-rcnn"],
        Option(
            TRAIN,
            "mask-rcnn: cells and their class at once, from a COCO json in place of PAIRS. See docs/classes.md on when it is worth it.",
        ),
    ] = "cellpose"
    images: Annotated[
        Path | None,
        Option(PAIRS, "Mask R-CNN: folder of the images that the COCO json names. Default: the json's own."),
    ] = None
    preset: Annotated[
        Literal["fine-tune", "challenge"],
        Option(
            TRAIN,
            "fine-tune: a few images, 100 epochs at 0.1. challenge: many images, 300 epochs at 0.001, warmed up and halved.",
        ),
    ] = "fine-tune"
    labels: Annotated[
        Path | None, Option(PAIRS, "Folder of the label images, named as the images. Default: beside them.")
    ] = None
    segment: Annotated[str | None, Option(PAIRS, "Channel (name or number) of images with several.")] = None
    segment_with: Annotated[
        tuple[str, ...],
        Option(PAIRS, "Further channels that the network sees with it: for Cellpose the nuclei.", many=True),
    ] = ()
    rgb_channel: Annotated[
        Literal["red", "green", "blue"] | None, Option(PAIRS, "Which channel of a colour image shows the cells.")
    ] = None
    colour: Annotated[
        Literal["adaptive", "merged"] | None, Option(PAIRS, "What the network sees of colour images: as in run.")
    ] = None
    accept_labels: Annotated[
        bool, Option(PAIRS, "Take label images that do not look like any: as in run.", switch=True)
    ] = False
    held_out: Annotated[
        tuple[str, ...],
        Option(
            PAIRS,
            "Images that are never trained on: their names, a share such as 0.2, or 'none'. Default: 0.2 of six and more images.",
            many=True,
        ),
    ] = ()
    leave_one_out: Annotated[
        bool,
        Option(
            PAIRS,
            "Also train once without each image and score it there: for few images. All epochs are trained; no image chooses one.",
            switch=True,
        ),
    ] = False
    validation: Annotated[
        float,
        Field(ge=0, lt=1),
        Option(PAIRS, "Share of the training images that chooses the best epoch; from six training images on."),
    ] = 0.2

    epochs: Annotated[int | None, Field(ge=1), Option(RECIPE, "Epochs.")] = None
    learning_rate: Annotated[float | None, Field(gt=0), Option(RECIPE, "Largest learning rate.")] = None
    weight_decay: Annotated[float | None, Field(ge=0), Option(RECIPE, "Weight decay.")] = None
    optimizer: Annotated[
        Literal["sgd", "nesterov", "adamw"] | None, Option(RECIPE, "SGD with momentum 0.9, with Nesterov's, or AdamW.")
    ] = None
    batch_size: Annotated[int | None, Field(ge=1), Option(RECIPE, "Crops in the network at once.")] = None
    crop: Annotated[int | None, Field(ge=64, multiple_of=8), Option(RECIPE, "Side of a crop in px.")] = None
    crops: Annotated[int | None, Field(ge=1), Option(RECIPE, "Crops in an epoch.")] = None
    rescale: Annotated[
        bool | None, Option(RECIPE, "Scale the images so that their cells have the network's mean diameter.")
    ] = None
    scale_range: Annotated[float, Field(ge=0, le=2), Option(RECIPE, "Range of the random scaling of crops.")] = 0.5
    check_every: Annotated[int, Field(ge=1), Option(RECIPE, "Epochs between two looks at the accuracy.")] = 10
    size: Annotated[
        bool,
        Option(TRAIN, "Also train a size model, which --diameter style uses.", switch=True),
    ] = False
    features: Annotated[
        int, Field(ge=2), Option(RECIPE, "Features of a network that begins from nothing (Cellpose's own: 32).")
    ] = 32
    seed: Annotated[int, Field(ge=0), Option(RECIPE, "For the random crops; the same seed, the same model.")] = 0

    precision: Annotated[
        Literal["exact", "fast"],
        Option(
            RECIPE,
            "fast: bfloat16 where the device has it, two to three times sooner on such a processor; another model, as good on average.",
        ),
    ] = "exact"

    flow_threshold: Annotated[float, Field(ge=0), Option(SCORES, "As in run.")] = 0.4
    cellprob_threshold: Annotated[float, Field(allow_inf_nan=False), Option(SCORES, "As in run.")] = 0.0
    min_size: Annotated[int, Field(ge=0), Option(SCORES, "As in run.")] = 15
    base_diameter: Annotated[
        float | None,
        Field(gt=0),
        Option(SCORES, "Diameter in px for the base model. Default: the cells' median in the training images."),
    ] = None
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Option(MACHINE, "Where Cellpose runs.")] = "auto"

    @field_validator("held_out", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def as_json(self) -> dict[str, Any]:
        """Return the settings as plain data, as they stand in `training.json`."""
        plain: dict[str, Any] = TypeAdapter(TrainSettings).dump_python(self, mode="json")
        return plain
