"""What the body does during a run, seen by both modalities: the heart beats, the chest breathes, the head moves.

Made once per run and handed to the EEG and to the BOLD, so that what both share besides the brain is shared exactly.
"""

from dataclasses import dataclass

import numpy as np

from eegfmri.simulation.activity import POWER_RATE, Activity, Traits, slow_noise
from eegfmri.simulation.parameters import Preset


@dataclass(frozen=True)
class Body:
    """Heart, breath and head of one run.

    Attributes
    ----------
    start : float
        Time of the first sample in s from the first volume.
    beats : numpy.ndarray
        Times of heart beats in s.
    breath : numpy.ndarray
        Shape (n_samples,) at `POWER_RATE`: chest position, unit amplitude on average.
    depth : numpy.ndarray
        Shape (n_samples,): depth of breathing relative to its mean.
    motion : numpy.ndarray
        Shape (n_samples, 6): translation (mm) and rotation (degrees) of the head along and about scanner x, y, z, zero
        on average over the first volume.
    """

    start: float
    beats: np.ndarray
    breath: np.ndarray
    depth: np.ndarray
    motion: np.ndarray

    @property
    def times(self) -> np.ndarray:
        """Times of the samples in s from the first volume."""
        return self.start + np.arange(len(self.breath)) / POWER_RATE

    def motion_at(self, times: np.ndarray) -> np.ndarray:
        """Return motion at the given times: shape (n_times, 6), mm and radians."""
        at = np.stack([np.interp(times, self.times, column) for column in self.motion.T], axis=1)
        at[:, 3:] = np.radians(at[:, 3:])
        return at


def make_body(preset: Preset, traits: Traits, activity: Activity, t_r: float, rng: np.random.Generator) -> Body:
    """Draw heart beats, breathing and head motion of a run.

    Parameters
    ----------
    preset : Preset
        Rates and sizes.
    traits : Traits
        The subject's heart and breathing rate.
    activity : Activity
        Gives the span of time, and the stages that the heart follows.
    t_r : float
        Repetition time in s.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    Body
        On the grid of the planted power.
    """
    times = activity.times
    n_samples = len(times)
    rate = activity.by_stage(preset.heart_rate) + traits.heart_rate_offset
    beats = _beats(rate, times, rng)
    depth = np.clip(1 + preset.breath_depth_spread * slow_noise(n_samples, preset, rng, 1)[0], 0.3, None)
    # breathing is not a metronome: its rate wanders by a tenth
    pace = traits.breathing_rate / 60 * (1 + 0.1 * slow_noise(n_samples, preset, rng, 1)[0])
    breath = depth * np.sin(2 * np.pi * (np.cumsum(pace) / POWER_RATE + rng.uniform()))
    motion = _motion(preset, times, rng)
    motion[:, 2] += preset.breath_motion * breath
    first = (times >= 0) & (times < t_r)
    motion -= motion[first].mean(axis=0)
    return Body(activity.start, beats, breath, depth, motion)


def _beats(rate: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Heart beats in s; the rate (per minute) breathes and wanders."""
    phase = rng.uniform(0, 2 * np.pi)
    beats, time = [], times[0] + rng.uniform(0, 1)
    while time < times[-1]:
        beats.append(time)
        now = np.interp(time, times, rate) + 3 * np.sin(2 * np.pi * 0.25 * time + phase) + rng.normal(0, 1.5)
        time += 60 / max(now, 35.0)
    return np.array(beats)


def _motion(preset: Preset, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slow drift of the head, and nods: half a second to move, some seconds to come nearly back; (n_samples, 6), mm, degrees."""
    n_samples = len(times)
    walk = np.cumsum(slow_noise(n_samples, preset, rng, 6), axis=1)
    walk -= walk.mean(axis=1, keepdims=True)
    walk /= walk.std(axis=1, keepdims=True)
    motion = (walk * np.array([preset.translation] * 3 + [preset.rotation] * 3)[:, None]).T
    n_nods = rng.poisson(preset.nods_per_minute * (times[-1] - times[0]) / 60)
    for at in np.sort(rng.uniform(times[0], times[-1], n_nods)):
        since = times - at
        course = 0.5 * (1 + np.tanh(since / 0.25)) * (0.2 + 0.8 * np.exp(-np.clip(since, 0, None) / rng.uniform(2, 8)))
        motion += np.outer(course, rng.normal(0.0, preset.nod, 6))
    return motion
