"""What each change brings: fine-tuning, channels, diameter; and some that are often tried instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bridge.errors import InputError
from bridge.evaluation.pairs import Pair, find_pairs, image_hash, read_pair
from bridge.evaluation.split import split
from bridge.evaluation.sweep import Say, means
from bridge.files import require_writable
from bridge.labels import Labels
from bridge.scores.score import score
from bridge.segmentation.diameter import median_diameters
from bridge.segmentation.models import cellpose_version, resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.tables import write_table
from bridge.training.tables import ABLATION
from bridge.training.train import train
from bridge.training_settings import TrainSettings


def ablate(
    images: Path | str,
    out: Path | str,
    settings: TrainSettings | None = None,
    say: Say | None = None,
) -> pd.DataFrame:
    """Show what each change brings: fine-tuning, channels, diameter; and some that are often tried instead.

    The arms, each on the same held-out images: base; + fine-tuning; + channels (adaptive); + diameter (auto). Beside the
    last: diameter fixed at 30 px, flow threshold 0, merged channels, crops of 512 px in training.

    Parameters
    ----------
    images : Path or str
        Images with their ground truth: see `bridge.evaluation.pairs.find_pairs`.
    out : Path or str
        Folder for ``ablation.csv`` and the trainings; an ablation that was stopped resumes where it was.
    settings : TrainSettings, optional
        Of all trainings.
    say : callable, optional

    Returns
    -------
    DataFrame
        `bridge.training.tables.ABLATION`: one row for each arm.

    Raises
    ------
    InputError
        No image is held out: then nothing could be told.
    """
    s = settings or TrainSettings()
    out = Path(out)
    if s.base == "none":
        raise InputError("--base none: an ablation begins from a base model (got none, expected a model). Name one.")
    found = find_pairs(
        Path(images), s.labels, s.segment, s.rgb_channel, accept_labels=s.accept_labels, channel_with=s.segment_with
    )
    pixels = {pair.name: image_hash(pair.image) for pair in found.pairs}
    sets = split(pixels, s.held_out, s.validation)
    if not sets.held_out:
        raise InputError(f"{images}: no image is held out (got {len(pixels)} images, expected some to judge by). Name some with --held-out.")  # fmt: skip
    require_writable(out)
    colours = not s.segment_with and _has_colours(found.pairs)
    # Without a choice of channels the network sees the cells alone: what it sees first of a colour image.
    own = s.rgb_channel or ("green" if colours else None)
    fixed = replace(s, held_out=sets.held_out, leave_one_out=False, rgb_channel=own)
    pairs = [replace(pair, rgb_channel=own) for pair in found.pairs]

    def tuned(name: str, **change: Any) -> str:
        if say is not None:
            say(f"training: {name}")
        return str(train(images, out / name, replace(fixed, **change), say=say).model)

    plain = tuned("fine_tuned", colour=None)
    adaptive = tuned("channels", colour="adaptive") if colours else plain
    known = _training_diameter(pairs, sets.train)
    seen = "adaptive" if colours else None
    arms: list[tuple[str, str, str | None, Any, float]] = [
        ("base", s.base or "", None, s.base_diameter or known, s.flow_threshold),
        ("+ fine-tuning", plain, None, None, s.flow_threshold),
        *([("+ channels (adaptive)", adaptive, "adaptive", None, s.flow_threshold)] if colours else []),
        ("+ diameter (auto)", adaptive, seen, "auto", s.flow_threshold),
        ("instead: diameter fixed at 30 px", adaptive, seen, 30.0, s.flow_threshold),
        ("instead: flow threshold 0", adaptive, seen, "auto", 0.0),
    ]
    if colours:
        arms.append(("instead: merged channels", tuned("merged", colour="merged"), "merged", "auto", s.flow_threshold))
    if cellpose_version()[0] == 3:
        large = tuned("crops_512", colour=seen, crop=512)
        arms.append(("instead: 512 px training crops", large, seen, "auto", s.flow_threshold))
    rows = []
    for arm, model, colour, diameter, flow in arms:
        # As `train` takes its base: the demo network is shown more of the border elsewhere.
        segmenter = Segmenter(replace(resolve_model(model or None), pad_px=0), s.device)
        if say is not None:
            say(f"scoring: {arm}")
        for pair in pairs:
            if pair.name not in sets.held_out:
                continue
            image, true, _ = read_pair(replace(pair, colour=colour))
            labelled = segmenter.segment(image, diameter, flow, s.cellprob_threshold, s.min_size, name=pair.name)
            rows.append({"arm": arm, "image": pair.name, **score(true, labelled.labels).in_short})
    table = means(pd.DataFrame(rows), ["arm"], ABLATION)
    table["ap_50_difference"] = table["ap_50"] - table["ap_50"].shift()
    last = table["arm"].str.startswith("+").to_numpy().nonzero()[0].max()
    beside = table["arm"].str.startswith("instead")
    table.loc[beside, "ap_50_difference"] = table.loc[beside, "ap_50"] - table["ap_50"].iloc[last]
    write_table(out / "ablation.csv", table, ABLATION)
    return table


def _has_colours(pairs: Sequence[Pair]) -> bool:
    """Whether any image shows something else in its second plane than nothing."""
    return any(np.asarray(read_pair(replace(pair, colour="adaptive"))[0])[1].any() for pair in pairs)


def _training_diameter(pairs: Sequence[Pair], names: Sequence[str]) -> float | None:
    if cellpose_version()[0] == 4:
        return None
    labels: list[Labels] = [read_pair(pair)[1] for pair in pairs if pair.name in names]
    return float(np.mean(median_diameters(labels)))
