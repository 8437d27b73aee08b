"""The verb classify: a class for every cell of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bridge.cli.console import OUT, complain, note, print_table, progress_bar, say
from bridge.cli.main import app
from bridge.cli.options import GENERAL
from bridge.names import number


@app.command(sort_key=11)
def classify(
    results: Path,
    /,
    *,
    truth: Annotated[
        Path | None,
        Parameter(
            group=GENERAL,
            help="What persons said: a CSV (field_id, label, class; or field_id, class; or condition, class), or a folder of ROI sets. Default: the column cell_type of the sample sheet.",
        ),
    ] = None,
    classifier: Annotated[
        Path | None, Parameter(group=GENERAL, help="A classifier.json that was trained before, in place of --truth.")
    ] = None,
    channels: Annotated[
        list[str] | None,
        Parameter(
            group=GENERAL,
            consume_multiple=True,
            negative=(),
            help="Channels whose light tells the classes. Default: the one in which cells were found, and the nuclei's.",
        ),
    ] = None,
    groups: Annotated[
        list[str] | None,
        Parameter(group=GENERAL, consume_multiple=True, negative=(), help="Names of ImageJ's groups 1, 2, ..."),
    ] = None,
    margin: Annotated[
        float,
        Parameter(group=GENERAL, help="Cells whose two most probable classes are nearer than this are uncertain."),
    ] = 0.2,
    undo: Annotated[bool, Parameter(group=GENERAL, negative=(), help="Take the classes out again.")] = False,
) -> int:
    """Give every cell of a run a class: trained on labelled cells, validated on fields held out."""
    from bridge.pipeline import classify as work

    if undo:
        with progress_bar() as progress:
            report = work.unclassify(results, progress, say)
        text = f"Classes taken out; tables and figures are in {results}"
        for failure in report.failures:
            complain(f"[{failure.step}] {failure.message}")
        note(classes=text)
        OUT.print(text)
        return report.exit_code
    with progress_bar() as progress:
        found = work.classify(results, truth, classifier, channels or (), groups or (), margin, progress, say)
    for failure in found.report.failures:
        complain(f"[{failure.step}] {failure.message}")
    if found.validation is not None:
        print_table(found.validation.scores, ("validation", "class", "n_cells", "n_uncertain", "recall", "precision"))
    for warning in found.warnings:
        say(f"Warning: {warning}")
    text = f"{number(found.report.n_cells, 'cell')} with a class. Look at {results / 'figures' / 'classes.png'}, {results / 'classes'} and the column class of cells.csv"
    note(classes=text)
    OUT.print(text)
    return found.report.exit_code
