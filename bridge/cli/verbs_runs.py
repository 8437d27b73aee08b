"""Verbs for whole experiments: demo, plan, run."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console

from bridge.cli.console import AS_IT_IS, OUT, complain, progress_bar, say
from bridge.cli.main import app
from bridge.cli.options import GENERAL, AllSettings, OutFolder
from bridge.errors import InputError
from bridge.names import number
from bridge.settings import Settings

if TYPE_CHECKING:
    from bridge.experiment.fields import Plan
    from bridge.pipeline.run import Report


@app.command(sort_key=1)
def demo(out: OutFolder = Path("cellpose-fiji-demo")) -> int:
    """Six synthetic conditions with known truth, and a control without EdU, end to end."""
    from bridge.demo import NO_EDU, run_demo

    with progress_bar() as progress:
        report, comparisons = run_demo(out, progress, say)
    from rich.table import Table

    table = Table(
        title="True and measured",
        caption=f"EdU in grey levels, after ImageJ's rolling ball; positive: nuclei above the 99th percentile of {NO_EDU}, net of its 1 %",
        title_style="bold",
    )
    for heading in ("condition", "cells", "found", "mean EdU", "signal alone", "contrast", "EdU-positive", ""):
        table.add_column(heading, justify="left" if heading == "condition" else "right", no_wrap=True)
    for c in comparisons:
        table.add_row(
            c.condition, f"{c.true_cells} | {c.measured_cells}", f"{c.found / c.true_cells:.1%}", f"{c.true_mean:.1f} | {c.measured_mean:.1f}",
            f"{c.signal_mean:.1f}", f"{c.true_contrast:.0f} | {c.measured_contrast:.0f}", f"{c.true_share:.1%} | {c.measured_share:.1%}",
            "ok" if c.passed else "OFF",
        )  # fmt: skip
    console = OUT if OUT.width >= 110 else Console(width=110, **AS_IT_IS)
    console.print(table)
    _report(report)
    return report.exit_code or int(not all(c.passed for c in comparisons))


@app.command(sort_key=2)
def plan(
    images: Path,
    *,
    check_pixels: Annotated[
        bool, Parameter(group=GENERAL, negative=(), help="Decode every image, too, and look for copies.")
    ] = False,
    template: Annotated[
        Path | None, Parameter(group=GENERAL, help="Write a plate map of the wells found (XLSX), to be filled in.")
    ] = None,
    write_settings: Annotated[
        Path | None, Parameter(group=GENERAL, help="Write the settings, channels among them, as a TOML file.")
    ] = None,
    estimate: Annotated[
        bool, Parameter(group=GENERAL, negative=(), help="Do four fields in a temporary folder: hours and disk of all.")
    ] = False,
    slurm: Annotated[
        int | None,
        Parameter(
            group=GENERAL, help="Print a job script for SLURM: an array of so many parts of the run. Wants --out."
        ),
    ] = None,
    out: Annotated[Path | None, Parameter(group=GENERAL, help="The results folder, for --slurm.")] = None,
    settings: AllSettings = Settings(),
) -> int:
    """What would run: every field, gap, duplicate and mismatch. No work is done."""
    from bridge.pipeline.verbs import plan as work

    found = work(images, settings, check_pixels, template, write_settings)
    if slurm is not None:
        if out is None or slurm < 1:
            raise InputError(f"--slurm: wants a number of parts and the results folder (got {slurm}, {out}, expected e.g. --slurm 20 --out results). Give both.")  # fmt: skip
        from bridge.pipeline.batch_script import slurm_script

        sys.stdout.write(slurm_script(images, out, settings, slurm))
        return 0
    _show_plan(found)
    if estimate:
        from bridge.pipeline.estimate import estimate as measured

        OUT.print(f"{number(len(found.fields), 'field')}: {measured(found, settings)}")
    if template is not None:
        OUT.print(f"Fill in {template}, then: --samples {template}")
    if write_settings is not None:
        OUT.print(f"The settings are in {write_settings}: cellpose-fiji run --settings {write_settings} --out RESULTS")
    return 1 if found.problems or found.missing else 0


@app.command(sort_key=2.5)
def preview(
    images: Path,
    *,
    out: Annotated[Path, Parameter(group=GENERAL, help="The picture (PNG).")] = Path("preview.png"),
    field: Annotated[str | None, Parameter(group=GENERAL, help="Which field. Default: one in the middle.")] = None,
    diameters: Annotated[
        list[str] | None,
        Parameter(group=GENERAL, consume_multiple=True, negative=(), help="In px; own: the model's, auto: as found."),
    ] = None,
    models: Annotated[
        list[str] | None, Parameter(group=GENERAL, consume_multiple=True, negative=(), help="As --model, several.")
    ] = None,
    cellprob_thresholds: Annotated[
        list[float] | None,
        Parameter(group=GENERAL, consume_multiple=True, negative=(), help="As --cellprob-threshold, several."),
    ] = None,
    nuclei: Annotated[bool, Parameter(group=GENERAL, negative=(), help="Look at the nuclei, not the cells.")] = False,
    settings: AllSettings = Settings(),
) -> int:
    """A first look before the long run: one field with several models and diameters, side by side in one picture."""
    from bridge.pipeline.preview import preview as work

    found = work(images, out, field, diameters or (), models or (), cellprob_thresholds or (), nuclei, settings, say)
    OUT.print(f"{found.field_id}: look at {found.picture}, then give what fits to run with --model and --diameter")
    return 0


@app.command(sort_key=3)
def run(
    images: Path,
    *,
    out: OutFolder,
    update: Annotated[
        bool, Parameter(group=GENERAL, negative=(), help="Run again what depends on changed settings or inputs.")
    ] = False,
    check: Annotated[
        bool,
        Parameter(
            group=GENERAL,
            negative=(),
            help="Hash every file again, also those whose size, time and inode are as before.",
        ),
    ] = False,
    shard: Annotated[
        str | None,
        Parameter(
            group=GENERAL, help="One part of the fields, e.g. 3/8; the parts may run at the same time. Then: merge."
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        Parameter(
            group=GENERAL,
            help="Dask: local:4 (processes), the address of a scheduler, or a file on SLURM (docs/cluster.md).",
        ),
    ] = None,
    settings: AllSettings = Settings(),
) -> int:
    """The whole pipeline: images in, tables and figures out."""
    import bridge.pipeline.run

    with contextlib.ExitStack() as stack:
        client = None
        if cluster is not None:
            from bridge.pipeline.cluster import connected

            client = stack.enter_context(connected(cluster, say))
        progress = stack.enter_context(progress_bar())
        if shard is not None:
            from bridge.pipeline.shards import run_shard

            report = run_shard(images, out, shard, settings, update, progress, say, check, client)
        else:
            report = bridge.pipeline.run.run(images, out, settings, update, progress, say, check, client)
    if shard is not None:
        for failure in report.failures:
            complain(f"[{failure.step}] {failure.message}")
        OUT.print(
            f"Part {shard}: {number(report.done, 'field')} done, {len(report.failures)} failed; when all parts are: cellpose-fiji merge {out}"
        )
        return report.exit_code
    _report(report)
    return report.exit_code


@app.command(sort_key=3.5)
def merge(results: Path) -> int:
    """Put the parts of a run (--shard) together: tables, figures and the page."""
    from bridge.pipeline.shards import merge as work

    with progress_bar() as progress:
        report = work(results, progress, say)
    _report(report)
    return report.exit_code


@app.command(sort_key=3.6)
def clean(
    results: Path,
    *,
    yes: Annotated[bool, Parameter(group=GENERAL, negative=(), help="Do it; else only say how much it is.")] = False,
) -> int:
    """Free the space of what a finished run can make again: overlays, pictures, subtracted images, what networks said."""
    from bridge.pipeline.clean import clean as work

    freed = work(results, yes)
    for item in freed:
        OUT.print(f"{item.size / 1e6:10.1f} MB  {number(item.files, 'file'):>12}  {item.what}")
    total = sum(item.size for item in freed) / 1e6
    OUT.print(
        f"{total:10.1f} MB {'were freed; the command of the run makes again what it draws' if yes else 'can be freed: give --yes'}"
    )
    return 0


_MOST_SHOWN = 500  # fields of a plan


def _show_plan(found: Plan) -> None:
    from rich.table import Table

    channels = [
        c for c in (found.segment_channel, *found.segment_with, *found.measure_channels, found.count_channel) if c
    ]
    table = Table(
        title=f"{number(len(found.fields), 'field')} in {number(len(found.conditions), 'condition')}",
        title_style="bold",
    )
    for heading in ("field", "condition", "replicate", "sample", *channels, "size (px)", "type", "um/px"):
        table.add_column(heading, overflow="fold")
    for item in found.fields[:_MOST_SHOWN]:
        files = [item.segment] if found.segment_channel else []
        files += (item.segment.also if item.segment else ()) or [None] * len(found.segment_with)
        files += [item.measure.get(c) for c in found.measure_channels]
        files += [item.count] if found.count_channel else []
        names = [f.name if f else "missing" for f in files]
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
    console = OUT if OUT.is_terminal else Console(width=200, **AS_IT_IS)
    console.print(table)
    if len(found.fields) > _MOST_SHOWN:
        OUT.print(
            f"... and {number(len(found.fields) - _MOST_SHOWN, 'more field')}: the run writes all of them to fields.csv"
        )
    beside = f", which the network sees with {', '.join(found.segment_with)}" if found.segment_with else ""
    roles = [f"cells in {found.segment_channel}{beside}" if found.segment_channel else "cells from label images"]
    roles.append(
        f"measured: {', '.join(found.measure_channels)}"
        if found.measure_channels
        else "nothing is measured (name a channel with --measure)"
    )
    roles.append(f"nuclei counted in {found.count_channel}" if found.count_channel else "no nuclei counted")
    OUT.print("; ".join(roles))
    if found.layout:
        OUT.print(f"Files are named as {found.layout} names them (--layout none reads the names otherwise)")
    if found.ignored:
        OUT.print(f"{number(len(found.ignored), 'file')} ignored:")
        for why, n in found.ignored_by_reason.items():
            names = [
                str(path.relative_to(found.images) if path.is_relative_to(found.images) else path)
                for path, reason in found.ignored
                if reason == why
            ]
            OUT.print(f"  {n} {why}: {', '.join(names[:4])}{' ...' if n > 4 else ''}")
    for warning in found.warnings:
        OUT.print(f"Warning: {warning}")
    problems = [*found.missing, *(problem for _, problem in found.problems)]
    if problems:
        OUT.print(f"{number(len(problems), 'problem')}:")
        for problem in problems:
            OUT.print(f"  {problem}")
    else:
        OUT.print("No problem found.")


def _report(report: Report) -> None:
    if report.plan.ignored:
        reasons = "; ".join(f"{n} {why}" for why, n in report.plan.ignored_by_reason.items())
        say(f"{number(len(report.plan.ignored), 'file')} of {report.plan.images} ignored: {reasons}")
    for warning in report.warnings:
        say(f"Warning: {warning}")
    for failure in report.failures:
        complain(f"[{failure.step}] {failure.message}")
    OUT.print(
        f"{report.done} of {number(len(report.plan.fields), 'field')} done, {number(report.n_cells, 'cell')}. Results in {report.out}",
    )
    if report.diameters:
        OUT.print(report.diameters)
    if report.failures:
        OUT.print(f"What failed is listed in {report.out / 'failures.csv'}")
    figures = sorted(
        (report.out / "figures").glob("*.png"),
        key=lambda path: (not path.stem.endswith("_positive"), not path.stem.endswith("_Mean"), path.stem),
    )
    there = [
        path for path in (report.out / "overlays", report.out / "conditions" / "all_conditions.xlsx") if path.exists()
    ]
    page = [report.out / "report.html"] if (report.out / "report.html").is_file() else []
    if report.done and (shown := [*page, *figures[:1], *there]):
        *others, last = map(str, shown)
        listed = ", ".join(others)
        OUT.print(f"Look at {listed}{' and ' if others else ''}{last}")
