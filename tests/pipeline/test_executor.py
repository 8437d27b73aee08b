"""Steps as objects: what the executor makes of a declaration, with steps of its own."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

import bridge.pipeline.records
from bridge.errors import InputError, StaleError
from bridge.experiment.fields import Field, Plan
from bridge.files import write_text
from bridge.pipeline.code_hash import code_hash
from bridge.pipeline.executor import Executor
from bridge.pipeline.graph import Graph
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.records import Records
from bridge.pipeline.results_folder import ResultsFolder
from bridge.pipeline.step import MAIN, Context, Outcome, Resource, Step, Task
from bridge.pipeline.steps import ORDER
from bridge.settings import Settings

FIELDS = tuple(Field(f"f{k}", "DMSO" if k < 4 else "Drug") for k in range(6))
CALLS: list[tuple[str, str]] = []


def file_of(task: Task) -> list[Path]:
    return [task.folder.out / "made" / f"{task.name}.txt"]


def half(task: Task) -> Outcome:
    CALLS.append(("half", task.name))
    return Outcome(f"half of {task.name}")


def whole(task: Task) -> Outcome:
    CALLS.append(("whole", task.name))
    if task.name == "f2" and task.settings.border == "drop":
        raise InputError("f2: is bad (got bad, expected good). Mend it.")
    write_text(file_of(task)[0], task.given["half"])
    return Outcome(task.given["half"].upper(), {"length": len(task.given["half"])})


def read_whole(task: Task) -> str:
    return file_of(task)[0].read_text().upper()


def hello_file(task: Task) -> list[Path]:
    return [task.folder.out / "conditions" / f"{task.name}_hello.csv"]


def hello(task: Task) -> Outcome:
    CALLS.append(("hello", task.name))
    rows = []
    for item in task.fields:  # a step of several fields reads their files
        said = (task.folder.out / "made" / f"{item.field_id}.txt").read_text().upper()
        rows.append(f"{item.field_id},{said},{task.facts['whole'][item.field_id]['length']}")
    write_text(hello_file(task)[0], "\n".join(["field_id,said,length", *rows, ""]))
    return Outcome()


HALF = Step("half", "field", half, lane=MAIN, recorded=False)
WHOLE = Step(
    "whole", "field", whole, lane="write", needs=("half",), outputs=file_of, load=read_whole, settings=("cellpose",)
)
HELLO = Step("hello", "condition", hello, lane="tables", needs=("whole",), outputs=hello_file, derived=True)
STEPS = (HALF, WHOLE, HELLO)


@pytest.fixture
def run(tmp_path: Path):
    def run(steps: tuple[Step, ...] = STEPS, update: bool = False, fields: tuple[Field, ...] = FIELDS, **settings: Any):
        CALLS.clear()
        plan = Plan(tmp_path, fields, ("DMSO", "Drug"), None, (), None)
        context = Context(plan, Settings(**settings), ResultsFolder(tmp_path / "out"), Hashes(tmp_path / "out"))
        executor = Executor(context, Records(tmp_path / "out", update), steps, lambda _: None)
        try:
            executor.run_fields(list(fields))
            executor.run_groups()
        finally:
            executor.close()
        return executor

    return run


def test_a_step_for_each_condition_is_one_declaration(run, tmp_path: Path) -> None:
    executor = run()
    assert [item.field_id for item in executor.finished] == [item.field_id for item in FIELDS]
    assert (tmp_path / "out" / "conditions" / "Drug_hello.csv").read_text() == (
        "field_id,said,length\nf4,HALF OF F4,10\nf5,HALF OF F5,10\n"
    )
    run()
    assert CALLS == []  # nothing is made again, and what only hands over does not run either


def test_what_is_missing_is_made_again_alone(run, tmp_path: Path) -> None:
    run()
    (tmp_path / "out" / "made" / "f1.txt").unlink()
    run()
    assert CALLS == [("half", "f1"), ("whole", "f1")]
    assert run(fields=FIELDS[:5]).failures == []
    assert CALLS == [("hello", "Drug")]  # what follows from fields is made again unasked


def test_other_settings_need_update(run, tmp_path: Path) -> None:
    run()
    stale = run(min_size=20).failures
    assert len(stale) == 6
    assert (stale[0].error, stale[0].step) == (StaleError.__name__, "whole")
    assert "min_size was 15 and is 20" in stale[0].message
    assert run(min_size=20, update=True).failures == []
    assert len(CALLS) == 12  # hello follows from files that are the same


def test_a_bad_field_costs_itself_alone(run, tmp_path: Path) -> None:
    executor = run(border="drop")
    assert [(f.field_id, f.step, f.error, f.message) for f in executor.failures] == [
        ("f2", "whole", "InputError", "f2: is bad (got bad, expected good). Mend it.")
    ]
    assert len(executor.finished) == 5
    assert "f2" not in (tmp_path / "out" / "conditions" / "DMSO_hello.csv").read_text()


def test_a_failure_of_a_hand_over_is_that_of_the_step_it_works_for(run) -> None:
    def broken(task: Task) -> Outcome:
        raise ValueError("no")

    bad = Step("half", "field", broken, lane=MAIN, recorded=False)
    failure = run((bad, WHOLE, HELLO)).failures[0]
    assert failure.step == "whole"
    assert failure.message == (
        "f0: ValueError: no. This is a fault of the program: please report it (--debug shows where)."
    )


def test_several_fields_in_one_call(run) -> None:
    sizes: list[int] = []
    gate = threading.Event()

    def slow(task: Task) -> Outcome:
        gate.wait(5)
        return half(task)

    def together(tasks: list[Task]) -> list[Outcome]:
        sizes.append(len(tasks))
        return [half(task) for task in tasks]

    first = Step("half", "field", slow, lane=MAIN, recorded=False, together=together, at_once=3)
    before = Step("before", "field", lambda task: Outcome(gate.set()), lane="read", recorded=False)
    late = Step("half", "field", slow, lane=MAIN, needs=("before",), recorded=False, together=together, at_once=3)
    assert run((before, late, WHOLE, HELLO)).failures == []
    assert sorted(name for step, name in CALLS if step == "half") == [item.field_id for item in FIELDS]
    assert all(size <= 3 for size in sizes)
    assert run((first, WHOLE, HELLO)).failures == []


def test_several_at_once_are_refused_one_by_one(run) -> None:
    def together(tasks: list[Task]) -> list[Outcome]:
        return [half(task) for task in tasks]

    many = Step("half", "field", half, lane=MAIN, recorded=False, together=together, at_once=3)
    run((many, WHOLE, HELLO))
    stale = run((many, WHOLE, HELLO), min_size=20).failures
    assert [failure.error for failure in stale] == [StaleError.__name__] * 6


def test_a_resource_is_made_once_and_closed(run) -> None:
    made, closed = [], []
    network = Resource("network", lambda context: made.append(1) or "net", close=closed.append)

    def use(task: Task) -> Outcome:
        return Outcome(task.resources["network"] + task.name)

    user = Step("half", "field", use, lane=MAIN, resources=(network,), recorded=False)
    run((user, WHOLE, HELLO))
    assert made == [1]
    assert closed == ["net"]
    run((user, WHOLE, HELLO))  # nothing to do: nothing is loaded
    assert made == [1]


def test_steps_pickle_and_so_does_what_they_get() -> None:
    for step in ORDER:
        again = pickle.loads(pickle.dumps(step))
        assert (again.name, again.work, again.outputs, again.load) == (step.name, step.work, step.outputs, step.load)
    task = Task(
        Context(
            Plan(Path("x"), FIELDS, ("DMSO",), None, (), None), Settings(), ResultsFolder(Path("y")), Hashes(Path("y"))
        ),
        FIELDS[:1],
        "f0",
    )
    assert pickle.loads(pickle.dumps(task)).item == FIELDS[0]


# ---------------------------------------------------------------- versions


def test_a_changed_kernel_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import shutil

    import bridge.pipeline.code_hash as module

    copy = tmp_path / "bridge"
    shutil.copytree(Path(module.__file__).parents[1], copy)
    monkeypatch.setattr(module, "source_of", lambda name: _source(copy, name))
    graph = Graph(ORDER)
    by_name = graph.by_name

    def hashes() -> dict[str, str]:
        return {name: code_hash(graph._modules(by_name[name])) for name in ("segment", "rois", "measure")}

    before = hashes()
    ball = copy / "imagej" / "rolling_ball.py"
    ball.write_text(ball.read_text() + "\n# a remark\n")
    assert hashes() == before
    text = ball.read_text()
    ball.write_text(
        text.replace("np.float32(0.33333333)", "np.float32(0.33333334)", 1)
        if "np.float32(0.33333333)" in text
        else text + "\nCHANGED = 1\n"
    )
    after = hashes()
    assert after["measure"] != before["measure"]
    assert after["segment"] == before["segment"]
    assert after["rois"] == before["rois"]
    tracer = copy / "rois" / "trace.py"
    tracer.write_text(tracer.read_text() + "\nCHANGED = 1\n")
    assert hashes()["rois"] != before["rois"]
    assert hashes()["segment"] == before["segment"]


def _source(copy: Path, name: str) -> Path:
    path = copy.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_a_record_is_read_once_and_again_when_it_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read: list[Path] = []
    real = bridge.pipeline.records.read_json
    monkeypatch.setattr(bridge.pipeline.records, "read_json", lambda path: read.append(path) or real(path))
    records, other = Records(tmp_path), Records(tmp_path)
    assert records.facts("f0", "rois") is None
    other.begin("f0", "rois", {}, [])
    assert records.facts("f0", "rois") is None  # it began
    other.finish("f0", "rois", {}, [], {"rois": 7})
    read.clear()
    assert [records.facts("f0", "rois") for _ in range(3)] == [{"rois": 7}] * 3
    assert len(read) == 1
    other.finish("f0", "rois", {}, [], {"rois": 8})  # as long as before
    assert records.facts("f0", "rois") == {"rois": 8}
    records.forget()
    read.clear()
    assert records.facts("f0", "rois") == {"rois": 8}
    assert len(read) == 1
    other.withdraw("f0", "rois")
    assert records.facts("f0", "rois") is None


def test_words_for_people_are_no_code() -> None:
    graph = Graph(ORDER)
    for name in ("segment", "rois", "measure"):
        modules = graph._modules(graph.by_name[name])
        assert not {"bridge.settings", "bridge.cli"} & modules
