"""An oddball run: when which stimulus comes, how fast it is answered, and what it evokes in EEG and BOLD.

One in five stimuli is a target, to be answered with a button. The size of the response to a target varies from trial to
trial and is shared by both modalities; its late wave in the EEG comes later, and frontal BOLD is larger, where the answer is
slow. Alpha over the back of the head drops after every stimulus.
"""

from dataclasses import dataclass

import numpy as np

from eegfmri.simulation.activity import POWER_RATE, Activity
from eegfmri.simulation.artefacts import MODEL_RATE
from eegfmri.simulation.parameters import Preset
from eegfmri.simulation.sources import Regions

#: Of a run of ds000116: stimuli, share of targets, pause between onsets (s), duration (s), standards at the start.
N_STIMULI = 125
TARGET_SHARE = 0.2
PAUSE = (2.0, 3.0)
STIMULUS_SECONDS = 0.2
FIRST_STANDARDS = 2

#: Earliest and latest first stimulus (s); the published tables start at 4 to 11 s, most of them at about 5 s.
FIRST_ONSET = (4.2, 5.8)


@dataclass(frozen=True)
class Stimuli:
    """The trials of one run.

    Attributes
    ----------
    sense : {"auditory", "visual"}
        Which task.
    onsets : numpy.ndarray
        Shape (n_stimuli,), s from the first volume.
    targets : numpy.ndarray of bool
        Shape (n_stimuli,).
    reaction_times : numpy.ndarray
        Shape (n_stimuli,), s; NaN without an answer.
    sizes : numpy.ndarray
        Shape (n_stimuli,): size of the response relative to its mean.
    slowness : numpy.ndarray
        Shape (n_stimuli,): log reaction time in standard deviations around the subject's, 0 for standards.
    used : numpy.ndarray of bool
        Shape (n_stimuli,): answered rightly and clean, as the dataset's model files name them.
    """

    sense: str
    onsets: np.ndarray
    targets: np.ndarray
    reaction_times: np.ndarray
    sizes: np.ndarray
    slowness: np.ndarray
    used: np.ndarray

    def table(self) -> np.ndarray:
        """Return the trials as columns: onset, target, reaction time, size, used; shape (n_stimuli, 5)."""
        return np.column_stack([self.onsets, self.targets, self.reaction_times, self.sizes, self.used])


def draw_stimuli(preset: Preset, sense: str, seconds: float, trait: float, rng: np.random.Generator) -> Stimuli:
    """Draw a run.

    Parameters
    ----------
    preset : Preset
        Reaction times, their spreads, trials that go wrong.
    sense : {"auditory", "visual"}
        Which task.
    seconds : float
        Length of the run; a shorter one holds fewer stimuli.
    trait : float
        How slow the subject is, in standard deviations between subjects.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    Stimuli
        In order of time.
    """
    onsets = rng.uniform(*FIRST_ONSET) + np.concatenate([[0.0], np.cumsum(rng.uniform(*PAUSE, N_STIMULI - 1))])
    onsets = np.round(onsets[onsets < seconds - 4.0], 3)
    n = len(onsets)
    targets = np.zeros(n, dtype=bool)
    targets[FIRST_STANDARDS + rng.permutation(n - FIRST_STANDARDS)[: round(TARGET_SHARE * n)]] = True
    median, between, within = preset.reaction_time[sense]
    slowness = np.where(targets, rng.standard_normal(n), 0.0)
    answered = targets & (rng.random(n) >= preset.missed)
    reaction_times = np.where(answered, np.round(median * np.exp(between * trait + within * slowness), 3), np.nan)
    sizes = np.clip(1 + preset.trial_spread * rng.standard_normal(n), 0.1, None)
    used = np.where(targets, answered, rng.random(n) >= preset.missed)
    return Stimuli(sense, onsets, targets, reaction_times, sizes, slowness, used)


def evoke(preset: Preset, regions: Regions, stimuli: Stimuli, start: float, n_times: int) -> np.ndarray:
    """Dipole moments of evoked responses.

    Parameters
    ----------
    preset : Preset
        Moments and delays.
    regions : Regions
        Where.
    stimuli : Stimuli
        When.
    start : float
        Time of the first sample in s from the first volume.
    n_times : int
        Samples at `MODEL_RATE`.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions, n_times), nAm.
    """
    times = start + np.arange(n_times) / MODEL_RATE
    moments = np.zeros((len(regions.groups), n_times))
    for component, chosen in ((stimuli.sense, np.ones(len(stimuli.onsets), dtype=bool)), ("target", stimuli.targets)):
        delay, width = preset.evoked_delay[component]
        delays = np.full(len(stimuli.onsets), delay)
        if component == "target":
            median = preset.reaction_time[stimuli.sense][0]
            delays = delays + preset.late_with_reaction * (np.nan_to_num(stimuli.reaction_times, nan=median) - median)
        course = np.zeros(n_times)
        for onset, size, peak in zip(stimuli.onsets[chosen], stimuli.sizes[chosen], delays[chosen], strict=True):
            low, high = np.searchsorted(times, [onset, onset + peak + 5 * width])
            course[low:high] += size * np.exp(-0.5 * ((times[low:high] - onset - peak) / width) ** 2)
        weights = np.array([preset.evoked_moment[component].get(group, 0.0) for group in regions.groups])
        moments += np.outer(weights, course)
    return moments


def stimulate(preset: Preset, regions: Regions, stimuli: Stimuli, activity: Activity) -> np.ndarray:
    """Impulses that BOLD answers to, each as high as the response at its peak.

    Parameters
    ----------
    preset : Preset
        Sizes in percent.
    regions : Regions
        Where.
    stimuli : Stimuli
        When.
    activity : Activity
        Grid of time.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions, n_samples) at `POWER_RATE`, percent.
    """
    drive = np.zeros((len(regions.groups), activity.stage_weights.shape[1]))

    def sizes(table):
        return np.array([table.get(group, 0.0) for group in regions.groups])

    sensory, attention, slow = (
        sizes(preset.evoked_bold[stimuli.sense]),
        sizes(preset.evoked_bold["target"]),
        sizes(preset.reaction_bold),
    )
    for onset, target, size, slowness in zip(
        stimuli.onsets, stimuli.targets, stimuli.sizes, stimuli.slowness, strict=True
    ):
        position = (onset - activity.start) * POWER_RATE
        left = int(position)
        height = sensory + (attention * size + slow * slowness if target else 0.0)
        drive[:, left] += height * (left + 1 - position)
        drive[:, left + 1] += height * (position - left)
    return drive


def desynchronise(preset: Preset, regions: Regions, stimuli: Stimuli, activity: Activity) -> None:
    """Lower posterior alpha power after each stimulus, in place: most half a second later, for about a second."""
    times = activity.times
    factor = np.ones(len(times))
    for onset, target in zip(stimuli.onsets, stimuli.targets, strict=True):
        low, high = np.searchsorted(times, [onset, onset + 1.8])
        bump = np.exp(-0.5 * ((times[low:high] - onset - 0.5) / 0.25) ** 2)
        factor[low:high] *= 1 - preset.desynchronisation * (1.0 if target else 0.5) * bump
    posterior = np.isin(regions.groups, ("occipital", "parietal"))
    activity.power["alpha"][posterior] *= factor.astype(np.float32)
