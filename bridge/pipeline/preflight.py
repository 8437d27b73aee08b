"""All problems with the input, before any work."""

from __future__ import annotations

import gc
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from pathlib import Path

from natsort import natsorted

from bridge.errors import InputError, LabelError
from bridge.experiment.channels import assign_channels
from bridge.experiment.condition_order import control_of, ordered, require_condition
from bridge.experiment.discover import lost_folders
from bridge.experiment.exclusion import without
from bridge.experiment.fields import Field, Plan, root_of
from bridge.experiment.naming import name_files
from bridge.experiment.sample_sheet import Sheet
from bridge.images.image import ImageInfo
from bridge.images.label_files import MaskFolder, find_region
from bridge.images.reader import channel_index, inspect, require_readable
from bridge.names import MASK_SUFFIXES, safe_name
from bridge.pipeline.plan_warnings import mixtures, undrawn
from bridge.pipeline.prepared import flat_field_of, require_known_shifts
from bridge.segmentation.model_channels import require_channels_of_cellpose
from bridge.segmentation.models import default_model
from bridge.settings import Settings


def make_plan(images: Path, settings: Settings | None = None) -> Plan:
    """Find every field, its condition and its channels.

    Parameters
    ----------
    images : Path
        Folder with a folder for each condition; or any folder, with a name pattern or a sample sheet.
    settings : Settings, optional
        Its plan options say what is what.

    Returns
    -------
    Plan
        Fields that cannot be processed are in it, with their problems.

    Raises
    ------
    InputError
        No image, a pattern that matches nothing, channels that cannot be told apart, or names that collide: nothing
        can be run before the user has decided.

    Examples
    --------
    >>> import tempfile, numpy, tifffile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("phase", "EdU"):
    ...     (folder / "DMSO").mkdir(exist_ok=True)
    ...     tifffile.imwrite(folder / "DMSO" / f"f1_{name}.tif", numpy.ones((8, 8), "uint16"))
    >>> plan = make_plan(folder)
    >>> plan.fields[0].field_id, plan.conditions, plan.measure_channels
    ('DMSO_f1', ('DMSO',), ('EdU',))
    """
    with _rarely_collected():
        return _made(images, settings or Settings())


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Let Python look less often for objects that hold each other: of 100,000 files it keeps millions, and finds none."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _made(images: Path, settings: Settings) -> Plan:
    named = name_files(images, settings)
    plan = assign_channels(images, named.files, named.ignored, settings, named.layout)
    plan = without(plan, settings.exclude)
    plan = _order_conditions(plan, named.sheet, settings)
    if not settings.pattern and not named.sheet and root_of(images) == images:
        used = [file.path for f in plan.fields for file in f.files]
        troubled = {f.field_id for f in plan.fields if f.problems}
        used += [item.path for item in named.files if safe_name(item.key.replace("/", "_")) in troubled]
        plan = replace(plan, missing=(*plan.missing, *lost_folders(images, used, plan.ignored)))
    missing = (*plan.missing, *named.unfitted)
    plan = replace(plan, warnings=missing, missing=()) if settings.allow_missing else replace(plan, missing=missing)
    return _check(plan, settings)


def _order_conditions(plan: Plan, sheet: Sheet | None, settings: Settings) -> Plan:
    present = list(dict.fromkeys(f.condition for f in plan.fields))
    known = list(dict.fromkeys([*(row["condition"] for row in sheet.rows), *present])) if sheet else present
    control = control_of(known, settings.control, settings.edu_control)
    first = [require_condition(known, name, "--order") for name in settings.order]
    if sheet and not first:
        # Its lines are an order; what no line names follows.
        first = [row["condition"] for row in sheet.rows]
    conditions = ordered(known, list(dict.fromkeys(first)), control)
    _require_printable(plan, conditions)
    folders = Counter(safe_name(name).lower() for name in conditions)
    clash = next((name for name in conditions if folders[safe_name(name).lower()] > 1), None)
    if clash is not None:
        twins = [name for name in conditions if safe_name(name).lower() == safe_name(clash).lower()]
        raise InputError(
            f"{plan.images}: conditions that differ only by case or punctuation (got {twins[0]} and {twins[1]}). Give them one name, or two that differ."
        )
    if "all_conditions" in folders:
        raise InputError(
            f"{plan.images}: a condition called all_conditions (expected another name: the summary's workbook is called so). Rename it."
        )
    fields = natsorted(plan.fields, key=lambda f: (conditions.index(f.condition), f.replicate, f.sample, f.field_id))
    missing = [f"condition {name} has no field" for name in conditions if name not in present]
    return replace(plan, fields=tuple(fields), conditions=tuple(conditions), missing=tuple(missing), control=control)


def _check(plan: Plan, settings: Settings) -> Plan:
    if not plan.fields:
        raise InputError(
            f"{plan.images}: no field (got {len(plan.ignored)} files that play no part). Check --pattern, --samples and the channel names."
        )
    if settings.edu_control is not None:
        require_condition(plan.conditions, settings.edu_control, "--edu-control")
    _require_positive(plan, settings)
    if settings.segment_with and settings.colour is not None:
        raise InputError(f"--colour {settings.colour}: the network is shown further channels (got --segment-with {', '.join(settings.segment_with)}, expected one of the two). Leave one out.")  # fmt: skip
    if plan.segment_with and settings.masks is None and not Path(settings.model or "").is_file():
        require_channels_of_cellpose(settings.model or default_model(), 1 + len(plan.segment_with))
    if settings.ring is not None and plan.count_channel is None:
        raise InputError("--ring: no channel with nuclei (expected one). Name it with --count, or leave --ring out.")
    if settings.regions is not None and not settings.regions.exists():
        raise InputError(f"{settings.regions}: no such file or folder of regions. Check the path given with --regions.")
    if settings.flat_field is not None and not settings.flat_field.exists():
        raise InputError(f"{settings.flat_field}: no such file or folder. Check the path given with --flat-field.")
    if settings.masks is not None and not settings.masks.is_dir():
        raise InputError(f"{settings.masks}: no such folder of label images. Check the path given with --masks.")
    require_known_shifts(settings, plan.measured_channels)
    for channel in plan.measured_channels:
        flat_field_of(settings, channel)
    masks = MaskFolder(settings.masks) if settings.masks is not None else None
    root = plan.root
    fields = tuple(_check_field(plan, root, f, settings, masks) for f in plan.fields)
    shared = Counter(f.mask for f in fields if f.mask)
    fields = tuple(
        replace(
            f,
            problems=(
                *f.problems,
                f"{f.field_id}: another field would use {f.mask}, too (expected a label image of its own). Name it {f.field_id}_mask.tif.",
            ),
        )
        if f.mask and shared[f.mask] > 1
        else f
        for f in fields
    )
    _require_one_spelling(plan, "replicates", {f.replicate for f in fields})
    warnings = [*plan.warnings, *mixtures(fields, plan, settings), *undrawn(fields)]
    if settings.masks is not None:
        plain = Settings()
        names = ("model", "diameter", "min_size", "border", "flow_threshold", "cellprob_threshold")
        unused = [f"--{n.replace('_', '-')}" for n in names if getattr(settings, n) != getattr(plain, n)]
        if unused and (not plan.count_channel or {"--model", "--diameter"} & set(unused)):
            warnings.append(f"label images are taken as they are: {', '.join(unused)} change nothing in them")
    return replace(plan, fields=fields, warnings=tuple(warnings))


def _check_field(plan: Plan, root: Path, item: Field, settings: Settings, masks: MaskFolder | None) -> Field:
    problems = list(item.problems)
    mask = region = None
    files = [file.path for file in item.files]
    try:
        region = find_region(settings.regions, [item.field_id, *(path.stem for path in files)])
    except InputError as error:
        problems.append(str(error))
    if masks is not None:
        inside = [path.relative_to(root).with_suffix("").as_posix() for path in files]
        try:
            mask = masks.find([item.field_id, *inside, *(path.stem for path in files)])
        except LabelError as error:
            problems.append(str(error))
        else:
            if mask is None:
                problems.append(
                    f"{item.field_id}: no label image in {settings.masks} (expected {item.field_id}{MASK_SUFFIXES[0]}.tif). Add it, or leave out --masks."
                )
    elif item.segment is None and plan.segment_channel and not problems:
        problems.append(
            f"{item.field_id}: no {plan.segment_channel} image (expected one beside the others). Add it, or take the field out."
        )
    for channel in plan.measure_channels:
        if channel not in item.measure and not item.problems:
            problems.append(
                f"{item.field_id}: no {channel} image (expected one beside the others). Add it, or take the field out."
            )
    if plan.count_channel and item.count is None and not item.problems:
        problems.append(
            f"{item.field_id}: no {plan.count_channel} image (expected one beside the others). Add it, take the field out, or give --count none."
        )
    infos: dict[str, ImageInfo] = {}
    roles = [
        (plan.segment_channel or "segment", item.segment, False),
        *zip(plan.segment_with, item.segment.also if item.segment else (), repeat(False)),
        *((c, f, True) for c, f in item.measure.items()),
        (plan.count_channel or "count", item.count, True),
    ]
    for name, file, measured in roles:
        if file is None:
            continue
        try:
            info = inspect(file)
            channel_index(info, file.channel)
            require_readable(info, measured)
            infos[name] = info
        except InputError as error:
            problems.append(str(error))
    problems += _unlike_sizes(item.field_id, infos)
    sized = next(iter(infos.values()), None)
    typed = next((infos[c] for c in item.measure if c in infos), sized)
    sizes = {name: i.calibration.pixel_um for name, i in infos.items() if i.calibration.pixel_size_um}
    if (
        len({(round(width, 6), round(height, 6)) for width, height in sizes.values()}) > 1
        and settings.pixel_size is None
    ):
        listed = ", ".join(
            f"{f'{width:g}' if width == height else f'{width:g} x {height:g}'} um in {name}"
            for name, (width, height) in sizes.items()
        )
        problems.append(
            f"{item.field_id}: its images have different pixel sizes (got {listed}, expected one). Give the right one with --pixel-size."
        )
    size_um = settings.pixel_size or next((s for i in infos.values() if (s := i.calibration.pixel_size_um)), None)
    return replace(
        item,
        mask=mask,
        region=region,
        problems=tuple(dict.fromkeys(problems)),
        height_px=sized.height if sized else 0,
        width_px=sized.width if sized else 0,
        dtype=typed.dtype if typed else "",
        pixel_size_um=size_um,
    )


def _unlike_sizes(field_id: str, infos: dict[str, ImageInfo]) -> list[str]:
    problems: list[str] = []
    if not infos:
        return problems
    (first, base), *others = infos.items()
    for name, info in others:
        if (info.height, info.width) == (base.height, base.width):
            continue
        text = f"{field_id}: {first} and {name} differ in size (got {base.height} x {base.width} and {info.height} x {info.width} px, expected the same)."
        larger, smaller = sorted(((base.height, base.width), (info.height, info.width)), reverse=True)
        factor = larger[0] / smaller[0]
        if factor == larger[1] / smaller[1] and factor == int(factor):
            text += f" The factor is {int(factor)}: one was binned. Export both without binning."
        else:
            text += " Export both at the camera's full size, without cropping."
        problems.append(text)
    return problems


def _require_printable(plan: Plan, conditions: Sequence[str]) -> None:
    """Control characters give workbooks that no program opens, and line breaks pictures that cannot be drawn."""
    named = [
        *(("condition", name) for name in conditions),
        *(("replicate", f.replicate) for f in plan.fields), *(("sample", f.sample) for f in plan.fields),
    ]  # fmt: skip
    for what, name in named:
        if any(unicodedata.category(letter) in ("Cc", "Cs", "Co", "Zl", "Zp") for letter in name):
            raise InputError(
                f"{plan.images}: a {what} with a letter that cannot be printed (got {name!r}, expected letters, digits and signs). Rename it."
            )


def _require_one_spelling(plan: Plan, what: str, names: set[str]) -> None:
    """1, 01 and 1.0 are one replicate."""
    spelt: dict[object, str] = {}
    for name in natsorted(names):
        try:
            key: object = float(name.replace(",", "."))
        except ValueError:
            key = name.casefold()
        other = spelt.setdefault(key, name)
        if other != name:
            raise InputError(
                f"{plan.images}: {what} that differ only in spelling (got {other} and {name}, expected one). Write them alike."
            )


def _require_positive(plan: Plan, settings: Settings) -> None:
    asked = [*(name for name in settings.positive if name != "none"), *settings.thresholds("").keys()]
    unknown = [name for name in asked if name and name not in plan.measured_channels]
    if unknown:
        raise InputError(
            f"--positive {unknown[0]}: not measured (got {', '.join(plan.measured_channels) or 'nothing'}). Name a measured channel, or add it to --measure."
        )
