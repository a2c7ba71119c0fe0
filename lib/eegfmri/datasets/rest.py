"""The resting dataset: NODDI, OSF 94c5t (Deligianni et al. 2014, 2016), as its three archives unpack.

The EEG comes twice: as the recorder wrote it, and as an export at 250 Hz, freed from the scanner's artefacts. All exports but
one go on for 22 to 141 s longer than the scan, so the first sample is not the first volume: time zero comes from the
markers, and a recording whose markers do not tell it is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from eegfmri.datasets.brainvision import BrainVisionRecording, open_run, read_header
from eegfmri.datasets.formats import listed, marked, not_downloaded, simulation, status
from eegfmri.datasets.montages import REST_MONTAGES as MONTAGES
from eegfmri.errors import DataError, RequestError, reading
from eegfmri.forgiven import listening, saying
from eegfmri.images import T_R_TOLERANCE, run_facts, sidecar_facts
from eegfmri.recordings import RecordingSet
from eegfmri.text import number, visible

#: The channel that is not on the scalp, 32nd in the files, with its MNE type.
OTHER_CHANNELS = {"ECG": "ecg"}

#: Folder of a subject that holds each source, and the suffix of its signal files.
SOURCES = {"export": ".dat", "raw": ".eeg"}

#: Which electrodes of subjects with different montages are used.
ELECTRODES = {"common": "those that all montages share", "own": "each subject's own"}

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


def read(
    root: str | Path, source: Literal["export", "raw"] = "export", electrodes: Literal["common", "own"] = "common"
) -> RecordingSet:
    """Open the dataset: headers and markers of every subject, no signals.

    Parameters
    ----------
    root : str or pathlib.Path
        Folder with ``EEG1``, ``EEG2`` (or one folder ``EEG`` with both) and ``fMRI``.
    source : {"export", "raw"}, default="export"
        The export at 250 Hz without the scanner's artefacts, or the recorder's own file.
    electrodes : {"common", "own"}, default="common"
        Subjects were recorded with one of two montages, `MONTAGES`. Where both occur, the scalp channels of every recording
        are the 57 that the two share, or each subject's own 63.

    Returns
    -------
    RecordingSet
        One recording per subject of whom there is EEG or BOLD.

    Raises
    ------
    DataError
        If the folder holds nothing of this dataset.
    RequestError
        If there is no such source, or choice of electrodes.
    """
    root = Path(root)
    if source not in SOURCES:
        raise RequestError(f"The rest dataset has no source {source!r}: choose one of {', '.join(SOURCES)}.")
    if electrodes not in ELECTRODES:
        raise RequestError(f"There is no choice of electrodes {electrodes!r}: choose one of {', '.join(ELECTRODES)}.")
    folders: dict[str, list[Path]] = {}
    for subject, folder in _eeg_folders(root):
        folders.setdefault(subject, []).append(folder)
    images = {folder.name: folder for folder in sorted(root.glob("fMRI/[0-9][0-9]")) if folder.is_dir()}
    if not folders and not images:
        raise DataError(
            f"{root} holds nothing of the rest dataset: expected EEG1/32/export/*.vhdr and fMRI/32/*.nii.gz."
        )
    simulated_by = simulation(root)
    with listening(to_all=True) as heard:
        recordings = tuple(
            _open_run(subject, folders.get(subject, []), images.get(subject), source, simulated_by is not None)
            for subject in sorted({*folders, *images})
        )
    found = {r.montage: None for r in recordings if r.montage}
    used: tuple[str, ...] | None = None
    if electrodes == "common" and len(found) > 1:
        first, *others = (MONTAGES[name] for name in MONTAGES if name in found)
        used = tuple(name for name in first if all(name in other for other in others))
        recordings = tuple(replace(recording, electrodes=used) for recording in recordings)
    notes = (*heard.sentences(root), *_montage_notes(recordings, used))
    return RecordingSet("rest", root, recordings, notes, simulation=simulated_by)


def _montage_notes(recordings: tuple["RestRecording", ...], used: tuple[str, ...] | None) -> tuple[str, ...]:
    """Name the montages that were found, where it is not the first of `MONTAGES` alone, whose they are, and what is used of them."""
    owners: dict[str, list[str]] = {}
    for recording in recordings:
        if recording.montage:
            owners.setdefault(recording.montage, []).append(recording.subject)
    if set(owners) <= {next(iter(MONTAGES))}:
        return ()
    said = "; ".join(f"{listed(subjects)} with {name}" for name, subjects in sorted(owners.items()))
    if len(owners) == 1:
        return (f"One montage of 63 scalp channels: {said}.",)
    which = (
        "each subject's own 63 are used" if used is None else f"the {len(used)} scalp channels that they share are used"
    )
    return (f"{len(owners)} montages of 63 scalp channels: {said}; {which}.",)


@dataclass(frozen=True, eq=False)
class RestRecording(BrainVisionRecording):
    """The run of one subject.

    `montage` is a key of `MONTAGES` (None without EEG), `electrodes` the scalp channels used where they are not all of it.
    """

    source: str = "export"
    montage: str | None = None
    electrodes: tuple[str, ...] | None = None
    other_channels = OTHER_CHANNELS

    @property
    def scalp_channels(self) -> tuple[str, ...]:
        """The 63 scalp channels of the subject's montage, or those that all montages of the dataset share."""
        return self.electrodes or self.expected_channels

    @property
    def expected_channels(self) -> tuple[str, ...]:
        """The 63 scalp channels of the subject's montage."""
        return MONTAGES[self.montage or next(iter(MONTAGES))]

    @property
    def signal_suffix(self) -> str:
        """Of the signal file."""
        return SOURCES[self.source]

    def summary(self) -> dict:
        """Describe the recording, source and montage included."""
        return {**super().summary(), "source": self.source, "montage": self.montage}


def _eeg_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield subject and folder of everyone with a header in ``export`` or ``raw``."""
    for folder in sorted(root.glob("EEG*/[0-9][0-9]")):
        if any(visible(folder.glob(f"{source}/*.vhdr")) for source in SOURCES):
            yield folder.name, folder


def _open_run(subject: str, holding: list[Path], images: Path | None, source: str, simulated: bool) -> RestRecording:
    repaired, problems, missing, refused = [], [], [], False
    notes: list[str] = []
    facts: dict = {}
    header = image = t1 = None
    try:
        with reading(f"sub-{subject}_{RUN}"), saying(repaired):
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
            other = next((name for name in SOURCES if holding and visible((holding[0] / name).glob("*.vhdr"))), None)
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
                facts = _signal_facts(header, image, source, repaired, problems, notes)
    except DataError as error:
        problems.append(str(error))
        refused = True
    if header is not None and image is not None and not missing:
        notes += _other_source_notes(holding[0], subject, image, source, {*repaired, *problems})
    simulated |= facts.pop("simulated", False)
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
        with reading(f"sub-{subject}_{RUN}"), saying(repaired):
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
    headers = visible(folder.glob("*.vhdr"))
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
    found = visible(folder.glob(pattern))
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
    montage = _montage(header)
    eeg = open_run(header, MONTAGES[montage], OTHER_CHANNELS, repaired, SOURCES[source], source == "raw", notes)
    raw, sfreq = eeg.raw, float(eeg.raw.info["sfreq"])
    about = run_facts(image)
    repaired += about.repaired
    n_volumes, affine = about.shape[3], about.affine
    if affine is None or affine[0, 3] == 0:
        what = "states no position in space" if affine is None else "has an affine without an offset along x"
        problems.append(f"{image.name} {what}: register the image before you use coordinates.")
    onsets = {
        kind: np.unique([round(a["onset"] * sfreq) for a in raw.annotations if marker.search(a["description"].strip())])
        for kind, marker in VOLUME_MARKERS.items()
    }
    onsets = {kind: samples.astype(int) for kind, samples in onsets.items() if len(samples)}
    others = sorted({a["description"] for a in raw.annotations if not a["description"].startswith("New Segment")})
    first, covered, paced = find_scan(
        onsets, raw.n_times, sfreq, n_volumes, header.stem, repaired, others, notes, source
    )
    repaired += _repetition_time(image, about.t_r, paced)
    return {
        "sfreq": sfreq,
        "ch_names": tuple(raw.ch_names),
        "first_sample": first,
        "n_times": raw.n_times - first,
        "t_r": T_R,
        "n_volumes": min(covered, n_volumes),
        "volume_shape": about.shape[:3],
        "overrides": eeg.overrides,
        "gaps": eeg.signals.gaps,
        "montage": montage,
        "simulated": marked(eeg.header.simulated, about.simulated),
    }


def _montage(header: Path) -> str:
    """Return the montage of which a header lacks the fewest channels."""
    there = {channel.name.lower() for channel in read_header(header).channels}
    return min(MONTAGES, key=lambda name: sum(channel.lower() not in there for channel in MONTAGES[name]))


def _repetition_time(image: Path, header: float | None, paced: bool) -> tuple[str, ...]:
    """Compare what header and sidecar say with the dataset's repetition time, which markers one volume apart confirm."""
    sidecar, sources = sidecar_facts(image)
    said = number(sidecar.get("RepetitionTime"))
    if said is not None and abs(said - T_R) > T_R_TOLERANCE:
        if not paced:
            raise DataError(
                f"{sources[0].name} says a repetition time of {said:g} s, the dataset {T_R:g} s, and no markers decide it; "
                "correct the sidecar."
            )
        return (f"{sources[0].name} says a repetition time of {said:g} s; the volume markers are {T_R:g} s apart.",)
    if header is not None and abs(header - T_R) <= T_R_TOLERANCE:
        return ()
    if not paced and said is None:
        raise DataError(
            f"{image.name} says a repetition time of {header or 0:g} s, the dataset {T_R:g} s, and no markers decide it; "
            "correct the header."
        )
    witness = "its volume markers are" if paced else f"the sidecar {sources[0].name} and the dataset say"
    apart = f"{T_R:g} s apart" if paced else f"{T_R:g} s"
    return (f"{image.name} says a repetition time of {header or 0:g} s; {witness} {apart}.",)


def find_scan(
    onsets: dict[str, np.ndarray],
    n_times: int,
    sfreq: float,
    n_volumes: int,
    name: str,
    repaired: list[str],
    others: list[str] = (),
    notes: list[str] | None = None,
    source: str = "export",
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
    source : str, default="export"
        Of the recording; a refusal advises the other.

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
    reason = "; ".join(doubts) or f"no marker tells a volume (there are: {', '.join(others) or 'none'})"
    other = "the recorder's file (source='raw')" if source == "export" else "the export (source='export')"
    raise DataError(
        f"{name}: {reason}; the EEG lasts {n_times / sfreq:.1f} s, the scan {n_volumes * T_R:.1f} s, so how long the lead-in is would "
        f"be a guess. Use {other} if its markers tell it."
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
