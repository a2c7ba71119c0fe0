"""The vocabulary of everything above: a recording is one run of one subject, EEG and BOLD side by side.

Opening a dataset reads headers, markers and tables only; signals are read when asked for. Time zero is the start of
the first volume, for both modalities and for every onset in a table.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from eegfmri.cache import digest, file_stamp, load_array
from eegfmri.errors import DataError, RequestError, plain
from eegfmri.examined import require_unchanged, stamp_of

Status = Literal["ok", "repaired", "refused", "missing"]

#: The three datasets by the names used everywhere.
DATASETS = ("sleep", "oddball", "rest")

#: Scored stages as used for classification, in order of depth.
STAGES = ("W", "N1", "N2", "N3")

#: Length of a scored epoch in seconds.
EPOCH_SECONDS = 30.0


@dataclass(frozen=True, eq=False)
class Recording(ABC):
    """One run of one subject: where its files are, what their headers say, what would be used.

    Attributes
    ----------
    dataset : str
        ``sleep``, ``oddball`` or ``rest``.
    subject : str
        Identifier as the dataset writes it, without prefix (``"01"``, ``"32"``).
    run : str
        Name of the run inside the subject (``"task-sleep_run-1"``).
    status : {"ok", "repaired", "refused", "missing"}
        Whether the recording can be used as it is, was mended, must not be used, or lacks signals.
    repaired, problems : tuple of str
        One sentence each: what was mended; what stands in the way of use.
    notes : tuple of str
        One sentence each: what is unlike the others and needed no mending, or concerns a file that is not used here.
        The status does not depend on them.
    eeg_file, bold_file : pathlib.Path or None
        Header or container of the EEG; NIfTI image of the BOLD volumes.
    sfreq : float or None
        Sampling frequency of the EEG file in Hz, from its own header.
    ch_names : tuple of str
        Channels of the file under their canonical names, in file order.
    first_sample : int or None
        EEG sample at which the first volume starts.
    n_times : int or None
        EEG samples from ``first_sample`` to the end of the file.
    t_r : float or None
        Repetition time in seconds.
    n_volumes : int or None
        Volumes that both the image and the triggers cover.
    volume_shape : tuple of int or None
        Matrix of one volume.
    epochs : pandas.DataFrame
        One row per scored epoch: ``onset`` (s from the first volume), ``duration`` (s), ``label`` (as written),
        ``stage`` (one of `STAGES`, or missing), ``certainty`` (``certain``, ``uncertain``, ``unscorable``) and ``used``
        (certain and covered by signal). Empty for datasets without scoring.
    simulated : bool
        Whether the recording was written by the simulator.
    events : pandas.DataFrame
        One row per event of a task: ``onset`` (s from the first volume), ``duration`` (s), ``trial_type``,
        ``response_time`` (s, missing without a response) and ``used`` (False for trials that the dataset's authors left
        out). Empty for datasets without a task.
    t1_file : pathlib.Path or None
        Anatomical image of the subject, where there is one.
    """

    dataset: str
    subject: str
    run: str
    status: Status = "ok"
    repaired: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    eeg_file: Path | None = None
    bold_file: Path | None = None
    sfreq: float | None = None
    ch_names: tuple[str, ...] = ()
    first_sample: int | None = None
    n_times: int | None = None
    t_r: float | None = None
    n_volumes: int | None = None
    volume_shape: tuple[int, int, int] | None = None
    epochs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=EPOCH_COLUMNS), repr=False)
    simulated: bool = False
    events: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=EVENT_COLUMNS), repr=False)
    t1_file: Path | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make what is said fit for a terminal, whatever was quoted from a damaged file."""
        for kind in ("repaired", "problems", "notes"):
            object.__setattr__(self, kind, tuple(plain(text) for text in getattr(self, kind)))
        # what was found on opening holds for the files as they were
        object.__setattr__(self, "_stamps", {path: stamp_of(path) for path in self.files()} if self.usable else {})

    @property
    def name(self) -> str:
        """``sub-01_task-sleep_run-1``: subject and run, unique inside a dataset."""
        return f"sub-{self.subject}_{self.run}"

    @property
    def usable(self) -> bool:
        """Whether signals of both modalities can be read."""
        return self.status in ("ok", "repaired")

    @property
    def duration(self) -> float | None:
        """Seconds from the first volume that both modalities cover, or None without signals."""
        if self.n_times is None or self.n_volumes is None:
            return None
        return min(self.n_times / self.sfreq, self.n_volumes * self.t_r)

    def stage_counts(self) -> dict[str, int]:
        """Count scored epochs: certain ones per stage, then ``uncertain`` and ``unscorable``."""
        counts = Counter(row.stage if row.certainty == "certain" else row.certainty for row in self.epochs.itertuples())
        return {name: counts.get(name, 0) for name in (*STAGES, "uncertain", "unscorable")}

    def event_counts(self) -> dict[str, int]:
        """Count the events that are used, per type, in order of the types' names."""
        counts = Counter(self.events.loc[self.events["used"].astype(bool), "trial_type"])
        return {name: counts[name] for name in sorted(counts)}

    def summary(self) -> dict:
        """Describe the recording for ``eegfmri data check --json``."""
        return {
            "subject": self.subject,
            "run": self.run,
            "status": self.status,
            "repaired": list(self.repaired),
            "problems": list(self.problems),
            "notes": list(self.notes),
            "stages": self.stage_counts(),
            "epochs": len(self.epochs),
            "epochs_used": int(self.epochs["used"].sum()) if self.usable else 0,
            "events": self.event_counts(),
            "sfreq": self.sfreq,
            "n_channels": len(self.ch_names) or None,
            "lead_in_seconds": None if self.first_sample is None else self.first_sample / self.sfreq,
            "eeg_seconds": None if self.n_times is None else self.n_times / self.sfreq,
            "t_r": self.t_r,
            "n_volumes": self.n_volumes,
            "volume_shape": None if self.volume_shape is None else list(self.volume_shape),
        }

    def files(self) -> list[Path]:
        """Return the files that the recording's signals come from."""
        return [path for path in (self.eeg_file, self.bold_file) if path is not None]

    @property
    def has_gradient_artefact(self) -> bool:
        """Whether the EEG comes straight from the scanner; a rate of 1000 Hz or more tells, unless a dataset says otherwise."""
        return self.sfreq is not None and self.sfreq >= 1000

    @property
    @abstractmethod
    def scalp_channels(self) -> tuple[str, ...]:
        """The scalp channels that the dataset promises, in a fixed order, present in this run or not."""

    @abstractmethod
    def raw(self):
        """Open the EEG lazily, cut to start with the first volume.

        Returns
        -------
        mne.io.BaseRaw
            Not loaded; channels under canonical names and types; volts.

        Raises
        ------
        DataError
            If the recording is refused or has no EEG.
        """

    def image(self):
        """Open the BOLD image lazily.

        Returns
        -------
        nibabel.Nifti1Image
            Shape (x, y, z, n_volumes); data are read when sliced.

        Raises
        ------
        DataError
            If the recording is refused or has no BOLD image; data that cannot be read raise it too, when sliced.
        """
        from eegfmri.images import open_image

        self.require_signals()
        return open_image(self.bold_file)

    def require_signals(self) -> None:
        """Raise `DataError` with the reasons if the recording cannot be used."""
        if not self.usable:
            reasons = " ".join(self.problems) or "no signals were found."
            raise DataError(f"{self.name} is {self.status} and cannot be read: {reasons}")
        for path, stamp in self._stamps.items():
            require_unchanged(path, stamp)


#: Columns of `Recording.epochs`.
EPOCH_COLUMNS = ("onset", "duration", "label", "stage", "certainty", "used")

#: Columns of `Recording.events`.
EVENT_COLUMNS = ("onset", "duration", "trial_type", "response_time", "used")


@dataclass(frozen=True)
class Stream:
    """One modality of one run on disk: rows over time, memory-mapped when read.

    Attributes
    ----------
    path : pathlib.Path
        ``.npy`` file of shape (n_rows, n_samples).
    sfreq : float
        Samples per second.
    names : tuple of str
        Names of the rows: channels or regions.
    start : float
        Time of the first sample in s from the first volume.
    notes : tuple of str
        One sentence each: steps of the preparation that were asked for and could not be done, and what is lacking in the signal.
    gaps : tuple of (float, float)
        Onset and duration in s, on the clock of ``start``, of stretches in which nothing was measured: what stands there bridges them.
    """

    path: Path
    sfreq: float
    names: tuple[str, ...]
    start: float = 0.0
    notes: tuple[str, ...] = ()
    gaps: tuple[tuple[float, float], ...] = ()

    def load(self):
        """Return the array, memory-mapped read-only, shape (n_rows, n_samples)."""
        return load_array(self.path)


@dataclass(frozen=True, eq=False)
class RecordingSet:
    """The recordings of one dataset, in the dataset's order, and where they came from.

    Attributes
    ----------
    dataset : str
        ``sleep``, ``oddball`` or ``rest``.
    root : pathlib.Path
        Top folder of the dataset.
    recordings : tuple of Recording
        One per run, usable or not.
    notes : tuple of str
        What holds for the dataset as a whole or for a subject in it, and not for one run: a sidecar that is wrong for every
        run, folders that are left alone.
    simulation : dict or None
        Preset, scale, seed and digest of the simulator, as written in ``simulated.json``; None for real recordings, and where
        that file is lacking.
    """

    dataset: str
    root: Path
    recordings: tuple[Recording, ...]
    notes: tuple[str, ...] = ()
    simulation: dict | None = None

    def __iter__(self) -> Iterator[Recording]:
        return iter(self.recordings)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int | str) -> Recording:
        if isinstance(index, str):
            for recording in self.recordings:
                if recording.name == index:
                    return recording
            raise RequestError(f"No recording {index!r} in {self.root}: see `eegfmri data check {self.root}`.")
        return self.recordings[index]

    @property
    def simulated(self) -> bool:
        """Whether the recordings were written by the simulator: the dataset says so, or any of its files."""
        return self.simulation is not None or any(recording.simulated for recording in self.recordings)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects in order, each once."""
        return tuple(dict.fromkeys(recording.subject for recording in self.recordings))

    @property
    def provenance(self) -> str:
        """One sentence for captions and page heads: simulated or real, and which."""
        if not self.simulated:
            return f"Recordings of the {self.dataset} dataset."
        if self.simulation is None:
            return "Simulated recordings (their files say so; what was planted is not known)."
        return (
            f"Simulated recordings (preset {self.simulation['preset']}, scale {self.simulation['scale']}, "
            f"digest {self.simulation['digest']})."
        )

    @property
    def digest(self) -> str:
        """Identify the state of the data: the simulator's digest, or sizes and times of the real files."""
        if self.simulation is not None:
            return self.simulation["digest"]
        tables = [table.to_csv(index=False) for r in self.recordings for table in (r.epochs, r.events)]
        stamps = [file_stamp(path)[1:] for recording in self.recordings for path in recording.files() if path.exists()]
        return digest([recording.summary() for recording in self.recordings], tables, stamps)

    def select(
        self,
        subjects: Iterable[str] | None = None,
        runs: Iterable[str] | None = None,
        usable: bool | None = None,
    ) -> "RecordingSet":
        """Return the recordings that match, as a new set.

        Parameters
        ----------
        subjects : iterable of str or None
            Keep these subjects.
        runs : iterable of str or None
            Keep runs whose name starts with one of these (``"task-sleep"``).
        usable : bool or None
            Keep recordings with (True) or without (False) usable signals.

        Returns
        -------
        RecordingSet
            Possibly empty.

        Raises
        ------
        RequestError
            If a named subject does not occur.
        """
        subjects = None if subjects is None else tuple(subjects)
        for subject in subjects or ():
            if subject not in self.subjects:
                raise RequestError(
                    f"No subject {subject!r} in {self.root}: there are {', '.join(self.subjects) or 'none'}."
                )
        prefixes = None if runs is None else tuple(runs)
        kept = tuple(
            recording
            for recording in self.recordings
            if (subjects is None or recording.subject in subjects)
            and (prefixes is None or recording.run.startswith(prefixes))
            and (usable is None or recording.usable == usable)
        )
        return replace(self, recordings=kept)

    def stage_table(self) -> pd.DataFrame:
        """Count scored epochs per recording: subject, run, then `Recording.stage_counts`."""
        return pd.DataFrame(
            [{"subject": r.subject, "run": r.run, **r.stage_counts()} for r in self.recordings if len(r.epochs)]
        )

    def check(self) -> dict:
        """Describe every recording: the document of ``eegfmri data check --json``.

        Returns
        -------
        dict
            ``schema``, ``dataset``, ``simulated``, ``notes`` (sentences on the dataset as a whole) and ``recordings``, one
            `Recording.summary` each, whose ``notes`` are the sentences on that recording.
        """
        return {
            "schema": 1,
            "dataset": self.dataset,
            "simulated": self.simulated,
            "notes": list(self.notes),
            "recordings": [recording.summary() for recording in self.recordings],
        }
