"""What the user should know about a plan: what does not fit together, and what cannot be drawn."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from bridge.calibration import ValueCalibration
from bridge.errors import InputError
from bridge.experiment.fields import Field, Plan
from bridge.images.reader import inspect
from bridge.names import number
from bridge.settings import Settings


def mixtures(fields: Sequence[Field], plan: Plan, settings: Settings) -> list[str]:
    """Name what differs between the fields of a plan and keeps them from being compared."""
    warnings = []
    for channel in plan.measure_channels:
        kinds: dict[str, dict[str, list[str]]] = {
            "bit depth": defaultdict(list),
            "value calibration": defaultdict(list),
        }
        for f in fields:
            if channel in f.measure:
                try:
                    info = inspect(f.measure[channel])
                except InputError:
                    continue
                kinds["bit depth"][info.dtype].append(f.field_id)
                kinds["value calibration"][_named(info.calibration.values)].append(f.field_id)
        colour = [f.field_id for f in fields if _is_colour(f, channel)]
        if colour and settings.rgb_channel is None:
            warnings.append(
                f"{channel} is a colour image in {number(len(colour), 'field')} (e.g. {colour[0]}); whether one of its channels holds the signal shows when it is "
                "read (plan --check-pixels), or name one with --rgb-channel"
            )
        for what, ids_of in kinds.items():
            if len(ids_of) > 1:
                listed = ", ".join(f"{name} in {len(ids)} (e.g. {ids[0]})" for name, ids in ids_of.items())
                warnings.append(f"mixed {what} in {channel}: {listed}; their grey levels cannot be compared")
    sizes = Counter(None if f.pixel_size_um is None else round(f.pixel_size_um, 6) for f in fields if not f.problems)
    if len(sizes) > 1:
        listed = ", ".join(f"{'none' if size is None else f'{size:g} um'} in {n} fields" for size, n in sizes.items())
        warnings.append(f"mixed pixel size: {listed}; areas in px cannot be compared")
    for f in fields:
        for file in f.files:
            if file:
                try:
                    warnings += [f"{file.path.name}: {warning}" for warning in inspect(file).warnings]
                except InputError:
                    continue
    if any(f.replicate for f in fields) and not all(f.replicate for f in fields):
        warnings.append("some fields name a replicate and some do not")
    return list(dict.fromkeys(warnings))


def undrawn(fields: tuple[Field, ...]) -> list[str]:
    """Name the letters that figures cannot show on this machine."""
    texts = [text for item in fields for text in (item.condition, item.replicate, item.field_id)]
    # Up to Arabic, and signs: what matplotlib's own font has. It is imported for other letters only.
    if not any(ord(letter) > 0x6FF and not 0x2000 <= ord(letter) < 0x2C00 for text in texts for letter in text):
        return []
    from bridge.report.fonts import families

    missing = families(texts)[1]
    return (
        [f"no font of this machine has {missing[:20]}: figures show boxes. Install one that has, e.g. Noto Sans CJK"]
        if missing
        else []
    )


def _named(values: ValueCalibration) -> str:
    if not values:
        return "none"
    return f"{values.unit} ({', '.join([f'function {values.function}', *(f'{c:g}' for c in values.coefficients)])})"


def _is_colour(item: Field, channel: str) -> bool:
    try:
        return channel in item.measure and inspect(item.measure[channel]).colour
    except InputError:
        return False
