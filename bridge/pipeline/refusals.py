"""What a run refuses before any work: results of other settings, files of others, too little to work on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import InputError, OutputError
from bridge.foreign import read_json
from bridge.imagej.fiji_folder import fiji_root
from bridge.pipeline.graph import EXPERIMENT
from bridge.pipeline.records import Records, differences
from bridge.pipeline.results_folder import ResultsFolder
from bridge.pipeline.run_record import RECORDS, recorded_settings
from bridge.setting_options import ASSAY, CHANGE_NOTHING, MACHINE
from bridge.settings import Settings

if TYPE_CHECKING:
    from bridge.experiment.fields import Plan
    from bridge.segmentation.models import ModelFile


def refuse_other_settings(plan: Plan, folder: ResultsFolder, settings: Settings, update: bool) -> None:
    """Refuse a folder with results of other settings, or of another version of this program.

    Raises
    ------
    OutputError
    """
    try:
        content = read_json(folder.run)
        before = content["settings"]
        if not isinstance(before, dict):
            raise ValueError("its settings are no object")
    except FileNotFoundError:
        return
    except (KeyError, ValueError):
        content, before = {}, {}
    changed = changed_settings(before, plan, settings)
    if changed and not update:
        raise OutputError(
            f"{folder.out}: holds results of other settings ({changed}). "
            "Give --update to run again what depends on them, or name another folder with --out."
        )
    if content and content.get("records") != RECORDS and not update:
        raise OutputError(
            f"{folder.out}: was made by another version of this program, whose numbers must not be mixed with those of this one. "
            "Give --update to make everything again, or name another folder with --out."
        )


def changed_settings(before: dict[str, Any], plan: Plan, settings: Settings) -> str:
    """Say in words which settings differ from recorded ones, of those that numbers depend on."""
    # The images may have moved: their hashes decide. What the assay is told re-makes tables and figures alone.
    free = {"images", *CHANGE_NOTHING, *settings.in_groups(MACHINE, ASSAY)}
    now = {k: v for k, v in recorded_settings(plan.images, settings).items() if k not in free}
    return differences({k: v for k, v in before.items() if k not in free}, now)


def refuse_foreign_files(folder: ResultsFolder, records: Records) -> None:
    """Refuse a plan or a list of failures that a person changed, or that this program did not write.

    Raises
    ------
    OutputError
    """
    for name, path in (("plan", folder.fields), ("failures", folder.failures)):
        records.current(EXPERIMENT, name, {}, [path], derived=True)  # refuses what a person changed
        if path.exists() and not folder.run.exists():
            raise OutputError(
                f"{path}: is there already and was not written by this run. It is not overwritten: move it elsewhere, or name another folder with --out."
            )


def require_enough(plan: Plan, settings: Settings) -> None:
    """Refuse a plan without fields for a condition, or without any that can be processed, and a Fiji that is none.

    Raises
    ------
    InputError, MissingDependencyError
    """
    if plan.missing and not settings.allow_missing:
        listed = "\n".join(f"  {text}" for text in plan.missing)
        raise InputError(
            f"{plan.images}: conditions without a field (got {len(plan.missing)}, expected none). "
            f"Add their images, or give --allow-missing to run without:\n{listed}"
        )
    if all(item.problems for item in plan.fields):
        listed = "\n".join(f"  {problem}" for _, problem in plan.problems)
        raise InputError(
            f"{plan.images}: not one field can be processed (got {len(plan.fields)}, each with a problem). See `cellpose-fiji plan`:\n{listed}"
        )
    if settings.fiji != "core" and settings.fiji.count(":") < 2:
        fiji_root(Path(settings.fiji))


def resolve_models(plan: Plan, settings: Settings, announce: Callable[[str], None] | None) -> dict[str, ModelFile]:
    """Find the weights that a run needs, and announce them.

    Returns
    -------
    dict of str to ModelFile
        By what they find: ``segment`` or ``count``.
    """
    wanted = []
    if settings.masks is None:
        wanted.append(("segment", settings.model, False))
    if plan.count_channel:
        wanted.append(("count", settings.nuclei_model, True))
    if not wanted:
        return {}
    from bridge.segmentation.model_channels import require_channels
    from bridge.segmentation.models import resolve_model

    models = {role: resolve_model(name, nuclei) for role, name, nuclei in wanted}
    if "segment" in models and settings.colour is None:
        require_channels(models["segment"], 1 + len(plan.segment_with))
    for role, model in models.items():
        if announce:
            channel = plan.segment_channel if role == "segment" else plan.count_channel
            announce(f"{channel}: Cellpose model {model.name} (SHA-256 {model.sha256[:12]}...)")
    return models
