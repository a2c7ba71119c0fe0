"""What a scorer writes down of the stages that are: wrong as often as scorers differ, most often where stages change.

A scorer does not toss a coin for every epoch. Changes of stage are placed an epoch early or late, and what looks doubtful is misjudged for
minutes on end: both add fewer changes of stage than a coin would. They add some all the same, and the sequences that the truth is
drawn from were scored by somebody, too: simulated tables of labels are more restless than real ones.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from eegfmri.recordings import STAGES
from eegfmri.simulation.parameters import Preset
from eegfmri.simulation.stage_sequences import donors


def bordering_shares(statistics: Mapping, epochs: Mapping[str, int]) -> dict[str, float]:
    """Return which share of a stage's epochs borders on another stage, over runs drawn from every donor.

    Parameters
    ----------
    statistics : mapping
        From `eegfmri.simulation.stage_sequences.fit_stage_statistics`.
    epochs : mapping
        Kind of run → epochs of it that are drawn of each donor.

    Returns
    -------
    dict
        Stage → share; 0 for a stage that nobody reached.
    """
    bordering, anywhere = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0.0)
    for donor in donors(statistics):
        for name, wanted in epochs.items():
            kind = statistics["subjects"][donor][name]
            bouts = {stage: [kind[end].get(stage, {}) for end in ("ended", "censored")] for stage in STAGES}
            length = {
                stage: sum(int(n) * times for own in bouts[stage] for n, times in own.items()) for stage in STAGES
            }
            weight = wanted / sum(length.values())
            for stage, (ended, censored) in bouts.items():
                n_bouts, n_last = sum(ended.values()) + sum(censored.values()), sum(ended.values())
                n_first = sum(following.get(stage, 0) for following in kind["transitions"].values())
                # a bout of one epoch is its first and its last
                n_both = ended.get("1", 0) * n_first / max(n_bouts, 1)
                bordering[stage] += weight * (n_first + n_last - n_both)
                anywhere[stage] += weight * length[stage]
    return {stage: bordering[stage] / anywhere[stage] if anywhere[stage] else 0.0 for stage in STAGES}


def score(preset: Preset, stages: Sequence[str], bordering: Mapping[str, float], rng: np.random.Generator) -> list[str]:
    """Draw what a scorer writes for the stages of one run.

    Over many runs in which a share ``bordering`` of a stage's epochs lies next to another stage, the scorer agrees with the truth as
    often as ``preset.scored`` says, stage by stage; in a single run more often where stages last, less often where they change.

    Parameters
    ----------
    preset : Preset
        How often labels are wrong, and where.
    stages : sequence of str
        The stage of each epoch.
    bordering : mapping
        From `bordering_shares`.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    list of str
        A stage per epoch, as scored.
    """
    wrong_of, at_changes = {stage: 1 - preset.scored[stage][stage] for stage in STAGES}, preset.scored_at_changes
    doubt, choice = (_doubts(len(stages), preset.scored_persistence, rng) for _ in range(2))
    scored = []
    for epoch, stage in enumerate(stages):
        around = (*stages[max(epoch - 1, 0) : epoch], *stages[epoch + 1 : epoch + 2])
        others = [other for other in around if other != stage]
        share = bordering[stage]
        inside = wrong_of[stage] / (1 + share * (at_changes - 1))
        border = min(at_changes * inside, 1.0)
        if share < 1:  # what a border cannot hold, the inside does
            inside = (wrong_of[stage] - share * border) / (1 - share)
        if doubt[epoch] >= (border if others else inside):
            scored.append(stage)
        elif others:
            scored.append(others[int(choice[epoch] * len(others))])
        else:
            labels = [label for label in STAGES if label != stage]
            odds = np.cumsum([preset.scored[stage][label] for label in labels])
            scored.append(labels[int(np.searchsorted(odds, choice[epoch] * odds[-1], side="right"))])
    return scored


def _doubts(n_epochs: int, persistence: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers evenly spread between 0 and 1 whose ranks persist from epoch to epoch (Gauss–Markov), shape (n_epochs,)."""
    from scipy.special import ndtr

    steps = rng.standard_normal(n_epochs)
    for epoch in range(1, n_epochs):
        steps[epoch] = persistence * steps[epoch - 1] + np.sqrt(1 - persistence**2) * steps[epoch]
    return ndtr(steps)
