"""One file of your own, EEG or BOLD, opened like a recording of a dataset: for chapters that take ``eeg_file`` or ``bold_file``."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from eegfmri.datasets.brainvision import check_length, header_overrides, open_brainvision, read_header, require_voltage
from eegfmri.datasets.formats import marked
from eegfmri.datasets.signals import examine, guarded, judge
from eegfmri.errors import DataError, reading
from eegfmri.images import repetition_time, run_facts, sidecar_facts
from eegfmri.recordings import Recording, RecordingSet

#: Beginnings of names of channels that are not on the scalp, with their MNE types.
OTHER_CHANNELS = {"EOG": "eog", "HEOG": "eog", "VEOG": "eog", "ECG": "ecg", "EKG": "ecg", "EMG": "emg"}

#: Fewest volumes that make a run.
FEWEST_VOLUMES = 10


@dataclass(frozen=True, eq=False)
class EegFile(Recording):
    """EEG in any format that MNE reads; there is no image, and time zero is the file's first sample.

    `gaps` are stretches (first sample and the one after the last) in which a channel has no values.
    """

    scalp: tuple[str, ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()

    @property
    def scalp_channels(self) -> tuple[str, ...]:
        """The file's channels that have a place in the extended 10–20 system."""
        return self.scalp

    def raw(self):
        """Open the file: scalp channels under canonical names, the others typed by their names."""
        with reading(self.eeg_file):
            return guarded(_named(_read_eeg(self.eeg_file)[0], self.eeg_file), self.gaps)


@dataclass(frozen=True, eq=False)
class BoldFile(Recording):
    """A 4-D image; there is no EEG."""

    @property
    def scalp_channels(self) -> tuple[str, ...]:
        """None."""
        return ()

    def raw(self):
        """Raise `DataError`: there is no EEG."""
        raise DataError(f"{self.bold_file.name} is an image and has no EEG: give eeg_file as well.")


def open_eeg(path: str | Path) -> RecordingSet:
    """Open one EEG file.

    Parameters
    ----------
    path : str or pathlib.Path
        In any format that MNE reads (``.set``, ``.vhdr``, ``.edf``, ``.fif``, …).

    Returns
    -------
    RecordingSet
        Of one recording, under the dataset's name ``file``.

    Raises
    ------
    DataError
        If the file is not there, cannot be read, or no channel of it has a place on the scalp.
    """
    path = _existing(path)
    with reading(path, "give a file that MNE reads"):
        raw, unit, simulated, repaired = _read_eeg(path)
        raw = _named(raw, path)
        scalp = tuple(raw.copy().pick("eeg").ch_names)
        sfreq = float(raw.info["sfreq"])
        files = [path, *(Path(name) for name in raw.filenames if name is not None and Path(name).is_file())]
        signals = examine(raw, scalp, *dict.fromkeys(files))
        repaired += judge(signals, path.name, unit, raw.n_times, sfreq, in_scanner=sfreq >= 1000)
    recording = EegFile(
        dataset="file",
        subject="file",
        run=path.stem,
        status="repaired" if repaired else "ok",
        repaired=tuple(repaired),
        eeg_file=path,
        sfreq=sfreq,
        ch_names=tuple(raw.ch_names),
        first_sample=0,
        n_times=raw.n_times,
        simulated=marked(simulated),
        scalp=scalp,
        gaps=signals.gaps,
    )
    return RecordingSet("file", path.parent, (recording,))


def open_bold(path: str | Path, t_r: float | None = None) -> RecordingSet:
    """Open one BOLD image.

    Parameters
    ----------
    path : str or pathlib.Path
        4-D NIfTI.
    t_r : float or None
        Repetition time in s; that of header and sidecar if None.

    Returns
    -------
    RecordingSet
        Of one recording, under the dataset's name ``file``.

    Raises
    ------
    DataError
        If the file is not there, is not a 4-D image, or header and sidecar give no plausible repetition time, or two.
    """
    path = _existing(path)
    about = run_facts(path)
    if about.shape[3] < FEWEST_VOLUMES:
        raise DataError(f"{path} has {about.shape[3]} volumes: a run has at least {FEWEST_VOLUMES}.")
    repaired = list(about.repaired)
    if t_r is None:
        try:
            t_r, mended = repetition_time(path.name, about.t_r, sidecar_facts(path)[0].get("RepetitionTime"))
        except DataError as error:
            raise DataError(f"{str(error).rstrip('.')}, or give the repetition time in s (t_r).") from error
        repaired += mended
    if t_r is None or not 0.2 < t_r < 20:
        said = (
            "does not say how long a volume takes"
            if t_r is None
            else f"says that a volume takes {t_r:g} s, which cannot be"
        )
        raise DataError(f"{path} {said}: give the repetition time in s (t_r).")
    recording = BoldFile(
        dataset="file",
        subject="file",
        run=path.name.split(".nii")[0],
        status="repaired" if repaired else "ok",
        repaired=tuple(repaired),
        bold_file=path,
        t_r=t_r,
        n_volumes=about.shape[3],
        volume_shape=about.shape[:3],
        simulated=marked(about.simulated),
    )
    return RecordingSet("file", path.parent, (recording,))


def _existing(path: str | Path) -> Path:
    path = Path(path).expanduser().resolve()
    # EGI's recordings are folders
    if not path.is_file() and not (path.is_dir() and path.suffix.lower() == ".mff"):
        raise DataError(f"There is no file {path}: give the path of a file that exists.")
    if path.suffix.lower() in (".eeg", ".vmrk", ".dat") and path.with_suffix(".vhdr").is_file():
        raise DataError(f"{path.name} is one of three files: give {path.with_suffix('.vhdr').name}, its header.")
    if path.suffix.lower() == ".fdt":
        raise DataError(f"{path.name} holds the samples of a .set file only: give the .set.")
    return path


@lru_cache
def _places() -> dict[str, str]:
    """Names of the extended 10–20 system by the same in small letters."""
    import mne

    return {name.lower(): name for name in mne.channels.make_standard_montage("colin27_1005").ch_names}


def _read_eeg(path: Path) -> tuple[object, str, bool, list[str]]:
    """Open a file; return MNE's reader, the unit it states, whether it says that it was simulated, and what was mended."""
    import mne

    repaired: list[str] = []
    if path.suffix.lower() == ".vhdr":
        header = read_header(path)
        repaired += header.mended
        named = Path(header.common.get("datafile", "")).suffix or ".eeg"
        overrides = header_overrides(header, repaired, named)
        require_voltage(header, tuple(_places().values()))
        check_length(header, Path(overrides.get("data_fname", path.parent / header.common["datafile"])), repaired)
        return open_brainvision(header, overrides), header.unit, header.simulated, repaired
    try:
        raw = mne.io.read_raw(path, preload=False, verbose="error")
    except ImportError as error:
        package = "pymatreader" if "pymatreader" in str(error) else error.name or str(error)
        raise DataError(f"{path.name} needs the package {package} to be read: install it.") from error
    except Exception as error:
        if path.suffix.lower() not in _suffixes():
            raise DataError(
                f"{path.name} is not an EEG format that MNE reads: convert it to BrainVision, EDF or .fif."
            ) from error
        if path.suffix != path.suffix.lower():
            raise DataError(f"{path.name} cannot be read: write its suffix in small letters.") from error
        raise
    units = dict.fromkeys(unit for unit in (raw._orig_units or {}).values() if unit)
    return raw, "/".join(units) or "none", False, repaired


def _suffixes() -> set[str]:
    return {
        ".bdf",
        ".cdt",
        ".cnt",
        ".data",
        ".edf",
        ".fif",
        ".gdf",
        ".gz",
        ".lay",
        ".mff",
        ".nxe",
        ".set",
        ".vhdr",
        ".ahdr",
    }


def _named(raw, path: Path):
    """Give channels of the 10–20 system their canonical names, and all channels their types."""
    known = _places()
    renamed = {name: known.get(name.strip().strip(".").lower(), name.strip()) for name in raw.ch_names}
    twice = sorted({name for name in renamed.values() if list(renamed.values()).count(name) > 1})
    if twice:
        raise DataError(f"{path} has more than one channel {', '.join(twice)}: rename or drop one of each.")
    raw.rename_channels(renamed, verbose="error")
    types = {}
    for name in raw.ch_names:
        if name.lower() not in known:
            kind = next((kind for start, kind in OTHER_CHANNELS.items() if name.upper().startswith(start)), "misc")
            types[name] = kind
        else:
            types[name] = "eeg"
    raw.set_channel_types(types, on_unit_change="ignore", verbose="error")
    if "eeg" not in raw.get_channel_types():
        raise DataError(
            f"{path} has no channel of the 10–20 system ({', '.join(raw.ch_names[:8])}, …): rename them first."
        )
    return raw
