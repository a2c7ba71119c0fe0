"""What the simulator was calibrated to: each statistic of real recordings, the range that was accepted beforehand, and ours.

The ranges were written down before the first calibrated recording was made. A row says what is found in files, by the analyses of
`eegfmri.recovery.coupling` and `eegfmri.recovery.reference`; nothing planted is read. Rows that miss their range stay.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eegfmri.metrics.intervals import bootstrap
from eegfmri.recordings import Recording
from eegfmri.recovery import coupling
from eegfmri.recovery.measured import LATE, SUMMARIES
from eegfmri.recovery.reference import load_reference_statistics

#: The day on which calibration ended and the parameters were frozen.
CALIBRATED_ON = "2026-11-27"

#: Seed of the recordings that the simulator was calibrated on: no page shows them.
CALIBRATION_SEED = 1000


@dataclass(frozen=True)
class Row:
    """One line of the table of targets.

    Attributes
    ----------
    key : str
        For results.
    what : str
        What is measured.
    real : str
        What real recordings show, as their source says.
    accept : tuple of float
        Least and largest accepted value.
    value, low, high : float
        Ours, with the ends of its 95 % interval over subjects; NaN where there is none.
    n : int
        Subjects.
    source : str
        Where the real value comes from.
    """

    key: str
    what: str
    real: str
    accept: tuple[float, float]
    value: float
    low: float
    high: float
    n: int
    source: str

    @property
    def met(self) -> bool:
        """Whether the value lies in the accepted range."""
        return bool(self.accept[0] <= self.value <= self.accept[1])


COUPLING = "23 subjects (eeg_bold_coupling)"
ALERTNESS = "12 subjects (alertness)"
BOLD = "one run (reference statistics)"


def coupling_rows(maps: coupling.CouplingMaps, seed: int = 0) -> list[Row]:
    """Compare the coupling by lag and frequency of recordings with open eyes with that of 23 real subjects.

    Parameters
    ----------
    maps : CouplingMaps
        Of `eegfmri.recovery.coupling.coupling_maps`, networks DAN and DMN.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    list of Row
        Real values are those of the reference statistics, by the keys of `eegfmri.recovery.measured.coupling_statistics`.
    """
    real, n = load_reference_statistics()["coupling"]["values"], len(maps.subjects)

    def row(key, what, known, accept, statistic: Callable[[np.ndarray], float]):
        return _over_subjects(key, what, f"{real[known]:.2f}", accept, statistic, n, COUPLING, seed)

    def mean(key, what, name, accept):
        values = maps.of(*SUMMARIES[name])
        return row(key, what, f"{name}_mean", accept, lambda drawn: values[drawn].mean(axis=-1))

    def largest(key, what, known, bands, lags):
        values = np.stack([maps.of("DAN", band, [lag]) for band in bands for lag in lags])  # (n_places, n_subjects)
        return row(key, what, known, (0.0, 0.06), lambda drawn: np.abs(values[:, drawn].mean(axis=-1)).max(axis=0))

    alpha = maps.of(*SUMMARIES["dan_alpha"])
    rows = [
        mean("coupling/dan/alpha", "alpha × DAN, mean r at 2–3 s", "dan_alpha", (-0.20, -0.10)),
        row(
            "coupling/dan/alpha/spread",
            "its standard deviation between subjects",
            "dan_alpha_sd",
            (0.06, 0.14),
            lambda drawn: alpha[drawn].std(axis=-1, ddof=1),
        ),
        mean("coupling/dan/delta", "delta × DAN at 3 s", "dan_delta", (-0.12, -0.04)),
        mean("coupling/dan/theta", "theta × DAN at 3 s", "dan_theta", (-0.12, -0.04)),
        mean("coupling/dan/beta", "beta × DAN at 3 s", "dan_beta", (-0.13, -0.05)),
        largest(
            "coupling/dan/gamma", "gamma × DAN, largest |r| at any lag", "dan_gamma_largest", ("gamma",), maps.lags
        ),
        largest(
            "coupling/dan/late", "any band × DAN, largest |r| at 16–19 s", "late_largest", tuple(coupling.BANDS), LATE
        ),
    ]
    for band in ("delta", "theta"):
        rows += [
            mean(f"coupling/dmn/{band}/early", f"{band} × DMN at 2 s", f"dmn_{band}_early", (-0.10, -0.02)),
            mean(f"coupling/dmn/{band}/late", f"{band} × DMN at 12 s", f"dmn_{band}_late", (-0.01, 0.07)),
        ]
    rows.append(mean("coupling/dmn/alpha", "alpha × DMN, mean over 0–10 s", "dmn_alpha", (0.01, 0.09)))
    return rows


def alertness_rows(correlations: Sequence[float], seed: int = 0) -> list[Row]:
    """Compare alertness of EEG and BOLD at a task with that of 12 real subjects; correlations per subject."""
    real, r = load_reference_statistics()["alertness"]["values"], np.asarray(correlations, dtype=float)

    def row(key, what, known, accept, statistic):
        return _over_subjects(key, what, known, accept, statistic, len(r), ALERTNESS, seed)

    return [
        row(
            "alertness/mean",
            "alpha/theta × alertness from BOLD, mean r",
            f"{real['r_mean']:.2f}",
            (0.30, 0.50),
            lambda drawn: r[drawn].mean(axis=-1),
        ),
        row(
            "alertness/range",
            "its range over subjects",
            f"{real['r_highest'] - real['r_lowest']:.2f} ({real['r_lowest']:.2f} to {real['r_highest']:.2f})",
            (0.40, 1.50),
            lambda drawn: np.ptp(r[drawn], axis=-1),
        ),
    ]


def noise_rows(found: dict[str, float], real: dict[str, float]) -> list[Row]:
    """Compare one run in the real matrix with the real run, `eegfmri.recovery.reference.bold_statistics` of either."""
    labels = {
        "neighbours": "correlation of neighbouring voxels",
        "global_percent": "standard deviation of the mean signal, %",
        "tsnr": "temporal SNR of a voxel",
    }
    return [
        Row(
            f"noise/{key}",
            f"{label}, {found['voxel_mm']:.1f}-mm voxels",
            f"{real[key]:.3g}",
            (0.75 * real[key], 1.25 * real[key]),
            found[key],
            np.nan,
            np.nan,
            1,
            BOLD,
        )
        for key, label in labels.items()
    ]


def closed_eyes_row(maps: coupling.CouplingMaps, seed: int = 0) -> Row:
    """Share of subjects whose alpha goes with less occipital BOLD, eyes closed; the map's network is the senses'."""
    values = maps.of("visual", "alpha", range(2, 9)) < 0
    return _over_subjects(
        "closed_eyes/negative",
        "eyes closed, alpha × visual cortex at 2–8 s: share of subjects in whom it is negative",
        "most, not all; clear in 3 of 7",
        (0.5, 0.99),
        lambda drawn: values[drawn].mean(axis=-1),
        len(values),
        "Gonçalves 2006",
        seed,
    )


def connectome_rows(per_band: dict[str, Sequence[float]], seed: int = 0) -> list[Row]:
    """Compare the resemblance of EEG-power and BOLD connectivity, per band and subject, with the literature."""
    values = np.array(list(per_band.values()), dtype=float)  # (n_bands, n_subjects)
    source = "Wirsich 2021"
    return [
        _over_subjects(
            "connectome/mean",
            "EEG-power × BOLD connectivity, mean r over bands",
            "about .3",
            (0.20, 0.40),
            lambda drawn: values[:, drawn].mean(axis=(0, -1)),
            values.shape[1],
            source,
            seed,
        ),
        _over_subjects(
            "connectome/bands",
            "largest difference between bands",
            "not all alike",
            (0.02, 1.0),
            lambda drawn: np.ptp(values[:, drawn].mean(axis=-1), axis=0),
            values.shape[1],
            source,
            seed,
        ),
    ]


def connectome_resemblance(recordings: Sequence[Recording]) -> dict[str, list[float]]:
    """Correlate each run's EEG-power connectivity with its subject's BOLD connectivity, band by band."""
    matrices, found = coupling.connectivity(recordings), {}
    for recording in recordings:
        for band, matrix in coupling.power_connectivity(recording).items():
            found.setdefault(band, []).append(coupling.resemblance(matrix, matrices[recording.subject]))
    return found


def _over_subjects(key, what, real, accept, statistic, n: int, source: str, seed: int) -> Row:
    found = bootstrap(statistic, n, seed)
    return Row(key, what, real, accept, found.value, found.low, found.high, n, source)
