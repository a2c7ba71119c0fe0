"""How EEG and BOLD move together, in numbers that can be shipped: the same few statistics of measured and of simulated series.

What the measured files at hand gave stands in ``data/reference_statistics.json``, see `eegfmri.recovery.reference`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from eegfmri.datasets.coupling_files import ALERTNESS_T_R, AlertnessFiles, CorrelationMaps, ResponseFiles
from eegfmri.recovery import alertness, responses
from eegfmri.recovery.coupling import BANDS, CouplingMaps

#: What a coupling is summed up by: network, band, and the lags (s) over which it is averaged.
SUMMARIES: Mapping[str, tuple[str, str, tuple[int, ...]]] = {
    "dan_alpha": ("DAN", "alpha", (2, 3)),
    "dan_delta": ("DAN", "delta", (3,)),
    "dan_theta": ("DAN", "theta", (3,)),
    "dan_beta": ("DAN", "beta", (3,)),
    "dmn_delta_early": ("DMN", "delta", (2,)),
    "dmn_theta_early": ("DMN", "theta", (2,)),
    "dmn_delta_late": ("DMN", "delta", (12,)),
    "dmn_theta_late": ("DMN", "theta", (12,)),
    "dmn_alpha": ("DMN", "alpha", tuple(range(11))),
}

#: Lags (s) by which coupling is over.
LATE = (16, 17, 18, 19)


def coupling_statistics(maps: CouplingMaps | CorrelationMaps) -> dict:
    """Describe maps of coupling over subjects.

    Parameters
    ----------
    maps : CouplingMaps or CorrelationMaps
        Of the networks DAN and DMN at least, and of two subjects at least.

    Returns
    -------
    dict
        ``values`` of `SUMMARIES`, each ``_mean``, ``_sd`` (between subjects) and ``_negative`` (share of subjects), with the
        largest mean of gamma with DAN at any lag (``dan_gamma_largest``), of any band at the lags `LATE` (``late_largest``) and
        ``n_subjects``; ``lags`` (s), ``frequencies`` (Hz), and per network ``mean`` and ``sd``, a row a lag and a column a
        frequency.
    """
    maps = CouplingMaps(maps.subjects, maps.networks, maps.lags, maps.frequencies, maps.r)
    values: dict[str, float] = {}
    for name, (network, band, lags) in SUMMARIES.items():
        r = maps.of(network, band, lags)
        values |= {f"{name}_mean": r.mean(), f"{name}_sd": r.std(ddof=1), f"{name}_negative": np.mean(r < 0)}
    values["dan_gamma_largest"] = max(abs(maps.of("DAN", "gamma", [lag]).mean()) for lag in maps.lags)
    values["late_largest"] = max(
        abs(maps.of(network, band, [lag]).mean()) for network in ("DAN", "DMN") for band in BANDS for lag in LATE
    )
    values["n_subjects"] = len(maps.subjects)
    mean, spread = maps.r.mean(axis=0), maps.r.std(axis=0, ddof=1)
    return {
        "values": _rounded(values, 4),
        "lags": _rounded(maps.lags, 1),
        "frequencies": _rounded(maps.frequencies, 1),
        "mean": {network: _rounded(mean[place], 3) for place, network in enumerate(maps.networks)},
        "sd": {network: _rounded(spread[place], 3) for place, network in enumerate(maps.networks)},
    }


@dataclass(frozen=True)
class StrongestBin:
    """Where the mean map of a group is furthest from zero, and how easily it gets there by chance.

    Attributes
    ----------
    network : str
        Its network.
    lag : float
        Its lag, s.
    frequency : float
        Its frequency, Hz.
    r : float
        Its mean correlation over subjects.
    p : float
        How often the largest of all bins is as large when the signs of subjects' maps are drawn at random: what chance reaches
        somewhere, not at this bin.
    """

    network: str
    lag: float
    frequency: float
    r: float
    p: float


def strongest_bin(maps: CouplingMaps | CorrelationMaps, seed: int = 0, n_draws: int = 999) -> StrongestBin:
    """Find the strongest bin of a group's mean map, and hold it against maps whose signs are drawn at random.

    Parameters
    ----------
    maps : CouplingMaps or CorrelationMaps
        Of a group.
    seed : int, default=0
        Of the draws.
    n_draws : int, default=999
        How many; every subject's whole map is kept or turned over.

    Returns
    -------
    StrongestBin
        With few subjects p cannot be small: not below 2 to the power of 1 − n_subjects, apart from the draws.
    """
    mean = maps.r.mean(axis=0)
    network, lag, frequency = np.unravel_index(np.abs(mean).argmax(), mean.shape)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (n_draws, len(maps.r)))
    largest = np.abs(signs @ maps.r.reshape(len(maps.r), -1)).max(axis=1) / len(maps.r)
    return StrongestBin(
        maps.networks[network],
        float(maps.lags[lag]),
        float(maps.frequencies[frequency]),
        float(mean[network, lag, frequency]),
        float((1 + np.sum(largest >= np.abs(mean).max() - 1e-12)) / (1 + n_draws)),
    )


def alertness_statistics(series: alertness.Series, t_r: float, seed: int = 0) -> dict:
    """Describe how alertness told from EEG agrees with alertness told from BOLD.

    Parameters
    ----------
    series : mapping
        Subject to EEG and BOLD, shape (n_volumes,) each.
    t_r : float
        Repetition time in s.
    seed : int, default=0
        Of the surrogates.

    Returns
    -------
    dict
        ``values`` over subjects; ``subjects``, one entry each, with ``r``, ``p`` and ``limit`` of the surrogates, and the terms of
        `eegfmri.recovery.alertness.Transfer` of a regression made of the others; ``lags`` (s) with ``curve_mean`` and ``curve_sd``.
    """
    r, transfers = alertness.correlations(series), alertness.leave_one_subject_out(series)
    rng = np.random.default_rng(seed)
    subjects = []
    for subject, (eeg, bold) in series.items():
        p, limit = alertness.surrogate_test(eeg, bold, seed=rng)
        found = {"r": r[subject], "p": p, "limit": limit}
        terms = {f"transfer_{name}": value for name, value in asdict(transfers[subject]).items()}
        subjects.append({"subject": str(subject), **_rounded(found | terms, 4)})
    lags, curves = alertness.lag_curves(series, t_r)
    every = np.array(list(r.values()))
    explained = np.array([found.r_squared for found in transfers.values()])
    values = {
        "r_mean": every.mean(),
        "r_sd": every.std(ddof=1),
        "r_lowest": every.min(),
        "r_highest": every.max(),
        "beyond_surrogates": np.mean([entry["p"] < 0.05 for entry in subjects]),
        "transfer_r_mean": np.mean([found.r for found in transfers.values()]),
        "transfer_r_squared_mean": explained.mean(),
        "transfer_r_squared_negative": np.mean(explained < 0),
        "peak_lag": lags[curves.mean(axis=0).argmax()],
        "n_subjects": len(every),
    }
    return {
        "values": _rounded(values, 4),
        "subjects": subjects,
        "lags": _rounded(lags, 2),
        "curve_mean": _rounded(curves.mean(axis=0), 4),
        "curve_sd": _rounded(curves.std(axis=0, ddof=1), 4),
    }


def measured_alertness(files: AlertnessFiles, seed: int = 0) -> dict:
    """Describe measured alertness: `alertness_statistics`, and how it goes with reaction times.

    Parameters
    ----------
    files : AlertnessFiles
        From `eegfmri.datasets.coupling_files.read_alertness`.
    seed : int, default=0
        Of the surrogates.

    Returns
    -------
    dict
        Each subject's entry also has ``n_responses``, ``n_missed``, and ``reactions_eeg`` and ``reactions_bold``: rank correlation
        of either alertness with the reaction times, None with fewer than ten.
    """
    found = alertness_statistics(
        {subject: (run.eeg, run.bold) for subject, run in files.runs.items()}, ALERTNESS_T_R, seed
    )
    for entry, run in zip(found["subjects"], files.runs.values(), strict=True):
        answered = np.isfinite(run.reaction_times)
        entry |= {"n_responses": int(answered.sum()), "n_missed": int((~answered).sum())}
        for name, course in (("eeg", run.eeg), ("bold", run.bold)):
            rho = alertness.with_reactions(course, ALERTNESS_T_R, run.stimulus_times, run.reaction_times)
            entry[f"reactions_{name}"] = round(rho, 4) if np.isfinite(rho) else None
    return found


def response_statistics(files: ResponseFiles) -> dict:
    """Describe responses estimated from calcium and from a field potential, and what stimulus times alone predict.

    Parameters
    ----------
    files : ResponseFiles
        From `eegfmri.datasets.coupling_files.read_responses`.

    Returns
    -------
    dict
        ``values``: mean correlation within held-out blocks of time (``calcium_held_out``, ``stimuli_held_out``, ``lfp_held_out``; the first
        two also as ``_halves``, with two blocks in place of five), peaks of the kernels and of the cross-correlation (s), and the
        latter's height; ``calcium`` and ``lfp``, each with ``times`` (s), ``kernel`` and ``held_out``, block by block;
        ``stimuli_held_out``; ``lags`` (s) and ``cross_correlation`` of the field potential.
    """
    calcium = responses.before_volumes(files.calcium, files.calcium_sfreq, files.bold_times, files.t_r)
    guess = responses.stimulus_prediction(files.stimulus_times, files.bold_times)
    by_calcium = responses.estimate_response(calcium, files.bold, files.t_r)
    halves = responses.estimate_response(calcium, files.bold, files.t_r, n_blocks=2)
    by_stimuli = responses.within_blocks(guess, files.bold)
    step = 1 / files.optical_sfreq
    by_lfp = responses.estimate_response(files.lfp, files.optical, step)
    lags, curve, peak = responses.cross_correlation(files.lfp, files.optical, step)
    values = {
        "calcium_held_out": by_calcium.held_out.mean(),
        "stimuli_held_out": by_stimuli.mean(),
        "calcium_held_out_halves": halves.held_out.mean(),
        "stimuli_held_out_halves": responses.within_blocks(guess, files.bold, 2).mean(),
        "lfp_held_out": by_lfp.held_out.mean(),
        "calcium_peak": by_calcium.peak,
        "lfp_peak": by_lfp.peak,
        "cross_correlation_peak": peak,
        "cross_correlation": curve[np.abs(curve).argmax()],
        "n_blocks": len(by_calcium.held_out),
    }
    return {
        "values": _rounded(values, 4),
        "calcium": _kernel(by_calcium, 4),
        "stimuli_held_out": _rounded(by_stimuli, 4),
        "lfp": _kernel(by_lfp, 5),
        "lags": _rounded(lags, 2),
        "cross_correlation": _rounded(curve, 4),
    }


def _kernel(found: responses.Response, digits: int) -> dict:
    return {
        "times": _rounded(found.times, 2),
        "kernel": _rounded(found.kernel, digits),
        "held_out": _rounded(found.held_out, 4),
    }


def _rounded(values: Mapping | Sequence | np.ndarray, digits: int):
    """Round numbers of a dict or an array; counts stay whole."""
    if isinstance(values, Mapping):
        return {
            name: int(value) if isinstance(value, (int, np.integer)) else round(float(value), digits)
            for name, value in values.items()
        }
    return (np.round(np.asarray(values, dtype=float), digits) + 0.0).tolist()
