"""How good a subject's EEG is, and how its sleep differs from the average subject's: what no region, head or body of the model has.

Drawn from streams of their own, so that a preset without such differences makes the same recordings as if they did not exist.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from eegfmri.recordings import STAGES
from eegfmri.simulation.artefacts import MODEL_RATE, contact_noise
from eegfmri.simulation.parameters import BANDS, Acquisition, Preset

#: Hz above which the drifts of a loose electrode fall off, and seconds in which it comes loose and holds again.
_DRIFT_EDGE = 0.5
_RAMP_SECONDS = 1.0


@dataclass(frozen=True)
class Quality:
    """What stays the same in all of a subject's EEG, beside `eegfmri.simulation.activity.Traits`.

    Attributes
    ----------
    noise : float
        Factor on the amplitude of background and sensor noise.
    residual : float
        Factor on what corrections leave of gradient and pulse artefacts.
    stage_log_gain : dict
        Band → stage → deviation of the log gain (natural log); 0 in wakefulness, which gains are relative to.
    """

    noise: float = 1.0
    residual: float = 1.0
    stage_log_gain: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def draw_quality(preset: Preset, rng: np.random.Generator) -> Quality:
    """Draw one subject; a spread of 0 gives exactly the average one."""
    noise, residual = rng.standard_normal(2)
    common, own = rng.standard_normal((len(BANDS), 1)), rng.standard_normal((len(BANDS), len(STAGES)))
    deviation = preset.stage_band_spread * np.sqrt(0.5) * (common + own)
    return Quality(
        noise=float(np.exp(preset.noise_spread * noise)),
        residual=float(np.exp(preset.residual_spread * residual)),
        stage_log_gain={
            band: {stage: 0.0 if stage == "W" else float(value) for stage, value in zip(STAGES, row, strict=True)}
            for band, row in zip(BANDS, deviation, strict=True)
        },
    )


@dataclass(frozen=True)
class Loose:
    """An electrode that comes loose for a while.

    Attributes
    ----------
    channel : int
        Row among the scalp channels.
    first : int
        First sample of the run at `MODEL_RATE`.
    start : float
        Time of that sample in s from the first volume.
    voltage : numpy.ndarray
        Shape (n_times,), volts: what is recorded there beside the EEG.
    """

    channel: int
    first: int
    start: float
    voltage: np.ndarray

    @property
    def stop(self) -> float:
        """When it holds again, in s from the first volume."""
        return self.start + len(self.voltage) / MODEL_RATE


def draw_loose(
    preset: Preset, acquisition: Acquisition, start: float, n_times: int, rng: np.random.Generator
) -> tuple[Loose, ...]:
    """Draw the electrodes of a run that come loose.

    Parameters
    ----------
    preset : Preset
        How often, how long, how large.
    acquisition : Acquisition
        Scalp channels; its references hold, for one that comes loose spoils a recording as a whole.
    start : float
        First time of the EEG in s from the first volume.
    n_times : int
        Samples of the EEG at `MODEL_RATE`.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    tuple of Loose
        In order of time.
    """
    able = [i for i, name in enumerate(acquisition.channels) if name not in acquisition.reference]
    found = []
    for _ in range(rng.poisson(preset.loose_per_minute * n_times / MODEL_RATE / 60)):
        channel, first = int(rng.choice(able)), int(rng.integers(n_times))
        seconds = float(np.exp(rng.uniform(*np.log(preset.loose_seconds))))
        length = min(round(seconds * MODEL_RATE), n_times - first)
        voltage = preset.loose_drift * contact_noise(length, MODEL_RATE, rng, _DRIFT_EDGE)
        voltage += preset.loose_noise * rng.standard_normal(length)
        since = np.arange(length) / MODEL_RATE
        ramp = np.clip(np.minimum(since, seconds - since) / _RAMP_SECONDS, 0, 1)
        voltage = (1e-6 * rng.uniform(0.5, 1.5) * ramp * voltage).astype(np.float32)
        found.append(Loose(channel, first, start + first / MODEL_RATE, voltage))
    return tuple(sorted(found, key=lambda one: one.first))


def loosen(scalp: np.ndarray, loose: Sequence[Loose]) -> np.ndarray:
    """Return a run at `MODEL_RATE` with its loose electrodes, shape (n_channels or more, n_times); a copy if there are any."""
    if not loose:
        return scalp
    scalp = scalp.copy()
    for one in loose:
        scalp[one.channel, one.first : one.first + len(one.voltage)] += one.voltage
    return scalp


def describe_loose(loose: Sequence[Loose], channels: Sequence[str]) -> list[dict]:
    """Say for ``simulated.json`` which channels were loose, and when, in s from the first volume."""
    return [
        {"channel": channels[one.channel], "start": round(one.start, 3), "stop": round(one.stop, 3)} for one in loose
    ]
