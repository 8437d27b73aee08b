"""Predictions against ground truth: pairs, scores, sweeps, COCO folders."""
