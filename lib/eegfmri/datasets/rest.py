"""The resting dataset: NODDI, OSF 94c5t (Deligianni et al. 2014, 2016), as its three archives unpack.

The EEG comes twice: as the recorder wrote it, and as an export at 250 Hz, freed from the scanner's artefacts. All exports but
one go on for 22 to 141 s longer than the scan, so the first sample is not the first volume: time zero comes from the
markers, and a recording whose markers do not tell it is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from eegfmri.datasets.formats import (
    BrainVisionRecording,
    header_overrides,
    image_header,
    name_channels,
    not_downloaded,
    note_partial_sample,
    read_brainvision,
    simulation,
    status,
)
from eegfmri.datasets.montages import REST_CHANNELS as EEG_CHANNELS
from eegfmri.errors import DataError, RequestError
from eegfmri.recordings import RecordingSet

#: The channel that is not on the scalp, 32nd in the files, with its MNE type.
OTHER_CHANNELS = {"ECG": "ecg"}

#: Folder of a subject that holds each source, and the suffix of its signal files.
SOURCES = {"export": ".dat", "raw": ".eeg"}

#: Repetition time in s.
T_R = 2.16

#: Name of the only run.
RUN = "rest"

#: Markers that may tell volumes, by the names that recorders and their software give them.
VOLUME_MARKERS = {
    "R128": re.compile(r"(?:^|/)\s*R\s*128$"),
    "T 1": re.compile(r"(?:^|/)\s*T\s*1(?:_on)?$"),
    "Scan Start": re.compile(r"scan start", re.IGNORECASE),
    "Volume": re.compile(r"(?:^|/)\s*volume$", re.IGNORECASE),
}

#: The one of them that needs no remark.
USUAL_MARKER = "R128"

#: Without a marker, a recording this close (s) to the length of its scan was cut to it.
CUT_TOLERANCE = 0.25

#: Lost markers in a row that are bridged by counting time.
MAX_LOST = 10

_STAMP = re.compile(r"\d{8}_?(?P<subject>\d{2})0002")


def is_root(folder: str | Path) -> bool:
    """Tell whether a folder holds this dataset, by its content."""
    folder = Path(folder)
    return any(True for _ in _eeg_folders(folder)) or any(folder.glob("fMRI/[0-9][0-9]/*mepi_rest*.nii*"))


def read(root: str | Path, source: Literal["export", "raw"] = "export") -> RecordingSet:
    """Open the dataset: headers and markers of every subject, no signals.

    Parameters
    ----------
    root : str or pathlib.Path
        Folder with ``EEG1``, ``EEG2`` (or one folder ``EEG`` with both) and ``fMRI``.
    source : {"export", "raw"}, default="export"
        The export at 250 Hz without the scanner's artefacts, or the recorder's own file.

    Returns
    -------
    RecordingSet
        One recording per subject of whom there is EEG or BOLD.

    Raises
    ------
    DataError
        If the folder holds nothing of this dataset.
    RequestError
        If there is no such source.
    """
    root = Path(root)
    if source not in SOURCES:
        raise RequestError(f"The rest dataset has no source {source!r}: choose one of {', '.join(SOURCES)}.")
    folders: dict[str, list[Path]] = {}
    for subject, folder in _eeg_folders(root):
        folders.setdefault(subject, []).append(folder)
    images = {folder.name: folder for folder in sorted(root.glob("fMRI/[0-9][0-9]")) if folder.is_dir()}
    if not folders and not images:
        raise DataError(
            f"{root} holds nothing of the rest dataset: expected EEG1/32/export/*.vhdr and fMRI/32/*.nii.gz."
        )
    simulated_by = simulation(root)
    recordings = tuple(
        _open_run(subject, folders.get(subject, []), images.get(subject), source, simulated_by is not None)
        for subject in sorted({*folders, *images})
    )
    return RecordingSet("rest", root, recordings, simulation=simulated_by)


@dataclass(frozen=True, eq=False)
class RestRecording(BrainVisionRecording):
    """The run of one subject."""

    source: str = "export"
    other_channels = OTHER_CHANNELS

    @property
    def scalp_channels(self) -> tuple[str, ...]:
        """The 63 scalp channels of the dataset."""
        return EEG_CHANNELS

    @property
    def signal_suffix(self) -> str:
        """Of the signal file."""
        return SOURCES[self.source]

    def summary(self) -> dict:
        """Describe the recording, source included."""
        return {**super().summary(), "source": self.source}


def _eeg_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield subject and folder of everyone with a header in ``export`` or ``raw``."""
    for folder in sorted(root.glob("EEG*/[0-9][0-9]")):
        if any(folder.glob("export/*.vhdr")) or any(folder.glob("raw/*.vhdr")):
            yield folder.name, folder


def _open_run(subject: str, holding: list[Path], images: Path | None, source: str, simulated: bool) -> RestRecording:
    repaired, problems, missing, refused = [], [], [], False
    notes: list[str] = []
    facts: dict = {}
    header = image = t1 = None
    try:
        if len(holding) > 1:
            raise DataError(
                f"EEG of {subject} lies in {' and '.join(folder.parent.name for folder in holding)}: which one holds would be a guess; "
                "remove one."
            )
        if holding:
            header = _header(holding[0] / source, subject)
        if images is not None:
            image = _one(images, "*mepi_rest*.nii*", "resting image")
            t1 = _one(images, "*_t1_*.nii*", "T1 image")
    except DataError as error:
        problems.append(str(error))
        refused = True
    if not refused:
        other = next((name for name in SOURCES if holding and any((holding[0] / name).glob("*.vhdr"))), None)
        hint = f"; source {other!r} is there" if other else ""
        for path, absent in (
            (header, f"no EEG file (EEG1 or EEG2/{subject}/{source}/*.vhdr{hint})"),
            (image, f"no BOLD file (fMRI/{subject}/3_nw_mepi_rest_with_cross.nii.gz)"),
        ):
            if path is None:
                missing.append(absent)
            elif reason := not_downloaded(path):
                missing.append(reason)
        if missing:
            problems.append(f"Missing: {'; '.join(missing)}.")
        else:
            try:
                facts = _signal_facts(header, image, source, repaired, problems, notes)
            except DataError as error:
                problems.append(str(error))
                refused = True
            notes += _other_source_notes(holding[0], subject, image, source, {*repaired, *problems})
    return RestRecording(
        dataset="rest",
        subject=subject,
        run=RUN,
        status=status(repaired, bool(missing), refused),
        repaired=tuple(repaired),
        problems=tuple(problems),
        eeg_file=header,
        bold_file=image,
        simulated=simulated,
        t1_file=t1,
        source=source,
        notes=tuple(notes),
        **facts,
    )


def _other_source_notes(folder: Path, subject: str, image: Path, source: str, said: set[str]) -> list[str]:
    """Say what is wrong with the form of the EEG that is not used here, so that nobody finds out on changing to it.

    What was ``said`` of the recording is not said again: it concerns the image.
    """
    (other,) = (name for name in SOURCES if name != source)
    repaired, problems = [], []
    try:
        header = _header(folder / other, subject)
        if header is not None and (reason := not_downloaded(header)):
            raise DataError(f"{reason}.")
        if header is not None:
            _signal_facts(header, image, other, repaired, problems, [])
    except DataError as error:
        problems.append(str(error))
    return [f"Source {other!r}, not used here: {text}" for text in (*repaired, *problems) if text not in said]


def _header(folder: Path, subject: str) -> Path | None:
    """Find the one header of a subject's folder, whatever its time stamp; refuse one that names another subject."""
    headers = sorted(path for path in folder.glob("*.vhdr") if not path.name.startswith("."))
    if len(headers) > 1:
        # The step after the other: where both were exported, the pulse-corrected one is meant.
        corrected = [path for path in headers if "Pulse_Artifact_Correction" in path.name]
        if len(corrected) != 1:
            names = ", ".join(path.name for path in headers)
            raise DataError(f"{folder} holds {names}: which one is meant would be a guess; keep one.")
        headers = corrected
    if not headers:
        return None
    stamp = _STAMP.match(headers[0].name)
    if stamp and stamp["subject"] != subject:
        raise DataError(
            f"{headers[0].name} is named after subject {stamp['subject']} and lies in the folder of {subject}: whose recording it is "
            "would be a guess."
        )
    return headers[0]


def _one(folder: Path, pattern: str, kind: str) -> Path | None:
    """Find the one file of a pattern: names begin with series numbers that differ from subject to subject."""
    found = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(
            f"{folder} holds more than one {kind} ({names}): which one is meant would be a guess; keep one."
        )
    return found[0] if found else None


def _signal_facts(
    header: Path, image: Path, source: str, repaired: list[str], problems: list[str], notes: list[str]
) -> dict:
    """Read what headers, markers and sizes say; append what was mended, doubtful or unusual, raise on what is a guess."""
    overrides = header_overrides(header, repaired, SOURCES[source])
    raw = read_brainvision(header, overrides)
    sfreq = float(raw.info["sfreq"])
    data_file = Path(overrides.get("data_fname", raw.filenames[0]))
    _check_length(header, data_file, len(raw.ch_names), raw.n_times, repaired)
    name_channels(raw, EEG_CHANNELS, OTHER_CHANNELS, header, repaired)

    shape, stated, affine = image_header(image)
    n_volumes = shape[3]
    if affine is None or affine[0, 3] == 0:
        what = "states no position in space" if affine is None else "has an affine without an offset along x"
        problems.append(f"{image.name} {what}: register the image before you use coordinates.")
    onsets = {
        kind: np.unique([round(a["onset"] * sfreq) for a in raw.annotations if marker.search(a["description"].strip())])
        for kind, marker in VOLUME_MARKERS.items()
    }
    onsets = {kind: samples.astype(int) for kind, samples in onsets.items() if len(samples)}
    others = sorted({a["description"] for a in raw.annotations if not a["description"].startswith("New Segment")})
    first, covered, paced = find_scan(onsets, raw.n_times, sfreq, n_volumes, header.stem, repaired, others, notes)
    if abs(stated - T_R) > 1e-3:
        if not paced:
            raise DataError(
                f"{image.name} says a repetition time of {stated:g} s, the dataset {T_R:g} s, and no markers decide it; "
                "correct the header."
            )
        repaired.append(f"{image.name} says a repetition time of {stated:g} s; its volume markers are {T_R:g} s apart.")
    return {
        "sfreq": sfreq,
        "ch_names": tuple(raw.ch_names),
        "first_sample": first,
        "n_times": raw.n_times - first,
        "t_r": T_R,
        "n_volumes": min(covered, n_volumes),
        "volume_shape": shape[:3],
        "overrides": overrides,
    }


def _check_length(header: Path, data_file: Path, n_channels: int, n_times: int, repaired: list[str]) -> None:
    """Compare the signal file's size with what the header promises."""
    text = header.read_text(encoding="utf-8", errors="replace")
    if re.search(r"^DataFormat\s*=\s*ASCII", text, flags=re.MULTILINE):
        return
    promised = re.search(r"^DataPoints\s*=\s*(\d+)", text, flags=re.MULTILINE)
    if re.search(r"^DataOrientation\s*=\s*VECTORIZED", text, flags=re.MULTILINE):
        width = 2 if "INT_16" in text else 4
        size = data_file.stat().st_size
        due = int(promised[1]) * n_channels * width if promised else size
        if size != due:
            raise DataError(
                f"{data_file.name} has {size} bytes where {due} are due, channel after channel: every channel would be shifted; "
                "fetch it again."
            )
        return
    note_partial_sample(data_file, header, n_channels, repaired)
    if promised and int(promised[1]) > n_times:
        repaired.append(f"{data_file.name} holds {n_times} samples of the {promised[1]} that its header promises.")


def find_scan(
    onsets: dict[str, np.ndarray],
    n_times: int,
    sfreq: float,
    n_volumes: int,
    name: str,
    repaired: list[str],
    others: list[str] = (),
    notes: list[str] | None = None,
) -> tuple[int, int, bool]:
    """Find where in the EEG the scan starts, from its markers.

    Parameters
    ----------
    onsets : dict of str to numpy.ndarray
        Samples of each kind of volume marker, rising.
    n_times : int
        Samples of the EEG.
    sfreq : float
        Samples per second.
    n_volumes : int
        Volumes of the image.
    name : str
        Of the recording, for what is said.
    repaired : list of str
        Gets a sentence for what was mended.
    others : list of str
        All markers that there are, for the refusal.
    notes : list of str or None
        Gets a sentence where other markers than `USUAL_MARKER` tell the scan.

    Returns
    -------
    first : int
        Sample at which the first volume starts.
    covered : int
        Volumes that the EEG covers.
    paced : bool
        Whether markers one repetition time apart were found.

    Raises
    ------
    DataError
        If no kind of marker tells the start, two kinds disagree, or more than one stretch could be the scan; unless the
        recording is as long as the scan.
    """
    step = T_R * sfreq
    found: dict[str, tuple[int, int, bool]] = {}
    doubts = []
    for kind, samples in onsets.items():
        if kind == "Scan Start" and len(samples) == 1:
            found[kind] = (int(samples[0]), min(n_volumes, int((n_times - samples[0]) / step + 1e-6)), False)
            continue
        trains = _trains(samples, step)
        fitting = []
        for train in trains:
            volumes = round((train[-1] - train[0]) / step) + 1
            ends_early = volumes < n_volumes and len(train) > 1 and n_times - train[-1] < 1.5 * step
            if volumes in (n_volumes, n_volumes + 1) or ends_early:
                fitting.append((train, volumes))
        if len(fitting) != 1:
            stretches = ", ".join(str(round((train[-1] - train[0]) / step) + 1) for train in trains)
            doubts.append(f"{kind} marks {stretches} volumes, the image has {n_volumes}")
            continue
        train, volumes = fitting[0]
        # The last volume counts only if the EEG goes on to its end.
        volumes -= train[-1] + step > n_times + 1
        lost = round((train[-1] - train[0]) / step) + 1 - len(train)
        if lost:
            repaired.append(
                f"{name}: {lost} {kind} marker(s) inside the scan are missing; volumes were counted by time."
            )
        if len(trains) > 1:
            repaired.append(f"{name}: {kind} markers outside the scan belong to other scans and are not used.")
        found[kind] = (int(train[0]), int(volumes), True)
    if found:
        starts = {kind: first for kind, (first, _, _) in found.items()}
        if max(starts.values()) - min(starts.values()) > max(2, 0.01 * sfreq):
            said = ", ".join(f"{kind} at {first / sfreq:.3f} s" for kind, first in starts.items())
            raise DataError(
                f"{name}: the markers disagree about the start of the scan ({said}); which one holds would be a guess."
            )
        kind = max(found, key=lambda kind: found[kind][2])
        first, covered, paced = found[kind]
        if notes is not None and kind != USUAL_MARKER:
            notes += [_marker_note(kind, paced), *(f"Not used as volume markers: {doubt}." for doubt in doubts)]
        if covered < n_volumes:
            repaired.append(f"The EEG ends after {covered} of {n_volumes} volumes; the rest of the scan is not used.")
        return first, covered, paced
    surplus = n_times / sfreq - n_volumes * T_R
    if not doubts and 0 <= surplus <= CUT_TOLERANCE:
        repaired.append(
            f"{name} has no volume marker, but lasts as long as its scan ({n_times / sfreq:.3f} s for {n_volumes * T_R:.3f} s): it was "
            "cut to the scan, and starts with it."
        )
        return 0, n_volumes, False
    listed = ", ".join(others) or "none"
    reason = "; ".join(doubts) or f"no marker tells a volume (there are: {listed})"
    raise DataError(
        f"{name}: {reason}; the EEG lasts {n_times / sfreq:.1f} s, the scan {n_volumes * T_R:.1f} s, so how long the lead-in is would "
        "be a guess. Use the recorder's file (source='raw') if its markers tell it."
    )


def _marker_note(kind: str, paced: bool) -> str:
    """Say which markers told the scan, where they are not the usual ones."""
    if paced:
        return f"Volumes are marked {kind!r} instead of {USUAL_MARKER!r}; the first of these markers is time zero."
    return (
        f"One marker {kind!r} tells where the scan starts and is time zero; no marker tells its volumes, which are counted from there by "
        f"the repetition time of {T_R:g} s."
    )


def _trains(samples: np.ndarray, step: float) -> list[np.ndarray]:
    """Split markers where they are not a whole, small number of repetition times apart."""
    gaps = np.diff(samples) / step
    whole = np.round(gaps)
    breaks = (np.abs(gaps - whole) > 2.5 / step + 0.002) | (whole < 1) | (whole > MAX_LOST + 1)
    return np.split(samples, np.flatnonzero(breaks) + 1)
