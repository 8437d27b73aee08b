"""The same bytes, whoever runs the fields: threads, parts of a run on their own, processes under Dask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
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


MAIN = """
import json, sys
from bridge.cli import main
if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
"""

# What a worker loads before its work: it dies, or stops, when it is given a certain image; or its ImageJ, or its disk.
FATE = """
import errno, os, signal, time
from pathlib import Path
import psutil
import bridge.files
from bridge.pipeline.steps import read
before = getattr(read, "before", read.read)  # a process may load this twice
read.before = before
def reading(task, file, measured):
    fate = Path(os.environ["FATE"])
    what = os.environ["WHAT"]
    if what in ("walltime", "lifetime") and task.name == "DMSO_day1_f1":
        if fate.exists() and len(fate.read_text()) == 2:
            return before(task, file, measured)
        with fate.open("a") as f:
            f.write("x")
        if what == "walltime":
            os.kill(os.getppid(), signal.SIGTERM)  # as SLURM does
        time.sleep(60 if what == "walltime" else 12)
    if task.name == "DMSO_day1_f1" and (os.environ["ALWAYS"] or not fate.exists()):
        fate.touch()
        if what == "imagej":
            kill_imagej()
        elif what == "nanny":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)  # Dask ends a worker whose nanny is gone
        elif what == "disk":
            bridge.files.os = NoRoom()
        else:
            os.kill(os.getpid(), getattr(signal, what))
    return before(task, file, measured)
def kill_imagej():
    for _ in range(600):
        for child in psutil.Process().children():
            if "bridge.imagej.worker" in child.cmdline():
                return child.kill()
        time.sleep(0.1)
class NoRoom:
    def __getattr__(self, name):
        return getattr(os, name)
    def fsync(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")
read.read = reading
"""


class Cluster:
    """The command line under Dask, in a process of its own."""

    def __init__(self, experiment: Path, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        (folder / "main.py").write_text(MAIN)
        (folder / "fate.py").write_text(FATE)
        self.words = [
            "run", str(experiment), "--out", str(self.out), "--masks", str(given(experiment)["masks"]), "--count", "none",
            "--edu-threshold", "300", "--engine", "native", "--cluster",
        ]  # fmt: skip

    def start(self, where: str, **variables: str) -> subprocess.Popen[str]:
        self.words[self.words.index("--engine") + 1] = variables.pop("ENGINE", "native")
        return subprocess.Popen(
            [sys.executable, str(self.folder / "main.py"), json.dumps([*self.words, where])], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **variables}, cwd=self.folder,
        )  # fmt: skip

    def fated(self, what: str, always: bool) -> dict[str, str]:
        return {
            "DASK_DISTRIBUTED__WORKER__PRELOAD": str(self.folder / "fate.py"), "FATE": str(self.folder / "fate"),
            "WHAT": what, "ALWAYS": "yes" if always else "",
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s",
        }  # fmt: skip

    def run(self, where: str, **variables: str) -> tuple[int, str]:
        process = self.start(where, **variables)
        said, _ = process.communicate(timeout=300)
        return process.returncode, said


@pytest.fixture
def cluster(experiment: Path, tmp_path: Path) -> Cluster:
    return Cluster(experiment, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_under_dask_the_bytes_are_the_same(cluster: Cluster, whole: dict[str, bytes], workers: int) -> None:
    code, said = cluster.run(f"local:{workers}")
    assert code == 0, said
    assert results(cluster.out) == whole


@pytest.mark.slow
@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGSTOP"])
def test_a_worker_that_dies_or_hangs_costs_nothing(cluster: Cluster, whole: dict[str, bytes], signal_name: str) -> None:
    code, said = cluster.run("local:2", **cluster.fated(signal_name, always=False))
    assert code == 0, said
    assert (cluster.folder / "fate").exists()
    assert results(cluster.out) == whole


@pytest.mark.slow
def test_a_field_that_kills_two_workers_is_named_and_the_others_go_on(cluster: Cluster) -> None:
    code, said = cluster.run("local:2", **cluster.fated("SIGKILL", always=True))
    assert code == 1, said
    failures = pd.read_csv(cluster.out / "failures.csv")
    assert failures["field_id"].tolist() == ["DMSO_day1_f1"]
    assert failures["error"].tolist() == ["WorkerDied"]
    assert failures["message"].tolist() == [
        "DMSO_day1_f1: 2 processes that worked on it died (out of memory?). The other fields went on. Look at its images, or run it alone with more memory."
    ]
    assert set(pd.read_csv(cluster.out / "cells.csv")["field_id"]) == {"DMSO_day2_f1", "Drug_day1_f1", "Drug_day2_f1"}


@pytest.mark.slow
def test_an_imagej_that_dies_is_replaced(cluster: Cluster, whole: dict[str, bytes]) -> None:
    code, said = cluster.run("local:2", **cluster.fated("imagej", always=False), ENGINE="fiji")
    assert code == 0, said
    assert (cluster.folder / "fate").exists()
    found = results(cluster.out)
    names = [name for name in whole if name == "cells.csv" or name.startswith(("measurements/", "rois/", "masks/"))]
    assert len(names) > 4
    assert {name: found[name] for name in names} == {name: whole[name] for name in names}


@pytest.mark.slow
def test_a_full_disk_of_one_worker_ends_the_run_and_it_goes_on(cluster: Cluster, whole: dict[str, bytes]) -> None:
    code, said = cluster.run("local:2", **cluster.fated("disk", always=False))
    assert code == 3, said
    text = "the disk is full or over its quota (No space left on device). Make room and give the same command again; what is done is kept."
    assert text in " ".join(said.split())
    assert cluster.run("local:2")[0] == 0
    assert results(cluster.out) == whole


def scheduler_of(cluster: Cluster) -> tuple[subprocess.Popen[bytes], str, list[str]]:
    """Start a scheduler; return it, its address, and the command of a worker."""
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    at = cluster.folder / "at.json"
    scheduler = subprocess.Popen([*dask, "--port", "0", "--no-dashboard", "--scheduler-file", str(at)], stderr=subprocess.DEVNULL)  # fmt: skip
    while not at.exists():
        time.sleep(0.1)
    address = json.loads(at.read_text())["address"]
    return scheduler, address, [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]  # fmt: skip


@pytest.mark.slow
def test_a_nanny_that_dies_costs_nothing(cluster: Cluster, whole: dict[str, bytes]) -> None:
    scheduler, address, worker = scheduler_of(cluster)
    env = {**os.environ, **cluster.fated("nanny", always=False)}
    workers = [subprocess.Popen(worker, env=env, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        code, said = cluster.run(address)
        assert code == 0, said
        assert sorted(process.poll() is None for process in workers) == [False, True]
        assert results(cluster.out) == whole
    finally:
        for process in (*workers, scheduler):
            process.terminate()
            process.wait()


OWN_CLIENT = """
import json, sys
from distributed import Client
import bridge
images, out, options = json.loads(sys.argv[1])
for k in range(2):
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        for update in (False, True):  # twice on one worker
            report = bridge.run(images, f"{out}{k}", client=client, update=update, **options)
            assert not report.failures, report.failures
"""


@pytest.mark.slow
def test_a_client_of_ones_own_may_be_closed_and_made_again(
    experiment: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Workers in the process that calls end in order, and others begin in it."""
    options = {**given(experiment), "masks": str(given(experiment)["masks"]), "engine": "native"}
    told = json.dumps([str(experiment), str(tmp_path / "out"), options])
    subprocess.run([sys.executable, "-c", OWN_CLIENT, told], check=True, timeout=240)
    for k in range(2):
        assert results(tmp_path / f"out{k}") == whole


@pytest.mark.slow
@pytest.mark.parametrize("how", ["walltime", "lifetime"])
def test_a_field_whose_workers_come_to_the_end_of_their_time_is_not_given_up(
    cluster: Cluster, whole: dict[str, bytes], how: str
) -> None:
    """Two jobs end while they hold it: they did not die of it. SLURM ends them, or they end before it would."""
    scheduler, address, worker = scheduler_of(cluster)
    env = {**os.environ, **cluster.fated(how, always=False)}
    lives = [["--lifetime", "9s"], ["--lifetime", "18s"], []] if how == "lifetime" else [[]] * 3
    workers = [subprocess.Popen([*worker, *life], env=env, stderr=subprocess.DEVNULL) for life in lives]
    try:
        code, said = cluster.run(address)
        assert code == 0, said
        assert (cluster.folder / "fate").read_text() == "xx"
        assert results(cluster.out) == whole
    finally:
        for process in (*workers, scheduler):
            process.terminate()
            process.wait()


@pytest.mark.slow
def test_client_and_scheduler_may_die(cluster: Cluster, whole: dict[str, bytes]) -> None:
    """What is done is kept; the same command goes on, on another cluster."""
    scheduler, address, worker = scheduler_of(cluster)
    try:
        stopped = cluster.fated("SIGSTOP", always=True)
        working = subprocess.Popen([*worker, "--no-nanny"], env={**os.environ, **stopped}, stderr=subprocess.DEVNULL)
        try:
            client = cluster.start(address)
            while not (cluster.folder / "fate").exists():
                time.sleep(0.1)
            scheduler.kill()
            said, _ = client.communicate(timeout=120)
            assert client.returncode == 3, said
            assert "Dask: the scheduler is gone" in said
            assert "What is done is kept: start it again and give the same command." in " ".join(said.split())
        finally:
            working.kill()
            working.wait()
    finally:
        scheduler.kill()
        scheduler.wait()
    client = cluster.start("local:2")
    while not list(cluster.out.glob("records/*/measure.json")):
        time.sleep(0.05)
    client.kill()
    client.communicate()
    assert cluster.run("local:2")[0] == 0
    assert results(cluster.out) == whole
