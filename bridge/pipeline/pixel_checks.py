"""What only the pixels tell: images that cannot be measured, and the same pixels under two names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridge.acquisition.image_numbers import image_numbers
from bridge.errors import InputError
from bridge.images.reader import read_plane
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.results_folder import ResultsFolder
from bridge.pipeline.step import Context
from bridge.pipeline.steps.checks import files_of, judged, settings_of

if TYPE_CHECKING:
    from bridge.experiment.fields import Plan
    from bridge.settings import Settings


def check_pixels(plan: Plan, settings: Settings) -> Plan:
    """Decode every image of a plan, as a run would, and add what it would stumble over.

    Parameters
    ----------
    plan : Plan
    settings : Settings

    Returns
    -------
    Plan
        With the problems of fields, and warnings about images that are there twice.
    """
    folder = ResultsFolder(plan.images)
    context = Context(plan, settings, folder, Hashes(plan.images))
    found: dict[str, dict[str, Any]] = {}
    fields = []
    for item in plan.fields:
        problems = list(item.problems)
        facts: dict[str, Any] = {"numbers": {}, "settings": {}, "pixels": {}}
        for channel, file in files_of(context, item).items():
            measured = channel in plan.measured(item)
            try:
                colour = None if measured else settings.colour
                seen = read_plane(file, settings.rgb_channel, measured, colour)
            except InputError as error:
                problems.append(str(error))
                continue
            facts["numbers"][channel] = image_numbers(seen.pixels)
            facts["settings"][channel] = settings_of(file)
            facts["pixels"][channel] = seen.pixel_hash
        found[item.field_id] = facts
        fields.append(replace(item, problems=tuple(dict.fromkeys(problems))))
    warnings = judged(context, fields, found, {}).warnings
    return replace(plan, fields=tuple(fields), warnings=(*plan.warnings, *warnings))
