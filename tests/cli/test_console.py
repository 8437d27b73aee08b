"""What people see while they wait, where no terminal is."""

from __future__ import annotations

import pytest

from bridge.cli.console import Lines
from bridge.pipeline.progress import Progress


def test_lines_for_logs(capsys: pytest.CaptureFixture[str]) -> None:
    """A field takes 20 s after a start of 30 s; six fields, and the tables at the end count as one."""
    clock = [0.0]
    lines = Lines(10.0, lambda: clock[0])
    for at, done, failed, now in (
        (1, 0, 0, "loading Cellpose"), (2, 0, 0, "loading Cellpose"), (15, 0, 0, "f1: cells"), (50, 1, 0, "f1: done"), (52, 1, 0, "f2: cells"),
        (70, 2, 0, "f2: done"), (90, 2, 1, "f4: cells"), (130, 5, 1, "tables and figures"), (160, 5, 1, "done"),
    ):  # fmt: skip
        clock[0] = at
        lines(Progress(done, failed, 6, now))
    assert capsys.readouterr().err.splitlines() == [
        "loading Cellpose ...",
        "0 of 6 fields (f1: cells)",
        "1 of 6 fields, about 5 min left (f1: done)",
        "2 of 6 fields, about 2 min left (f2: done)",
        "3 of 6 fields, 1 failed, about 80 s left (f4: cells)",
        "6 of 6 fields, 1 failed, about 16 s left (tables and figures)",
    ]


def test_a_long_plan_is_no_pace(capsys: pytest.CaptureFixture[str]) -> None:
    """Fields that were done before come after a plan of three minutes."""
    clock = [0.0]
    lines = Lines(10.0, lambda: clock[0])
    for at, done in ((180, 1), (181, 300), (191, 3_300)):
        clock[0] = at
        lines(Progress(done, 0, 100_000, "f: done"))
    assert capsys.readouterr().err.splitlines() == [
        "1 of 100000 fields (f: done)",
        "3300 of 100000 fields, about 5 min left (f: done)",
    ]
