"""What the readers of the three datasets share: what a file on disk really is, before anyone trusts its name.

BrainVision headers that name other files than they are called, NIfTI images that were cut off, names without data behind
them. What can be mended without a guess is mended and said; the rest raises `DataError`.
"""

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from eegfmri.cache import read_json
from eegfmri.errors import DataError
from eegfmri.recordings import Recording

#: Written beside simulated recordings.
SIMULATION_FILE = "simulated.json"

#: More missing scalp channels than this cannot be interpolated with any confidence.
MAX_MISSING_CHANNELS = 3


def simulation(root: Path) -> dict | None:
    """Return preset, scale, seed and digest of a simulated dataset, or None for a real one."""
    path = root / SIMULATION_FILE
    if not path.is_file():
        return None
    written = read_json(path)
    return {key: written[key] for key in ("preset", "scale", "seed", "digest")}


def not_downloaded(path: Path) -> str | None:
    """Say why a file that the tree names is not there: a dangling link or the text of a git-annex pointer."""
    if not path.exists():
        return f"{path.name} is a link to a file that was not downloaded"
    if path.stat().st_size < 400 and b"/annex/objects/" in path.read_bytes()[:400]:
        return f"{path.name} is a git-annex pointer, not data: fetch it with `git annex get`"
    return None


def status(repaired: Iterable[str], missing: bool = False, refused: bool = False) -> str:
    """Name the state of a recording: what is missing counts before what is wrong, that before what was mended."""
    return "missing" if missing else "refused" if refused else "repaired" if tuple(repaired) else "ok"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Join names for a sentence: ``a, b and c``; of more than ``most`` the first, and how many follow."""
    if len(names) > most:
        return f"{names[0]} and {len(names) - 1} more"
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


# --- BrainVision -----------------------------------------------------------------------------------------------------


def header_overrides(header: Path, repaired: list[str], suffix: str = ".eeg") -> dict:
    """Find signal and marker file by the header's own stem where it names others.

    Parameters
    ----------
    header : pathlib.Path
        A ``.vhdr``.
    repaired : list of str
        One sentence is appended for each file that was found under another name.
    suffix : str, default=".eeg"
        Of the signal file.

    Returns
    -------
    dict
        ``data_fname`` and ``marker_fname`` where they differ from the header, as MNE's reader takes them.

    Raises
    ------
    DataError
        If neither the named file nor the one of the header's stem is there.
    """
    text = header.read_text(encoding="utf-8", errors="replace")
    overrides = {}
    for key, name, own_suffix in (("data_fname", "DataFile", suffix), ("marker_fname", "MarkerFile", ".vmrk")):
        match = re.search(rf"^{name}\s*=\s*(.+?)\s*$", text, flags=re.MULTILINE)
        named = match[1].replace("$b", header.stem) if match else ""
        own, there = header.with_suffix(own_suffix), bool(named) and (header.parent / named).is_file()
        if named == own.name and there:
            continue
        if not own.is_file() or not_downloaded(own):
            if there:
                continue
            raise DataError(
                f"{header.name} names {named!r}, and neither that file nor {own.name} is there; fetch {own.name}."
            )
        overrides[key] = str(own)
        reason = "another recording's name" if there else "which does not exist"
        repaired.append(f"{header.name} names {named!r}, {reason}; {own.name} was read.")
    return overrides


def read_brainvision(header: Path, overrides: dict):
    """Open a BrainVision recording lazily; `DataError` if MNE cannot."""
    import mne

    try:
        return mne.io.read_raw_brainvision(
            header, eog=("EOG",), overrides=overrides or None, preload=False, verbose="error"
        )
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise DataError(f"{header} cannot be read as BrainVision: {error}; fetch the file again.") from error


@dataclass(frozen=True, eq=False)
class BrainVisionRecording(Recording):
    """A run whose EEG is BrainVision; `overrides` holds what its header says wrongly, as MNE's reader takes it."""

    overrides: dict = field(default_factory=dict)

    #: Channels off the scalp, with their MNE types.
    other_channels: ClassVar[Mapping[str, str]] = {}

    @property
    def signal_suffix(self) -> str:
        """Of the signal file."""
        return ".eeg"

    def raw(self):
        """Open the EEG lazily from the first volume on, in volts: scalp channels under canonical names, the others typed."""
        raw = self.raw_uncut()
        raw.crop(tmin=self.first_sample / self.sfreq)
        return raw

    def raw_uncut(self):
        """Open the EEG lazily as it lies on disk, lead-in and tail included."""
        self.require_signals()
        raw = read_brainvision(self.eeg_file, self.overrides)
        name_channels(raw, self.scalp_channels, self.other_channels)
        return raw

    def files(self) -> list[Path]:
        """Return header, signal and marker file of the EEG, and the image."""
        paths = super().files()
        if self.eeg_file is not None:
            data = self.overrides.get("data_fname", self.eeg_file.with_suffix(self.signal_suffix))
            marker = self.overrides.get("marker_fname", self.eeg_file.with_suffix(".vmrk"))
            paths += [Path(data), Path(marker)]
        return paths


def note_partial_sample(data_file: Path, header: Path, n_channels: int, repaired: list[str]) -> None:
    """Say when a signal file ends inside a sample: the transfer broke off."""
    text = header.read_text(encoding="utf-8", errors="replace")
    width = 2 if "INT_16" in text else 4
    surplus = data_file.stat().st_size % (width * n_channels)
    if surplus:
        repaired.append(
            f"{data_file.name} ends {surplus} bytes into a sample of {width * n_channels}: the transfer broke off; "
            "the partial sample is ignored."
        )


def name_channels(
    raw, scalp: Sequence[str], others: Mapping[str, str], header: Path | None = None, repaired: list[str] | None = None
) -> None:
    """Give channels their canonical names and types, in place, by name and never by position.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        A recording of the dataset.
    scalp : sequence of str
        The scalp channels that the dataset promises.
    others : Mapping of str to str
        The other channels, with their MNE types; what is in neither list is typed ``misc``.
    header : pathlib.Path or None
        Named in what is said.
    repaired : list of str or None
        Gets one sentence for channels renamed, one for those that are lacking; None says nothing and refuses nothing.

    Raises
    ------
    DataError
        If more than `MAX_MISSING_CHANNELS` scalp channels are lacking.
    """
    names = {name.lower(): name for name in (*scalp, *others)} | ({"ekg": "ECG"} if "ECG" in others else {})
    renamed = {}
    for name in raw.ch_names:
        canonical = names.get(name.strip().lower(), name)
        if canonical != name and canonical not in raw.ch_names:
            renamed[name] = canonical
    raw.rename_channels(renamed, verbose="error")
    # MNE types a channel without coordinates misc: O9 and O10 of one recording are on the scalp all the same.
    types = {name: "eeg" if name in scalp else others.get(name, "misc") for name in raw.ch_names}
    raw.set_channel_types(types, on_unit_change="ignore", verbose="error")
    if repaired is None:
        return
    if renamed:
        pairs = ", ".join(f"{old!r} as {new}" for old, new in renamed.items())
        repaired.append(f"{header.name}: channel names were read as meant ({pairs}).")
    absent = [name for name in scalp if name not in raw.ch_names]
    if len(absent) > MAX_MISSING_CHANNELS:
        raise DataError(
            f"{header.name} lacks {len(absent)} of {len(scalp)} scalp channels ({', '.join(absent)}): too many to interpolate; "
            "check that the header belongs to this dataset."
        )
    if absent:
        repaired.append(
            f"{header.name} lacks channel {', '.join(absent)}; it is interpolated from its neighbours when used."
        )
    lacking = [name for name in others if name not in raw.ch_names]
    if lacking:
        repaired.append(f"{header.name} lacks {', '.join(lacking)}; steps that need it are left out.")


# --- NIfTI -----------------------------------------------------------------------------------------------------------


def image_header(image: Path) -> tuple[tuple[int, ...], float, np.ndarray | None]:
    """Read the header of a run's image and see that its data are all there.

    Parameters
    ----------
    image : pathlib.Path
        A 4-D NIfTI image, compressed or not.

    Returns
    -------
    shape : tuple of int
        (x, y, z, n_volumes).
    t_r : float
        Repetition time in s as the header says it, which need not be true.
    affine : numpy.ndarray or None
        4 x 4, from voxels to mm; None if the header states no position, for which nibabel would put in a centred one.

    Raises
    ------
    DataError
        If it is no image of four dimensions, or is truncated.
    """
    import nibabel

    try:
        proxy = nibabel.load(image)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError) as error:
        raise DataError(f"{image} cannot be read as NIfTI: {error}; fetch the file again.") from error
    header, shape = proxy.header, proxy.shape
    if len(shape) != 4:
        raise DataError(
            f"{image} has shape {shape}, expected four dimensions (x, y, z, volumes); fetch the file again."
        )
    expected = proxy.dataobj.offset + int(np.prod(shape, dtype=np.int64)) * header.get_data_dtype().itemsize
    found = _uncompressed_size(image)
    if found % 2**32 != expected % 2**32:
        raise DataError(
            f"{image} is truncated or damaged: its end does not fit the {expected} bytes of data that are due; fetch it again."
        )
    t_r = float(header.get_zooms()[3])
    if header.get_xyzt_units()[1] == "msec":
        t_r /= 1000
    stated = any(int(header[code]) > 0 for code in ("sform_code", "qform_code") if code in header)
    return tuple(int(n) for n in shape), t_r, proxy.affine if stated else None


def _uncompressed_size(image: Path) -> int:
    """Return the size in bytes (modulo 2**32 for gzip, whose trailer holds no more) without decompressing."""
    if image.suffix != ".gz":
        return image.stat().st_size
    with image.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            raise DataError(f"{image} is not gzip although its name says so; fetch the file again.")
        stream.seek(-4, 2)
        return struct.unpack("<I", stream.read(4))[0]
