"""A job script for SLURM: an array of parts of a run, for sites where no scheduler of one's own may run."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from bridge.pipeline.run_record import from_any_folder
from bridge.settings import Settings

_SCRIPT = """#!/bin/bash
#SBATCH --job-name=cellpose-fiji
#SBATCH --array=1-{parts}
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --output=cellpose-fiji-%A_%a.log
# For a GPU: #SBATCH --gres=gpu:1
# Once all parts are done: {merge}
{run} --shard "$SLURM_ARRAY_TASK_ID/{parts}"
"""


def slurm_script(images: Path, out: Path, settings: Settings, parts: int) -> str:
    """Return an sbatch script that runs the parts of a run; a part that is stopped or requeued resumes.

    Parameters
    ----------
    images, out : Path
    settings : Settings
    parts : int
        How many; sites ask for some tens up to a thousand.

    Returns
    -------
    str

    Examples
    --------
    >>> print(slurm_script(Path("/data/images"), Path("/data/out"), Settings(diameter=30.0), 20).splitlines()[-1])
    cellpose-fiji run /data/images --out /data/out --diameter 30.0 --shard "$SLURM_ARRAY_TASK_ID/20"
    """
    images, out, settings = from_any_folder(images, out, settings)
    run = shlex.join(["cellpose-fiji", "run", str(images), "--out", str(out), *_flags(settings)])
    return _SCRIPT.format(parts=parts, run=run, merge=shlex.join(["cellpose-fiji", "merge", str(out)]))


def _flags(settings: Settings) -> list[str]:
    """Return the flags of the settings that are not the defaults."""
    plain, words = Settings(), list[str]()
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        if value == getattr(plain, field.name):
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{field.name.replace('_', '-')}")
        elif isinstance(value, tuple):
            words += [flag, *map(str, value)]
        else:
            words += [flag, str(value)]
    return words
