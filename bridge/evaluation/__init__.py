"""Label image against ground truth -> scores."""

from bridge.evaluation.matching import Matching, match_labels
from bridge.evaluation.scores import (
    IOU_THRESHOLDS,
    Counts,
    Fates,
    Overlaps,
    Pixels,
    Scores,
    aggregated_jaccard,
    boundary_f1,
    count,
    fates,
    overlaps,
    partners,
    score,
    score_neurips,
    score_pairs,
)

__all__ = [
    "IOU_THRESHOLDS",
    "Counts",
    "Fates",
    "Matching",
    "Overlaps",
    "Pixels",
    "Scores",
    "aggregated_jaccard",
    "boundary_f1",
    "count",
    "fates",
    "match_labels",
    "overlaps",
    "partners",
    "score",
    "score_neurips",
    "score_pairs",
]
