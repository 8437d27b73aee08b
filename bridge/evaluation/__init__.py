"""Label image against ground truth -> scores."""

from bridge.evaluation.matching import Matching, match_labels
from bridge.evaluation.scores import (
    IOU_THRESHOLDS,
    Counts,
    Overlaps,
    Pixels,
    Scores,
    aggregated_jaccard,
    count,
    overlaps,
    partners,
    score,
    score_neurips,
)

__all__ = [
    "IOU_THRESHOLDS",
    "Counts",
    "Matching",
    "Overlaps",
    "Pixels",
    "Scores",
    "aggregated_jaccard",
    "count",
    "match_labels",
    "overlaps",
    "partners",
    "score",
    "score_neurips",
]
