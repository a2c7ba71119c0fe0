"""One file of your own, EEG or BOLD, opened like a recording of a dataset: for chapters that take ``eeg_file`` or ``bold_file``."""

import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from eegfmri.datasets.brainvision import (
    check_length,
    header_overrides,
    open_brainvision,
    read_header,
    require_voltage,
    unlike_gains,
)
from eegfmri.datasets.formats import marked
from eegfmri.datasets.matlab import require_whole
from eegfmri.datasets.signals import examine, guarded, judge
from eegfmri.errors import DataError, reading
from eegfmri.forgiven import listening, saying
from eegfmri.images import repetition_time, run_facts, sidecar_facts
from eegfmri.recordings import Recording, RecordingSet
from eegfmri.text import number, require_regular

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
            return guarded(_named(_read_eeg(self.eeg_file).raw, self.eeg_file), self.gaps)


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
    forgiven: list[str] = []
    with reading(path, "give a file that MNE reads"), saying(forgiven):
        read = _read_eeg(path)
        raw = _named(read.raw, path)
        scalp = tuple(raw.copy().pick("eeg").ch_names)
        sfreq = float(raw.info["sfreq"])
        files = [path, *(Path(name) for name in raw.filenames if name is not None and Path(name).is_file())]
        signals = examine(raw, scalp, *dict.fromkeys(files))
        mended, doubts = judge(signals, path.name, read.unit, raw.n_times, sfreq, in_scanner=sfreq >= 1000)
    repaired, notes = (*read.repaired, *mended, *forgiven), (*read.notes, *doubts)
    recording = EegFile(
        dataset="file",
        subject="file",
        run=path.stem,
        status="repaired" if repaired else "ok",
        repaired=repaired,
        notes=notes,
        eeg_file=path,
        sfreq=sfreq,
        ch_names=tuple(raw.ch_names),
        first_sample=0,
        n_times=raw.n_times,
        simulated=marked(read.simulated),
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
    with listening(to_all=True) as heard, saying(repaired):
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
    return RecordingSet("file", path.parent, (recording,), heard.sentences())


def _existing(path: str | Path) -> Path:
    try:
        path = Path(path).expanduser().absolute()
        # EGI's recordings are folders
        is_there = path.is_file() or (path.is_dir() and path.suffix.lower() == ".mff")
        is_other = path.exists() or path.is_symlink()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, nobody's home, a name that is too long
        raise DataError(f"{str(path)[:200]!r} cannot be the path of a file ({error}): give another.") from error
    if is_other and not is_there:
        what = "a folder" if path.is_dir() else "no regular file, or a link that leads nowhere"
        raise DataError(f"{path} is {what}: give the path of a file.")
    if not is_there:
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


@dataclass
class _Read:
    """MNE's reader, the unit that the file states, whether it says that it was simulated, what was mended, what is odd."""

    raw: object
    unit: str
    simulated: bool = False
    repaired: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _read_eeg(path: Path) -> _Read:
    repaired: list[str] = []
    suffix = path.suffix.lower()
    if suffix == ".vhdr":
        header = read_header(path)
        repaired += header.mended
        named = Path(header.common.get("datafile", "")).suffix or ".eeg"
        overrides = header_overrides(header, repaired, named)
        require_voltage(header, tuple(_places().values()))
        check_length(header, Path(overrides.get("data_fname", path.parent / header.common["datafile"])), repaired)
        notes = list(unlike_gains(header, tuple(_places())))
        return _Read(open_brainvision(header, overrides), header.unit, header.simulated, repaired, notes)
    if suffix in (".edf", ".bdf"):
        _check_records(path, repaired)
    elif suffix == ".set" and not _is_hdf5(path):
        require_whole(path)
    raw, notes = _read_by_mne(path)
    units = dict.fromkeys(unit for unit in (raw._orig_units or {}).values() if unit)
    for name in raw.filenames:
        if name is not None and Path(name).suffix.lower() == ".fdt":
            size, due = Path(name).stat().st_size, 4 * len(raw.ch_names) * raw.n_times
            if size != due:
                raise DataError(
                    f"{Path(name).name} has {size} bytes where {due} are due by {path.name}; fetch both again."
                )
    return _Read(raw, "/".join(units) or "none", False, repaired, notes)


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(128)
    return head[:4] == b"\x89HDF" or b"MATLAB 7.3" in head


def _read_by_mne(path: Path) -> tuple[object, list[str]]:
    """Let MNE open a file; return its reader and what it warns of."""
    import mne

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            raw = mne.io.read_raw(path, preload=False, verbose="warning")
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
    said = dict.fromkeys(
        " ".join(str(w.message).split())[:300] for w in caught if issubclass(w.category, RuntimeWarning)
    )
    return raw, [f"{path.name}: MNE warns: {text}" for text in said]


def _check_records(path: Path, repaired: list[str]) -> None:
    """Compare the size of an EDF or BDF file with the records that its header promises."""
    require_regular(path)
    size, width = path.stat().st_size, 3 if path.suffix.lower() == ".bdf" else 2
    with path.open("rb") as stream:
        head = stream.read(256)
        n_header, n_records, n_signals = (
            number(head[a:b].decode("latin-1")) for a, b in ((184, 192), (236, 244), (252, 256))
        )
        if (
            n_header is None
            or n_records is None
            or not n_signals
            or n_header != 256 * (n_signals + 1)
            or n_records < -1
        ):
            raise DataError(f"{path} does not begin as an EDF header does, or contradicts itself; fetch it again.")
        stream.seek(256 + 216 * int(n_signals))
        cells = stream.read(8 * int(n_signals))
    per_record = [number(cells[8 * i : 8 * i + 8].decode("latin-1")) for i in range(int(n_signals))]
    if any(n is None or n < 1 or n != int(n) for n in per_record):
        raise DataError(f"{path} does not state how many samples a record holds; fetch it again.")
    record = width * int(sum(per_record))
    held, rest = divmod(size - int(n_header), record)
    if n_records == -1:
        repaired.append(f"{path.name} does not state its number of records; {held} were counted.")
    elif held > n_records or (held == n_records and rest):
        raise DataError(
            f"{path} is longer than the {n_records:g} records that its header promises: one of these is not true; fetch it again."
        )
    elif held < n_records:
        repaired.append(f"{path.name} holds {max(held, 0)} of the {n_records:g} records that its header promises.")


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
