"""What was made from what, so that a killed run resumes, a changed setting re-runs only what depends on it, and nothing that a person changed is overwritten."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge.errors import OutputError, StaleError
from bridge.files import signature, write_bytes, write_text
from bridge.foreign import leads_down, read_json, within
from bridge.pipeline.seen import Seen

_REMEMBERED = 1_000  # records: of the fields that are under way, each is asked for again and again


class Records:
    """The records of one results folder: one file for each step of each field.

    Parameters
    ----------
    out : Path
        The results folder.
    update : bool
        Whether steps made from something else are made again.
    seen : Seen, optional
        Knows which files need not be hashed again.
    """

    def __init__(self, out: Path, update: bool = False, seen: Seen | None = None) -> None:
        self.out = out
        self.update = update
        self.seen = seen or Seen(out)
        self.forget()

    def forget(self) -> None:
        """Read every record again: other computers wrote some, and a network drive may still show them as they were."""
        self._content = functools.lru_cache(_REMEMBERED)(self._parsed)
        self._inside: set[str] = set()

    def require_own_names(self) -> None:
        """Refuse records that name files outside of the results folder, before anything is done with them.

        Raises
        ------
        InputError
            One does.
        """
        for path in sorted(self.out.glob("records/*/*.json")):
            self._read(path.parent.name, path.stem)

    def folder(self, field_id: str) -> Path:
        """Return where the records of a field are."""
        return self.out / "records" / field_id

    def facts(self, field_id: str, step: str) -> dict[str, Any] | None:
        """Return what a finished step noted, None when it is not finished."""
        record = self._read(field_id, step)
        facts: dict[str, Any] | None = record.get("facts") if record else None
        return facts

    def outputs(self, field_id: str, step: str) -> dict[str, str]:
        """Return the files that a finished step wrote, with their SHA-256; nothing when it is not finished."""
        record = self._read(field_id, step)
        return dict(record["outputs"]) if record and "facts" in record else {}

    def made_from(self, field_id: str, step: str) -> dict[str, Any]:
        """Return what a step was made from; nothing when it never began."""
        return dict((self._read(field_id, step) or {"made_from": {}})["made_from"])

    def current(
        self, field_id: str, step: str, made_from: dict[str, Any], outputs: Sequence[Path], derived: bool = False
    ) -> dict[str, Any] | None:
        """Return the facts of a step if its outputs are there and were made from the same things.

        Parameters
        ----------
        field_id, step : str
        made_from : dict
            Settings, hashes of inputs and versions the outputs depend on.
        outputs : sequence of Path
            The files the step writes.
        derived : bool
            The step follows from others alone (tables, figures, pictures): it is made again unasked.

        Returns
        -------
        dict or None
            None: the step must be run.

        Raises
        ------
        OutputError
            An output was changed by hand, or was made from something else and `update` was not asked for.
        """
        record = self._read(field_id, step)
        if record is None or "facts" not in record:
            return None
        missing = False
        for name, digest in record["outputs"].items():
            path = self.out / name
            if not path.is_file():
                missing = True
            elif self.seen.digest(path) != digest:
                raise OutputError(
                    f"{path}: was changed since it was written (its SHA-256 differs). It is not overwritten: "
                    "move it elsewhere and give the same command again."
                )
        before = {**record["made_from"], "files": sorted(record["outputs"])}
        now = {**made_from, "files": sorted(self._name(path) for path in outputs)}
        now = json.loads(json.dumps(now))  # as a record holds it: lists, not tuples
        if before != now:
            # Where the steps before it alone wrote something else, somebody asked for that already.
            follows = all(before.get(key) == now.get(key) for key in {*before, *now} - {"needs"})
            if not (self.update or derived or follows):
                raise StaleError(
                    f"{field_id}: its {step} step was made from something else ({differences(before, now)}). Give --update to make it again."
                )
            return None
        if missing:
            return None
        facts: dict[str, Any] = record["facts"]
        return facts

    def begin(self, field_id: str, step: str, made_from: dict[str, Any], outputs: Sequence[Path]) -> None:
        """Note that a step is about to write its outputs.

        Raises
        ------
        OutputError
            One of them is there and was not written by this program.
        """
        record = self._read(field_id, step)
        known = set(record["outputs"]) if record else set()
        for path in outputs:
            if path.exists() and self._name(path) not in known and not self._take_over(field_id, path):
                raise OutputError(
                    f"{path}: is there already and was not written by this run. It is not overwritten: move it elsewhere, or name another folder with --out."
                )
        self._write(
            field_id,
            step,
            {"made_from": made_from, "outputs": dict.fromkeys([self._name(p) for p in outputs] + sorted(known), "")},
        )

    def finish(
        self, field_id: str, step: str, made_from: dict[str, Any], outputs: Sequence[Path], facts: dict[str, Any]
    ) -> None:
        """Note that a step is done; what it wrote before and no longer writes is removed."""
        hashes = {self._name(path): self.seen.digest(path) for path in outputs}
        for name in (self._read(field_id, step) or {"outputs": {}})["outputs"]:
            if name not in hashes:
                (self.out / name).unlink(missing_ok=True)
        self._write(field_id, step, {"made_from": made_from, "outputs": hashes, "facts": facts})

    def _take_over(self, field_id: str, path: Path) -> bool:
        """Forget the record of another step that wrote this file, as other settings let it; whether there is one."""
        for other in self.folder(field_id).glob("*.json"):
            record = self._read(field_id, other.stem)
            if record and record["outputs"].get(self._name(path)) == self.seen.digest(path):
                other.unlink()
                return True
        return False

    def move(self, field_id: str, step: str, old: Path, new: Path) -> None:
        """Give a file of a step another place; done again, it puts right what a kill left half done.

        Raises
        ------
        OutputError
            A file that this program did not write is in the way.
        """
        record = self._read(field_id, step)
        if record is None:
            return
        outputs = record["outputs"]
        if self._name(old) in outputs and old.is_file():
            digest = self.seen.digest(old)
            if new.is_file() and self.seen.digest(new) != digest:
                raise OutputError(
                    f"{new}: was changed since it was written (its SHA-256 differs). It is not overwritten: "
                    "move it elsewhere and give the same command again."
                )
            write_bytes(new, old.read_bytes())
            moved = {self._name(new if name == self._name(old) else self.out / name): h for name, h in outputs.items()}
            self._write(field_id, step, {**record, "outputs": moved})
            outputs = moved
        left = self._name(new) in outputs and old.is_file() and not self._owned(field_id, old)
        if left and self.seen.digest(old) == outputs[self._name(new)]:
            old.unlink()

    def _owned(self, field_id: str, path: Path) -> bool:
        """Whether a step of a field wrote this file."""
        steps = (record.stem for record in self.folder(field_id).glob("*.json"))
        return any(self._name(path) in (self._read(field_id, step) or {"outputs": {}})["outputs"] for step in steps)

    def withdraw(self, field_id: str, step: str) -> None:
        """Remove what a step wrote, and its record; a file that a person changed stays."""
        record = self._read(field_id, step)
        for name, digest in (record or {"outputs": {}})["outputs"].items():
            path = self.out / name
            if path.is_file() and self.seen.digest(path) == digest:
                path.unlink()
        self._path(field_id, step).unlink(missing_ok=True)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.out).as_posix()

    def _path(self, field_id: str, step: str) -> Path:
        return self.folder(field_id) / f"{step}.json"

    def _read(self, field_id: str, step: str) -> dict[str, Any] | None:
        path = self._path(field_id, step)
        now = signature(path)
        return None if now is None else self._content(path, tuple(now))

    def _parsed(self, path: Path, _: tuple[int, ...]) -> dict[str, Any] | None:
        """Return what a record holds, None where it is none; it is not to be changed."""
        try:
            record = read_json(path)
        except (FileNotFoundError, ValueError):
            return None
        outputs = record.get("outputs")
        if not isinstance(outputs, dict) or not isinstance(record.get("made_from"), dict):
            return None
        if not isinstance(record.get("facts", {}), dict) or not all(isinstance(v, str) for v in outputs.values()):
            return None
        for name in outputs:  # what a step no longer writes is removed
            folder = name.rpartition("/")[0]
            # In a folder that was followed once only a link can lead elsewhere.
            if folder not in self._inside or not leads_down(name) or (self.out / name).is_symlink():
                within(self.out, name, path)
                self._inside.add(folder)
        return record

    def _write(self, field_id: str, step: str, record: dict[str, Any]) -> None:
        write_text(self._path(field_id, step), json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say in words how two flat or nested dictionaries differ.

    Examples
    --------
    >>> differences({"rolling_ball": 50.0}, {"rolling_ball": 25.0})
    'rolling_ball was 50.0 and is 25.0'
    """
    words = []
    for key in dict.fromkeys([*before, *now]):
        a, b = before.get(key), now.get(key)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            words.append(differences(a, b))
        else:
            words.append(f"{key} was {_short(a)} and is {_short(b)}")
    return ", ".join(words)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:12] + "..."
