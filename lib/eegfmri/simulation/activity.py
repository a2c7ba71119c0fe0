"""What the planted sources do: band power of each region over time, from stages and spontaneous fluctuations.

Power of band b in region r is relative to that subject's wakefulness,

    p_rb(t) = g_b(stage(t)) · exp(f_rb(t) − var f / 2) + events,

with stage gains g, slow Gaussian fluctuations f of log power, and spindles and K-complexes as events. It runs on a grid of
12.5 Hz from which both modalities are made: nothing else links EEG and BOLD.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from eegfmri.recordings import EPOCH_SECONDS, STAGES
from eegfmri.simulation.parameters import BANDS, GROUPS, Preset
from eegfmri.simulation.sources import Regions

#: Samples of planted power per second.
POWER_RATE = 12.5

#: Seconds of power before the EEG starts, so that the first volume already has its haemodynamic past.
PRE_ROLL = 32.0


@dataclass(frozen=True)
class Traits:
    """What stays the same in all runs of one subject.

    Attributes
    ----------
    log_power : dict of str to float
        Offset of log power per band (natural logarithm); it changes amplitudes, not relative power.
    stage_exponent : float
        Exponent on the stage gains.
    alpha_frequency, spindle_frequency : float
        Hz.
    background_exponent : float
        Exponent of the 1/f background's power spectrum.
    heart_rate_offset, breathing_rate : float
        Beats and breaths per minute.
    coupling_factor : float
        Factor on all couplings.
    latency : float
        Time to peak of the haemodynamic response in s.
    region_latency : numpy.ndarray
        Shape (n_regions,): time to peak per region in s.
    band_coupling : dict of str to float
        Factor on the couplings of each band, beside the common one.
    proneness : float or None
        How near to drowsiness, in standard deviations of its course; None for somebody who stays alert.
    networks : numpy.ndarray or None
        Shape (n_regions, n_networks), rows of unit length: networks of the subject's own in spontaneous BOLD.
    """

    log_power: dict[str, float]
    stage_exponent: float
    alpha_frequency: float
    spindle_frequency: float
    background_exponent: float
    heart_rate_offset: float
    breathing_rate: float
    coupling_factor: float
    latency: float
    region_latency: np.ndarray
    band_coupling: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BANDS, 1.0))
    proneness: float | None = None
    networks: np.ndarray | None = None


#: Time to peak of the canonical response (nilearn's `glover_hrf`) in s.
CANONICAL_PEAK = 5.0


def draw_traits(preset: Preset, n_regions: int, rng: np.random.Generator) -> Traits:
    """Draw one subject."""
    spread = dict.fromkeys(BANDS, preset.power_spread) | {"alpha": preset.alpha_power_spread}
    latency = CANONICAL_PEAK + preset.latency_shift + float(np.clip(rng.normal(0.0, preset.latency_spread), -1.5, 2.5))
    return Traits(
        log_power={band: float(rng.normal(0.0, spread[band])) for band in BANDS},
        stage_exponent=float(np.clip(rng.normal(1.0, preset.stage_gain_spread), 0.4, 1.6)),
        alpha_frequency=float(np.clip(rng.normal(*preset.alpha_frequency), 8.7, 12.0)),
        spindle_frequency=float(np.clip(rng.normal(*preset.spindle_frequency), 11.5, 15.0)),
        background_exponent=float(np.clip(rng.normal(*preset.background_exponent), 0.8, 2.0)),
        heart_rate_offset=float(rng.normal(0.0, preset.heart_rate_spread)),
        breathing_rate=float(np.clip(rng.normal(*preset.breaths_per_minute), 10.0, 20.0)),
        coupling_factor=float(np.clip(rng.normal(1.0, preset.coupling_spread), 0.4, 1.6)),
        latency=latency,
        region_latency=latency + rng.normal(0.0, preset.regional_latency_spread, n_regions),
    )


#: Networks of a subject's own.
N_NETWORKS = 12


def draw_differences(preset: Preset, regions: Regions, traits: Traits, rng: np.random.Generator) -> Traits:
    """Add what makes a subject's coupling, wakefulness and connectivity its own; nothing where the preset has no such differences."""
    factors = np.clip(rng.normal(1.0, preset.band_coupling_spread, len(BANDS)), -1.0, 3.0)
    alert, proneness = rng.random() < preset.never_drowsy, float(rng.normal(*preset.drowsiness))
    loading = rng.standard_normal((len(regions.groups), N_NETWORKS))
    if preset.band_coupling_spread:
        traits = replace(traits, band_coupling=dict(zip(BANDS, factors.tolist(), strict=True)))
    if not alert and (preset.drowsy_log_power or preset.drowsy_bold or preset.drowsy_global):
        traits = replace(traits, proneness=proneness)
    if preset.connectivity_spread:
        # neighbours belong to the same networks: 30 mm is about the distance between two regions
        distance = np.linalg.norm(regions.centroids[:, None] - regions.centroids[None], axis=-1)
        loading = np.exp(-0.5 * (distance / 30.0) ** 2) @ loading
        traits = replace(traits, networks=loading / np.linalg.norm(loading, axis=1, keepdims=True))
    return traits


@dataclass(frozen=True)
class Activity:
    """Planted power of one run.

    Attributes
    ----------
    start : float
        Time of the first sample in s from the first volume (negative).
    power : dict of str to numpy.ndarray
        Per band, shape (n_regions, n_samples) at `POWER_RATE`, relative to wakefulness.
    stage_weights : numpy.ndarray
        Shape (n_stages, n_samples): share of each stage at each time; ones and zeros but for transitions.
    drowsiness : numpy.ndarray or None
        Shape (n_samples,): from 0 (alert) to 1 (drowsy, or asleep); None where the preset knows none.
    """

    start: float
    power: dict[str, np.ndarray]
    stage_weights: np.ndarray
    drowsiness: np.ndarray | None = None

    @property
    def times(self) -> np.ndarray:
        """Times of the samples in s from the first volume."""
        return self.start + np.arange(self.stage_weights.shape[1]) / POWER_RATE

    def by_stage(self, table: dict[str, float]) -> np.ndarray:
        """Value of a per-stage parameter at each time, shape (n_samples,)."""
        return np.array([table[stage] for stage in STAGES]) @ self.stage_weights


def plant(
    preset: Preset,
    regions: Regions,
    traits: Traits,
    stages: list[str],
    start: float,
    stop: float,
    rng: np.random.Generator,
    state_gain: dict[str, float] | None = None,
    stage_log_gain: Mapping[str, Mapping[str, float]] | None = None,
    drowsy_rng: np.random.Generator | None = None,
) -> Activity:
    """Plant the power of one run.

    Parameters
    ----------
    preset : Preset
        Gains, fluctuations, events.
    regions : Regions
        Regions and their groups.
    traits : Traits
        The subject.
    stages : list of str
        Stage of each 30-s epoch, the first starting with the first volume.
    start, stop : float
        First and last time in s from the first volume.
    rng : numpy.random.Generator
        Random number generator.
    state_gain : dict of str to float or None
        Factor on the power of a band in this run (alpha, where eyes are open).
    stage_log_gain : mapping or None
        Band → stage → what the subject's log gain (natural log) deviates by; none if None.
    drowsy_rng : numpy.random.Generator or None
        Of the course of drowsiness; None leaves the subject alert.

    Returns
    -------
    Activity
        Power and stages.
    """
    n_samples = round((stop - start) * POWER_RATE)
    times = start + np.arange(n_samples) / POWER_RATE
    weights = _stage_weights(preset, stages, times, rng)
    shared = slow_noise(n_samples, preset, rng, 1)
    drowsy = _drowsiness(preset, traits, weights, drowsy_rng) if drowsy_rng is not None else None
    power = {}
    common = np.repeat(shared, len(BANDS), axis=0)
    if drowsy_rng is not None and preset.fluctuation_own_band:
        of_bands = slow_noise(n_samples, preset, drowsy_rng, len(BANDS))
        common = np.sqrt(1 - preset.fluctuation_own_band) * common + np.sqrt(preset.fluctuation_own_band) * of_bands
    for band, brain in zip(BANDS, common, strict=True):
        gains = np.array([preset.stage_gain[band][stage] for stage in STAGES]) ** traits.stage_exponent
        log_gain = (np.log(gains) + _of_band(stage_log_gain, band)) @ weights
        if drowsy is not None:
            log_gain = log_gain + preset.drowsy_log_power.get(band, 0.0) * drowsy * weights[0]
        fluctuation = preset.fluctuation * mixed_noise(
            regions, preset, preset.fluctuation_shares, n_samples, rng, brain
        )
        factor = (state_gain or {}).get(band, 1.0)
        power[band] = (factor * np.exp(log_gain + fluctuation - preset.fluctuation**2 / 2)).astype(np.float32)
    spindles = _events(weights, preset.spindles_per_minute, preset.spindle_seconds, rng)
    power["sigma"] += _spread(regions, {"sensorimotor": 1, "frontal": 0.8, "parietal": 0.8, "thalamus": 1, "": 0.3}) * (
        preset.spindle_gain * spindles
    )
    complexes = _events(weights, preset.k_complexes_per_minute, (0.8, 1.4), rng)
    power["delta"] += _spread(regions, {"frontal": 1, "sensorimotor": 0.9, "default": 0.7, "": 0.3}) * (
        preset.k_complex_gain * complexes
    )
    if drowsy is not None:
        drowsy = np.clip(drowsy * weights[0] + np.array([STAGE_DEPTH[stage] for stage in STAGES]) @ weights, 0.0, 1.0)
    return Activity(start, power, weights, drowsy)


#: How deep each stage is on the scale of drowsiness; wakefulness has its own course.
STAGE_DEPTH = {"W": 0.0, "N1": 0.7, "N2": 1.0, "N3": 1.0}


def _drowsiness(preset: Preset, traits: Traits, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Course of drowsiness while awake, from 0 to 1, shape (n_samples,); None where the preset has no drowsiness."""
    if not (preset.drowsy_log_power or preset.drowsy_bold or preset.drowsy_global):
        return None
    slow = slow_noise(
        weights.shape[1], replace(preset, fluctuation_cutoff=preset.drowsy_cutoff, fluctuation_exponent=1.0), rng, 1
    )[0]
    if traits.proneness is None:
        return np.zeros(weights.shape[1])
    return 1 / (1 + np.exp(-3.0 * (slow + traits.proneness)))


def _of_band(stage_log_gain: Mapping[str, Mapping[str, float]] | None, band: str) -> np.ndarray:
    own = (stage_log_gain or {}).get(band, {})
    return np.array([own.get(stage, 0.0) for stage in STAGES])


def _stage_weights(preset: Preset, stages: list[str], times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One-hot stages over time, borders jittered and softened by a first-order lag; constant beyond the scored span."""
    codes = np.array([STAGES.index(stage) for stage in stages])
    borders = EPOCH_SECONDS * np.arange(1, len(codes))
    borders = borders + preset.transition_jitter * rng.uniform(-1, 1, len(borders)) * (np.diff(codes) != 0)
    hard = np.eye(len(STAGES))[codes[np.searchsorted(borders, times, side="right")]].T
    return _lag(hard, preset.transition_seconds)


def _lag(signal: np.ndarray, seconds: float) -> np.ndarray:
    from scipy.signal import lfilter

    keep = np.exp(-1 / (POWER_RATE * seconds))
    out, _ = lfilter([1 - keep], [1, -keep], signal, axis=-1, zi=keep * signal[:, :1])
    return out


def slow_noise(n_samples: int, preset: Preset, rng: np.random.Generator, n_series: int) -> np.ndarray:
    """Gaussian series of unit variance with a 1/f spectrum up to the cut-off, shape (n_series, n_samples)."""
    from scipy.fft import irfft, next_fast_len, rfftfreq

    n_fft = next_fast_len(n_samples, real=True)
    frequencies = rfftfreq(n_fft, 1 / POWER_RATE)
    kept = (frequencies > 0.003) & (frequencies < 4 * preset.fluctuation_cutoff)
    f = frequencies[kept]
    amplitude = f ** (-preset.fluctuation_exponent / 2) / (1 + (f / preset.fluctuation_cutoff) ** 4)
    amplitude /= np.sqrt((amplitude**2).sum())
    spectrum = np.zeros((n_series, len(frequencies)), dtype=np.complex64)
    parts = rng.standard_normal((n_series, 2, kept.sum()), dtype=np.float32)
    spectrum[:, kept] = (parts[:, 0] + 1j * parts[:, 1]) * (amplitude * n_fft / 2)
    return irfft(spectrum, n_fft, axis=1)[:, :n_samples]


def mixed_noise(
    regions: Regions,
    preset: Preset,
    shares: tuple[float, float, float],
    n_samples: int,
    rng: np.random.Generator,
    shared: np.ndarray | None = None,
) -> np.ndarray:
    """Slow noise with shares of variance common to the brain, to groups and to regions, shape (n_regions, n_samples)."""
    if shared is None:
        shared = slow_noise(n_samples, preset, rng, 1)
    grouped = slow_noise(n_samples, preset, rng, len(GROUPS))
    own = slow_noise(n_samples, preset, rng, len(regions.groups))
    codes = [GROUPS.index(group) for group in regions.groups]
    brain, group, region = np.sqrt(shares)
    return brain * shared + group * grouped[codes] + region * own


def _events(
    weights: np.ndarray, per_minute: dict[str, float], seconds: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Bell-shaped events at a stage-dependent rate: 1 at their peaks, shape (n_samples,)."""
    rate = np.array([per_minute[stage] for stage in STAGES]) @ weights / 60 / POWER_RATE
    course = np.zeros(weights.shape[1], dtype=np.float32)
    for sample in np.flatnonzero(rng.random(len(rate)) < rate):
        width = rng.uniform(*seconds) * POWER_RATE / 4  # what lasts from −2 to +2 standard deviations is seen
        reach = int(np.ceil(4 * width))
        span = np.arange(max(0, sample - reach), min(len(course), sample + reach + 1))
        course[span] = np.maximum(course[span], np.exp(-0.5 * ((span - sample) / width) ** 2))
    return course


def _spread(regions: Regions, weights: dict[str, float]) -> np.ndarray:
    """Weight of each region by its group, shape (n_regions, 1)."""
    return np.array([[weights.get(group, weights[""])] for group in regions.groups], dtype=np.float32)
