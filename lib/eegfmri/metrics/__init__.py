"""Scores, their intervals over subjects, and tests: what every chapter says of a number.

Scores of volumes are in `eegfmri.metrics.volumes`.
"""

from eegfmri.metrics.intervals import N_RESAMPLES, Interval, bootstrap, bootstrap_mean, bootstrap_pooled
from eegfmri.metrics.scores import SCORES, balanced_accuracy, confusion
from eegfmri.metrics.significance import circular_shift_null, compare_pairs, holm, sign_flip_max_t, sign_flip_test
from eegfmri.metrics.similarity import DistanceMatch, distance_match, linear_cka

__all__ = [
    "SCORES",
    "N_RESAMPLES",
    "Interval",
    "balanced_accuracy",
    "confusion",
    "bootstrap",
    "bootstrap_mean",
    "bootstrap_pooled",
    "sign_flip_test",
    "sign_flip_max_t",
    "holm",
    "compare_pairs",
    "circular_shift_null",
    "linear_cka",
    "DistanceMatch",
    "distance_match",
]
