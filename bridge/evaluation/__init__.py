"""Label image against ground truth -> scores."""

from bridge.evaluation.matching import Matching, match_labels

__all__ = ["Matching", "match_labels"]
