"""Windows: what an estimator is given, EEG and BOLD around the same moment, read from disk only when touched.

A window names two stretches of a run: samples of EEG and volumes of BOLD. Nothing is copied until a window is indexed, so
a set of windows far larger than memory can be split, shuffled and iterated.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from eegfmri.cache import digest, file_stamp
from eegfmri.errors import RequestError
from eegfmri.preprocessing.side_by_side import prepared
from eegfmri.recordings import EPOCH_SECONDS, Recording, Stream


class LazyArray:
    """An array of windows cut from memory-mapped runs when indexed.

    Parameters
    ----------
    streams : sequence of Stream
        One per run; all with the same rows.
    run : array-like of int, shape (n_windows,)
        Which stream each window lies in.
    first : array-like of int, shape (n_windows,)
        Index of each window's first sample in its stream.
    length : int
        Samples per window.

    Notes
    -----
    Looks like an array of shape (n_windows, n_rows, length): an integer gives one window, a slice, a list or a mask
    an array of windows, a tuple goes on to index rows and samples. `numpy.asarray` reads everything.
    """

    def __init__(self, streams: Sequence[Stream], run, first, length: int):
        self.streams = tuple(streams)
        self.run = np.asarray(run, dtype=np.intp)
        self.first = np.asarray(first, dtype=np.intp)
        self.length = int(length)
        self._open: dict[int, np.ndarray] = {}

    def __getstate__(self):
        # Memory maps are opened anew in each process: pickling them would copy the data.
        return {**self.__dict__, "_open": {}}

    def _run(self, index: int) -> np.ndarray:
        if index not in self._open:
            self._open[index] = self.streams[index].load()
        return self._open[index]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_windows, n_rows, length)."""
        return len(self.run), len(self.streams[0].names) if self.streams else 0, self.length

    @property
    def ndim(self) -> int:
        """Three."""
        return 3

    @property
    def dtype(self) -> np.dtype:
        """Type of the values on disk."""
        return self._run(0).dtype if self.streams else np.dtype(np.float32)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rows."""
        return self.streams[0].names if self.streams else ()

    @property
    def sfreq(self) -> float:
        """Samples per second."""
        return self.streams[0].sfreq

    def __len__(self) -> int:
        return len(self.run)

    def subset(self, indices) -> "LazyArray":
        """Return the windows at the given indices (or under a mask), still lazy."""
        return LazyArray(self.streams, self.run[indices], self.first[indices], self.length)

    def pieces(self, length: int) -> tuple["LazyArray", np.ndarray]:
        """Cut the windows into pieces, one after the other; what neighbouring windows share is one piece.

        Parameters
        ----------
        length : int
            Samples of a piece; what is left of a window behind the last whole one is dropped.

        Returns
        -------
        pieces : LazyArray
            Each once, in the order of runs and time, still lazy.
        place : numpy.ndarray of int
            Shape (n_windows, n_pieces): which of them a window consists of.
        """
        first = self.first[:, None] + length * np.arange(self.length // length)
        keys = np.stack([np.broadcast_to(self.run[:, None], first.shape), first], axis=-1).reshape(-1, 2)
        found, place = np.unique(keys, axis=0, return_inverse=True)
        return LazyArray(self.streams, *found.T, length), place.reshape(first.shape)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each row over all windows, window by window so that memory stays small.

        Returns
        -------
        mean, deviation : numpy.ndarray
            Shape (n_rows,) each; the deviation of a row that never varies is 1, so that one can divide by it.
        """
        total = squares = np.zeros(self.shape[1])
        for index in range(len(self)):
            window = self._window(index).astype(float)
            total, squares = total + window.sum(axis=1), squares + (window**2).sum(axis=1)
        mean = total / (len(self) * self.length)
        deviation = np.sqrt(np.maximum(squares / (len(self) * self.length) - mean**2, 0))
        return mean, np.where(deviation > 0, deviation, 1.0)

    def _window(self, index: int) -> np.ndarray:
        first = self.first[index]
        return self._run(self.run[index])[:, first : first + self.length]

    def __getitem__(self, key) -> np.ndarray:
        head, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        if isinstance(head, (int, np.integer)):
            return np.array(self._window(int(head))[rest] if rest else self._window(int(head)))
        indices = np.arange(len(self))[head]
        if not rest:
            out = np.empty((len(indices), *self.shape[1:]), dtype=self.dtype)
            for row, index in enumerate(indices):
                out[row] = self._window(index)
            return out
        return np.stack([self._window(index)[rest] for index in indices]) if len(indices) else np.empty((0,))

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        out = self[:]
        return out if dtype is None else out.astype(dtype)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows with their labels, groups and times: the ``X`` of every estimator here.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per window: ``subject``, ``run``, ``onset`` (s from the first volume of the run) and ``order`` (rank in
        the subject's session), then ``start`` and ``stop``: the stretch of the run, in s, that either modality touches.
    eeg, bold : LazyArray
        Shapes (n_windows, n_channels, n_times) and (n_windows, n_regions, n_volumes).
    y : numpy.ndarray
        Class index, shape (n_windows,); of `volume_windows` the number of the volume in its run.
    classes : tuple of str
        Names of the classes.
    dropped : dict of str to int
        How many epochs were left out, and why; gaps in the EEG are named only where there are any.
    features : dict of str to numpy.ndarray
        Arrays with one row per window, made from that window alone; see `with_feature`.
    """

    table: pd.DataFrame
    eeg: LazyArray
    bold: LazyArray
    y: np.ndarray
    classes: tuple[str, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    features: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def shape(self) -> tuple[int]:
        """(n_windows,): lets scikit-learn count and index windows."""
        return (len(self),)

    @property
    def groups(self) -> np.ndarray:
        """Subject of each window, shape (n_windows,)."""
        return self.table["subject"].to_numpy()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects in order, each once."""
        return tuple(dict.fromkeys(self.groups))

    @property
    def digest(self) -> str:
        """Identify table, labels, features, the signals' files, and what each window takes of them."""
        taken = [
            ([file_stamp(s.path)[1:] for s in array.streams], array.run, array.first, array.length)
            for array in (self.eeg, self.bold)
        ]
        return digest(
            self.table.to_csv(index=False),
            self.y,
            self.classes,
            taken,
            {k: np.asarray(v) for k, v in self.features.items()},
        )

    def __getitem__(self, indices) -> "Windows":
        indices = np.arange(len(self))[indices]
        if indices.ndim == 0:
            indices = indices[None]
        return replace(
            self,
            table=self.table.iloc[indices].reset_index(drop=True),
            eeg=self.eeg.subset(indices),
            bold=self.bold.subset(indices),
            y=self.y[indices],
            features={name: values[indices] for name, values in self.features.items()},
        )

    def start_of_session(self, minutes: float) -> "Windows":
        """Return the windows of the first so many minutes of one subject's first run, at least one.

        Parameters
        ----------
        minutes : float
            Counted from the first window's onset.

        Returns
        -------
        Windows
            Those of other runs are left out, however long ``minutes`` is.
        """
        onset, run = self.table["onset"].to_numpy(), self.table["run"].to_numpy()
        first = run == run[0]
        return self[first & (onset < onset[first].min() + max(60 * minutes, 1e-6))]

    def with_feature(self, name: str, function: Callable[["Windows"], np.ndarray]) -> "Windows":
        """Attach an array computed from each window alone.

        Since no row depends on another, it may be computed once before any split without leaking anything; what is
        fitted (scaling, selection) belongs into the estimator.

        Parameters
        ----------
        name : str
            Under which an estimator finds it.
        function : callable
            Takes a run's windows, returns an array with one row per window. Called run by run, so memory stays small.

        Returns
        -------
        Windows
            With the feature attached.
        """
        parts, order = [], []
        for _, rows in self.table.groupby(["subject", "run"], sort=False).indices.items():
            part = np.asarray(function(self[rows]))
            if len(part) != len(rows):
                raise RequestError(
                    f"Feature {name!r} has {len(part)} rows for {len(rows)} windows: it must have one per window."
                )
            parts.append(part)
            order.append(rows)
        values = np.concatenate(parts)
        out = np.empty_like(values)
        out[np.concatenate(order)] = values
        return replace(self, features={**self.features, name: out})


def epoch_windows(
    recordings: Iterable[Recording],
    eeg: Callable[[Recording], Stream],
    bold: Callable[[Recording], Stream],
    *,
    classes: Sequence[str] = ("W", "N1", "N2"),
    eeg_epochs: int = 1,
    bold_volumes: int = 14,
    lag: float = 5.0,
    merge: Mapping[str, str] | None = None,
    n_jobs: int = 1,
) -> Windows:
    """Cut one window per scored epoch, with context on both modalities.

    Parameters
    ----------
    recordings : iterable of Recording
        Unusable ones are counted as dropped.
    eeg, bold : callable
        Give a recording's prepared stream (`eegfmri.preprocessing.eeg.prepare`, `eegfmri.preprocessing.bold.prepare`).
    classes : sequence of str, default=("W", "N1", "N2")
        Stages to keep; N3 has 42 certain epochs in four subjects and cannot be a class of its own.
    eeg_epochs : int, default=1
        Odd number of 30-s epochs of EEG centred on the scored one.
    bold_volumes : int, default=14
        Number of volumes centred on the epoch's centre plus the lag.
    lag : float, default=5.0
        Haemodynamic delay in s: BOLD is taken this much later than EEG.
    merge : mapping of str to str or None
        Stages to rename before selection (``{"N3": "N2"}``).
    n_jobs : int, default=1
        Recordings prepared at once, in processes, as far as memory allows (`eegfmri.preprocessing.side_by_side`).

    Returns
    -------
    Windows
        In order of subject, run and time; epochs whose context leaves the run are dropped and counted.

    Raises
    ------
    RequestError
        If the context is not odd, or nothing is left.
    """
    if eeg_epochs < 1 or eeg_epochs % 2 == 0:
        raise RequestError(f"The EEG context is centred on an epoch, so eeg_epochs must be odd, not {eeg_epochs}.")
    if bold_volumes < 1:
        raise RequestError(f"A window needs at least one volume, so bold_volumes cannot be {bold_volumes}.")
    cut = _Cut(classes, "uncertain or unscorable", "no signal", "stage not among the classes")
    for recording, eeg_stream, bold_stream in cut.runs(recordings, eeg, bold, lambda r: len(r.epochs), n_jobs):
        eeg_length = round(eeg_epochs * EPOCH_SECONDS * eeg_stream.sfreq)
        for epoch in recording.epochs.itertuples():
            rank, stage = cut.rank(recording), (merge or {}).get(epoch.stage, epoch.stage)
            if epoch.certainty != "certain":
                cut.dropped["uncertain or unscorable"] += 1
                continue
            if not epoch.used:
                cut.dropped["no signal"] += 1
                continue
            if stage not in classes:
                cut.dropped["stage not among the classes"] += 1
                continue
            centre = epoch.onset + epoch.duration / 2
            eeg_first = round((centre - eeg_length / eeg_stream.sfreq / 2 - eeg_stream.start) * eeg_stream.sfreq)
            bold_first = _first_volume(centre + lag, bold_volumes, bold_stream)
            cut.add(epoch.onset, rank, classes.index(stage), (eeg_first, eeg_length), (bold_first, bold_volumes))
    return cut.windows("no scored epoch", "choose other subjects, classes or a shorter context")


def event_windows(
    recordings: Iterable[Recording],
    eeg: Callable[[Recording], Stream],
    bold: Callable[[Recording], Stream],
    *,
    classes: Sequence[str] = ("standard", "target"),
    eeg_seconds: tuple[float, float] = (0.0, 1.0),
    bold_volumes: int = 5,
    lag: float = 5.0,
    n_jobs: int = 1,
) -> Windows:
    """Cut one window per stimulus of a task, EEG around it and BOLD after it.

    Parameters
    ----------
    recordings : iterable of Recording
        Runs with `Recording.events`; unusable ones are counted as dropped.
    eeg, bold : callable
        Give a recording's prepared stream (`eegfmri.preprocessing.eeg.prepare`, `eegfmri.preprocessing.bold.prepare`).
    classes : sequence of str, default=("standard", "target")
        Last word of an event's ``trial_type``: the sense that the stimulus was given to makes no class.
    eeg_seconds : (float, float), default=(0.0, 1.0)
        From and to, in s from the stimulus; negative before it.
    bold_volumes : int, default=5
        Number of volumes centred on the stimulus plus the lag.
    lag : float, default=5.0
        Haemodynamic delay in s.
    n_jobs : int, default=1
        Recordings prepared at once, in processes, as far as memory allows (`eegfmri.preprocessing.side_by_side`).

    Returns
    -------
    Windows
        In order of subject, run and time; trials that the dataset's authors left out, and those whose window leaves the run,
        are dropped and counted.

    Raises
    ------
    RequestError
        If the stretch is empty or nothing is left.
    """
    before, after = eeg_seconds
    if after <= before or bold_volumes < 1:
        raise RequestError(
            f"A window from {before:g} to {after:g} s with {bold_volumes} volumes is empty: give a later end, and a volume or more."
        )
    cut = _Cut(classes, "left out by the authors", "not among the classes")
    for recording, eeg_stream, bold_stream in cut.runs(recordings, eeg, bold, lambda r: len(r.events), n_jobs):
        length = round((after - before) * eeg_stream.sfreq)
        for event in recording.events.itertuples():
            rank, kind = cut.rank(recording), str(event.trial_type).rpartition(" ")[2]
            if not event.used:
                cut.dropped["left out by the authors"] += 1
                continue
            if kind not in classes:
                cut.dropped["not among the classes"] += 1
                continue
            eeg_first = round((event.onset + before - eeg_stream.start) * eeg_stream.sfreq)
            bold_first = _first_volume(event.onset + lag, bold_volumes, bold_stream)
            cut.add(event.onset, rank, classes.index(kind), (eeg_first, length), (bold_first, bold_volumes))
    return cut.windows("no event", "choose other subjects, classes or a shorter context")


def volume_windows(
    recordings: Iterable[Recording],
    eeg: Callable[[Recording], Stream],
    volumes: Callable[[Recording], Stream],
    *,
    eeg_seconds: float = 30.0,
    target: Literal["after", "end"] = "after",
    lag: float = 0.0,
    step: int = 1,
    n_jobs: int = 1,
) -> Windows:
    """Pair single volumes with the EEG before them.

    Parameters
    ----------
    recordings : iterable of Recording
        Unusable ones are counted as dropped.
    eeg, volumes : callable
        Give a recording's prepared streams (`eegfmri.preprocessing.eeg.prepare`, `eegfmri.preprocessing.volumes.prepare_volumes`).
    eeg_seconds : float, default=30.0
        Length of the EEG.
    target : {"after", "end"}
        The EEG ends where the volume begins, or where it ends.
    lag : float, default=0.0
        The EEG ends this much earlier, in s.
    step : int, default=1
        Take every so many volumes of a run.
    n_jobs : int, default=1
        Recordings prepared at once, in processes, as far as memory allows (`eegfmri.preprocessing.side_by_side`).

    Returns
    -------
    Windows
        ``bold`` has shape (n_windows, n_voxels, 1), ``y`` is the number of the volume in its run, also in the table as
        ``volume``; ``onset`` is when the volume begins. There are no classes.

    Raises
    ------
    RequestError
        If the request is not possible, or nothing is left.
    """
    if target not in ("after", "end"):
        raise RequestError(f"The volume lies 'after' the EEG or at its 'end', not at {target!r}.")
    if eeg_seconds <= 0 or step < 1:
        raise RequestError(
            f"EEG of {eeg_seconds:g} s before every {step}th volume cannot be cut: both must be positive."
        )
    cut = _Cut(())
    for recording, eeg_stream, volume_stream in cut.runs(recordings, eeg, volumes, lambda r: r.n_volumes or 0, n_jobs):
        length, t_r = round(eeg_seconds * eeg_stream.sfreq), 1 / volume_stream.sfreq
        for volume in range(0, volume_stream.load().shape[1], step):
            onset = volume_stream.start + (volume - 0.5) * t_r
            stop = onset - lag + (t_r if target == "end" else 0.0)
            first = round((stop - eeg_stream.start) * eeg_stream.sfreq) - length
            cut.add(onset, cut.rank(recording), volume, (first, length), (volume, 1))
    windows = cut.windows("no volume", "choose other subjects or less EEG")
    return replace(windows, table=windows.table.assign(volume=windows.y))


class _Cut:
    """Windows found so far, run by run, and how many of what was met were dropped, and why."""

    def __init__(self, classes: Sequence[str], *reasons: str):
        self.classes = tuple(classes)
        self.dropped = dict.fromkeys(("recording not usable", *reasons, "context leaves the run"), 0)
        self.rows: list[dict] = []
        self.eeg: list[Stream] = []
        self.bold: list[Stream] = []
        self.ranks: dict[str, int] = {}

    def runs(
        self, recordings: Iterable[Recording], eeg, bold, count, n_jobs: int
    ) -> Iterator[tuple[Recording, Stream, Stream]]:
        """Prepare the streams of each usable recording; of the others, ``count`` says how many windows they might have had."""
        recordings = list(recordings)
        usable = [recording for recording in recordings if recording.usable]
        self.dropped["recording not usable"] += sum(count(one) for one in recordings if not one.usable)
        for recording, (eeg_stream, bold_stream) in zip(usable, prepared(usable, (eeg, bold), n_jobs), strict=True):
            self.recording = recording
            self.eeg.append(eeg_stream)
            self.bold.append(bold_stream)
            self.n_times, self.n_volumes = eeg_stream.load().shape[1], bold_stream.load().shape[1]
            yield recording, eeg_stream, bold_stream

    def rank(self, recording: Recording) -> int:
        """Count what is met of a subject, dropped or not."""
        self.ranks[recording.subject] = self.ranks.get(recording.subject, -1) + 1
        return self.ranks[recording.subject]

    def add(self, onset: float, rank: int, y: int, eeg: tuple[int, int], bold: tuple[int, int]) -> None:
        """Keep a window of the current run, first sample and length given on both sides, unless it leaves the run or touches a gap."""
        eeg_stream, bold_stream = self.eeg[-1], self.bold[-1]
        if eeg[0] < 0 or sum(eeg) > self.n_times or bold[0] < 0 or sum(bold) > self.n_volumes:
            self.dropped["context leaves the run"] += 1
            return
        begin, end = (eeg_stream.start + sample / eeg_stream.sfreq for sample in (eeg[0], sum(eeg)))
        if any(onset < end and onset + duration > begin for onset, duration in eeg_stream.gaps):
            self.dropped["gap in the EEG"] = self.dropped.get("gap in the EEG", 0) + 1
            return
        first_volume, t_r = bold_stream.start - 0.5 / bold_stream.sfreq, 1 / bold_stream.sfreq
        self.rows.append(
            {
                "subject": self.recording.subject,
                "run": self.recording.run,
                "onset": onset,
                "order": rank,
                "start": min(eeg_stream.start + eeg[0] / eeg_stream.sfreq, first_volume + bold[0] * t_r),
                "stop": max(eeg_stream.start + sum(eeg) / eeg_stream.sfreq, first_volume + sum(bold) * t_r),
                "y": y,
                "stream": len(self.eeg) - 1,
                "eeg": eeg,
                "bold": bold,
            }
        )

    def windows(self, nothing: str, remedy: str) -> Windows:
        """Return what was found, or say why there is nothing."""
        if not self.rows:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items() if count) or nothing
            raise RequestError(f"No window is left ({reasons}): {remedy}.")
        _same(self.eeg, "EEG")
        _same(self.bold, "BOLD")
        table = pd.DataFrame(self.rows)
        eeg, bold = (np.array(table[name].tolist()) for name in ("eeg", "bold"))
        return Windows(
            table=table[["subject", "run", "onset", "order", "start", "stop"]],
            eeg=LazyArray(self.eeg, table["stream"], eeg[:, 0], eeg[0, 1]),
            bold=LazyArray(self.bold, table["stream"], bold[:, 0], bold[0, 1]),
            y=table["y"].to_numpy(),
            classes=self.classes,
            dropped=self.dropped,
        )


def _first_volume(centre: float, n_volumes: int, stream: Stream) -> int:
    """Number of the first of so many volumes that are centred on a moment in s."""
    return round((centre - stream.start) * stream.sfreq - (n_volumes - 1) / 2)


def _same(streams: Sequence[Stream], kind: str) -> None:
    for stream in streams:
        if stream.names != streams[0].names or abs(stream.sfreq - streams[0].sfreq) > 1e-9:
            raise RequestError(
                f"{kind} runs differ ({streams[0].path.name}: {len(streams[0].names)} rows at {streams[0].sfreq:g} Hz; {stream.path.name}: "
                f"{len(stream.names)} rows at {stream.sfreq:g} Hz): prepare them with the same settings."
            )
