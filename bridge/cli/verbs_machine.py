"""Verbs for this machine: macros, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from bridge.cli.console import OUT
from bridge.cli.main import app
from bridge.cli.options import GENERAL

_macros = App(name="macros", sort_key=16, help="The macros for Fiji's menu: Plugins > Cellpose Fiji Bridge.")
app.command(_macros)
_Fiji = Annotated[Path, Parameter(group=GENERAL, help="Folder of a Fiji, or of an ImageJ.")]


@_macros.command
def install(*, fiji: _Fiji) -> int:
    """Put the macros into Fiji's menu; they remember this program."""
    import bridge.fiji_menu

    folder = bridge.fiji_menu.install(fiji)
    n = len(list(folder.glob("*.ijm"))) + len(list(folder.glob("*.groovy")))
    OUT.print(f"{n} macros and scripts are in {folder}; start Fiji again to see them in its menu")
    return 0


@_macros.command
def uninstall(*, fiji: _Fiji) -> int:
    """Take the macros out of Fiji's menu."""
    import bridge.fiji_menu

    folder = bridge.fiji_menu.uninstall(fiji)
    OUT.print(f"The macros were taken out of {folder}")
    return 0


@app.command(sort_key=17)
def doctor(
    fiji: Annotated[str, Parameter(group=GENERAL, help="As in run.")] = "core",
    java: Annotated[Path | None, Parameter(group=GENERAL, help="As in run.")] = None,
) -> int:
    """What this machine has, and the one command that fixes what is missing."""
    from bridge.doctor import checkup

    facts = checkup(fiji, java)
    width = max(len(fact.what) for fact in facts)
    for fact in facts:
        OUT.print(f"{'  ' if not fact.advice else '! '}{fact.what:<{width}}  {fact.found}")
        if fact.advice:
            OUT.print(f"  {'':<{width}}  -> {fact.advice}")
    bad = [fact for fact in facts if fact.advice]
    OUT.print(
        "Everything is there." if not bad else f"{len(bad)} thing{'s' if len(bad) > 1 else ''} to fix.", markup=False
    )
    return 3 if bad else 0
