"""How far simulated recordings are from real ones: the same few statistics of both.

`bold_statistics`, `eeg_statistics` and `stage_statistics` take files, real or simulated; statistics of coupling are those of
`eegfmri.recovery.measured`. What the real files at hand gave stands in ``data/reference_statistics.json``, written by
`derive_reference_statistics`: numbers derived from files, with their origin, not the files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from eegfmri.cache import read_json
from eegfmri.datasets.coupling_files import MeasuredFiles, read_alertness, read_correlation_maps, read_responses
from eegfmri.datasets.single_files import FEWEST_VOLUMES, open_eeg
from eegfmri.datasets.transfer import file_checksums
from eegfmri.errors import DataError
from eegfmri.images import open_image, run_facts
from eegfmri.preprocessing.eeg import bad_spans, with_gaps
from eegfmri.preprocessing.spectra import power_spectrum
from eegfmri.recordings import STAGES
from eegfmri.recovery.measured import coupling_statistics, measured_alertness, response_statistics
from eegfmri.recovery.simulator import fit_spectrum
from eegfmri.simulation.stage_sequences import label_stage, read_label_runs

#: Bands whose share of the power from 1 to 45 Hz is compared, Hz.
SHARES = {"delta": (1, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 45)}

#: Longest lag of the autocorrelation, in volumes.
N_LAGS = 4


def bold_statistics(bold_file: str | Path) -> dict[str, float]:
    """Describe the noise of a BOLD run.

    Parameters
    ----------
    bold_file : str or pathlib.Path
        4-D NIfTI image.

    Returns
    -------
    dict of str to float
        Inside an intensity mask: ``tsnr`` (median over voxels of mean over standard deviation, straight line removed),
        ``tsnr_low`` and ``tsnr_high`` (quartiles), ``autocorrelation_1`` to ``_4`` (median over voxels, in volumes),
        ``neighbours`` (median correlation of voxels that touch along x), ``global_percent`` (standard deviation of the
        mask's mean, percent), ``voxel_mm`` (cube root of a voxel's volume) and ``t_r`` (s; NaN if the header says none).

    Raises
    ------
    DataError
        If the file is no image over time, or `eegfmri.images.run_facts` refuses it.
    """
    from nilearn.masking import compute_epi_mask
    from scipy.signal import detrend

    about, image = run_facts(bold_file), open_image(bold_file)
    if about.shape[3] < FEWEST_VOLUMES:
        raise DataError(f"{bold_file} has shape {about.shape}: give an image of at least {FEWEST_VOLUMES} volumes.")
    data = np.asarray(image.dataobj, dtype=np.float32)
    mask = np.asarray(compute_epi_mask(image).dataobj) > 0
    mean = data.mean(axis=-1)
    rest = np.zeros_like(data)
    rest[mask] = detrend(data[mask], axis=-1)
    spread = rest.std(axis=-1)
    mask &= spread > 0
    tsnr = mean[mask] / spread[mask]
    unit = np.zeros_like(data)
    unit[mask] = rest[mask] / spread[mask][:, None]
    both = mask[1:] & mask[:-1]
    neighbours = (unit[1:][both] * unit[:-1][both]).mean(axis=-1)
    low, middle, high = np.percentile(tsnr, [25, 50, 75])
    whole = data[mask].mean(axis=0)
    zooms = image.header.get_zooms()[:3]
    found = {
        "tsnr": middle,
        "tsnr_low": low,
        "tsnr_high": high,
        **{
            f"autocorrelation_{lag}": np.median((unit[mask][:, lag:] * unit[mask][:, :-lag]).mean(axis=1))
            for lag in range(1, N_LAGS + 1)
        },
        "neighbours": np.median(neighbours),
        "global_percent": 100 * detrend(whole).std() / whole.mean(),
        "voxel_mm": float(np.prod(zooms)) ** (1 / 3),
        "t_r": np.nan if about.t_r is None else about.t_r,
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def eeg_statistics(eeg: np.ndarray, sfreq: float, names: list[str]) -> dict[str, float]:
    """Describe the spectrum of an EEG.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (n_channels, n_times), V: scalp channels only.
    sfreq : float
        Hz, more than 90.
    names : list of str
        Channels; those whose name begins with O, PO or P count as posterior.

    Returns
    -------
    dict of str to float
        After subtracting the mean over channels: ``spread_uv`` (median over channels of the standard deviation above 1 Hz),
        ``exponent``, ``alpha_frequency`` and ``alpha_height_db`` (see `eegfmri.recovery.simulator.fit_spectrum`), and the share of
        each band in the power from 1 to 45 Hz.
    """
    eeg = eeg - eeg.mean(axis=0)
    posterior = [i for i, name in enumerate(names) if name.upper().startswith(("O", "PO", "P"))]
    fit = fit_spectrum(eeg, sfreq, posterior or None)
    frequencies, density = power_spectrum(eeg, sfreq)

    def power(low, high):
        return density[:, (frequencies >= low) & (frequencies < high)].sum(axis=1) * frequencies[1]

    whole = power(1, 45)
    found = {
        "spread_uv": 1e6 * np.sqrt(np.median(whole)),
        "exponent": fit.exponent,
        "alpha_frequency": fit.alpha_frequency,
        "alpha_height_db": fit.alpha_height,
        **{band: np.median(power(*limits) / whole) for band, limits in SHARES.items()},
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def mean_spectrum(eeg: np.ndarray, sfreq: float) -> dict[str, list[float]]:
    """Describe the shape of an EEG's spectrum.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (n_channels, n_times), V: scalp channels only.
    sfreq : float
        Hz, more than 90.

    Returns
    -------
    dict
        ``frequency`` (Hz, from 1 to 45 in steps of 0.5) and ``db``: power density, median over channels after their mean was
        subtracted, in dB relative to its own mean over these frequencies.
    """
    frequencies, density = power_spectrum(eeg - eeg.mean(axis=0), sfreq)
    grid = np.arange(1.0, 45.01, 0.5)
    curve = np.interp(grid, frequencies, np.median(density, axis=0))
    return {"frequency": grid.tolist(), "db": np.round(10 * np.log10(curve / curve.mean()), 2).tolist()}


def read_eeg(eeg_file: str | Path) -> tuple[np.ndarray, float, list[str]]:
    """Read the scalp channels of any file that MNE knows, through the gate of `eegfmri.datasets.single_files.open_eeg`.

    Parameters
    ----------
    eeg_file : str or pathlib.Path
        EEGLAB, BrainVision, EDF or FIF.

    Returns
    -------
    eeg : numpy.ndarray
        Shape (n_channels, n_times), V; NaN in gaps.
    sfreq : float
        Hz.
    names : list of str
        Channels of the extended 10–20 system, under its names.

    Raises
    ------
    DataError
        If the file cannot be read or believed.
    """
    recording = open_eeg(eeg_file)[0]
    raw, names = recording.raw(), list(recording.scalp_channels)
    return with_gaps(raw.get_data(picks=names), recording.sfreq, bad_spans(raw)), recording.sfreq, names


def stage_statistics(labels_dir: str | Path) -> dict[str, float]:
    """Describe how a group sleeps, from its label tables.

    Parameters
    ----------
    labels_dir : str or pathlib.Path
        Folder of ``sub-XX-sleep-stage.tsv``.

    Returns
    -------
    dict of str to float
        Over certain epochs: ``share_W`` … (of all epochs), ``bout_W`` … (median length of a bout in epochs, those cut by the
        end of a run included), ``changes_per_hour``, ``wake_low`` and ``wake_high`` (quartiles over subjects of the share of
        wakefulness) and ``n_subjects``.

    Raises
    ------
    DataError
        If the folder holds no label table.
    """
    tables = sorted(Path(labels_dir).glob("sub-*-sleep-stage.tsv"))
    if not tables:
        raise DataError(f"{labels_dir} holds no sub-XX-sleep-stage.tsv: name the folder `sourcedata` of ds003768.")
    runs = [read_label_runs(table).values() for table in tables]
    return describe_stages([[[label_stage(label) for label in labels] for labels in own] for own in runs])


def describe_stages(subjects: Sequence[Sequence[Sequence[str | None]]]) -> dict[str, float]:
    """Describe how a group sleeps, from the stages of its runs.

    Parameters
    ----------
    subjects : sequence
        Per subject, per run, the stage of each epoch; None where it is in doubt.

    Returns
    -------
    dict of str to float
        As `stage_statistics`.
    """
    counts = np.zeros(len(STAGES))
    bouts: dict[str, list[int]] = {stage: [] for stage in STAGES}
    wake, changes, pairs = [], 0, 0
    for runs in subjects:
        own = np.zeros(len(STAGES))
        for stages in runs:
            for stage in stages:
                if stage:
                    own[STAGES.index(stage)] += 1
            for before, after in pairwise(stages):
                if before and after:
                    pairs += 1
                    changes += before != after
            start = 0
            for stop in range(1, len(stages) + 1):
                if stop == len(stages) or stages[stop] != stages[start]:
                    if stages[start]:
                        bouts[stages[start]].append(stop - start)
                    start = stop
        counts += own
        wake.append(own[0] / own.sum())
    low, high = np.percentile(wake, [25, 75])
    found = {
        **{f"share_{stage}": counts[i] / counts.sum() for i, stage in enumerate(STAGES)},
        **{f"bout_{stage}": np.median(bouts[stage]) if bouts[stage] else np.nan for stage in STAGES},
        "changes_per_hour": 120 * changes / pairs,
        "wake_low": low,
        "wake_high": high,
        "n_subjects": len(subjects),
    }
    return {name: round(float(value), 4) for name, value in found.items() if np.isfinite(value)}


#: Where the files come from that `derive_reference_statistics` was run on.
ORIGINS: Mapping[str, dict[str, str]] = {
    "bold": {
        "what": "one BOLD run of one subject looking at pictures, Philips Achieva 3 T, 156 volumes of 80 x 80 x 35",
        "from": "https://github.com/datalad/example-dicom-functional, commit 074ec8da288f9912a485b972006052d714d2922f",
        "licence": "PDDL 1.0",
        "sha256": "5b4be6f7cb7e22cf32b9abd0ffcafe68ad7c675ac9c0f190c7f62bdc52080522",
    },
    "eeg": {
        "what": "one EEG of one subject at a visual task, outside a scanner, 30 scalp channels, 128 Hz, 238 s",
        "from": "https://github.com/sccn/eeglab (sample_data/eeglab_data.set), commit 94b8557aa27484c4e2cb4775315802d420b93f32",
        "licence": "BSD-2-Clause",
        "sha256": "3ec388b9a080c723c00cd380403d64cc754929d828375bbd53bd83b468136759",
    },
    "stages": {
        "what": "the 33 label tables of OpenNeuro ds003768, version 1.0.13",
        "from": "https://doi.org/10.18112/openneuro.ds003768.v1.0.13",
        "licence": "CC0",
    },
    "coupling": {
        "what": "correlation of EEG power with network BOLD, 23 subjects with two sessions each, about 2200 volumes a subject",
        "from": "https://github.com/dimitriospantazis/eegfMRIprediction_python (Results/correlation_maps_per_subject.npz, two of four "
        "networks, as float32), commit 5e17b3d4b76c15c2b32560f9d3888a58c7f15e3c",
        "licence": "none stated: only these statistics are held",
        "derived": "2026-11-27",
    },
    "alertness": {
        "what": "alertness told from EEG and from BOLD, 12 subjects in an auditory vigilance task, 693 volumes each",
        "from": "https://github.com/neurdylab/fMRIAlertnessDetection (data), commit db5f3ef49e53585412627984c44b9db9b188a868",
        "licence": "none stated: only these statistics are held",
        "derived": "2026-11-27",
    },
    "response": {
        "what": "calcium with BOLD under stimulation, and a local field potential with optical haemodynamics, of one animal each",
        "from": "https://github.com/compneuro-da/rsHRF (demo_codes), commit 85618cbc9449cf7456e1f6416ae55b3e27d5ff1e",
        "licence": "BSD-3-Clause",
        "derived": "2026-11-27",
    },
}


@dataclass(frozen=True, eq=False)
class Measured:
    """Statistics of measured recordings: those shipped, or those of the reader's own files.

    Attributes
    ----------
    statistics : dict
        A section of the reference statistics.
    sentence : str
        Where they come from, and when they were derived.
    files : MeasuredFiles or None
        The reader's own files.
    simulated : bool
        False: measured recordings are not simulated.
    """

    statistics: dict
    sentence: str
    files: MeasuredFiles | None = None
    simulated: bool = False


#: How a section about coupling is read and described.
_MEASURED = {
    "coupling": (read_correlation_maps, lambda found, seed: coupling_statistics(found)),
    "alertness": (read_alertness, measured_alertness),
    "response": (read_responses, lambda found, seed: response_statistics(found)),
}


def measured(section: str, path: str | Path | None = None, seed: int = 0) -> Measured:
    """Return statistics of how measured EEG and BOLD move together.

    Parameters
    ----------
    section : str
        ``coupling``, ``alertness`` or ``response``.
    path : str, pathlib.Path or None
        The reader's own files, in the form of the originals, see `eegfmri.datasets.coupling_files`; None for what is shipped.
    seed : int, default=0
        Of surrogates, where files are given.

    Returns
    -------
    Measured
        In the same form either way.

    Raises
    ------
    DataError
        If a file is not what it should be.
    """
    if path is None:
        shipped = load_reference_statistics()[section]
        origin = shipped["origin"]
        return Measured(
            shipped,
            f"Statistics of real recordings, derived on {origin['derived']}: {origin['what']}; {origin['from']}.",
        )
    read, describe = _MEASURED[section]
    found = read(path)
    sentence = f"Computed from the real recordings in {Path(path).name}, read by the run that made this page."
    return Measured(describe(found, seed), sentence, found.source)


def derive_reference_statistics(
    bold_file: str | Path,
    eeg_file: str | Path,
    labels_dir: str | Path,
    coupling_file: str | Path,
    alertness_dir: str | Path,
    rshrf_dir: str | Path,
) -> dict:
    """Derive what stands in ``data/reference_statistics.json`` from the real files.

    Parameters
    ----------
    bold_file, eeg_file, labels_dir : str or pathlib.Path
        The files that `ORIGINS` names.
    coupling_file, alertness_dir, rshrf_dir : str or pathlib.Path
        Those of the sections about coupling.

    Returns
    -------
    dict
        ``bold``, ``eeg``, ``stages``, ``coupling``, ``alertness`` and ``response``, each with ``origin`` and ``values``, ``eeg`` with
        ``spectrum``, and the last three with all that `eegfmri.recovery.measured` finds and the checksums of what was read.
    """
    eeg, sfreq, names = read_eeg(eeg_file)
    values = {
        "bold": bold_statistics(bold_file),
        "eeg": eeg_statistics(eeg, sfreq, names),
        "stages": stage_statistics(labels_dir),
    }
    document = {
        "schema": 1,
        "method": f"{__name__}.{derive_reference_statistics.__name__}",
        **{name: {"origin": dict(ORIGINS[name]), "values": found} for name, found in values.items()},
    }
    document["eeg"]["spectrum"] = mean_spectrum(eeg, sfreq)
    for name, path in (("coupling", coupling_file), ("alertness", alertness_dir), ("response", rshrf_dir)):
        found = measured(name, path)
        checksums = {file.name: file_checksums(file)["sha256"] for file in found.files.files}
        document[name] = {"origin": ORIGINS[name] | {"sha256": checksums}, **found.statistics}
    return document


def load_reference_statistics() -> dict:
    """Return the statistics of real files that are shipped with the project."""
    from eegfmri.project import table

    return read_json(table("reference_statistics.json"))
