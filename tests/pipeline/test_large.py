"""What many fields ask for: subfolders, fewer pictures, files that are not hashed again, space, time told before."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import given, tree

import bridge
from bridge.errors import InputError
from bridge.pipeline import results_folder, seen, slurm
from bridge.pipeline.clean import clean
from bridge.pipeline.run import run
from bridge.pipeline.slurm import read_workers, slurm_cluster


def how(experiment: Path) -> dict[str, object]:
    return {**given(experiment), "engine": "native"}


def test_many_fields_of_a_condition_get_subfolders(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers are the same, the folder is read again as it was begun, and its macros find the field."""
    run(experiment, tmp_path / "flat", **how(experiment))
    monkeypatch.setattr(results_folder, "_SPLIT_ABOVE", 1)
    out = tmp_path / "split"
    run(experiment, out, **how(experiment))
    masks = sorted(path.relative_to(out / "masks").as_posix() for path in (out / "masks").rglob("*_mask.tif"))
    assert [len(name.split("/")) for name in masks] == [3] * 4
    assert all(name.split("/")[1].isdigit() and len(name.split("/")[1]) == 3 for name in masks)
    monkeypatch.undo()
    assert run(experiment, out, **how(experiment)).exit_code == 0  # it stays as it was begun
    assert sorted(path.relative_to(out / "masks").as_posix() for path in (out / "masks").rglob("*_mask.tif")) == masks
    assert (out / "cells.csv").read_bytes() == (tmp_path / "flat" / "cells.csv").read_bytes()
    assert len(bridge.summarize(out)) == (out / "cells.csv").read_text().count("\n") - 1
    # Label images of a run are masks of another, wherever they lie.
    again = tmp_path / "again"
    run(experiment, again, **{**how(experiment), "masks": out / "masks"})
    assert (again / "cells.csv").read_bytes() == (out / "cells.csv").read_bytes()


@pytest.mark.parametrize(("pictures", "n"), [("none", 0), ("sample", 2), ("all", 4)])
def test_pictures_of_some_or_none(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: str, n: int
) -> None:
    monkeypatch.setattr("bridge.pipeline.steps.pictures._SAMPLE", 1)
    out = tmp_path / "out"
    assert run(experiment, out, **how(experiment), pictures=pictures).exit_code == 0
    fields = {path.name.rsplit("_", 1)[0] for path in (out / "overlays").rglob("*_EdU.png")}
    assert len(fields) == n
    assert (out / "report.html").is_file()
    assert (out / "overlays" / "DMSO.png").exists() == bool(n)
    # More pictures later: nothing is measured again, and nothing has to be asked for.
    measured = {p: p.stat().st_mtime_ns for p in (out / "measurements").rglob("*.csv")}
    assert run(experiment, out, **how(experiment), pictures="all").exit_code == 0
    assert len(list((out / "overlays").rglob("*_f1_EdU.png"))) == 4
    assert {p: p.stat().st_mtime_ns for p in measured} == measured


def test_what_looks_as_before_is_not_read_again(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(experiment, out, **how(experiment))
    before = tree(out, skip=())
    read: list[str] = []
    own = seen.sha256
    monkeypatch.setattr(seen, "sha256", lambda path: (read.append(path.name), own(path))[1])
    report = run(experiment, out, **how(experiment))
    assert (report.exit_code, report.done, report.n_cells, read) == (0, 4, 32, [])
    assert tree(out, skip=()) == before
    # --check reads all of it.
    run(experiment, out, **how(experiment), check=True)
    assert {"cells.csv", "f1_EdU.tif", "DMSO_day1_f1_mask.tif"} <= set(read)
    # Touched, not changed: that file is hashed again, and no other of its kind.
    read.clear()
    os.utime(out / "masks" / "DMSO" / "DMSO_day1_f1_mask.tif")
    run(experiment, out, **how(experiment))
    assert "DMSO_day1_f1_mask.tif" in read
    assert "Drug_day1_f1_mask.tif" not in read
    # Changed with the size it had: seen, and refused.
    mask = out / "masks" / "Drug" / "Drug_day1_f1_mask.tif"
    content = bytearray(mask.read_bytes())
    content[-1] ^= 1
    mask.write_bytes(content)
    (failure,) = run(experiment, out, **how(experiment)).failures
    assert failure.message.startswith(f"{mask}: was changed since it was written (its SHA-256 differs). ")


def test_a_list_of_what_was_seen_that_is_cut_or_strange_is_not_believed(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, **how(experiment))
    before = tree(out)
    path = out / "records" / "_seen" / "run.gz"
    for content in (path.read_bytes()[:-20], b"", b"no gzip", path.read_bytes()[:200]):
        path.write_bytes(content)
        assert run(experiment, out, **how(experiment)).exit_code == 0
        assert tree(out) == before


def test_clean_says_how_much_and_the_command_makes_it_again(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, **how(experiment))
    before = tree(out)
    told = {item.name: item for item in clean(out)}
    assert tree(out) == before
    assert told["overlays"].files == 11  # four fields in two channels, two sheets and the comparison
    assert told["overlays"].size == sum(
        len(content) for name, content in before.items() if name.startswith("overlays/")
    )
    assert {item.name: item for item in clean(out, yes=True)} == told
    kept = tree(out)
    assert set(before) - set(kept) == {n for n in before if n.startswith(("overlays/", "pictures/"))}
    assert run(experiment, out, **how(experiment)).exit_code == 0
    assert tree(out) == before
    with pytest.raises(InputError, match="not the folder of a run"):
        clean(tmp_path)


@pytest.mark.slow
def test_plan_tells_time_and_space_and_writes_a_job_script(experiment: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "bridge", "plan", str(experiment), "--masks", str(how(experiment)["masks"])]
    program += ["--count", "none", "--engine", "native"]
    told = subprocess.run([*program, "--estimate"], capture_output=True, text=True, check=True).stdout
    said = " ".join(told.split())
    assert "4 fields: about 0.1 minutes and " in said
    assert " MB a field, " in said
    out = tmp_path / "by slurm"
    script = subprocess.run(
        [*program, "--slurm", "2", "--out", str(out)], capture_output=True, text=True, check=True
    ).stdout
    assert "#SBATCH --array=1-2\n" in script
    # What SLURM would do with it.
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "cellpose-fiji").write_text(f'#!/bin/sh\nexec {sys.executable} -m bridge "$@"\n')
    (folder / "cellpose-fiji").chmod(0o755)
    for k in "12":
        variables = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": k}
        subprocess.run(["bash", "-c", script], env=variables, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "bridge", "merge", str(out)], check=True, capture_output=True)
    assert (out / "cells.csv").is_file()
    refused = subprocess.run([*program, "--slurm", "2"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert (
        "--slurm: wants a number of parts and the results folder (got 2, None, expected e.g. --slurm 20 --out results). Give both."
        in " ".join(refused.stderr.split())
    )


SBATCH = """#!/bin/sh
# What SLURM's does, on this computer: it takes a copy of the script, and the job runs in the background.
cp "$1" "$1.job"
setsid sh "$1.job" >"$1.log" 2>&1 &
echo "Submitted batch job $!"
"""


def queue_here(tmp_path: Path) -> Path:
    """Write a sbatch and a scancel into a folder for the PATH; return it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", '#!/bin/sh\nkill -- "-$1" 2>/dev/null\nexit 0\n')):
        (folder / name).write_text(text)
        (folder / name).chmod((folder / name).stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.mark.slow
def test_a_job_that_has_ended_is_given_to_the_queue_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run may take longer than a job may."""
    import dask
    from distributed import Client

    monkeypatch.setenv("PATH", f"{queue_here(tmp_path)}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bridge.pipeline.slurm._LOOK_S", 0.5)
    path = tmp_path / "slurm.toml"
    path.write_text('[[workers]]\njobs = 1\ncores = 1\nmemory = "2 GB"\nwalltime = "00:00:08"\n')
    seen: set[str] = set()
    quickly = dask.config.set({"distributed.deploy.lost-worker-timeout": "500ms"})
    with quickly, slurm_cluster(path) as cluster, Client(cluster) as client:
        ends = time.monotonic() + 90
        while len(seen) < 2 and time.monotonic() < ends:
            seen |= set(client.scheduler_info()["workers"])
            time.sleep(0.2)
    assert len(seen) == 2
    assert "SLURM: given to the queue again: 1 job that had ended" in caplog.text


def test_the_time_of_a_job_is_read_as_slurm_does() -> None:
    told = {"30": 1800, "30:15": 1815, "04:00:00": 14400, "1-12": 129600, "1-00:30": 88200, "2-01:02:03": 176523}
    assert {walltime: slurm._seconds(walltime) for walltime in told} == told


@pytest.mark.slow
def test_slurm_starts_workers_of_two_kinds(experiment: Path, tmp_path: Path) -> None:
    """A GPU for the network, processors for the rest, under one scheduler."""
    folder = queue_here(tmp_path)
    workers = tmp_path / "slurm.toml"
    kind = '[[workers]]\njobs = 1\ncores = 1\nmemory = "4 GB"\nwalltime = "00:10:00"\n'
    workers.write_text(
        f'{kind}resources = "GPU=1"\njob_extra_directives = ["--gres=gpu:1"]\n\n{kind}resources = "CPU=1"\n'
    )
    assert [each["resources"] for each in read_workers(workers)] == ["GPU=1", "CPU=1"]
    words = ["run", str(experiment), "--out", str(tmp_path / "out"), "--model", "demo", "--diameter", "37", "--count", "none",
             "--engine", "native", "--edu-threshold", "300", "--device", "cpu"]  # fmt: skip
    variables = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    ended = subprocess.run(
        [sys.executable, "-m", "bridge", *words, "--cluster", str(workers)], env=variables, cwd=tmp_path,
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "SLURM: given to the queue: 2 jobs" in ended.stdout + ended.stderr
    own = [sys.executable, "-m", "bridge", *words]
    own[own.index("--out") + 1] = str(tmp_path / "own")
    subprocess.run(own, check=True, capture_output=True)
    assert (tmp_path / "out" / "cells.csv").read_bytes() == (tmp_path / "own" / "cells.csv").read_bytes()
    assert tree(tmp_path / "out" / "masks") == tree(tmp_path / "own" / "masks")


def test_workers_that_are_not_described_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "slurm.toml"
    described = '[[workers]]\njobs = 1\ncores = 1\nmemory = "4 GB"\nwalltime = "a day"\n'
    several = described.replace("a day", "1:00:00") + "processes = 2\n"
    endless = described.replace('walltime = "a day"\n', "")
    for text in ("", "[[workers]]\njobs = 1\n", "workers = 3\n", "no toml", described, several, endless):
        path.write_text(text)
        with pytest.raises(InputError) as refused:
            read_workers(path)
        assert str(refused.value).startswith(f"{path}: not a description of workers (")
        assert "expected [[workers]] with jobs, cores, memory" in str(refused.value)
