"""The process beside Fiji, driven by Appose itself: a model that stays, a stop, half lines on stdout, one sentence each."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import appose
import pytest
import tifffile
from appose.service import TaskStatus

import bridge
from bridge import fiji_worker
from bridge.synthetic import synthetic_field

INIT = "import numpy\nfrom bridge import fiji_worker\nfiji_worker.guard_stdout()"
SEGMENT = "fiji_worker.segment(task, image, out, settings)"
DEMO = {"model": "demo", "device": "cpu", "diameter": "30"}


@contextmanager
def worker() -> Iterator[Any]:
    with appose.custom().base(sys.prefix).build().python() as running:
        running.init(INIT)
        yield running
    running.wait_for()
    for pipe in (running._process.stdout, running._process.stderr):  # Appose leaves them open
        pipe.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Any]:
    with worker() as running:
        yield running


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    made = synthetic_field(seed=5, size_px=200, n_cells=8)
    tifffile.imwrite(folder / "f1.tif", made.phase)
    tifffile.imwrite(folder / "large.tif", synthetic_field(seed=6, size_px=900, n_cells=40).phase)
    return folder


def ask(service: Any, script: str, listen: Any = None, **inputs: Any) -> Any:
    task = service.task(script, inputs)
    if listen:
        task.listen(listen)
    task.start()
    task.wait_for()
    return task


@pytest.mark.slow
def test_a_model_stays_and_the_files_are_those_of_the_command_line(service: Any, field: Path, tmp_path: Path) -> None:
    image = field / "f1.tif"
    said: list[str] = []
    first = ask(
        service, SEGMENT, lambda e: said.append(e.message or ""), image=str(image), out=str(tmp_path), settings=DEMO
    )
    assert first.status == TaskStatus.COMPLETE, first.error
    found = first.outputs
    assert found["loaded"] is True
    assert found["warnings"] == []
    assert (found["model"], found["device"], found["diameter_px"]) == ("demo", "cpu", 30.0)
    assert "Cellpose: loads the model" in said
    assert "Cellpose: 100% of the network" in said
    mask = bridge.segment(image, out=tmp_path / "own", **DEMO)
    roiset = bridge.trace(mask, out=tmp_path / "own")
    assert Path(found["roiset"]).read_bytes() == roiset.read_bytes()
    assert found["cells"] > 3

    results = bridge.measure(image, roiset, out=tmp_path / "own", engine="native")
    given = {
        "image": str(image),
        "roiset": found["roiset"],
        "settings": {"rolling_ball": "50"},
    }  # as texts, from a dialog
    given |= {"title": "f1.tif", "scale": [1.0, 1.0, "pixel"]}
    call = "fiji_worker.check(task, image, roiset, results, settings, title, scale)"
    checked = ask(service, call, results=str(results), **given)
    assert checked.outputs["agree"] is True, checked.error
    other = tmp_path / "other" / "Results.csv"
    other.parent.mkdir()
    other.write_bytes(results.read_bytes().replace(b"f1.tif:", b"f2.tif:", 1))
    checked = ask(service, call, results=str(other), **given)
    line = results.read_text().splitlines()[1]
    assert checked.outputs["agree"] is False
    assert checked.outputs["difference"] == f"ImageJ: {line.replace('f1.tif:', 'f2.tif:')}; native: {line}"

    second = ask(service, SEGMENT, image=str(image), out=str(tmp_path), settings=DEMO)
    assert second.outputs["loaded"] is False
    ask(service, "fiji_worker.forget()")
    assert ask(service, SEGMENT, image=str(image), out=str(tmp_path), settings=DEMO).outputs["loaded"] is True


@pytest.mark.slow
def test_a_stop_keeps_the_model_and_half_a_line_does_no_harm(service: Any, field: Path, tmp_path: Path) -> None:
    small = {**DEMO, "diameter": "6"}
    ask(service, SEGMENT, image=str(field / "f1.tif"), out=str(tmp_path), settings=DEMO)
    task = service.task(
        SEGMENT, {"image": str(field / "large.tif"), "out": str(tmp_path / "stopped"), "settings": small}
    )
    begun = threading.Event()
    task.listen(lambda e: begun.set() if "of the network" in (e.message or "") else None)
    task.start()
    assert begun.wait(120)
    task.cancel()
    while not task.status.is_finished():
        time.sleep(0.02)
    assert task.status == TaskStatus.CANCELED
    assert not (tmp_path / "stopped").exists()
    noise = "import os; os.write(1, b'half a line'); print('hello'); task.outputs['x'] = 3"
    assert ask(service, noise).outputs["x"] == 3
    again = ask(service, SEGMENT, image=str(field / "f1.tif"), out=str(tmp_path), settings=DEMO)
    assert again.outputs["loaded"] is False


@pytest.mark.slow
def test_what_a_user_does_wrong_is_one_sentence(service: Any, field: Path, tmp_path: Path) -> None:
    for wrong, sentence in (
        ({"model": "cyto9"}, "cyto9"),
        ({**DEMO, "diameter": "big"}, "segment: diameter: "),
        ({**DEMO, "size": 3}, "segment: unknown setting (got size, expected one of "),
    ):
        answer = ask(service, SEGMENT, image=str(field / "f1.tif"), out=str(tmp_path), settings=wrong).outputs
        assert list(answer) == ["error"]
        assert answer["error"].startswith(sentence)
        assert "\n" not in answer["error"]
    gone = ask(service, SEGMENT, image=str(field / "no.tif"), out=str(tmp_path), settings=DEMO).outputs
    assert gone == {"error": f"{field / 'no.tif'}: no such image. Check the path."}
    own = ask(service, SEGMENT, image=str(field / "f1.tif"), out=str(tmp_path), settings={**DEMO, "diameter": "own"})
    assert own.outputs["cells"] > 3


@pytest.mark.slow
def test_a_killed_worker_is_a_crash_and_the_next_one_works(field: Path, tmp_path: Path) -> None:
    with worker() as first:
        pid = ask(first, "import os; task.outputs['pid'] = os.getpid()").outputs["pid"]
        task = first.task(SEGMENT, {"image": str(field / "large.tif"), "out": str(tmp_path), "settings": DEMO})
        task.start()
        os.kill(pid, signal.SIGKILL)
        while not task.status.is_finished():
            time.sleep(0.02)
        assert task.status == TaskStatus.CRASHED
    with worker() as second:
        hello = ask(second, "fiji_worker.hello()").outputs
    assert hello == fiji_worker.hello()


COMMAND = "fiji_worker.command(task, request)"


def request(folder: Path, *words: str) -> str:
    path = folder / "request.toml"
    path.write_text("arguments = [" + ", ".join(f'"{word}"' for word in words) + "]\n", "utf-8")
    return str(path)


@pytest.mark.slow
def test_a_command_runs_is_stopped_and_the_process_stays(service: Any, tmp_path: Path) -> None:
    images = tmp_path / "images" / "DMSO"
    images.mkdir(parents=True)
    for n in range(4):
        made = synthetic_field(seed=n, size_px=200, n_cells=6)
        tifffile.imwrite(images / f"f{n}_phase.tif", made.phase)
        tifffile.imwrite(images / f"f{n}_EdU.tif", made.edu)
    status, out = tmp_path / "status.txt", tmp_path / "out"
    words = ("run", str(tmp_path / "images"), "--out", str(out), "--model", "demo", "--diameter", "30", "--engine",
             "native", "--status", str(status))  # fmt: skip
    task = service.task(COMMAND, {"request": request(tmp_path, *words)}, queue="main")
    task.start()
    while not (out / "records").is_dir():  # it runs
        time.sleep(0.01)
    Path(f"{status}.cancel").touch()
    task.wait_for()
    assert task.outputs == {"exit_code": 130}
    assert status.read_text().startswith("state\tstopped\n")
    again = service.task(COMMAND, {"request": request(tmp_path, *words)}, queue="main")
    again.start()
    again.wait_for()
    assert again.outputs == {"exit_code": 0}
    assert status.read_text().startswith("state\tdone\n")
    assert not (tmp_path / "request.toml").exists()
    wrong = service.task(
        COMMAND, {"request": request(tmp_path, "measure", "no.tif", "no.zip", "--out", "x")}, queue="main"
    )
    wrong.start()
    wrong.wait_for()
    assert wrong.outputs == {"exit_code": 2}
