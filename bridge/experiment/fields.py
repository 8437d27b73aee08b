"""Fields of view and the plan of an experiment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bridge.source import ChannelFile

ROLES = ("segment", "measure", "count")
NONE = "none"


def root_of(images: Path) -> Path:
    """Return the folder of the images: where a file was given, the one it is in (an OME-Zarr counts as a file)."""
    return images.parent if images.is_file() or images.suffix.lower() == ".zarr" else images


@dataclass(frozen=True)
class Field:
    """One field of view.

    Attributes
    ----------
    field_id : str
        Unique in the experiment without regard to case; every file of the field is named by it.
    condition, replicate, sample : str
        `replicate` and `sample` are empty where they are not known.
    segment, count : ChannelFile or None
    measure : dict of str to ChannelFile
        By channel name.
    mask : Path or None
        Label image that is there already.
    region : Path or None
        ROIs within which cells count.
    height_px, width_px : int
    dtype : str
        Type of the first measured image, else of the segment image.
    pixel_size_um : float or None
    problems : tuple of str
        Why this field cannot be processed; empty when it can.
    cell_type : str
        What all of its cells are, where a person said so.
    series_id : str
        The series of frames it belongs to; empty for a still image.
    frame : int or None
        Its number in the series, as it is named.
    """

    field_id: str
    condition: str
    replicate: str = ""
    sample: str = ""
    segment: ChannelFile | None = None
    measure: dict[str, ChannelFile] = field(default_factory=dict)
    count: ChannelFile | None = None
    mask: Path | None = None
    region: Path | None = None
    height_px: int = 0
    width_px: int = 0
    dtype: str = ""
    pixel_size_um: float | None = None
    problems: tuple[str, ...] = ()
    cell_type: str = ""
    series_id: str = ""
    frame: int | None = None

    @property
    def files(self) -> tuple[ChannelFile, ...]:
        """All images of the field; one with two parts to play comes twice."""
        cells = (self.segment, *self.segment.also) if self.segment else ()
        return tuple(file for file in (*cells, *self.measure.values(), self.count) if file)


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    images : Path
        The folder, or the one file that holds everything.
    fields : tuple of Field
    conditions : tuple of str
        In the order of the sample sheet, else natural order.
    segment_channel, count_channel : str or None
    measure_channels : tuple of str
    segment_with : tuple of str
        Channels that the network sees beside the segment channel.
    control : str or None
        The condition that the others are compared with.
    warnings : tuple of str
        What the user should know; nothing is stopped by it.
    ignored : tuple of (Path, str)
        Files that play no part, and why.
    missing : tuple of str
        Conditions, and lines of a sample sheet, without a field. A run stops there unless it is told to go on.
    excluded : tuple of str
        Fields that a person left out.
    layout : str
        How an instrument named the files, where that was recognised.
    """

    images: Path
    fields: tuple[Field, ...]
    conditions: tuple[str, ...]
    segment_channel: str | None
    measure_channels: tuple[str, ...]
    count_channel: str | None
    control: str | None = None
    segment_with: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    ignored: tuple[tuple[Path, str], ...] = ()
    missing: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    layout: str = ""

    @property
    def root(self) -> Path:
        """The folder below which all images are: of a single file the one that it is in."""
        return root_of(self.images)

    @property
    def measured_channels(self) -> tuple[str, ...]:
        """The channels that are measured: those named for it, and the one in which nuclei are counted."""
        return tuple(dict.fromkeys([*self.measure_channels, *([self.count_channel] if self.count_channel else [])]))

    def measured(self, item: Field) -> dict[str, ChannelFile]:
        """Return the files of a field that are measured, by channel."""
        files = dict(item.measure)
        if self.count_channel and item.count:
            files.setdefault(self.count_channel, item.count)
        return files

    @property
    def ignored_by_reason(self) -> dict[str, int]:
        """How many files play no part, by the reason."""
        return dict(Counter(why for _, why in self.ignored))

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """Every (field_id, problem)."""
        return tuple((f.field_id, problem) for f in self.fields for problem in f.problems)
