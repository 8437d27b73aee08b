"""Verbs for models: evaluate, train, ablate, export-coco, import-coco."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter
from rich.console import Console

from bridge.cli.console import AS_IT_IS, OUT, complain, print_table, progress_bar, say
from bridge.cli.main import app
from bridge.cli.options import GENERAL, AcceptLabels, AllTrainSettings, OutFolder
from bridge.errors import InputError
from bridge.training_settings import TrainSettings

if TYPE_CHECKING:
    from bridge.training.cycle import Trained

_TRIED = Group("Settings tried on images (--sweep, --diameters)", sort_key=1)


@app.command(sort_key=12)
def evaluate(
    truth: Path,
    predicted: Annotated[tuple[Path, ...], Parameter(help="Label images, or folders of them; several side by side.")],
    /,
    *,
    out: OutFolder,
    only: Annotated[
        Path | None, Parameter(group=GENERAL, help="Text file with the names of the images that count.")
    ] = None,
    rule: Annotated[
        Literal["all", "neurips"],
        Parameter(group=GENERAL, help="neurips: cells at the border left out, large images in patches."),
    ] = "all",
    boundary: Annotated[
        float | None, Parameter(group=GENERAL, help="Also score the outlines, within so many px.")
    ] = None,
    sweep: Annotated[
        bool,
        Parameter(group=_TRIED, negative=(), help="PREDICTED is a folder of images: try thresholds on them."),
    ] = False,
    diameters: Annotated[
        bool,
        Parameter(group=_TRIED, negative=(), help="PREDICTED is a folder of images: try ways to find the diameter."),
    ] = False,
    model: Annotated[str | None, Parameter(group=_TRIED, help="As in run.")] = None,
    diameter: Annotated[
        float | Literal["auto", "style"] | None, Parameter(group=_TRIED, help="As in run, for --sweep.")
    ] = None,
    held_out: Annotated[
        tuple[str, ...],
        Parameter(
            group=_TRIED,
            negative=(),
            consume_multiple=True,
            help="Images that choose no threshold: names, a share, or 'none'.",
        ),
    ] = (),
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Parameter(group=_TRIED, help="As in run.")] = "auto",
    colour: Annotated[Literal["adaptive", "merged"] | None, Parameter(group=_TRIED, help="As in run.")] = None,
    channel: Annotated[str | None, Parameter(group=_TRIED, help="Channel of images with several.")] = None,
    channel_with: Annotated[
        tuple[str, ...],
        Parameter(group=_TRIED, negative=(), consume_multiple=True, help="Channels that the network sees with it."),
    ] = (),
    rgb_channel: Annotated[Literal["red", "green", "blue"] | None, Parameter(group=_TRIED, help="As in run.")] = None,
    tracks: Annotated[
        bool,
        Parameter(
            group=GENERAL, negative=(), help="Both are folders of the Cell Tracking Challenge: score the tracks."
        ),
    ] = False,
    ctc: Annotated[
        bool, Parameter(group=GENERAL, negative=(), help="With --tracks: the challenge's own measures, too.")
    ] = False,
    accept_labels: AcceptLabels = False,
) -> int:
    """Score predicted label images against ground truth, by cells and by pixels."""
    if truth.suffix.lower() == ".json":
        return _evaluate_coco(truth, predicted, out)
    if tracks or ctc:
        return _evaluate_tracks(truth, predicted, out, tracks, ctc)
    if sweep or diameters:
        if len(predicted) != 1 or (sweep and diameters):
            raise InputError(
                f"evaluate: one folder of images and one of --sweep and --diameters go together (got {len(predicted)} folders). Give: evaluate LABELS IMAGES --sweep"
            )
        _refuse("--sweep" if sweep else "--diameters", only=only, rule=rule != "all", boundary=boundary)
        if diameters:
            _refuse("--diameters", diameter=diameter, held_out=held_out)
        seen = {
            "device": device,
            "colour": colour,
            "channel": channel,
            "channel_with": channel_with,
            "rgb_channel": rgb_channel,
            "accept_labels": accept_labels,
        }
        return _try_settings(truth, predicted[0], out, sweep, model, diameter, held_out, seen)
    _refuse(
        "label images", model=model, diameter=diameter, held_out=held_out, device=device != "auto", colour=colour,
        channel=channel, channel_with=channel_with, rgb_channel=rgb_channel,
    )  # fmt: skip

    from bridge.evaluation.evaluate import evaluate as work

    found = work(truth, predicted, out, only, rule, boundary, accept_labels)
    for _, problem in found.failures:
        complain(problem)
    columns = ("prediction", "n_images", "n_true", "n_predicted", "merged", "split", "ap_50_mean", "ap_75_mean", "ap_90_mean", "f1_pooled", "pixel_dice_mean")  # fmt: skip
    print_table(found.sets, columns)
    if rule == "neurips":
        OUT.print("f1 by the rule of the NeurIPS 2022 challenge; everything else counts all cells")
    if found.sets["n_images"].nunique() > 1:
        OUT.print("not all predictions have all images: compare their means with --only the images they share")
    for path in found.files:
        OUT.print(str(path))
    return int(bool(found.failures))


def _evaluate_coco(truth: Path, predicted: tuple[Path, ...], out: Path) -> int:
    from bridge.evaluation.coco_scores import evaluate_coco

    if len(predicted) != 1:
        raise InputError(f"evaluate: one COCO json is compared with another (got {len(predicted)} predictions). Give: evaluate TRUTH.json PREDICTED.json")  # fmt: skip
    found = evaluate_coco(truth, predicted[0], out)
    print_table(found, tuple(found.columns))
    OUT.print(str(out / "coco_scores.csv"))
    return 0


def _evaluate_tracks(truth: Path, predicted: tuple[Path, ...], out: Path, tracks: bool, ctc: bool) -> int:
    from bridge.evaluation.track_scores import TRACK_SCORES, evaluate_tracks

    if len(predicted) != 1 or not tracks:
        raise InputError(f"evaluate: --tracks compares one folder with the truth (got {len(predicted)}). Give: evaluate TRUTH PREDICTED --tracks")  # fmt: skip
    found = evaluate_tracks(truth, predicted[0], out, ctc)
    shown = [c.name for c in TRACK_SCORES if found.table[c.name].notna().all()]
    print_table(found.table, shown)
    OUT.print(str(found.file))
    return 0


@app.command(sort_key=13)
def train(pairs: Path, *, out: OutFolder, settings: AllTrainSettings = TrainSettings()) -> int:
    """Fine-tune a model on corrected images, and show what it brought on images it has not seen."""
    if settings.kind == "mask-rcnn":
        from bridge.training.mask_rcnn import train_mask_rcnn

        made = train_mask_rcnn(pairs, out, settings, say)
        if made.scores is not None:
            print_table(made.scores, tuple(made.scores.columns))
        OUT.print(str(made.model))
        return 0
    from bridge.training.train import train as work

    with progress_bar() as progress:
        found = work(pairs, out, settings, progress, say)
    _show_before_after(found)
    return 0


@app.command(sort_key=14)
def export_coco(
    labels: Path,
    /,
    *,
    out: Annotated[Path, Parameter(group=GENERAL, help="The json file.")],
    category: Annotated[str, Parameter(group=GENERAL, help="What the cells are called.")] = "cell",
    images: Annotated[
        Path | None, Parameter(group=GENERAL, help="Folder of the images: their names are written.")
    ] = None,
    classes: Annotated[
        Path | None, Parameter(group=GENERAL, help="The folder classes of a run: each cell is of its class's category.")
    ] = None,
    accept_labels: AcceptLabels = False,
) -> int:
    """Write label images as a COCO json, pixel for pixel."""
    from bridge.evaluation.coco_folders import export_coco as work

    OUT.print(str(work(labels, out, category, images, accept_labels, classes)))
    return 0


@app.command(sort_key=15)
def import_coco(
    coco: Path,
    /,
    *,
    out: OutFolder,
    category: Annotated[str | None, Parameter(group=GENERAL, help="Only this category.")] = None,
) -> int:
    """Write the annotations of a COCO json as label images."""
    from bridge.evaluation.coco_folders import import_coco as work

    for path in work(coco, out, category):
        OUT.print(str(path))
    return 0


@app.command(sort_key=14)
def ablate(pairs: Path, *, out: OutFolder, settings: AllTrainSettings = TrainSettings()) -> int:
    """Show what fine-tuning, channels and diameter bring, each on the same held-out images."""
    from bridge.training.ablation import ablate as work

    print_table(work(pairs, out, settings, say), ("arm", "n_images", "n_true", "n_predicted", "ap_50", "ap_50_difference", "ap_75", "ap_90", "f1"))  # fmt: skip
    OUT.print(str(out / "ablation.csv"))
    return 0


def _refuse(with_what: str, **given: Any) -> None:
    for name, value in given.items():
        if value not in (None, False, ()):
            raise InputError(
                f"--{name.replace('_', '-')}: without effect here (got it with {with_what}). Leave it out."
            )


def _try_settings(
    labels: Path, images: Path, out: Path, sweep: bool, model: str | None, diameter: Any, held_out: tuple[str, ...],
    seen: dict[str, Any],
) -> int:  # fmt: skip
    import bridge.evaluation.sweep

    if sweep:
        swept = bridge.evaluation.sweep.sweep(images, out, labels, model, diameter, held_out, say=say, **seen)
        OUT.print(swept.said)
        for path in swept.files:
            OUT.print(str(path))
        return 0
    table = bridge.evaluation.sweep.compare_diameters(images, out, labels, model, say=say, **seen)
    means = table.groupby("way", sort=False)[
        ["true_diameter_px", "diameter_px", "ap_50", "ap_75", "ap_90", "f1"]
    ].mean()
    print_table(means.reset_index(), ("way", *means.columns))
    OUT.print(str(out / "diameters.csv"))
    return 0


def _show_before_after(found: Trained) -> None:
    from rich.table import Table

    table = Table(title="Base model -> trained model, mean over images", title_style="bold")
    for heading in ("images", "ROIs (truth)", "AP 0.5", "AP 0.75", "AP 0.9", "F1"):
        table.add_column(heading, justify="left" if heading == "images" else "right")

    def both(base: Any, tuned: Any, form: str) -> str:
        return (
            f"{tuned:{form}}"
            if base != base or base is None or str(base) == "<NA>"
            else f"{base:{form}} -> {tuned:{form}}"
        )

    for row in found.sets.to_dict("records"):
        rois = f"{both(row['n_base'], row['n_tuned'], 'd')} ({row['n_true']})"
        scores = (both(row[f"{key}_base"], row[f"{key}_tuned"], ".3f") for key in ("ap_50", "ap_75", "ap_90", "f1"))
        table.add_row(f"{row['n_images']} {row['set']}", rois, *scores)
    (OUT if OUT.is_terminal else Console(width=120, **AS_IT_IS)).print(table)
    for warning in found.warnings:
        say(f"Warning: {warning}")
    OUT.print(found.advice)
    OUT.print(f"Trained model: {found.model} (for --model of run)")
    OUT.print(f"Look at {found.model.parent / 'pictures'} and {found.model.parent / 'model_card.md'}")
