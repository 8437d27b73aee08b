"""A run in parts that know nothing of each other, on computers that share a disk; and what they made, put together."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import InputError, OutputError, StaleError
from bridge.files import require_writable, write_text
from bridge.foreign import read_json
from bridge.pipeline.cluster import executor_for
from bridge.pipeline.executor import Failure
from bridge.pipeline.graph import Graph
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.lease import leased
from bridge.pipeline.lock import require_unlocked, shards_folder
from bridge.pipeline.preflight import make_plan
from bridge.pipeline.progress import Progress
from bridge.pipeline.records import Records
from bridge.pipeline.refusals import changed_settings, refuse_other_settings, require_enough, resolve_models
from bridge.pipeline.results_folder import folder_for
from bridge.pipeline.run import Report, run
from bridge.pipeline.run_record import from_any_folder, recorded_settings
from bridge.pipeline.seal import seal_of
from bridge.pipeline.seen import Seen
from bridge.pipeline.status import interruptible
from bridge.pipeline.step import Context
from bridge.pipeline.steps import ORDER
from bridge.setting_options import MACHINE
from bridge.settings_file import settings_from

if TYPE_CHECKING:
    from distributed import Client

    from bridge.settings import Settings

# What follows from several fields waits for all of them.
FIELD_STEPS = tuple(step for step in ORDER if step.scope == "field" and not step.early)
_NAME = re.compile(r"(\d+)-of-(\d+)\.json")


@dataclass(frozen=True)
class Shard:
    """A part of a run.

    Attributes
    ----------
    number, of : int
        Which, from 1, of how many.

    Examples
    --------
    >>> Shard.read("3/8")
    Shard(number=3, of=8)
    """

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """Read ``K/N``.

        Raises
        ------
        InputError
            It is no part of a whole.
        """
        number, _, of = text.partition("/")
        if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
            raise InputError(f"--shard: no part of a whole (got {text}, expected e.g. 3/8). Correct it.")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.number}-of-{self.of}"


def run_shard(
    images: Path | str,
    out: Path | str,
    shard: str,
    settings: Settings | None = None,
    update: bool = False,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
    check: bool = False,
    client: Client | None = None,
    **options: Any,
) -> Report:
    """Run one part of the fields; the parts may run at the same time, in any order, on any number of computers.

    Parameters
    ----------
    images, out, settings, update, progress, announce, check, client, **options
        As of `bridge.run`; the same for all parts.
    shard : str
        Which part, as ``3/8``.

    Returns
    -------
    Report
        Of this part.

    Raises
    ------
    InputError, OutputError, MissingDependencyError
        As of `bridge.run`; another process works on this part; other parts were run with other settings.
    """
    settings = settings or settings_from(options, "run")
    images, out, part = Path(images), Path(out), Shard.read(shard)
    if client is not None:
        images, out, settings = from_any_folder(images, out, settings)
    plan = make_plan(images, settings)
    require_writable(out)
    require_unlocked(out)
    folder = folder_for(out, plan.fields)
    with leased(shards_folder(out) / f"{part.name}.lease"), interruptible():
        refuse_other_settings(plan, folder, settings, update)
        require_enough(plan, settings)
        models = resolve_models(plan, settings, announce)
        seen = Seen(out, check, part.name)
        records = Records(out, update, seen)
        context = Context(plan, settings, folder, Hashes(out, seen), models)
        told = {
            "shard": part.number, "of": part.of, "plan": seal_of(context, Graph(FIELD_STEPS), free=("images", *settings.in_groups(MACHINE))),
            "settings": recorded_settings(images, settings),
        }  # fmt: skip
        _refuse_unlike(out, told, context, update)
        mine = plan.fields[part.number - 1 :: part.of]
        path = shards_folder(out) / f"{part.name}.json"
        began = _now()
        write_text(path, json.dumps({**told, "state": "running", "started": began}, indent=1) + "\n")

        def tell(now: str) -> None:
            if progress:
                failed = len({failure.field_id for failure in executor.failures})
                progress(Progress(len(executor.finished), failed, len(mine), now))

        executor = executor_for(client)(context, records, FIELD_STEPS, tell)
        executor.failures += [
            Failure(item.field_id, "plan", "InputError", problem) for item in mine for problem in item.problems
        ]
        try:
            executor.run_fields([item for item in mine if not item.problems])
        finally:
            executor.close()
            seen.keep()
        stale = [failure for failure in executor.failures if failure.error == StaleError.__name__]
        if stale:
            raise StaleError(stale[0].message)
        rois = (records.facts(item.field_id, "rois") for item in executor.finished)
        done = {
            "state": "failed" if executor.failures else "done", "started": began, "ended": _now(),
            "finished": len(executor.finished), "failures": [asdict(failure) for failure in executor.failures],
        }  # fmt: skip
        write_text(path, json.dumps({**told, **done}, indent=1) + "\n")
        tell("done")
        n_cells = sum(facts["rois"] for facts in rois if facts)
        return Report(out, plan, len(executor.finished), n_cells, tuple(executor.failures))


def merge(
    results: Path | str,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Report:
    """Put the parts of a run together: tables, figures, pictures and the page of all fields.

    What comes out is what the run in one piece would have written, to the byte. Fields that failed are tried once more.

    Parameters
    ----------
    results : Path or str
    progress, announce : callable, optional
        As of `bridge.run`.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        A part is missing, still running, or does not belong to the others.
    """
    results = Path(results)
    told = _shards(results)
    if not told:
        raise InputError(
            f"{results}: no part of a run is there (expected shards/*.json). Run the parts: --shard 1/8 ..."
        )
    first = next(iter(told.values()))
    of = first["of"]
    unlike = [name for name, each in told.items() if (each["of"], each["plan"]) != (of, first["plan"])]
    if unlike:
        raise InputError(
            f"{results}: parts of different runs ({', '.join(told)}: other settings, images, models or another version). Run all of them with the same command."
        )
    missing = [f"{k}/{of}" for k in range(1, of + 1) if k not in {each["shard"] for each in told.values()}]
    open_ = [f"{each['shard']}/{of}" for each in told.values() if each["state"] == "running"]
    if missing or open_:
        raise InputError(
            f"{results}: not all parts are done (missing or not finished: {', '.join([*missing, *open_])}). Run these, then merge."
        )
    values = dict(first["settings"])
    images = values.pop("images")
    return run(images, results, settings_from(values, str(results)), progress=progress, announce=announce)


def _shards(out: Path) -> dict[str, dict[str, Any]]:
    """What each part said of itself, in order."""
    told = {}
    for path in sorted(
        shards_folder(out).glob("*.json"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)]
    ):
        if not _NAME.fullmatch(path.name):
            continue
        try:
            content = read_json(path)
            told[path.stem.replace("-of-", "/")] = {
                name: kind(content[name])
                for name, kind in (("shard", int), ("of", int), ("plan", str), ("state", str), ("settings", dict))
            }
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as the record of a part. Run that part again.") from error
    return told


def _refuse_unlike(out: Path, told: dict[str, Any], context: Context, update: bool) -> None:
    for name, other in _shards(out).items():
        if other["plan"] == told["plan"] and other["of"] == told["of"]:
            continue
        if update:
            continue
        changed = changed_settings(other["settings"], context.plan, context.settings)
        what = changed or (f"{other['of']} parts and not {told['of']}" if other["of"] != told["of"] else "other images, models or another version")  # fmt: skip
        raise OutputError(
            f"{out}: part {name} was run with something else ({what}). Give every part the same command, or name another folder with --out."
        )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
