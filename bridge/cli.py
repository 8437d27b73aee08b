"""The command line: verbs in the order of the workflow. It knows every room and holds no logic."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import App, Group, Parameter
from pydantic import ValidationError
from rich.console import Console

from bridge.errors import BridgeError, InputError
from bridge.pipeline.status import Status, interruptible
from bridge.settings import Settings, TrainSettings, read_settings_file, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.experiment.fields import Plan
    from bridge.pipeline.progress import Progress
    from bridge.pipeline.run import Report
    from bridge.training.cycle import Trained

# Names are shown as they are: rich would read [EdU] as a style and :fiji: as a flag.
_AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
_out = Console(soft_wrap=True, **_AS_IT_IS)
_err = Console(stderr=True, soft_wrap=True, **_AS_IT_IS)
_GENERAL = Group("General", sort_key=0)
_TRIED = Group("Settings tried on images (--sweep, --diameters)", sort_key=1)
_AllSettings = Annotated[Settings, Parameter(name="*")]
_AllTrainSettings = Annotated[TrainSettings, Parameter(name="*")]
_Debug = Annotated[bool, Parameter(group=_GENERAL, negative=(), help="Show where an error came from.")]
_SettingsFile = Annotated[
    Path | None,
    Parameter(
        group=_GENERAL,
        name="--settings",
        help="Settings file (TOML), or the run.json of an earlier run; flags go before it.",
    ),
]
_watched: ContextVar[Status | None] = ContextVar("watched", default=None)
_Out = Annotated[Path, Parameter(group=_GENERAL, help="Results folder.")]

app = App(
    name="cellpose-fiji",
    help="Cellpose masks to exact ImageJ ROI sets, measured by headless Fiji, per treatment condition.",
    help_format="plaintext",
    version=lambda: importlib.metadata.version("cellpose-fiji-bridge"),
    suppress_keyboard_interrupt=False,
)


@app.meta.default
def _meta(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    settings: _SettingsFile = None,
    status: Annotated[
        Path | None,
        Parameter(
            group=_GENERAL,
            help="Keep this file up to date with how far the command is; a file FILE.cancel beside it stops the command.",
        ),
    ] = None,
    debug: _Debug = False,
) -> int:
    if status is None:
        return _answer(tokens, settings, debug)
    try:
        with Status(status) as seen:
            before = _watched.set(seen)
            try:
                code = _answer(tokens, settings, debug)
            finally:
                _watched.reset(before)
            seen.tell(state={0: "done", 1: "failed", 130: "stopped"}.get(code, "error"))
    except BridgeError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:  # asked to stop when all was done
        return 130
    return code


def _answer(tokens: Sequence[str], settings: Path | None, debug: bool) -> int:
    if debug:
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
        for noisy in ("matplotlib", "numba", "PIL", "jgo", "urllib3", "cellpose"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        if settings is not None:
            tokens = [*tokens, *_tokens_of(settings, tokens)]
        with interruptible():
            result = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        cause = error.__cause__ or error.__context__
        _complain(
            str(refusal(cause, "command line")) if isinstance(cause, ValidationError) else " ".join(str(error).split())
        )
        return 2
    except BridgeError as error:
        _complain(str(error))
        if debug:
            _err.print(traceback.format_exc())
        return error.exit_code
    except Exception as error:
        _complain(
            f"{type(error).__name__}: {error}. This is a fault of the program: please report it (--debug shows where)."
        )
        if debug:
            _err.print(traceback.format_exc())
        return 1
    except KeyboardInterrupt:
        _complain("stopped; what is done is kept, and the same command goes on from there")
        return 130
    return result if isinstance(result, int) else 0


def _tokens_of(path: Path, given: Sequence[str]) -> list[str]:
    """Return what a settings file says as flags, without those that are given on the command line."""
    values = read_settings_file(path)
    known = {field.name for field in dataclasses.fields(Settings)} | {"images", "out"}
    for name in values:
        if name not in known:
            raise InputError(
                f"{path}: unknown setting (got {name}, expected one of {', '.join(sorted(known))}). Correct the name."
            )
    flags = {token.partition("=")[0].replace("-no-", "-", 1) for token in given if token.startswith("--")}
    if given[:1] not in (("plan",), ("run",)) or _names_images(given):
        values.pop("images", None)
    tokens: list[str] = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if flag in flags or value is None:
            continue
        if isinstance(value, bool):
            tokens.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            for item in value if isinstance(value, list) else [value]:
                tokens.append(f"{flag}={item}")
    return tokens


def _names_images(given: Sequence[str]) -> bool:
    needs_out = given[0] == "run" and not any(token.startswith("--out") for token in given)
    try:
        app.parse_args([*given, *(["--out=."] if needs_out else [])], exit_on_error=False, print_error=False)
    except cyclopts.MissingArgumentError:
        return False
    except cyclopts.CycloptsError:
        pass  # said again when the command is run
    return True


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 fields failed, 2 usage or input, 3 environment."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that this console has no letters for
    sys.exit(app.meta(sys.argv[1:] if words is None else words))


def _complain(text: str) -> None:
    _err.print(
        text if text.startswith("stopped") else f"Error: {text}",
        style="bold red" if _err.is_terminal else None,
    )
    if (seen := _watched.get()) is not None and "message" not in seen.facts:
        seen.tell(message=text)


def _note(**facts: str) -> None:
    """Put facts into the status file, where one is kept."""
    if (seen := _watched.get()) is not None:
        seen.tell(**facts)


def _say(text: str) -> None:
    _err.print(text)


# ---------------------------------------------------------------- verbs


@app.command(sort_key=1)
def demo(out: _Out = Path("cellpose-fiji-demo")) -> int:
    """Six synthetic conditions with known truth, end to end."""
    from bridge.demo import GATE, run_demo

    with _progress() as progress:
        report, comparisons = run_demo(out, progress, _say)
    from rich.table import Table

    table = Table(
        title="True and measured",
        caption=f"EdU in grey levels, after ImageJ's rolling ball; gate {GATE:g}",
        title_style="bold",
    )
    for heading in ("condition", "cells", "found", "mean EdU", "signal alone", "contrast", "share above gate", ""):
        table.add_column(heading, justify="left" if heading == "condition" else "right", no_wrap=True)
    for c in comparisons:
        table.add_row(
            c.condition, f"{c.true_cells} | {c.measured_cells}", f"{c.found / c.true_cells:.1%}", f"{c.true_mean:.1f} | {c.measured_mean:.1f}",
            f"{c.signal_mean:.1f}", f"{c.true_contrast:.0f} | {c.measured_contrast:.0f}", f"{c.true_share:.1%} | {c.measured_share:.1%}",
            "ok" if c.passed else "OFF",
        )  # fmt: skip
    console = _out if _out.width >= 110 else Console(width=110, **_AS_IT_IS)
    console.print(table)
    _report(report)
    return report.exit_code or int(not all(c.passed for c in comparisons))


@app.command(sort_key=2)
def plan(images: Path, *, settings: _AllSettings = Settings()) -> int:
    """What would run: every field, gap, duplicate and mismatch. No work is done."""
    from bridge.pipeline.preflight import make_plan

    found = make_plan(images, settings)
    _show_plan(found)
    return 1 if found.problems else 0


@app.command(sort_key=3)
def run(
    images: Path,
    *,
    out: _Out,
    update: Annotated[
        bool, Parameter(group=_GENERAL, negative=(), help="Run again what depends on changed settings or inputs.")
    ] = False,
    settings: _AllSettings = Settings(),
) -> int:
    """The whole way: images in, tables and figures out."""
    import bridge.pipeline.run

    with _progress() as progress:
        report = bridge.pipeline.run.run(images, out, settings, update, progress, _say)
    _report(report)
    return report.exit_code


@app.command(sort_key=4)
def segment(
    *images: Path,
    out: _Out,
    channel: Annotated[str | None, Parameter(group=_GENERAL, help="Channel of files with several.")] = None,
    settings: _AllSettings = Settings(),
) -> int:
    """Find the cells of single images: IMAGE -> IMAGE_mask.tif."""
    from bridge.pipeline.verbs import segment as work

    return _each(images, lambda path: work(path, out, settings, channel))


@app.command(sort_key=5)
def rois(*masks: Path, out: _Out) -> int:
    """Make the ROI sets of label images: NAME_mask.tif -> NAME_RoiSet.zip."""
    from bridge.pipeline.verbs import trace

    _say_if_compiling()
    return _each(masks, lambda path: trace(path, out))


@app.command(sort_key=6)
def labels(
    *roisets: Path,
    like: Annotated[Path, Parameter(group=_GENERAL, help="The image the ROI sets belong to: gives size and scale.")],
    out: _Out,
) -> int:
    """Make the label images of ROI sets, also of those drawn in Fiji: NAME_RoiSet.zip -> NAME_mask.tif."""
    from bridge.pipeline.verbs import rasterize

    _say_if_compiling()
    return _each(roisets, lambda path: rasterize(path, like, out))


@app.command(sort_key=7)
def compare(before: Path, after: Path, /) -> int:
    """Which cells of two ROI sets differ, and by how many pixels."""
    from bridge.pipeline.verbs import compare as work

    _say_if_compiling()
    rows = work(before, after)
    different = [row for row in rows if row.different_px]
    if different:
        from rich.table import Table

        table = Table(before.name, after.name, "px", "px", "different px", "IoU")
        for column in table.columns[2:]:
            column.justify = "right"
        for row in different:
            cells = (row.before or "-", row.after or "-", row.before_px, row.after_px, row.different_px)
            table.add_row(*map(str, cells), f"{row.iou:.3f}")
        (_out if _out.is_terminal else Console(width=200, **_AS_IT_IS)).print(table)
    _out.print(
        f"{_number(len(rows) - len(different), 'cell')} equal, {len(different)} different ({sum(row.different_px for row in different)} px)"
    )
    return 0


@app.command(sort_key=8)
def measure(
    image: Path,
    cells: Path,
    /,
    *,
    out: _Out,
    overlay_tiff: Annotated[
        bool,
        Parameter(
            group=_GENERAL, negative=(), help="Also write the image with the ROIs as its overlay, for headless macros."
        ),
    ] = False,
    channel: Annotated[str | None, Parameter(group=_GENERAL, help="Channel of a file with several.")] = None,
    settings: _AllSettings = Settings(),
) -> int:
    """Measure one image as ImageJ does: IMAGE and CELLS (ROI set or label image) -> IMAGE_Results.csv."""
    from bridge.pipeline.verbs import measure as work

    _say_if_compiling()
    return _each([image], lambda path: work(path, cells, out, settings, channel, overlay_tiff))


@app.command(sort_key=9)
def summarize(results: Path, /) -> int:
    """Make the tables of a run's folder again."""
    from bridge.pipeline.verbs import summarize as work

    _out.print(f"{len(work(results))} cells in {results / 'conditions'}")
    return 0


@app.command(sort_key=10)
def plot(results: Path, /) -> int:
    """Draw the figures of a run's folder again."""
    from bridge.pipeline.verbs import plot as work

    for path in work(results):
        _out.print(str(path))
    return 0


@app.command(sort_key=11)
def correct(
    results: Path,
    /,
    *,
    field: Annotated[
        list[str] | None, Parameter(group=_GENERAL, help="Field to correct; several, or all if none is named.")
    ] = None,
    hide_condition: Annotated[
        bool, Parameter(group=_GENERAL, negative=(), help="Name the files so that they do not tell the condition.")
    ] = False,
    tool: Annotated[
        Literal["fiji", "cellpose"], Parameter(name="--for", group=_GENERAL, help="Where the cells are corrected.")
    ] = "fiji",
    collect: Annotated[
        bool,
        Parameter(group=_GENERAL, negative=(), help="Turn what was corrected into label images and list the changes."),
    ] = False,
    fields: Annotated[
        bool, Parameter(name="--list", group=_GENERAL, negative=(), help="List the fields that can be corrected.")
    ] = False,
) -> int:
    """Correct the cells of a run's fields by hand: write what is edited, then --collect it."""
    import bridge.pipeline.corrections

    _say_if_compiling()
    if fields:
        finished, left = bridge.pipeline.corrections.fields_of(results)
        _note(fields="\n".join(finished), left="\n".join(left))
        for name in finished:
            _out.print(f"{name}{'' if name in left else ' (begun)'}")
        return 0
    if not collect:
        for path in bridge.pipeline.corrections.correct(results, field or (), hide_condition, tool):
            _note(path=str(path))
            _out.print(str(path))
        return 0
    found = bridge.pipeline.corrections.collect(results)
    for _, problem in found.failures:
        _complain(problem)
    for path in found.masks.values():
        _out.print(str(path))
    counts = found.changes["change"].value_counts()
    said = ", ".join(f"{n} {change}" for change, n in counts.items()) or "nothing changed"
    said = f"{_number(len(found.masks), 'field')} corrected: {said}. See {results / 'corrections.csv'}"
    _note(said=said)
    _out.print(said)
    return int(bool(found.failures))


@app.command(sort_key=12)
def evaluate(
    truth: Path,
    predicted: Annotated[tuple[Path, ...], Parameter(help="Label images, or folders of them; several side by side.")],
    /,
    *,
    out: _Out,
    only: Annotated[
        Path | None, Parameter(group=_GENERAL, help="Text file with the names of the images that count.")
    ] = None,
    rule: Annotated[
        Literal["all", "neurips"],
        Parameter(group=_GENERAL, help="neurips: cells at the border left out, large images in patches."),
    ] = "all",
    boundary: Annotated[
        float | None, Parameter(group=_GENERAL, help="Also score the outlines, within so many px.")
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
    rgb_channel: Annotated[Literal["red", "green", "blue"] | None, Parameter(group=_TRIED, help="As in run.")] = None,
) -> int:
    """Score predicted label images against ground truth, by cells and by pixels."""
    if sweep or diameters:
        if len(predicted) != 1 or (sweep and diameters):
            raise InputError(
                f"evaluate: one folder of images and one of --sweep and --diameters go together (got {len(predicted)} folders). Give: evaluate LABELS IMAGES --sweep"
            )
        _refuse("--sweep" if sweep else "--diameters", only=only, rule=rule != "all", boundary=boundary)
        if diameters:
            _refuse("--diameters", diameter=diameter, held_out=held_out)
        seen = {"device": device, "colour": colour, "channel": channel, "rgb_channel": rgb_channel}
        return _try_settings(truth, predicted[0], out, sweep, model, diameter, held_out, seen)
    _refuse(
        "label images", model=model, diameter=diameter, held_out=held_out, device=device != "auto", colour=colour,
        channel=channel, rgb_channel=rgb_channel,
    )  # fmt: skip

    from bridge.evaluation.evaluate import evaluate as work

    found = work(truth, predicted, out, only, rule, boundary)
    for _, problem in found.failures:
        _complain(problem)
    columns = ("prediction", "n_images", "n_true", "n_predicted", "merged", "split", "ap_50_mean", "ap_75_mean", "ap_90_mean", "f1_pooled", "pixel_dice_mean")  # fmt: skip
    _print_table(found.sets, columns)
    if rule == "neurips":
        _out.print("f1 by the rule of the NeurIPS 2022 challenge; everything else counts all cells")
    if found.sets["n_images"].nunique() > 1:
        _out.print("not all predictions have all images: compare their means with --only the images they share")
    for path in found.files:
        _out.print(str(path))
    return int(bool(found.failures))


@app.command(sort_key=13)
def train(pairs: Path, *, out: _Out, settings: _AllTrainSettings = TrainSettings()) -> int:
    """Fine-tune a model on corrected images, and show what it brought on images it has not seen."""
    from bridge.training.cycle import train as work

    with _progress() as progress:
        found = work(pairs, out, settings, progress, _say)
    _show_before_after(found)
    return 0


@app.command(sort_key=14)
def export_coco(
    labels: Path,
    /,
    *,
    out: Annotated[Path, Parameter(group=_GENERAL, help="The json file.")],
    category: Annotated[str, Parameter(group=_GENERAL, help="What the cells are called.")] = "cell",
    images: Annotated[
        Path | None, Parameter(group=_GENERAL, help="Folder of the images: their names are written.")
    ] = None,
) -> int:
    """Write label images as a COCO json, pixel for pixel."""
    from bridge.evaluation.coco_folders import export_coco as work

    _out.print(str(work(labels, out, category, images)))
    return 0


@app.command(sort_key=15)
def import_coco(
    coco: Path,
    /,
    *,
    out: _Out,
    category: Annotated[str | None, Parameter(group=_GENERAL, help="Only this category.")] = None,
) -> int:
    """Write the annotations of a COCO json as label images."""
    from bridge.evaluation.coco_folders import import_coco as work

    for path in work(coco, out, category):
        _out.print(str(path))
    return 0


@app.command(sort_key=14)
def ablate(pairs: Path, *, out: _Out, settings: _AllTrainSettings = TrainSettings()) -> int:
    """Show what fine-tuning, channels and diameter bring, each on the same held-out images."""
    from bridge.training.ablation import ablate as work

    _print_table(work(pairs, out, settings, _say), ("arm", "n_images", "n_true", "n_predicted", "ap_50", "ap_50_difference", "ap_75", "ap_90", "f1"))  # fmt: skip
    _out.print(str(out / "ablation.csv"))
    return 0


_macros = App(name="macros", sort_key=16, help="The macros for Fiji's menu: Plugins > Cellpose Fiji Bridge.")
app.command(_macros)
_Fiji = Annotated[Path, Parameter(group=_GENERAL, help="Folder of a Fiji, or of an ImageJ.")]


@_macros.command
def install(*, fiji: _Fiji) -> int:
    """Put the macros into Fiji's menu; they remember this program."""
    import bridge.fiji_menu

    folder = bridge.fiji_menu.install(fiji)
    _out.print(
        f"{len(bridge.fiji_menu.macro_files())} macros are in {folder}; start Fiji again to see them in its menu"
    )
    return 0


@_macros.command
def uninstall(*, fiji: _Fiji) -> int:
    """Take the macros out of Fiji's menu."""
    import bridge.fiji_menu

    folder = bridge.fiji_menu.uninstall(fiji)
    _out.print(f"The macros were taken out of {folder}")
    return 0


@app.command(sort_key=17)
def doctor(
    fiji: Annotated[str, Parameter(group=_GENERAL, help="As in run.")] = "core",
    java: Annotated[Path | None, Parameter(group=_GENERAL, help="As in run.")] = None,
) -> int:
    """What this machine has, and the one command that mends what is missing."""
    from bridge.doctor import checkup

    facts = checkup(fiji, java)
    width = max(len(fact.what) for fact in facts)
    for fact in facts:
        _out.print(f"{'  ' if not fact.advice else '! '}{fact.what:<{width}}  {fact.found}")
        if fact.advice:
            _out.print(f"  {'':<{width}}  -> {fact.advice}")
    bad = [fact for fact in facts if fact.advice]
    _out.print(
        "Everything is there." if not bad else f"{len(bad)} thing{'s' if len(bad) > 1 else ''} to mend.", markup=False
    )
    return 3 if bad else 0


# ---------------------------------------------------------------- what people see


def _say_if_compiling() -> None:
    from bridge.rois.trace import COMPILING, compiled

    if not compiled():
        _say(COMPILING)


def _each(paths: Sequence[Path], work: Callable[[Path], Path]) -> int:
    worst = 0
    for path in paths:
        try:
            _out.print(str(work(path)))
        except BridgeError as error:
            if len(paths) == 1 or error.exit_code == 3:
                raise
            _complain(str(error))
            worst = 1
    return worst


def _show_plan(found: Plan) -> None:
    from rich.table import Table

    channels = [c for c in (found.segment_channel, *found.measure_channels, found.count_channel) if c]
    table = Table(
        title=f"{_number(len(found.fields), 'field')} in {_number(len(found.conditions), 'condition')}",
        title_style="bold",
    )
    for heading in ("field", "condition", "replicate", "sample", *channels, "size (px)", "type", "um/px"):
        table.add_column(heading, overflow="fold")
    for item in found.fields:
        files = [item.segment] if found.segment_channel else []
        files += [item.measure.get(c) for c in found.measure_channels]
        files += [item.count] if found.count_channel else []
        names = [f"{f.path.name}{f' [{f.channel}]' if f.channel else ''}" if f else "missing" for f in files]
        size = f"{item.height_px} x {item.width_px}" if item.height_px else "?"
        scale = f"{item.pixel_size_um:g}" if item.pixel_size_um else "-"
        table.add_row(
            item.field_id,
            item.condition,
            item.replicate or "-",
            item.sample or "-",
            *names,
            size,
            item.dtype or "?",
            scale,
        )
    console = _out if _out.is_terminal else Console(width=200, **_AS_IT_IS)
    console.print(table)
    roles = [f"cells in {found.segment_channel}" if found.segment_channel else "cells from label images"]
    roles.append(
        f"measured: {', '.join(found.measure_channels)}"
        if found.measure_channels
        else "nothing is measured (name a channel with --measure)"
    )
    roles.append(f"nuclei counted in {found.count_channel}" if found.count_channel else "no nuclei counted")
    _out.print("; ".join(roles))
    if found.ignored:
        _out.print(f"{_number(len(found.ignored), 'file')} ignored:")
        for path, why in found.ignored[:20]:
            name = path.relative_to(found.images) if path.is_relative_to(found.images) else path
            _out.print(f"  {name}: {why}")
        if len(found.ignored) > 20:
            _out.print(f"  and {len(found.ignored) - 20} more")
    for warning in found.warnings:
        _out.print(f"Note: {warning}")
    if found.problems:
        _out.print(f"{_number(len(found.problems), 'problem')}:")
        for _, problem in found.problems:
            _out.print(f"  {problem}")
    else:
        _out.print("No problem found.")


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
        swept = bridge.evaluation.sweep.sweep(images, out, labels, model, diameter, held_out, say=_say, **seen)
        _out.print(swept.said)
        for path in swept.files:
            _out.print(str(path))
        return 0
    table = bridge.evaluation.sweep.compare_diameters(images, out, labels, model, say=_say, **seen)
    means = table.groupby("way", sort=False)[
        ["true_diameter_px", "diameter_px", "ap_50", "ap_75", "ap_90", "f1"]
    ].mean()
    _print_table(means.reset_index(), ("way", *means.columns))
    _out.print(str(out / "diameters.csv"))
    return 0


def _print_table(rows: Any, columns: Sequence[str]) -> None:
    from rich.table import Table

    table = Table()
    for k, name in enumerate(columns):
        table.add_column(name.replace("_", " "), justify="right" if k else "left")
    for row in rows[list(columns)].itertuples(index=False):
        cells = (
            "-" if isinstance(v, float) and v != v else f"{v:.3f}" if isinstance(v, float) else str(v) for v in row
        )
        table.add_row(*cells)
    (_out if _out.is_terminal else Console(width=140, **_AS_IT_IS)).print(table)


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
    (_out if _out.is_terminal else Console(width=120, **_AS_IT_IS)).print(table)
    for note in found.notes:
        _say(f"Note: {note}")
    _out.print(found.advice)
    _out.print(f"Trained model: {found.model} (for --model of run)")
    _out.print(f"Look at {found.model.parent / 'pictures'} and {found.model.parent / 'model_card.md'}")


def _number(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def _report(report: Report) -> None:
    for warning in report.warnings:
        _say(f"Note: {warning}")
    for failure in report.failures:
        _complain(f"[{failure.step}] {failure.message}")
    _out.print(
        f"{report.done} of {_number(len(report.plan.fields), 'field')} done, {_number(report.n_cells, 'cell')}. Results in {report.out}",
    )
    if report.failures:
        _out.print(f"What failed is listed in {report.out / 'failures.csv'}")
    figures = sorted(
        (report.out / "figures").glob("*.png"), key=lambda path: (not path.stem.endswith("_Mean"), path.stem)
    )
    if figures:
        _out.print(
            f"Look at {figures[0]}, {report.out / 'overlays'} and {report.out / 'conditions' / 'all_conditions.xlsx'}",
        )


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None] | None]:
    """A bar with time left on a terminal, a status file where one is asked for; silence elsewhere."""
    if (seen := _watched.get()) is not None:
        yield lambda p: seen.tell(done=str(p.done), failed=str(p.failed), total=str(p.total), now=p.now)
        return
    if not _err.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=_err, transient=True) as bar:
        task = bar.add_task("starting", total=None, failed="")

        def show(p: Progress) -> None:
            failed = f"{p.failed} failed" if p.failed else ""
            bar.update(
                task, description=p.now[-36:].ljust(36), completed=p.done + p.failed, total=p.total, failed=failed
            )

        yield show
