"""A results folder, settings and names from a stranger: nothing outside is touched, nothing is run, one sentence each."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small import given

import bridge
from bridge.cli.main import main
from bridge.errors import InputError
from bridge.pipeline.records import Records
from bridge.pipeline.run import run


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_record_that_names_a_file_outside(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, **given(experiment))
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for path in sorted(out.glob("records/*/*.json")):
        record = json.loads(path.read_text())
        original = path.read_text()
        record["outputs"]["../mine.txt"] = bridge.files.sha256(mine)
        record["made_from"] = {}
        path.write_text(json.dumps(record))
        for work in (
            lambda: run(experiment, out, **given(experiment), update=True), lambda: bridge.summarize(out), lambda: bridge.plot(out)
        ):  # fmt: skip
            with pytest.raises(InputError, match=r"names a file outside of .* \(got '\.\./mine\.txt'\)"):
                work()
        assert mine.read_text() == "mine"
        path.write_text(original)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_a_link_among_files_that_lie_inside(tmp_path: Path) -> None:
    """Its folder was followed already, for the file before it."""
    out, mine = tmp_path / "out", tmp_path / "mine.txt"
    mine.write_text("mine")
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "a.tif").write_text("a")
    (out / "masks" / "b.tif").symlink_to(mine)
    for step, name in (("one", "a"), ("two", "b")):
        record = out / "records" / "f0" / f"{step}.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"made_from": {}, "outputs": {f"masks/{name}.tif": ""}, "facts": {}}))
    records = Records(out)
    assert records.outputs("f0", "one") == {"masks/a.tif": ""}
    with pytest.raises(InputError, match=r"names a file outside of .* \(got 'masks/b\.tif'\)"):
        records.outputs("f0", "two")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [("java", "/opt/java", "runs a program"), ("fiji", "/opt/Fiji.app", "runs a program"), ("out", "/tmp/x", "says where is written")],
)  # fmt: skip
def test_what_executes_or_says_where_is_written_is_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, value: str, why: str
) -> None:
    toml = tmp_path / "a.toml"
    toml.write_text(f'{name} = "{value}"\n')
    record = tmp_path / "run.json"
    record.write_text(json.dumps({"settings": {name: value}}))
    for path in (toml, record):
        said = refusal(capsys, "plan", tmp_path, "--settings", path)
        assert said == (
            f"Error: {path}: {name} is not taken from a file, since it {why} (got {value}, expected it on the command line). Type --{name} {value}, or --trust-settings if the file is your own."
        )


def test_only_a_status_file_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "raw.tif"
    raw.write_bytes(b"II*\0 pixels")
    assert refusal(capsys, "--status", raw, "plan", tmp_path) == (
        f"Error: {raw}: is there already and is no status file. It is not overwritten: name another file with --status."
    )
    assert raw.read_bytes() == b"II*\0 pixels"


def _list(path: Path) -> None:
    path.write_text("[1, 2]")


def _null(path: Path) -> None:
    path.write_text("null")


def _deep(path: Path) -> None:
    path.write_text('{"a":' * 50_000)


def _numbers(path: Path) -> None:
    path.write_text(
        '{"settings": 3, "channels": 4, "conditions": 5, "state": 6, "finished": 7, "outputs": 8, "made_from": 9}'
    )


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("odd", [_list, _null, _deep, _numbers, _pipe, _folder])
def test_odd_content_of_what_is_read_back(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], odd: Callable[[Path], None]
) -> None:
    out = tmp_path / "out"
    run(experiment, out, **given(experiment), engine="native")
    shutil.copytree(out, tmp_path / "kept")
    odd(out / "run.json")
    said = refusal(capsys, "summarize", out)
    assert (
        said
        == f"Error: {out}: not the folder of a run (no run.json that can be read). Name the folder given with --out."
    )
    said = refusal(capsys, "plan", experiment, "--settings", out / "run.json")
    assert said.startswith(f"Error: {out / 'run.json'}: not a settings file (")
    shutil.rmtree(out)
    shutil.copytree(tmp_path / "kept", out)
    odd(next(out.glob("records/*/segment.json")))
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "run",
                str(experiment),
                "--out",
                str(out),
                "--masks",
                str(experiment.parent / "masks"),
                "--count",
                "none",
                "--engine",
                "native",
            ]
        )
    assert ended.value.code in (0, 1, 2)
    assert "fault of the program" not in capsys.readouterr().err


def test_names_that_cannot_be_printed(experiment: Path, tmp_path: Path) -> None:
    (experiment / "Drug").rename(experiment / "Drug\x07")
    with pytest.raises(InputError) as refused:
        run(experiment, tmp_path / "out", **given(experiment))
    assert str(refused.value) == (
        f"{experiment}: a condition with a letter that cannot be printed (got 'Drug\\x07', expected letters, digits and signs). Rename it."
    )
    (experiment / "Drug\x07").rename(experiment / "Drug\nB")
    with pytest.raises(InputError, match="a condition with a letter that cannot be printed"):
        bridge.plan(experiment)
