"""Measured EEG and BOLD, and other neural and haemodynamic signals, in three forms that others have published.

- a folder of ``sub_N.mat`` (neurdylab/fMRIAlertnessDetection): per subject the alpha/theta ratio of the EEG and alertness read from
  BOLD, volume by volume, in a vigilance task;
- an archive of correlations per subject, lag and frequency (dimitriospantazis/eegfMRIprediction_python);
- a folder of two recordings of animals (compneuro-da/rsHRF): calcium with BOLD, a local field potential with optical haemodynamics.

Nothing of a file is believed before it has been looked at: what is damaged, renamed or of another shape is refused in one sentence.
"""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from eegfmri.cache import digest, file_stamp
from eegfmri.datasets.matlab import require_whole
from eegfmri.errors import DataError, reading
from eegfmri.text import require_regular, visible

#: Repetition time of the alertness recordings, s; the files do not state it.
ALERTNESS_T_R = 2.1

#: Frequencies (Hz) and lags (s, power so long before the volume) of a correlation map.
MAP_FREQUENCIES = np.arange(1.0, 41.0)
MAP_LAGS = np.arange(0.0, 20.0)

#: Networks that are read from a file of correlations.
MAP_NETWORKS = ("DAN", "DMN")

#: Bytes that an array of a file of correlations may have once it is unpacked; those of 23 subjects have 150 000.
MOST_ARRAY = 50_000_000

#: Fewest volumes of an alertness recording, and fewest samples of the animals' signals.
FEWEST_SAMPLES = 60

#: The two recordings of animals.
CALCIUM_FILE = "calcium_2Hz_15s_stimulation.mat"
OPTICAL_FILE = "s1_suj5_525_preproc.mat"

#: Triggers closer than this are two marks of one stimulus, s.
SAME_STIMULUS = 0.01


@dataclass(frozen=True, eq=False)
class MeasuredFiles:
    """Where measured files lie, in the words that a page's head and its figures need.

    Attributes
    ----------
    dataset : str
        ``alertness``, ``eeg_bold_coupling`` or ``rshrf``.
    root : pathlib.Path
        The folder.
    files : tuple of pathlib.Path
        What was read.
    n_recordings : int
        Recordings in them.
    """

    dataset: str
    root: Path
    files: tuple[Path, ...]
    n_recordings: int
    simulated: bool = False

    def __len__(self) -> int:
        return self.n_recordings

    @property
    def provenance(self) -> str:
        """One sentence for captions and page heads."""
        return f"Measured recordings ({self.dataset}, from {self.root.name})."

    @property
    def digest(self) -> str:
        """Identify the state of the files, by name, size and time."""
        return digest([[path.name, *file_stamp(path)[1:]] for path in self.files])


@dataclass(frozen=True, eq=False)
class AlertnessRun:
    """Alertness of one subject, told from EEG and from BOLD at the same volumes.

    Attributes
    ----------
    eeg : numpy.ndarray
        Shape (n_volumes,): ratio of alpha to theta power, convolved with a haemodynamic response and band-passed by its authors.
    bold : numpy.ndarray
        Shape (n_volumes,): how much a volume resembles a template of alertness made from other scans.
    stimulus_times : numpy.ndarray
        Shape (n_stimuli,), s from the first volume.
    reaction_times : numpy.ndarray
        Shape (n_stimuli,), s; NaN where no response came.
    """

    eeg: np.ndarray
    bold: np.ndarray
    stimulus_times: np.ndarray
    reaction_times: np.ndarray


@dataclass(frozen=True, eq=False)
class AlertnessFiles:
    """All subjects of a folder, see `read_alertness`."""

    runs: Mapping[int, AlertnessRun]
    source: MeasuredFiles


@dataclass(frozen=True, eq=False)
class CorrelationMaps:
    """Correlation of EEG power with the BOLD of networks, see `read_correlation_maps`.

    Attributes
    ----------
    subjects : tuple of str
        Names.
    networks : tuple of str
        Names.
    lags : numpy.ndarray
        Shape (n_lags,), s: the power precedes the volume by so much.
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz.
    r : numpy.ndarray
        Shape (n_subjects, n_networks, n_lags, n_frequencies).
    source : MeasuredFiles
        The file.
    """

    subjects: tuple[str, ...]
    networks: tuple[str, ...]
    lags: np.ndarray
    frequencies: np.ndarray
    r: np.ndarray
    source: MeasuredFiles


@dataclass(frozen=True, eq=False)
class ResponseFiles:
    """A neural signal with the haemodynamics that follow it, of one animal each, see `read_responses`.

    Attributes
    ----------
    calcium : numpy.ndarray
        Shape (n_samples,).
    calcium_sfreq : float
        Hz; the first sample is at time 0.
    bold : numpy.ndarray
        Shape (n_volumes,).
    bold_times : numpy.ndarray
        Shape (n_volumes,), s, evenly spaced.
    stimulus_times : numpy.ndarray
        Shape (n_stimuli,), s; two marks of one stimulus count once.
    lfp : numpy.ndarray
        Shape (n_samples,): local field potential, mV.
    optical : numpy.ndarray
        Shape (n_samples,): optical haemodynamic signal, percent, sampled with ``lfp``.
    optical_sfreq : float
        Hz.
    source : MeasuredFiles
        The folder.
    """

    calcium: np.ndarray
    calcium_sfreq: float
    bold: np.ndarray
    bold_times: np.ndarray
    stimulus_times: np.ndarray
    lfp: np.ndarray
    optical: np.ndarray
    optical_sfreq: float
    source: MeasuredFiles

    @property
    def t_r(self) -> float:
        """Time between two volumes, s."""
        return float(self.bold_times[1] - self.bold_times[0])


# --- alertness -------------------------------------------------------------------------------------------------------


def read_alertness(folder: str | Path) -> AlertnessFiles:
    """Read alertness told from EEG and from BOLD, subject by subject.

    Parameters
    ----------
    folder : str or pathlib.Path
        With files ``sub_N.mat``, each a structure OUT of eeg, vigpred, RT and stimtime (ms).

    Returns
    -------
    AlertnessFiles
        Runs by the subject's number, ascending.

    Raises
    ------
    DataError
        If there is no such file, a number occurs twice, or a file is not what it should be.
    """
    folder = Path(folder)
    found: dict[int, Path] = {}
    for path in visible(folder.glob("sub_*.mat")) if folder.is_dir() else ():
        match = re.fullmatch(r"sub_([0-9]{1,4})\.mat", path.name)
        if match is None:
            continue
        if int(match[1]) in found:
            raise DataError(f"{folder} holds {found[int(match[1])].name} and {path.name}, the same subject: keep one.")
        found[int(match[1])] = path
    if not found:
        raise DataError(
            f"{folder} holds no sub_N.mat: name the folder of the alertness recordings, or fetch them with "
            "`eegfmri data get alertness`."
        )
    paths = dict(sorted(found.items()))
    runs = {subject: _alertness_run(path) for subject, path in paths.items()}
    return AlertnessFiles(runs, MeasuredFiles("alertness", folder, tuple(paths.values()), len(runs)))


def _alertness_run(path: Path) -> AlertnessRun:
    fields = _structure(path, "OUT", ("eeg", "vigpred", "RT", "stimtime"))
    eeg, bold = (_series(path, name, fields[name]) for name in ("eeg", "vigpred"))
    if len(eeg) != len(bold):
        raise DataError(
            f"{path}: eeg has {len(eeg)} values and vigpred {len(bold)}, one a volume each: fetch it again."
        )
    times, reactions = (_vector(path, name, fields[name], gaps=name == "RT") / 1000 for name in ("stimtime", "RT"))
    if len(times) != len(reactions):
        raise DataError(f"{path}: stimtime has {len(times)} values and RT {len(reactions)}: fetch it again.")
    length = ALERTNESS_T_R * len(eeg)
    if len(times) and not (times[0] >= 0 and np.all(np.diff(times) > 0) and length / 100 < times[-1] <= length):
        raise DataError(
            f"{path}: stimtime goes from {1000 * times[0]:g} to {1000 * times[-1]:g}, and is to rise, in ms, within a run of "
            f"{length:.0f} s: fetch it again."
        )
    if np.nanmin(reactions, initial=1.0) <= 0:
        raise DataError(f"{path}: RT holds {1000 * np.nanmin(reactions):g} ms, no time of a reaction: fetch it again.")
    return AlertnessRun(eeg, bold, times, reactions)


# --- correlation maps ------------------------------------------------------------------------------------------------


def read_correlation_maps(path: str | Path) -> CorrelationMaps:
    """Read correlations of EEG power with the BOLD of two networks, per subject, lag and frequency.

    Parameters
    ----------
    path : str or pathlib.Path
        NumPy archive with subjects, freqs (1 to 40 Hz), bin_times (0 to -19 s), r_DAN and r_DMN, each of shape (n_subjects, 20, 40).

    Returns
    -------
    CorrelationMaps
        Of both networks.

    Raises
    ------
    DataError
        If the file is not there, not such an archive, or an array is not what it should be.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"There is no {path}: give the archive of correlations.")
    require_regular(path)
    wanted = ("subjects", "freqs", "bin_times", *(f"r_{network}" for network in MAP_NETWORKS))
    with reading(path, "give an archive of correlations as numpy writes it"), zipfile.ZipFile(path) as archive:
        held = {name.removesuffix(".npy") for name in archive.namelist()}
        lacking = [name for name in wanted if name not in held]
        if lacking:
            raise DataError(f"{path} holds no {', '.join(lacking)}: give the archive of correlations per subject.")
        arrays = {name: _archived(path, archive, name) for name in wanted}
    subjects = arrays["subjects"]
    if subjects.ndim != 1 or subjects.dtype.kind != "U" or len(set(subjects.tolist())) != len(subjects):
        raise DataError(f"{path}: subjects is no list of different names: fetch it again.")
    for name, due, unit in (("freqs", MAP_FREQUENCIES, "Hz"), ("bin_times", -MAP_LAGS, "s")):
        found = _vector(path, name, arrays[name])
        if found.shape != due.shape or not np.allclose(found, due, atol=1e-6):
            raise DataError(f"{path}: {name} is not {due[0]:g}, {due[1]:g}, … {due[-1]:g} {unit}: fetch it again.")
    due = (len(subjects), len(MAP_LAGS), len(MAP_FREQUENCIES))
    maps = []
    for network in MAP_NETWORKS:
        r = arrays[f"r_{network}"]
        if r.dtype.kind != "f" or r.shape != due or not len(subjects):
            raise DataError(
                f"{path}: r_{network} is {r.dtype} of shape {r.shape}, and is to be real of shape {due}: fetch it again."
            )
        if not np.abs(r).max() <= 1:  # NaN included
            raise DataError(f"{path}: r_{network} holds values that are no correlations: fetch it again.")
        maps.append(r.astype(float))
    source = MeasuredFiles("eeg_bold_coupling", path.parent, (path,), len(subjects))
    return CorrelationMaps(
        tuple(subjects.tolist()), MAP_NETWORKS, MAP_LAGS.copy(), MAP_FREQUENCIES.copy(), np.stack(maps, axis=1), source
    )


def _archived(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array of an archive whose size is what its header says."""
    member = archive.getinfo(f"{name}.npy")
    if member.file_size > MOST_ARRAY:
        raise DataError(
            f"{path}: {name} has {member.file_size / 1e6:.0f} MB, too much for correlations: fetch it again."
        )
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, kind = read(stream)
        n_bytes = prod(shape) * kind.itemsize
        if kind.hasobject or n_bytes > MOST_ARRAY:
            raise DataError(f"{path}: {name} is {kind} of shape {shape}, no array of numbers or names: fetch it again.")
        content = stream.read(n_bytes + 1)
    if len(content) != n_bytes:
        raise DataError(f"{path}: {name} of shape {shape} has another number of bytes than {n_bytes}: fetch it again.")
    return np.frombuffer(content, dtype=kind).reshape(shape, order="F" if by_columns else "C")


# --- responses -------------------------------------------------------------------------------------------------------


def read_responses(folder: str | Path) -> ResponseFiles:
    """Read calcium with BOLD and stimuli of one animal, and a field potential with optical haemodynamics of another.

    Parameters
    ----------
    folder : str or pathlib.Path
        With the files `CALCIUM_FILE` and `OPTICAL_FILE`.

    Returns
    -------
    ResponseFiles
        Of both.

    Raises
    ------
    DataError
        If a file is not there or not what it should be.
    """
    folder = Path(folder)
    paths = (folder / CALCIUM_FILE, folder / OPTICAL_FILE)
    for path in paths:
        if not path.exists():
            raise DataError(
                f"{folder} holds no {path.name}: name the folder of both recordings, or fetch it with `eegfmri data get rshrf`."
            )
    names = ("calcium_raw", "dt", "BOLD_calcium", "BOLD_time", "trigger_time")
    held = _variables(paths[0], names)
    calcium, bold = (_series(paths[0], name, held[name]) for name in ("calcium_raw", "BOLD_calcium"))
    times, triggers = (_vector(paths[0], name, held[name]) for name in ("BOLD_time", "trigger_time"))
    step = _positive(paths[0], "dt", held["dt"])
    gaps = np.diff(times)
    if len(times) != len(bold) or not np.allclose(gaps, gaps[0], rtol=1e-6) or gaps[0] <= step or times[0] < 0:
        raise DataError(
            f"{paths[0]}: BOLD_time is no evenly rising time for each of {len(bold)} volumes: fetch it again."
        )
    if step * len(calcium) < times[-1] - gaps[0] / 2:
        raise DataError(
            f"{paths[0]}: calcium_raw lasts {step * len(calcium):.0f} s and BOLD_time {times[-1]:.0f} s: fetch it again."
        )
    if not len(triggers) or triggers[0] < 0 or triggers[-1] > times[-1] or np.any(np.diff(triggers) <= 0):
        raise DataError(f"{paths[0]}: trigger_time does not rise within the {times[-1]:.0f} s of BOLD: fetch it again.")
    held = _variables(paths[1], ("LFP", "OPT", "FS2"))
    lfp, optical = (_series(paths[1], name, held[name]) for name in ("LFP", "OPT"))
    if len(lfp) != len(optical):
        raise DataError(f"{paths[1]}: LFP has {len(lfp)} samples and OPT {len(optical)}: fetch it again.")
    first = np.concatenate([[True], np.diff(triggers) > SAME_STIMULUS])
    return ResponseFiles(
        calcium=calcium,
        calcium_sfreq=1 / step,
        bold=bold,
        bold_times=times,
        stimulus_times=triggers[first],
        lfp=lfp,
        optical=optical,
        optical_sfreq=_positive(paths[1], "FS2", held["FS2"]),
        source=MeasuredFiles("rshrf", folder, paths, 2),
    )


# --- values of MATLAB files ------------------------------------------------------------------------------------------


def _variables(path: Path, names: tuple[str, ...]) -> dict[str, object]:
    """Read variables of a MATLAB file, all of which must be there."""
    from scipy.io import loadmat

    require_whole(path)
    with reading(path):
        held = loadmat(path, variable_names=names)
    lacking = [name for name in names if name not in held]
    if lacking:
        raise DataError(f"{path} holds no {', '.join(lacking)}: it is another file, or was changed; fetch it again.")
    return {name: held[name] for name in names}


def _structure(path: Path, name: str, fields: tuple[str, ...]) -> dict[str, object]:
    """Read the fields of a structure of a MATLAB file."""
    value = _variables(path, (name,))[name]
    known = getattr(getattr(value, "dtype", None), "names", None)
    if known is None or np.size(value) != 1:
        raise DataError(f"{path}: {name} is not one structure: it is another file, or was changed; fetch it again.")
    lacking = [field for field in fields if field not in known]
    if lacking:
        raise DataError(
            f"{path}: {name} has no {', '.join(lacking)}: it is another file, or was changed; fetch it again."
        )
    return {field: value[field].item() for field in fields}


def _vector(path: Path, name: str, value: object, gaps: bool = False) -> np.ndarray:
    """Return a row or a column of real numbers, which may be NaN where gaps are allowed."""
    found = np.asarray(value)
    if found.dtype.kind not in "fiu" or found.size != max(found.shape, default=0):
        raise DataError(
            f"{path}: {name} is {found.dtype} of shape {found.shape}, no row of real numbers: fetch it again."
        )
    found = found.astype(float).ravel()
    if not np.all(np.isfinite(found) | (gaps & np.isnan(found))):
        raise DataError(f"{path}: {name} holds values that are no numbers: fetch it again.")
    return found


def _series(path: Path, name: str, value: object) -> np.ndarray:
    """Return a signal: enough numbers, not all the same."""
    found = _vector(path, name, value)
    if len(found) < FEWEST_SAMPLES or np.ptp(found) == 0:
        what = "the same value throughout" if len(found) >= FEWEST_SAMPLES else f"{len(found)} values"
        raise DataError(f"{path}: {name} has {what}, which is no recording: fetch it again.")
    return found


def _positive(path: Path, name: str, value: object) -> float:
    found = _vector(path, name, value)
    if len(found) != 1 or found[0] <= 0:
        raise DataError(f"{path}: {name} is not one positive number: fetch it again.")
    return float(found[0])
