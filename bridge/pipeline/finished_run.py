"""A run's folder, opened without its images: what is finished can be summarised, drawn and corrected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import InputError
from bridge.experiment.condition_order import control_of
from bridge.experiment.fields import Field, Plan
from bridge.foreign import read_json
from bridge.names import safe_name
from bridge.pipeline.executor import Executor
from bridge.pipeline.finished_rows import columns_there, finished_rows
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.records import Records
from bridge.pipeline.results_folder import ResultsFolder, folder_for
from bridge.pipeline.step import Context
from bridge.pipeline.steps import ORDER
from bridge.settings_file import settings_from
from bridge.tables import CELL, FIELDS, read_table

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from bridge.settings import Settings
    from bridge.tables import Column

_KEYS = ("field_id", "condition", "replicate", "sample")


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended.

    Attributes
    ----------
    context : Context
    records : Records
    fields : tuple of Field
        Those that are complete, in the order of the plan; of their images nothing is known.
    segmentation : dict
        What found the cells, as in `run.json`.
    """

    context: Context
    records: Records
    fields: tuple[Field, ...]
    segmentation: dict[str, Any]

    @property
    def out(self) -> Path:
        """The results folder."""
        return self.context.folder.out

    @property
    def folder(self) -> ResultsFolder:
        """Where its files are."""
        return self.context.folder

    @property
    def plan(self) -> Plan:
        """Its plan, without images."""
        return self.context.plan

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return self.context.settings

    def images(self) -> Path:
        """Return the folder of its images.

        Raises
        ------
        InputError
            It is not there any more.
        """
        if not self.plan.images.exists():
            raise InputError(
                f"{self.plan.images}: the images of this run are not there any more. "
                f"Bring them back, or give their new place once: cellpose-fiji run IMAGES --out {self.out} (with the settings of the run)."
            )
        return self.plan.images

    def make(self, step: str) -> list[Path]:
        """Do a step of all fields again where it is not current; return its files."""
        executor = Executor(self.context, self.records, ORDER, lambda _: None)
        executor.finished = list(self.fields)
        return executor.make(step)

    def columns(self, what: str = CELL) -> tuple[Column, ...]:
        """Return the columns of the table of cells, or of nuclei, that are there, with units and meanings."""
        return columns_there(self.context, what)

    def rows(
        self, what: str = CELL, names: Collection[str] | None = None, fields: Collection[str] | None = None
    ) -> pd.DataFrame:
        """Return the table of cells, or of nuclei.

        Parameters
        ----------
        what : str
            ``cell`` or ``nucleus``.
        names : collection of str, optional
            The columns that are wanted.
        fields : collection of str, optional
            The fields that are wanted.

        Raises
        ------
        TableError
            The table is missing, or is not what this program wrote.
        """
        wanted = [column for column in self.columns(what) if names is None or column.name in names]
        return finished_rows(self.context, what, wanted, fields)


def open_run(results: Path, sealed: bool = False) -> FinishedRun:
    """Open the folder of a run.

    Parameters
    ----------
    results : Path
    sealed : bool
        Whether it is known that no record changed since the run wrote it: they are not read then.

    Raises
    ------
    InputError
        It is not the folder of a run, or the run was stopped.
    """
    folder = folder_for(results, ())
    try:
        content = read_json(folder.run)
        values = dict(content["settings"])
        images = Path(values.pop("images"))
        channels, conditions = dict(content["channels"]), tuple(map(str, content["conditions"]))
        segment, measure, count = channels["segment"], tuple(map(str, channels["measure"])), channels["count"]
        beside = tuple(map(str, channels.get("segment_with", ())))
        state, finished = content["state"], set(content["finished"])
        segmentation = dict(content.get("segmentation") or {})
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{results}: not the folder of a run (no run.json that can be read). Name the folder given with --out."
        ) from error
    if state not in ("done", "failed"):
        raise InputError(
            f"{results}: the run was stopped (state {state}, expected done). Give its command again first; it resumes where it was."
        )
    rows = read_table(folder.fields, [c for c in FIELDS if c.name in _KEYS])
    fields = tuple(Field(*values) for values in rows[list(_KEYS)].itertuples(index=False, name=None))
    for item in fields:
        if item.field_id != safe_name(item.field_id):
            raise InputError(
                f"{folder.fields}: not the name of a field (got {item.field_id!r}). It was changed or comes from elsewhere: do not use it."
            )
    settings = settings_from(values, str(folder.run))
    control = control_of(conditions, settings.control, settings.edu_control)
    plan = Plan(images, fields, conditions, segment, measure, count, control, beside)
    context = Context(plan, settings, folder, Hashes(results))
    done = tuple(item for item in fields if item.field_id in finished)
    records = Records(results)
    if not sealed:
        records.require_own_names()
    return FinishedRun(context, records, done, segmentation)
