"""The results folder of a run: where its files are."""

from __future__ import annotations

import contextlib
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.foreign import read_json
from bridge.names import safe_name
from bridge.tables import CELL, NUCLEUS, RING

if TYPE_CHECKING:
    from bridge.experiment.fields import Field

_SPLIT_ABOVE, _SUBFOLDERS = 1_000, 100  # fields of a condition


@dataclass(frozen=True)
class ResultsFolder:
    """The results folder of a run.

    Attributes
    ----------
    out : Path
    split : frozenset of str
        Conditions of so many fields that their folders have subfolders ``000`` to ``099``: file systems and Fiji's file
        dialogs grow slow over some thousands of files in one.
    """

    out: Path
    split: frozenset[str] = frozenset()

    @property
    def run(self) -> Path:
        """Every setting, version, hash and time."""
        return self.out / "run.json"

    @property
    def fields(self) -> Path:
        """The plan, one row a field."""
        return self.out / "fields.csv"

    @property
    def failures(self) -> Path:
        """What failed."""
        return self.out / "failures.csv"

    def mask(self, item: Field) -> Path:
        """Return the file of a field's label image."""
        return self._of_condition("masks", item, "_mask.tif")

    @property
    def network(self) -> Path:
        """The folder of what the networks said, where it is kept."""
        return self.out / "network"

    def found(self, item: Field) -> Path:
        """Return the file of the label image of all cells, of which filters leave some out."""
        return self._of_condition("found", item, "_mask.tif")

    def correction(self, item: Field) -> Path:
        """Return the file of the label image that a person corrected; where it is, the field's tables follow it."""
        return self.out / "corrections" / "applied" / f"{item.field_id}_mask.tif"

    def before_correction(self, item: Field) -> Path:
        """Return the file of the label image as it was before that correction."""
        return self.out / "corrections" / "before" / f"{item.field_id}_mask.tif"

    def uncorrected(self, item: Field) -> Path:
        """Return the file of the cells that the program itself found and kept."""
        return self.before_correction(item) if self.correction(item).is_file() else self.mask(item)

    def nuclei_mask(self, item: Field) -> Path:
        """Return the file of a field's label image of nuclei."""
        return self._of_condition("masks", item, "_nuclei_mask.tif")

    def roiset(self, item: Field) -> Path:
        """Return the file of a field's ROI set."""
        return self._of_condition("rois", item, "_RoiSet.zip")

    def rings_mask(self, item: Field) -> Path:
        """Return the file of the label image of the rings around a field's nuclei."""
        return self._of_condition("masks", item, "_rings_mask.tif")

    def rings_roiset(self, item: Field) -> Path:
        """Return the file of the ROI set of these rings."""
        return self._of_condition("rois", item, "_rings_RoiSet.zip")

    def nuclei_roiset(self, item: Field) -> Path:
        """Return the file of the ROI set of a field's nuclei."""
        return self._of_condition("rois", item, "_nuclei_RoiSet.zip")

    def tracking(self) -> Path:
        """Return the file of how cells are followed; where it is, the series of the run are."""
        return self.out / "tracks" / "tracking.json"

    def tracks(self) -> Path:
        """Return the file of all tracks."""
        return self.tracking().with_name("tracks.csv")

    def classifier(self) -> Path:
        """Return the file of the classifier of cells; where it is, every cell gets a class."""
        return self.out / "classes" / "classifier.json"

    def class_truth(self) -> Path:
        """Return the file of the classes that persons gave."""
        return self.out / "classes" / "truth.csv"

    def class_table(self, item: Field) -> Path:
        """Return the file of the classes of a field's cells."""
        return self._of_condition("classes", item, "_classes.csv")

    def class_roiset(self, item: Field) -> Path:
        """Return the file of the ROI set in which the class is ImageJ's group."""
        return self._of_condition("rois", item, "_classes_RoiSet.zip")

    def results(self, item: Field, channel: str, compartment: str = CELL) -> Path:
        """Return the Results file of a field's cells, nuclei or rings in a channel."""
        mark = {CELL: "", NUCLEUS: "_nuclei", RING: "_rings"}[compartment]
        return self._of_condition("measurements", item, f"{mark}_{safe_name(channel)}_Results.csv")

    def subtracted(self, item: Field, channel: str) -> Path:
        """Return the file of a field's image after background subtraction."""
        return self._of_condition("measurements", item, f"_{safe_name(channel)}_subtracted.tif")

    def table(self, item: Field, name: str) -> Path:
        """Return the file of a field's rows of the table of cells or nuclei."""
        return self.records(item.field_id) / f"{name}.csv"

    def overlay(self, item: Field, channel: str) -> Path:
        """Return the picture of a field's outlines on one of its images."""
        return self._of_condition("overlays", item, f"_{safe_name(channel)}.png")

    def page(self) -> Path:
        """Return the page that shows everything."""
        return self.out / "report.html"

    def page_channel(self, item: Field, channel: str) -> Path:
        """Return the picture of a field's channel that the page holds."""
        return self._of_condition("pictures", item, f"_{safe_name(channel)}.webp")

    def page_ids(self, item: Field, compartment: str) -> Path:
        """Return the picture of the ids of a field's cells or nuclei that the page holds."""
        return self._of_condition("pictures", item, f"_{compartment}_ids.png")

    def comparison_sheet(self) -> Path:
        """Return the picture of all conditions side by side."""
        return self.out / "overlays" / "all_conditions.png"

    def contact_sheet(self, condition: str) -> Path:
        """Return the contact sheet of a condition."""
        return self.out / "overlays" / f"{safe_name(condition)}.png"

    def condition_table(self, condition: str, ending: str) -> Path:
        """Return the table of a condition's cells, as ``.csv`` or ``.xlsx``."""
        return self.out / "conditions" / f"{safe_name(condition)}{ending}"

    def figure(self, name: str) -> list[Path]:
        """Return the files of a figure."""
        return [self.out / "figures" / f"{name}{ending}" for ending in (".png", ".svg")]

    def records(self, name: str) -> Path:
        """Return the folder of the records of a field, or of `EXPERIMENT`."""
        return self.out / "records" / name

    def _of_condition(self, folder: str, item: Field, ending: str) -> Path:
        place = self.out / folder / safe_name(item.condition)
        if item.condition in self.split:
            place /= f"{zlib.crc32(item.field_id.encode()) % _SUBFOLDERS:03d}"
        return place / f"{item.field_id}{ending}"


def folder_for(out: Path, fields: Iterable[Field]) -> ResultsFolder:
    """Return the results folder of a run: as it was begun, else as the number of its fields asks for."""
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return ResultsFolder(out, frozenset(map(str, read_json(out / "run.json")["split"])))
    n = Counter(item.condition for item in fields)
    return ResultsFolder(out, frozenset(name for name, count in n.items() if count > _SPLIT_ABOVE))
