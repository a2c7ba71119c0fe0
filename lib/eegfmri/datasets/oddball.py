"""The oddball dataset: OpenfMRI ds000116 (Walz et al. 2013) in its legacy tree, the only one that holds the EEG.

The EEG lies in MATLAB files without names, units, rate or triggers: rows have a fixed meaning, values are microvolts, the
rate is 1000 Hz, and since the scanner started the recording and drove its clock, sample i belongs to volume
floor(i / 2000). OpenNeuro's version has images and malformed event tables only; `read_bids_events` reads those.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from eegfmri import cache, project
from eegfmri.datasets.formats import listed, marked, not_downloaded, simulation, status
from eegfmri.datasets.matlab import require_whole
from eegfmri.datasets.montages import ELECTRODES, EXCLUDED_PAIRS, PAIRS
from eegfmri.datasets.oddball_trials import (
    Behaviour,
    decode_events,
    read_behaviour,
    read_bids_events,
    unlisted_end,
)
from eegfmri.datasets.signals import Signals, examine_array, guarded, judge
from eegfmri.errors import DataError, RequestError, reading
from eegfmri.examined import remembered
from eegfmri.forgiven import saying
from eegfmri.images import T_R_TOLERANCE, run_facts
from eegfmri.recordings import EVENT_COLUMNS, Recording, RecordingSet
from eegfmri.text import number, visible

__all__ = [
    "ELECTRODES",
    "EXCLUDED_PAIRS",
    "PAIRS",
    "SELECTIONS",
    "SOURCES",
    "OddballRecording",
    "Source",
    "decode_events",
    "is_root",
    "read",
    "read_behaviour",
    "read_bids_events",
    "select_subjects",
]


@dataclass(frozen=True)
class Source:
    """One of the two EEG files of a run: its name, its variable, and name and MNE type of each row."""

    file: str
    variable: str
    scalp: tuple[str, ...]
    others: dict[str, str]

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of all rows, in order."""
        return (*self.scalp, *self.others)


#: The README calls row 35 of ``data_reref`` ECG; the authors' re-referencing routine copies row 43 of ``data_noGA``, the
#: pair Pz-Oz, into it. Until someone compares the two files it is typed ``misc``, so that no step takes it for a heart.
SOURCES = {
    "reref": Source(
        "EEG_rereferenced.mat", "data_reref", ELECTRODES, {"ECG": "misc", "stimulus": "stim", "response": "stim"}
    ),
    "noGA": Source(
        "EEG_noGA.mat",
        "data_noGA",
        PAIRS,
        {"hEOG": "eog", "vEOG": "eog", "ECG1": "ecg", "ECG2": "ecg", "stimulus": "stim", "response": "stim"},
    ),
}

#: Samples per second; the MATLAB files do not say. One that does, in a variable ``sfreq``, is believed.
SFREQ = 1000.0

#: Repetition time in s, as the dataset's README and the sidecars of its BIDS version say.
T_R = 2.0

#: Which subjects a study used, and why.
SELECTIONS = {
    "all": ("everyone", ()),
    "synthesis": ("16 of the 17 subjects, without the fourth, as in the public code of one study", ("004",)),
}

_SUBJECT = re.compile(r"sub(?P<subject>\d{3})")
_RUN = re.compile(r"task\d{3}_run\d{3}")
_NUMERIC = ("double", "single", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def is_root(folder: str | Path) -> bool:
    """Tell whether a folder holds the legacy tree, by its content."""
    return any(any(_run_folders(subject)) for _, subject in _subject_folders(Path(folder)))


def read(root: str | Path, source: Literal["reref", "noGA"] = "reref") -> RecordingSet:
    """Open the dataset: shapes, headers and tables of every run, no signals.

    Parameters
    ----------
    root : str or pathlib.Path
        Folder with ``sub001`` …, or with ``ds116_sub001/sub001`` … as some tarballs unpack.
    source : {"reref", "noGA"}, default="reref"
        34 electrodes re-referenced to the mastoids, or the 43 bipolar pairs they were computed from. The gradient artefact
        has been removed from both, the pulse artefact from neither.

    Returns
    -------
    RecordingSet
        One recording per run that has EEG, BOLD or behaviour, in the order of subject, task and run.

    Raises
    ------
    DataError
        If the folder holds nothing of this dataset.
    RequestError
        If there is no such source.
    """
    root = Path(root)
    if source not in SOURCES:
        raise RequestError(f"The oddball dataset has no source {source!r}: choose one of {', '.join(SOURCES)}.")
    folders: dict[str, list[Path]] = {}
    for subject, folder in _subject_folders(root):
        folders.setdefault(subject, []).append(folder)
    simulated_by = simulation(root)
    recordings = []
    for subject, places in sorted(folders.items()):
        for run in sorted({run for folder in places for run in _run_folders(folder)}):
            holding = [folder for folder in places if run in set(_run_folders(folder))]
            recordings.append(_open_run(root, holding, subject, run, source, simulated_by is not None))
    if not recordings:
        bids = " This looks like OpenNeuro's version, which has no EEG." if any(root.glob("sub-*/func")) else ""
        raise DataError(f"{root} holds nothing of the oddball dataset: expected sub001/EEG/task001_run001/*.mat.{bids}")
    notes = (*_notes(source, recordings), *_tree_notes(root, folders))
    return RecordingSet("oddball", root, tuple(recordings), notes, simulated_by)


def select_subjects(recordings: RecordingSet, rule: str = "synthesis") -> tuple[str, ...]:
    """Choose subjects by a named rule.

    Parameters
    ----------
    recordings : RecordingSet
        The dataset.
    rule : str, default="synthesis"
        A key of `SELECTIONS`.

    Returns
    -------
    tuple of str
        Subjects in order.

    Raises
    ------
    RequestError
        If there is no such rule.
    """
    if rule not in SELECTIONS:
        raise RequestError(f"There is no selection {rule!r}: choose one of {', '.join(SELECTIONS)}.")
    return tuple(subject for subject in recordings.subjects if subject not in SELECTIONS[rule][1])


@dataclass(frozen=True, eq=False)
class OddballRecording(Recording):
    """A run of ds000116; `source` says which of its two EEG files it is."""

    source: str = "reref"
    gaps: tuple[tuple[int, int], ...] = ()

    @property
    def has_gradient_artefact(self) -> bool:
        """False: both arrays that are read had it subtracted by the authors; the pulse artefact is still there."""
        return False

    @property
    def scalp_channels(self) -> tuple[str, ...]:
        """The 34 electrodes, or the 43 bipolar pairs."""
        return SOURCES[self.source].scalp

    def raw(self):
        """Open the EEG lazily: volts, auxiliary rows typed, pairs that the authors found noisy marked bad.

        The MATLAB file cannot be read in parts, so its first use converts it to a memory-mapped array in the cache.
        """
        import mne

        self.require_signals()
        source = SOURCES[self.source]
        types = [*["eeg"] * len(source.scalp), *source.others.values()]
        info = mne.create_info(list(source.rows), self.sfreq, types)
        if self.source == "noGA":
            info["bads"] = [PAIRS[number - 1] for number in EXCLUDED_PAIRS.get(self.subject, ())]
        return guarded(_array_raw(self.converted(), info), self.gaps)

    def converted(self) -> Path:
        """Return the EEG as ``.npy``, made on first use: float32, (n_rows, n_times), volts; the last two rows levels."""
        self.require_signals()
        key = cache.digest(cache.file_stamp(self.eeg_file), cache.code_digest(__name__))
        path = project.cache_dir() / "oddball" / f"{self.name}-{self.source}-{key}.npy"

        def make() -> np.ndarray:
            with reading(self.eeg_file):
                return _load(self.eeg_file, SOURCES[self.source]).astype(np.float32)

        return cache.kept_array(path, make)

    def stimulus_events(self) -> pd.DataFrame:
        """Decode stimulus and response row: what the EEG itself says was shown and answered, and when.

        Returns
        -------
        pandas.DataFrame
            Columns of `Recording.events`: stimuli, with the time to the first response before the next stimulus, and the
            start of the task.
        """
        rows = cache.load_array(self.converted())
        names = SOURCES[self.source].rows
        return decode_events(rows[names.index("stimulus")], rows[names.index("response")], self.sfreq)

    def summary(self) -> dict:
        """Describe the recording, source included."""
        return {**super().summary(), "source": self.source}


# --- the tree --------------------------------------------------------------------------------------------------------


def _subject_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield subject and folder, directly inside or one level below in the folder of a tarball."""
    for pattern in ("sub[0-9][0-9][0-9]", "ds116_sub*/sub[0-9][0-9][0-9]"):
        for folder in sorted(root.glob(pattern)):
            if folder.is_dir() and (match := _SUBJECT.fullmatch(folder.name)):
                yield match["subject"], folder


def _run_folders(folder: Path) -> Iterator[str]:
    """Yield the runs that EEG, BOLD or behaviour of a subject name."""
    seen = set()
    for kind in ("EEG", "BOLD", "behav"):
        for path in sorted((folder / kind).glob("task*_run*")):
            if path.is_dir() and _RUN.fullmatch(path.name) and path.name not in seen:
                seen.add(path.name)
                yield path.name


def _open_run(root, holding: list[Path], subject, run, source, simulated) -> OddballRecording:
    folder = holding[0]
    behaviour = Behaviour(pd.DataFrame(columns=EVENT_COLUMNS))
    repaired, problems, missing, refused = [], [], [], False
    notes: list[str] = []
    facts: dict = {}
    if len(holding) > 1:
        places = " and ".join(str(place.relative_to(root)) for place in holding)
        problems.append(f"The run lies twice, in {places}: which one holds would be a guess; remove one.")
        refused = True
    try:
        with reading(f"the trials of sub{subject}, {run},"):
            behaviour = read_behaviour(folder, run)
    except DataError as error:
        problems.append(str(error))
    eeg = folder / "EEG" / run / SOURCES[source].file
    images = [folder / "BOLD" / run / name for name in ("bold.nii.gz", "bold.nii")]
    image = next((path for path in images if path.exists() or path.is_symlink()), None)
    try:
        with reading(f"sub-{subject}_{run}"), saying(repaired):
            if not eeg.exists() and not eeg.is_symlink():
                other = next((name for name, about in SOURCES.items() if (eeg.parent / about.file).is_file()), None)
                hint = f"; source {other!r} is there" if other else ""
                missing.append(f"no EEG file (EEG/{run}/{eeg.name}{hint})")
                eeg = None
            elif reason := not_downloaded(eeg):
                missing.append(reason)
            if image is None:
                missing.append(f"no BOLD file (BOLD/{run}/bold.nii.gz)")
            elif reason := not_downloaded(image):
                missing.append(reason)
            if missing:
                problems.append(f"Missing: {'; '.join(missing)}.")
            elif not refused:
                facts = _signal_facts(eeg, image, SOURCES[source], repaired, notes)
    except DataError as error:
        problems.append(str(error))
        refused = True
    simulated |= facts.pop("simulated", False)
    repaired += behaviour.repaired
    notes += (*behaviour.notes, *unlisted_end(behaviour.events, facts.pop("shown", ()), run))
    anatomy = [folder / "anatomy" / f"{name}.nii.gz" for name in ("highresSPGR001", "highresMPRAGE001", "highres001")]
    return OddballRecording(
        dataset="oddball",
        subject=subject,
        run=run,
        status=status(repaired, bool(missing), refused),
        repaired=tuple(repaired),
        problems=(*problems, *behaviour.problems),
        notes=tuple(notes),
        eeg_file=eeg,
        bold_file=image,
        simulated=simulated,
        events=behaviour.events,
        t1_file=next((path for path in anatomy if path.is_file()), None),
        source=source,
        **facts,
    )


def _signal_facts(eeg: Path, image: Path, source: Source, repaired: list[str], notes: list[str]) -> dict:
    """Read what shapes and headers say; append to ``repaired`` what was mended, raise on what would be a guess."""
    shape, sfreq, in_matlab = _array_facts(eeg, source, repaired)
    n_times = shape[1]
    about = run_facts(image)
    size, stated = about.shape, about.t_r or 0.0
    repaired += about.repaired
    if abs(stated - T_R) > T_R_TOLERANCE:
        if abs(n_times / sfreq / size[3] - T_R) > 0.005:
            raise DataError(
                f"{image.name} says a repetition time of {stated:g} s, the dataset {T_R:g} s, and {n_times} samples of EEG for "
                f"{size[3]} volumes do not decide it; correct the header."
            )
        repaired.append(
            f"{image.name} says a repetition time of {stated:g} s; the dataset says {T_R:g} s, and so does the EEG's length."
        )
    covered = int(n_times / sfreq / T_R + 1e-9)
    if covered < 1:
        raise DataError(f"{eeg.name} holds {n_times} samples, less than one volume; fetch the file again.")
    signals, shown = _examined(eeg, source, sfreq)
    mended, doubts = judge(signals, eeg.name, "µV", n_times, sfreq, in_scanner=False)
    repaired += mended
    notes += doubts
    if covered < size[3]:
        repaired.append(f"The EEG ends after {covered} of {size[3]} volumes; the rest of the scan is not used.")
    elif covered > size[3]:
        repaired.append(
            f"The EEG covers {covered} volumes, the image {size[3]}; what follows the last volume is not used."
        )
    return {
        "sfreq": sfreq,
        "ch_names": source.rows,
        "first_sample": 0,
        "n_times": n_times,
        "t_r": T_R,
        "n_volumes": min(covered, size[3]),
        "volume_shape": size[:3],
        "gaps": signals.gaps,
        "shown": shown,
        "simulated": marked(in_matlab, about.simulated),
    }


def _examined(path: Path, source: Source, sfreq: float) -> tuple[Signals, list[float]]:
    """Look at the EEG array once and remember what was found, stimuli included: a MATLAB file cannot be read in parts."""

    def look() -> dict:
        data = _load(path, source)
        stimulus, response = (data[source.rows.index(name)] for name in ("stimulus", "response"))
        try:
            events = decode_events(stimulus, response, sfreq).query("trial_type != 'task on'")
            shown = events["onset"].tolist()
        except DataError:
            shown = []  # a row without levels shows nothing
        return examine_array(data[: len(source.scalp)], sfreq, source.scalp).facts() | {"shown": shown}

    found = remembered([cache.file_stamp(path), source.variable, sfreq, cache.code_digest(__name__)], look)
    return Signals.of(found), found["shown"]


def _array_facts(path: Path, source: Source, repaired: list[str]) -> tuple[tuple[int, int], float, bool]:
    """Return (n_rows, n_times) and sampling rate of the EEG array, and whether the file says that it was simulated."""
    from scipy.io import loadmat, whosmat

    require_whole(path)
    try:
        variables = {name: (shape, kind) for name, shape, kind in whosmat(path)}
    # scipy raises whatever the damaged bytes make it raise.
    except Exception as error:
        raise DataError(f"{path} cannot be read as a MATLAB file: {error}; fetch the file again.") from error
    if source.variable not in variables:
        found = ", ".join(variables) or "nothing"
        raise DataError(f"{path} holds {found}, not {source.variable}: which array is meant would be a guess.")
    shape, kind = variables[source.variable]
    n_rows = len(source.rows)
    if kind not in _NUMERIC or len(shape) != 2 or n_rows not in shape:
        raise DataError(
            f"{path}: {source.variable} is {kind} of shape {' x '.join(map(str, shape))}, expected {n_rows} rows of numbers; "
            "fetch the file again."
        )
    if shape[0] != n_rows:
        repaired.append(f"{path.name}: {source.variable} lies on its side ({shape[0]} x {shape[1]}); it was turned.")
        shape = shape[::-1]
    sfreq = SFREQ
    if "sfreq" in variables:
        stated = np.asarray(loadmat(path, variable_names=["sfreq"])["sfreq"])
        sfreq = number(stated.item()) if stated.size == 1 and stated.dtype.kind in "iuf" else None
        if sfreq is None or not 1 <= sfreq <= 1e6:
            raise DataError(
                f"{path}: the variable sfreq is {str(stated)[:40]}, expected one rate in Hz; correct it or leave it out."
            )
    with path.open("rb") as stream:
        simulated = b"SIMULATED" in stream.read(116)
    return (int(shape[0]), int(shape[1])), sfreq, simulated


def _load(path: Path, source: Source) -> np.ndarray:
    """Load the EEG array, (n_rows, n_times): V, and levels in the last two rows."""
    from scipy.io import loadmat

    with reading(path):
        data = loadmat(path, variable_names=[source.variable])[source.variable]
    if data.dtype.kind not in "iuf":
        raise DataError(
            f"{path}: {source.variable} holds {data.dtype} numbers, where real ones are due; fetch the file again."
        )
    data = data if data.shape[0] == len(source.rows) else data.T
    scale = np.array(
        [[1.0 if kind == "stim" else 1e-6] for kind in [*["eeg"] * len(source.scalp), *source.others.values()]]
    )
    return data * scale


def _array_raw(path: Path, info):
    """Open a ``.npy`` array as MNE's Raw, reading from the memory map what is asked for."""
    import mne

    class ArrayRaw(mne.io.BaseRaw):
        """Continuous data in an ``.npy`` file of shape (n_channels, n_times)."""

        def __init__(self, path: Path, info):
            shape = cache.load_array(path).shape
            super().__init__(
                info, preload=False, filenames=[path], last_samps=[shape[1] - 1], orig_format="single", verbose="error"
            )

        def _read_segment_file(self, data, idx, fi, start, stop, cals, mult):
            block = np.asarray(cache.load_array(self.filenames[fi])[:, start:stop], dtype=float)
            data[:] = block[idx] * cals if mult is None else mult @ block

    return ArrayRaw(path, info)


def _notes(source: str, recordings: list[OddballRecording]) -> tuple[str, ...]:
    """Say what holds for the dataset as a whole, where there is EEG."""
    if not any(recording.usable for recording in recordings):
        return ()
    notes = [
        "The MATLAB files hold neither rate nor triggers: 1000 Hz unless a variable sfreq says otherwise, and the first sample "
        "belongs to the first volume, for the scanner started the recording.",
        "The pulse artefact is still in the EEG.",
    ]
    if source == "reref":
        notes.append(
            "Row 35 of data_reref is called ECG, but the authors' re-referencing routine copies the pair Pz-Oz there; it is "
            "typed misc. The ECG rows of data_noGA are not in doubt."
        )
    return tuple(notes)


def _tree_notes(root: Path, folders: dict[str, list[Path]]) -> tuple[str, ...]:
    """Say where the tree differs from what was published: subjects one folder deeper, event tables of the other version."""
    notes = []
    nested = [
        folder.relative_to(root).as_posix()
        for _, places in sorted(folders.items())
        for folder in places
        if folder.parent != root and any(_run_folders(folder))
    ]
    if nested:
        said = (
            ("lies", "its tarball unpacks; it is") if len(nested) == 1 else ("lie", "their tarballs unpack; they are")
        )
        notes.append(f"{listed(nested)} {said[0]} one folder deeper than expected, as {said[1]} read all the same.")
    tables = [table for deep in ("", "*/") for table in visible(root.glob(f"{deep}sub-*/func/*_events.tsv"))]
    for place, count in sorted(Counter(table.parents[2] for table in tables).items()):
        where = "The dataset's folder" if place == root else f"The folder {place.relative_to(root).as_posix()}"
        notes.append(
            f"{where} holds {count} event table{'s' * (count != 1)} of OpenNeuro's version, in which targets stand twice and the last "
            "rows are shifted; trials are read from the legacy tree's own tables, and oddball.read_bids_events is there for these."
        )
    return tuple(notes)
