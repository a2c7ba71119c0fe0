"""One file of your own, EEG or BOLD, opened like a recording of a dataset: for chapters that take ``eeg_file`` or ``bold_file``."""

from dataclasses import dataclass
from pathlib import Path

from eegfmri.errors import DataError
from eegfmri.recordings import Recording, RecordingSet

#: Beginnings of names of channels that are not on the scalp, with their MNE types.
OTHER_CHANNELS = {"EOG": "eog", "HEOG": "eog", "VEOG": "eog", "ECG": "ecg", "EKG": "ecg", "EMG": "emg"}


@dataclass(frozen=True, eq=False)
class EegFile(Recording):
    """EEG in any format that MNE reads; there is no image, and time zero is the file's first sample."""

    @property
    def scalp_channels(self) -> tuple[str, ...]:
        """The file's channels that have a place in the extended 10–20 system."""
        raw = self.raw()
        return tuple(raw.copy().pick("eeg").ch_names)

    def raw(self):
        """Open the file: scalp channels under canonical names, the others typed by their names."""
        return _read_eeg(self.eeg_file)


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
    raw = _read_eeg(path)
    recording = EegFile(
        dataset="file",
        subject="file",
        run=path.stem,
        eeg_file=path,
        sfreq=float(raw.info["sfreq"]),
        ch_names=tuple(raw.ch_names),
        first_sample=0,
        n_times=raw.n_times,
    )
    return RecordingSet("file", path.parent, (recording,))


def open_bold(path: str | Path, t_r: float | None = None) -> RecordingSet:
    """Open one BOLD image.

    Parameters
    ----------
    path : str or pathlib.Path
        4-D NIfTI.
    t_r : float or None
        Repetition time in s; the header's if None.

    Returns
    -------
    RecordingSet
        Of one recording, under the dataset's name ``file``.

    Raises
    ------
    DataError
        If the file is not there, is not a 4-D image, or its header gives no plausible repetition time.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    path = _existing(path)
    try:
        image = nibabel.load(path)
    except ImageFileError as error:
        raise DataError(f"{path} is not an image that can be read ({error}): give a NIfTI file.") from error
    if len(image.shape) != 4 or image.shape[3] < 10:
        raise DataError(f"{path} has shape {image.shape}: a run has three axes of space and at least ten volumes.")
    t_r = float(image.header.get_zooms()[3]) if t_r is None else t_r
    if not 0.2 < t_r < 20:
        raise DataError(f"{path} says that a volume takes {t_r:g} s, which cannot be: give the repetition time in s.")
    recording = BoldFile(
        dataset="file",
        subject="file",
        run=path.name.split(".nii")[0],
        bold_file=path,
        t_r=t_r,
        n_volumes=image.shape[3],
        volume_shape=tuple(image.shape[:3]),
    )
    return RecordingSet("file", path.parent, (recording,))


def _existing(path: str | Path) -> Path:
    path = Path(path).expanduser().resolve()
    if not path.is_file():
        raise DataError(f"There is no file {path}: give the path of a file that exists.")
    return path


def _read_eeg(path: Path):
    import mne

    try:
        raw = mne.io.read_raw(path, preload=False, verbose="error")
    except (ValueError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path} cannot be read as EEG ({reason}): give a format that MNE reads.") from error
    known = {name.lower(): name for name in mne.channels.make_standard_montage("colin27_1005").ch_names}
    renamed = {name: known.get(name.strip().strip(".").lower(), name.strip()) for name in raw.ch_names}
    raw.rename_channels(renamed, verbose="error")
    types = {}
    for name in raw.ch_names:
        if name.lower() not in known:
            kind = next((kind for start, kind in OTHER_CHANNELS.items() if name.upper().startswith(start)), "misc")
            types[name] = kind
    raw.set_channel_types(types, verbose="error")
    if "eeg" not in raw.get_channel_types():
        raise DataError(
            f"{path} has no channel of the 10–20 system ({', '.join(raw.ch_names[:8])}, …): rename them first."
        )
    return raw
