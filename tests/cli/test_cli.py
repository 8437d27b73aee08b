from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bridge.cli.main import app, main
from bridge.pipeline.status import Status
from bridge.rois.trace import COMPILING


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    # How far a run is, said every few seconds where it is no terminal: not on a machine that is fast enough.
    lines = [line for line in captured.err.splitlines(keepends=True) if not re.match(r"\d+ of \d+ fields \(", line)]
    return captured.out, "".join(lines)


@pytest.mark.slow
def test_plan_then_run_then_run_again(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = experiment.parent / "masks"
    assert call("plan", experiment, "--masks", masks) == 0
    out, err = said(capsys)
    assert "4 fields in 2 conditions" in out
    assert "cells in phase; measured: EdU; nuclei counted in TO-PRO-3" in out
    assert out.rstrip().endswith("No problem found.")
    assert err == ""
    results = tmp_path / "results"
    assert call("run", experiment, "--out", results, "--masks", masks, "--count", "none", "--edu-threshold", 300) == 0
    out, err = said(capsys)
    err = err.removeprefix(f"{COMPILING}\n")  # said where no test before this one had them compiled
    assert out.splitlines()[0] == f"4 of 4 fields done, 32 cells. Results in {results}"
    assert err == f"4 files of {experiment} ignored: 4 channel TO-PRO-3 has no role\n"
    # The record of a run is a settings file.
    assert call("run", "--settings", results / "run.json", "--out", results) == 0
    said(capsys)
    assert call("run", "--settings", results / "run.json", "--out", results, "--rolling-ball", 25) == 2
    out, err = said(capsys)
    assert out == ""
    assert err == (
        f"Error: {results}: holds results of other settings (rolling_ball was 50.0 and is 25.0). "
        "Give --update to run again what depends on them, or name another folder with --out.\n"
    )


def test_a_failed_field_is_exit_1(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (experiment / "DMSO" / "day1" / "f1_EdU.tif").unlink()
    assert call("plan", experiment, "--masks", experiment.parent / "masks") == 1
    out, _ = said(capsys)
    assert "1 problem:\n  DMSO_day1_f1: no EdU image (expected one beside the others)." in out
    assert (
        call("run", experiment, "--out", tmp_path / "r", "--masks", experiment.parent / "masks", "--count", "none") == 1
    )
    out, err = said(capsys)
    assert out.startswith("3 of 4 fields done, ")
    assert f"What failed is listed in {tmp_path / 'r' / 'failures.csv'}" in out
    assert "Error: [plan] DMSO_day1_f1: no EdU image" in err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["plan", "/nowhere"], 2, "Error: /nowhere: no such folder (expected a folder with images). Check the path."),
        (["pln"], 2, 'Error: Unknown command "pln". Did you mean "plan"?'),
        (["plan", "/", "--rolling-bal", "5"], 2, "Error: Unknown option: --rolling-bal. Did you mean --rolling-ball?"),
        (["plan", "/", "--rolling-ball", "-5"], 2, "Error: command line: rolling-ball: the radius must be positive (got -5.0). Correct the value."),
        (["run", "/nowhere"], 2, 'Error: --out: missing (expected a value). Give it: cellpose-fiji run --help says which.'),
        (["plan", "/", "--settings", "/no.toml"], 2, "Error: /no.toml: no such settings file. Check the path given with --settings."),
        (["summarize", "/nowhere"], 2, "Error: /nowhere: not the folder of a run (no run.json that can be read). Name the folder given with --out."),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence_and_exit_2(
    words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words) == code
    out, err = said(capsys)
    assert out == ""
    assert err.startswith(text)
    assert "Traceback" not in err


def test_wrong_model_name_is_exit_2_before_any_work(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", experiment, "--out", tmp_path / "r", "--model", "cyto33") == 2
    _, err = said(capsys)
    assert err.startswith("Error: cyto33: no such model (got cyto33, expected ")
    assert not (tmp_path / "r" / "masks").exists()


def test_missing_java_is_exit_3(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", experiment, "--out", tmp_path / "r", "--masks", experiment.parent / "masks", "--count", "none"]
    assert call(*words, "--java", tmp_path) == 3
    _, err = said(capsys)
    assert (
        err == f"Error: {tmp_path}: no Java (expected bin/java in it). Give a JAVA_HOME with --java, or leave it out.\n"
    )


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "/nowhere", "--debug") == 2
    assert "Traceback" in said(capsys)[1]


def test_flags_go_before_the_settings_file(experiment: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        f'images = "{experiment}"\nmasks = "{experiment.parent / "masks"}"\ncount = "none"\nrolling-ball = 30\nlight-background = true\n'
    )
    assert call("run", "--settings", file, "--out", tmp_path / "r", "--rolling-ball", 20, "--no-light-background") == 0
    settings = json.loads((tmp_path / "r" / "run.json").read_text())["settings"]
    assert (settings["rolling_ball"], settings["light_background"], settings["count"]) == (20.0, False, "none")


def test_single_steps(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = experiment / "DMSO" / "day1"
    assert call("segment", day / "f1_phase.tif", "--out", tmp_path, "--model", "demo", "--diameter", 37) == 0
    assert call("rois", tmp_path / "f1_phase_mask.tif", "--out", tmp_path) == 0
    assert call("measure", day / "f1_EdU.tif", tmp_path / "f1_phase_RoiSet.zip", "--out", tmp_path) == 0
    out, _ = said(capsys)
    assert out.split() == [
        str(tmp_path / name) for name in ("f1_phase_mask.tif", "f1_phase_RoiSet.zip", "f1_EdU_Results.csv")
    ]
    n = int(tifffile.imread(tmp_path / "f1_phase_mask.tif").max())
    assert len((tmp_path / "f1_EdU_Results.csv").read_text().splitlines()) == n + 1


def test_one_bad_file_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(tmp_path / "a_mask.tif", np.eye(4, dtype=np.uint16))
    (tmp_path / "b_mask.tif").write_bytes(b"")
    assert call("rois", tmp_path / "b_mask.tif", tmp_path / "a_mask.tif", "--out", tmp_path) == 1
    out, err = said(capsys)
    assert out.strip() == str(tmp_path / "a_RoiSet.zip")
    assert err.startswith(f"Error: {tmp_path / 'b_mask.tif'}: damaged TIFF (")


def test_doctor_says_in_words(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("doctor") == 0
    out, _ = said(capsys)
    assert "1.54p starts, in Java" in out
    assert out.rstrip().endswith("Everything is there.")


def test_doctor_knows_a_processor_only_torch_beside_an_nvidia_card(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from bridge import doctor

    monkeypatch.setattr(doctor, "_nvidia_card", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    fact = doctor._gpu()
    assert fact.found == "NVIDIA H200, but this torch is built for the processor only"
    assert fact.advice == "pip install --force-reinstall torch"


def test_names_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "images" / "[red]A :fiji:"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "f1.tif", np.ones((2, 9, 9), np.uint16), imagej=True, metadata={"axes": "CYX"})
    assert call("plan", tmp_path / "images", "--segment", 1, "--measure", 2) == 0
    out, _ = said(capsys)
    assert "[red]A :fiji:" in out
    assert "f1.tif [2]" in out


def test_python_m_bridge_is_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "plan", "/nowhere"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: /nowhere: no such folder (expected a folder with images). Check the path.\n"


def test_every_setting_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    from bridge.settings import Settings

    assert call("run", "--help") == 0
    out, _ = said(capsys)
    for name in Settings().as_json():
        assert f"--{name.replace('_', '-')}" in out
    assert app.name[0] == "cellpose-fiji"


def test_a_status_file_that_its_reader_removed_stays_away(tmp_path: Path) -> None:
    """A macro that was stopped has no more use for it, and the program may end later."""
    path = tmp_path / "status.txt"
    with Status(path) as status:
        status.tell(done="1")
        path.unlink()
        status.tell(done="2")
    assert not list(tmp_path.iterdir())


def test_a_status_file_tells_what_happens(tmp_path: Path) -> None:
    status = tmp_path / "status.txt"
    assert call("run", tmp_path / "gone", "--out", tmp_path / "out", "--status", status) == 2
    facts = dict(line.split("\t") for line in status.read_text("ascii").splitlines())
    assert facts["state"] == "error"
    assert facts["message"] == (f"{tmp_path / 'gone'}: no such folder (expected a folder with images). Check the path.")
    assert not list(tmp_path.glob("*.cancel"))


@pytest.mark.slow
def test_a_cancel_file_stops_a_run(experiment: Path, tmp_path: Path) -> None:
    status = tmp_path / "status.txt"
    command = [
        sys.executable,
        "-m",
        "bridge",
        "run",
        str(experiment),
        "--out",
        str(tmp_path / "out"),
        "--status",
        str(status),
    ]
    command += ["--model", "demo", "--diameter", "37", "--count", "none", "--engine", "native"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out" / "run.json").exists():
        assert process.poll() is None
    (tmp_path / "status.txt.cancel").touch()
    _, words = process.communicate(timeout=120)
    assert process.returncode == 130, words
    assert words.splitlines()[-1] == "stopped; what is done is kept, and the same command resumes there"
    facts = dict(line.split("\t") for line in status.read_text("ascii").splitlines())
    assert facts["state"] == "stopped"
    assert not (tmp_path / "status.txt.cancel").exists()


IMPORT = """
import importlib, signal, sys, time
from bridge.pipeline.status import interruptible
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell Ctrl-C is ignored
try:
    with interruptible():
        importlib.import_module("stopped_in_here")
        time.sleep(60)
except KeyboardInterrupt:
    print("stopped", sys.modules["stopped_in_here"].ended, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
try:
    with interruptible():
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("stopped at once")
"""


def test_ctrl_c_lets_an_import_end(tmp_path: Path) -> None:
    (tmp_path / "stopped_in_here.py").write_text(
        "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.2)\nended = True\n"
    )
    ended = subprocess.run([sys.executable, "-c", IMPORT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.stdout == "stopped True True\nstopped at once\n", ended.stderr


def test_a_part_names_the_fields_that_failed(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (experiment / "Drug" / "day1" / "f1_EdU.tif").unlink()
    masks = experiment.parent / "masks"
    words = ("--masks", masks, "--count", "none", "--engine", "native", "--shard", "1/1")
    assert call("run", experiment, "--out", tmp_path / "out", *words) == 1
    out, err = (" ".join(text.split()) for text in said(capsys))
    assert "Error: [plan] Drug_day1_f1: no EdU image (expected one beside the others)." in err
    assert f"Part 1/1: 3 fields done, 1 failed; when all parts are: cellpose-fiji merge {tmp_path / 'out'}" in out


def test_macros_are_installed_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "ij.jar").touch()
    for verb, words in (("install", "9 macros and scripts are in "), ("uninstall", "The macros were taken out of ")):
        assert call("macros", verb, "--fiji", tmp_path) == 0
        assert said(capsys)[0].startswith(words)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--diameter", "37,5"), "command line: diameter: not a number; write it with a decimal point (got '37,5'). Correct the value."),
        (("--decimals", "99"), "command line: decimals: out of range (got 99, expected at most 9). Correct the value."),
        (("--engine", "foo"), "command line: engine: not one of 'both', 'fiji' or 'native' (got 'foo'). Correct the value."),
        (("my", "folder"), "command line: more than this command takes (got my folder). Put paths with spaces into quotes; options begin with --."),
    ],
)  # fmt: skip
def test_what_was_typed_wrong_is_said_in_words(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str
) -> None:
    assert call("run", experiment, *words, "--out", tmp_path / "out") == 2
    assert " ".join(said(capsys)[1].split()) == f"Error: {text}"


def test_the_plan_knows_the_models_and_colour_images(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", experiment, "--model", "cyto33") == 2
    assert said(capsys)[1].startswith("Error: cyto33: no such model (got cyto33, expected a model file or one of ")
    path = experiment / "DMSO" / "day1" / "f1_EdU.tif"
    tifffile.imwrite(path, np.zeros((160, 160, 3), np.uint8), photometric="rgb")
    assert call("plan", experiment, "--model", "demo") == 0
    assert (
        "Warning: EdU is a colour image in 1 field (e.g. DMSO_day1_f1); whether one of its channels holds the signal shows when it is "
        "read (plan --check-pixels), or name one with --rgb-channel"
    ) in said(capsys)[0]


def test_a_sheet_that_tells_excel_its_separator(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "s.csv"
    sheet.write_text("sep=;\nfolder;condition\nDMSO;a\nDrug;b\n")
    assert call("plan", experiment, "--samples", sheet) == 0
    assert "4 fields in 2 conditions" in said(capsys)[0]
