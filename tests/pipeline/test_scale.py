"""The same bytes, whoever runs the fields: threads, parts of a run on their own, processes under Dask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import given, tree

from bridge.errors import InputError, OutputError
from bridge.pipeline.lease import held, leased
from bridge.pipeline.run import run
from bridge.pipeline.shards import merge, run_shard

SKIP = ("run.json",)


def results(out: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree(out).items() if not name.startswith("shards/")}


@pytest.fixture
def whole(experiment: Path, tmp_path: Path) -> dict[str, bytes]:
    run(experiment, tmp_path / "whole", **given(experiment), engine="native")
    return results(tmp_path / "whole")


def test_parts_put_together_are_the_run(experiment: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    for k in (3, 1, 2):
        report = run_shard(experiment, out, f"{k}/3", **given(experiment), engine="native")
        assert report.exit_code == 0
    assert not (out / "cells.csv").exists()
    assert merge(out).exit_code == 0
    assert results(out) == whole


def test_a_part_that_is_missing_or_unlike_is_named(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    how = {**given(experiment), "engine": "native"}
    run_shard(experiment, out, "1/3", **how)
    with pytest.raises(InputError) as refused:
        merge(out)
    assert str(refused.value) == (
        f"{out}: not all parts are done (missing or not finished: 2/3, 3/3). Run these, then merge."
    )
    with pytest.raises(OutputError) as unlike:
        run_shard(experiment, out, "2/3", **how, rolling_ball=20)
    assert str(unlike.value) == (
        f"{out}: part 1/3 was run with something else (rolling_ball was 50.0 and is 20.0). Give every part the same command, or name another folder with --out."
    )
    with pytest.raises(OutputError, match=r"part 1/3 was run with something else \(3 parts and not 2\)"):
        run_shard(experiment, out, "2/2", **how)
    with pytest.raises(InputError, match=r"^--shard: no part of a whole \(got 4/3, expected e.g. 3/8\). Correct it.$"):
        run_shard(experiment, out, "4/3", **how)
    with pytest.raises(InputError, match=r"no part of a run is there"):
        merge(tmp_path / "nothing")


def test_a_part_is_held_by_one_and_taken_over_from_the_dead(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    how = {**given(experiment), "engine": "native"}
    lease = out / "shards" / "1-of-2.lease"
    with leased(lease):
        with pytest.raises(OutputError) as refused:
            run_shard(experiment, out, "1/2", **how)
        assert str(refused.value).startswith(f"{lease}: is held by another process (process {os.getpid()} on ")
        with pytest.raises(OutputError, match=r"a part of a run is writing to it \(1/2: process"):
            run(experiment, out, **how)
    assert not lease.exists()
    # One whose holder died: it is not renewed any more.
    lease.write_text(json.dumps({"host": "gone", "pid": 1, "since": "then"}))
    assert held(lease) == "process 1 on gone since then"
    os.utime(lease, (time.time() - 1000, time.time() - 1000))
    assert held(lease) == ""
    assert run_shard(experiment, out, "1/2", **how).exit_code == 0
    assert not lease.exists()


def test_of_two_that_race_for_a_dead_lease_one_comes_through(tmp_path: Path) -> None:
    lease = tmp_path / "1-of-2.lease"
    lease.write_text("{}")
    os.utime(lease, (0, 0))
    code = (
        "import sys, time; from pathlib import Path; from bridge.pipeline.lease import leased\n"
        "from bridge.errors import OutputError\n"
        "try:\n with leased(Path(sys.argv[1])):\n  print('held', flush=True); time.sleep(4)\n"
        "except OutputError: print('refused')"
    )
    racing = [
        subprocess.Popen([sys.executable, "-c", code, str(lease)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    said = sorted(process.communicate()[0].strip() for process in racing)
    assert said == ["held", "refused", "refused", "refused"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_under_dask_the_bytes_are_the_same(
    experiment: Path, whole: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    code = (
        "import sys, json\nfrom bridge.cli import main\nif __name__ == '__main__':\n    main(json.loads(sys.argv[1]))\n"
    )
    script = tmp_path / "main.py"
    script.write_text(code)
    how = {**given(experiment), "engine": "native"}
    words = ["run", str(experiment), "--out", str(tmp_path / "out"), "--cluster", f"local:{workers}"]
    words += ["--masks", str(how["masks"]), "--count", "none", "--edu-threshold", "300", "--engine", "native"]
    ended = subprocess.run(
        [sys.executable, str(script), json.dumps(words)], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert results(tmp_path / "out") == whole
