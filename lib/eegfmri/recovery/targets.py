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
        Of `eegfmri.recovery.coupling.coupling_maps`.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    list of Row
        Networks DAN and DMN.
    """
    n = len(maps.subjects)

    def row(key, what, real, accept, statistic: Callable[[np.ndarray], float]):
        return _over_subjects(key, what, real, accept, statistic, n, COUPLING, seed)

    def mean(network, band, lags):
        values = maps.of(network, band, lags)
        return lambda drawn: values[drawn].mean(axis=-1)

    def largest(network, bands, lags):
        values = np.stack([maps.of(network, band, [lag]) for band in bands for lag in lags])  # (n_places, n_subjects)
        return lambda drawn: np.abs(values[:, drawn].mean(axis=-1)).max(axis=0)

    alpha = maps.of("DAN", "alpha", (2, 3))
    rows = [
        row("coupling/dan/alpha", "alpha × DAN, mean r at 2–3 s", "−.15", (-0.20, -0.10), mean("DAN", "alpha", (2, 3))),
        row(
            "coupling/dan/alpha/spread",
            "its standard deviation between subjects",
            ".10",
            (0.06, 0.14),
            lambda drawn: alpha[drawn].std(axis=-1, ddof=1),
        ),
    ]
    for band, real in (("delta", -0.08), ("theta", -0.08), ("beta", -0.09)):
        rows.append(
            row(
                f"coupling/dan/{band}",
                f"{band} × DAN at 3 s",
                f"−{abs(real):.2f}".replace("0.", "."),
                (real - 0.04, real + 0.04),
                mean("DAN", band, (3,)),
            )
        )
    rows += [
        row(
            "coupling/dan/gamma",
            "gamma × DAN, largest |r| at any lag",
            "below .04",
            (0.0, 0.06),
            largest("DAN", ("gamma",), range(20)),
        ),
        row(
            "coupling/dan/late",
            "any band × DAN, largest |r| at 16–19 s",
            "below .04",
            (0.0, 0.06),
            largest("DAN", tuple(coupling.BANDS), range(16, 20)),
        ),
    ]
    for band in ("delta", "theta"):
        rows += [
            row(f"coupling/dmn/{band}/early", f"{band} × DMN at 2 s", "−.06", (-0.10, -0.02), mean("DMN", band, (2,))),
            row(f"coupling/dmn/{band}/late", f"{band} × DMN at 12 s", "+.03", (-0.01, 0.07), mean("DMN", band, (12,))),
        ]
    rows.append(
        row(
            "coupling/dmn/alpha",
            "alpha × DMN, mean over 0–10 s",
            "+.05",
            (0.01, 0.09),
            mean("DMN", "alpha", range(11)),
        )
    )
    return rows


def alertness_rows(correlations: Sequence[float], seed: int = 0) -> list[Row]:
    """Compare alertness of EEG and BOLD at a task with that of 12 real subjects; correlations per subject."""
    r = np.asarray(correlations, dtype=float)
    return [
        _over_subjects(
            "alertness/mean",
            "alpha/theta × alertness from BOLD, mean r",
            ".40",
            (0.30, 0.50),
            lambda drawn: r[drawn].mean(axis=-1),
            len(r),
            ALERTNESS,
            seed,
        ),
        _over_subjects(
            "alertness/range",
            "its range over subjects",
            ".01 to .69",
            (0.40, 1.50),
            lambda drawn: r[drawn].max(axis=-1) - r[drawn].min(axis=-1),
            len(r),
            ALERTNESS,
            seed,
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
