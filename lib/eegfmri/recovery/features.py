"""Features of recordings, and what measuring does to planted ones: how `eegfmri.simulation.features` is tied to simulated files.

`measured_features` reads any recording, real or simulated, by the ordinary preprocessing. `estimate_measurement` sets what it reads from
simulated files beside what was planted in them.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eegfmri.errors import RequestError
from eegfmri.preprocessing import eeg
from eegfmri.preprocessing.eeg import BANDS
from eegfmri.preprocessing.spectra import band_means, spectrogram
from eegfmri.recordings import Recording
from eegfmri.recovery import coupling
from eegfmri.recovery.planted import Truth
from eegfmri.simulation.activity import PRE_ROLL, Traits, draw_differences, draw_traits, plant
from eegfmri.simulation.features import (
    AREAS,
    FEATURES,
    Measurement,
    area_weights,
    expected_power,
    high_passed,
    nearest_regions,
    spontaneous_bold,
)
from eegfmri.simulation.parameters import ACQUISITIONS


@dataclass(frozen=True, eq=False)
class MeasuredSubject:
    """One recording's features.

    Attributes
    ----------
    subject : str
        Whose.
    power : numpy.ndarray
        Shape (n_features, n_volumes): natural logarithm of band power, means over areas, as `eegfmri.simulation.features.FEATURES`.
    bold : numpy.ndarray
        Shape (n_regions, n_volumes): cleaned regional BOLD, percent.
    """

    subject: str
    power: np.ndarray
    bold: np.ndarray


def measured_features(recording: Recording) -> MeasuredSubject:
    """Read a recording's band power over areas of the scalp and its regional BOLD, volume by volume.

    Parameters
    ----------
    recording : Recording
        A usable recording without gaps in its EEG.

    Returns
    -------
    MeasuredSubject
        Frames of 2 s, half overlapping, interpolated at the middle of each volume.
    """
    series, moments = coupling.regional_bold(recording)
    stream = eeg.prepare(recording, coupling.EEG_SETTINGS)
    frequencies, density = spectrogram(np.asarray(stream.load()), stream.sfreq, frame=2.0, overlap=0.5)
    bands = np.log(np.maximum(band_means(frequencies, density, BANDS, axis=-2), 1e-30))
    areas = np.einsum("ac,cbt->abt", area_weights(stream.names), bands).reshape(len(FEATURES), -1)
    power = np.stack([np.interp(moments, 1.0 + np.arange(row.size), row) for row in areas])
    return MeasuredSubject(recording.subject, power, series)


def estimate_measurement(
    pairs: Sequence[tuple[Truth, Sequence[Recording]]], n_draws: int = 2, seed: int = 0
) -> Measurement:
    """Estimate what measuring does to features, from simulated recordings of rest.

    Of power, what is measured is regressed on what the planted power lets expect; the rest is noise. Of BOLD, it is regressed on planted
    BOLD; from the variance that is left, that of spontaneous fluctuations, which the same preset draws, is taken away.

    Parameters
    ----------
    pairs : sequence of (Truth, sequence of Recording)
        Simulated datasets of rest: what was planted, and recordings.
    n_draws : int, default=2
        Draws of spontaneous fluctuations a subject.
    seed : int, default=0
        Of these draws.

    Returns
    -------
    Measurement
        Rounded to three digits.

    Raises
    ------
    RequestError
        If the recordings are not of rest.
    """
    found = [_of_run(truth, recording, n_draws, seed) for truth, recordings in pairs for recording in recordings]
    if not found or any(truth.dataset != "rest" for truth, _ in pairs):
        raise RequestError("What measuring does to features is estimated from simulated recordings of rest: give some.")
    measured, expected = (np.stack([run[name] for run in found]) for name in ("power", "expected"))
    gain = (measured * expected).mean(axis=(0, 1, 3)) / (expected**2).mean(axis=(0, 1, 3))
    left = measured - gain[None, None, :, None] * expected  # (n_runs, n_areas, n_bands, n_volumes)
    size = left.std(axis=-1)
    of_subject = np.log(size.mean(axis=(1, 2)))
    variance = (left**2).mean(axis=(0, 1, 3))
    unit = left / size.mean(axis=1)[:, None, :, None]
    common = np.clip(_between(unit.mean(axis=1), np.mean(unit**2, axis=(0, 1, 3)), len(AREAS)), 0.0, 1.0)
    means = unit.mean(axis=1)
    everywhere = np.mean([np.corrcoef(run)[np.triu_indices(len(BANDS), 1)].mean() for run in means])
    memory = (left[..., 1:] * left[..., :-1]).mean(axis=(0, 1, 3)) / variance
    # what is remembered between volumes is noise, never less than nothing
    gains, noises, memories = [], [], []
    for name in ("mean", "own"):
        bold, planted, rest = (
            np.stack([run[f"{kind}_{name}"] for run in found]) for kind in ("bold", "planted", "rest")
        )
        share = (bold * planted).mean() / (planted**2).mean()
        left_over = bold - share * planted
        noise = max((left_over**2).mean() - share**2 * (rest**2).mean(), 0.0)
        lagged = (left_over[..., 1:] * left_over[..., :-1]).mean() - share**2 * (rest[..., 1:] * rest[..., :-1]).mean()
        gains.append(share)
        noises.append(np.sqrt(noise))
        memories.append(np.clip(lagged / noise, 0.0, 0.95) if noise > 0 else 0.0)

    def rounded(values) -> tuple[float, ...]:
        return tuple(round(float(value), 3) for value in values)

    return Measurement(
        rounded(gain),
        rounded(np.sqrt(variance)),
        rounded(common),
        rounded(np.clip(memory, 0.0, 0.95)),
        round(float(np.clip(everywhere, 0.0, 1.0)), 3),
        round(float(of_subject.std(ddof=1)), 3),
        rounded(gains),
        rounded(noises),
        rounded(memories),
    )


def _between(mean: np.ndarray, variance: np.ndarray, n: int) -> np.ndarray:
    """Share of variance that n series have in common, from the variance of their mean: that is shared + (1 − shared) / n."""
    of_mean = (mean**2).mean(axis=(0, 2)) / variance
    return (of_mean - 1 / n) / (1 - 1 / n)


def _of_run(truth: Truth, recording: Recording, n_draws: int, seed: int) -> dict[str, np.ndarray]:
    measured, planted = measured_features(recording), truth.of_run(recording)
    own = truth.document["subjects"][recording.subject]
    traits, channels = traits_of(truth, recording.subject), ACQUISITIONS["rest"].channels
    expected = expected_power(
        truth.preset,
        traits,
        truth.head(recording.subject),
        np.asarray(planted["power"]),
        channels,
        own["quality"]["noise"],
    )
    n_volumes = min(measured.power.shape[1], expected.shape[1])
    shape = (len(AREAS), len(BANDS), n_volumes)
    power, expected = (_centred(part[:, :n_volumes]).reshape(shape) for part in (measured.power, expected))
    bold = measured.bold[:, :n_volumes]
    there = bold.std(axis=1) > 0
    coupled = high_passed(np.asarray(planted["bold"], dtype=float)[:, :n_volumes], recording.t_r)[nearest_regions()]
    rest = _spontaneous(truth, recording, traits, n_volumes, n_draws, seed)
    parts = {
        "bold": _centred(bold[there])[None],
        "planted": _centred(coupled[there])[None],
        "rest": _centred(rest[:, there]),
    }
    found = {"power": power, "expected": expected}
    for name, part in parts.items():
        mean = part.mean(axis=1)
        deviation = part - mean[:, None]
        # draws are joined in time, regions of everybody in one row of equal weight
        found[f"{name}_mean"] = mean
        found[f"{name}_own"] = _thinned(deviation)
    return found


def _thinned(deviation: np.ndarray) -> np.ndarray:
    """Take a fixed number of regions, so that runs can be stacked although a region or two has no signal."""
    return deviation[:, :90]


def _centred(series: np.ndarray) -> np.ndarray:
    return series - series.mean(axis=-1, keepdims=True)


def traits_of(truth: Truth, subject: str) -> Traits:
    """Draw a simulated subject's traits again, as the simulator drew them.

    Parameters
    ----------
    truth : Truth
        Of the dataset.
    subject : str
        Who.

    Returns
    -------
    Traits
        The very same.
    """

    def rng(purpose: str) -> np.random.Generator:
        return np.random.default_rng([truth.document["seed"], zlib.crc32(f"{subject}/{purpose}".encode())])

    drawn = draw_traits(truth.preset, len(truth.regions.groups), rng("traits"))
    return draw_differences(truth.preset, truth.regions, drawn, rng("differences"))


def _spontaneous(
    truth: Truth, recording: Recording, traits: Traits, n_volumes: int, n_draws: int, seed: int
) -> np.ndarray:
    """Draw spontaneous fluctuations and waves as the preset has them, high-passed, shape (n_draws, n_regions, n_volumes)."""
    t_r, drawn = recording.t_r, []
    seconds = n_volumes * t_r
    for number in range(n_draws):
        rng = np.random.default_rng([seed, number, int(recording.subject)])
        stages = ["W"] * int(np.ceil(seconds / 30))
        activity = plant(truth.preset, truth.regions, traits, stages, -PRE_ROLL, seconds + 1.0, rng, None, None, rng)
        spontaneous, wave = spontaneous_bold(truth.preset, traits, activity, rng, rng)
        at = np.searchsorted(activity.times, t_r * (np.arange(n_volumes) + 0.5))
        drawn.append(high_passed((spontaneous + wave)[:, at], t_r)[nearest_regions()])
    return np.stack(drawn)
