"""Trials of the oddball dataset: what was shown when, how it was answered, and which trials its authors kept.

Three witnesses: the tables of the legacy tree, the marker rows of the EEG, and the malformed event tables of OpenNeuro's
version. All three end as the same events: `eegfmri.recordings.EVENT_COLUMNS`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd

from eegfmri.datasets.events import MISSING
from eegfmri.errors import DataError
from eegfmri.forgiven import listening
from eegfmri.recordings import EVENT_COLUMNS
from eegfmri.text import number, read_text, trimmed_lines

#: Stimuli shown in every run.
N_STIMULI = 125

#: Seconds that a stimulus lasts.
STIMULUS_SECONDS = 0.2

#: Levels of the stimulus row; between stimuli it returns to 0 or to the level of a running task.
LEVELS = {
    25: "task on",
    125: "auditory standard",
    150: "auditory target",
    225: "visual standard",
    250: "visual target",
}

#: Level of the response row while the button is down.
RESPONSE_LEVEL = 100

#: What the tasks of the legacy tree are.
TASKS = {"task001": "auditory", "task002": "visual"}

#: Seconds within which an onset of the model's files and one of the table are the same.
ONSET_TOLERANCE = 0.05

#: A run with a smaller share of targets than this went wrong: one in five stimuli is a target.
MIN_TARGET_SHARE = 0.1


#: A list that leaves out the last trials is taken to have lost its end where trials drawn at random would leave out so many at the end
#: with less than this chance, and where it leaves out at least so many, and more than anywhere else.
CHANCE, MOST_BY_ACCIDENT = 1e-4, 4


#: What stands in a cell of OpenNeuro's tables that is neither a number nor n/a; in shifted rows words stand in other columns.
_CELLS = {
    "duration": (),
    "Response": (),
    "Stimulus": ("standard", "target"),
    "response_time": ("standard", "target"),
}


@dataclass(frozen=True)
class Behaviour:
    """The trials of a run: events, what was mended, what is doubtful, what is odd and was left as it is."""

    events: pd.DataFrame
    repaired: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    counts: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_bids_events(path: str | Path) -> Behaviour:
    """Read one of the malformed ``events.tsv`` of OpenNeuro's ds000116.

    The tables mix four kinds of row. A stimulus that was answered rightly and whose EEG is clean has a row named ``…
    stimulus presentation``; a target has a second one at the same onset, whose duration is the reaction time. A trial that
    the authors left out has an onset but no name. The last one to three rows are shifted by three columns: onset,
    response and stimulus stand under ``Response``, ``Stimulus`` and ``response_time``; most repeat a named row that lacks
    just those, the others are trials of their own.

    Parameters
    ----------
    path : str or pathlib.Path
        Table with the columns onset, duration, trial_type, Response, Stimulus, response_time.

    Returns
    -------
    Behaviour
        ``events`` has every stimulus shown, ``used`` for the named ones; ``counts`` says how many rows were
        ``stimuli``, ``targets``, ``reaction_times``, ``excluded``, ``shifted``, ``repeated`` (shifted rows that repeat a
        stimulus) and ``unnamed`` (stimulus rows without a response); ``problems`` flags a run gone wrong.

    Raises
    ------
    DataError
        If the columns are others, or a row is of none of these kinds, naming file and line.
    """
    path = Path(path)
    with listening() as heard:
        lines = trimmed_lines(read_text(path), path, blanks=" ")
    columns = ["onset", "duration", "trial_type", "Response", "Stimulus", "response_time"]
    if not lines or lines[0].split("\t") != columns:
        raise DataError(f"{path}, line 1: the columns are not {', '.join(columns)}; fetch the file again.")
    task = next((name for name in ("auditory", "visual") if name in path.name), None)
    stimuli: dict[float, dict] = {}
    reactions: dict[float, float] = {}
    counts = dict.fromkeys(("stimuli", "targets", "reaction_times", "excluded", "shifted", "repeated", "unnamed"), 0)
    shifted = []
    problems = []
    for place, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise DataError(
                f"{path}, line {place}: {len(cells)} columns where {len(columns)} are due; fetch the file again."
            )
        row = dict(zip(columns, cells, strict=True))
        strange = [
            name for name, words in _CELLS.items() if row[name] not in ("n/a", *words) and number(row[name]) is None
        ]
        if strange:
            raise DataError(
                f"{path}, line {place}: {row[strange[0]]!r} is no value of the column {strange[0]} (n/a where there is none); fetch the "
                "file again."
            )
        onset = number(row["onset"])
        if onset is None:
            at = number(row["Response"])
            if at is None or row["Stimulus"] not in ("0", "1") or row["response_time"] not in ("standard", "target"):
                raise DataError(
                    f"{path}, line {place}: {line!r} is neither a trial nor a shifted one; correct the row."
                )
            shifted.append((at, row["response_time"]))
            continue
        kind = row["trial_type"]
        if match := re.fullmatch(r"(auditory|visual) (standard|oddball) stimulus presentation", kind):
            task = match[1]
            shown = "target" if match[2] == "oddball" else "standard"
            if row["Stimulus"] not in (shown, "n/a"):
                raise DataError(
                    f"{path}, line {place}: trial type {kind!r} contradicts stimulus {row['Stimulus'][:20]!r}; correct the row."
                )
            if onset in stimuli:
                problems.append(f"{path.name}, line {place}: a second stimulus at {onset:g} s; the first is kept.")
                continue
            stimuli[onset] = {
                "duration": number(row["duration"]) or STIMULUS_SECONDS,
                "stimulus": shown,
                "used": True,
            }
            counts["stimuli"] += 1
            counts["targets"] += match[2] == "oddball"
            counts["unnamed"] += row["Response"] == "n/a"
        elif re.fullmatch(r"behavioral response time following (?:auditory|visual) oddball stimulus onset", kind):
            reaction = number(row["duration"])
            reactions |= {} if reaction is None else {onset: reaction}
            counts["reaction_times"] += 1
        elif kind == "n/a" and row["Stimulus"] in ("standard", "target", "n/a"):
            stimulus = None if row["Stimulus"] == "n/a" else row["Stimulus"]
            stimuli[onset] = {"duration": STIMULUS_SECONDS, "stimulus": stimulus, "used": False}
            counts["excluded"] += 1
        else:
            raise DataError(f"{path}, line {place}: trial type {kind!r} is unknown; correct the row.")
    for at, stimulus in shifted:
        counts["shifted"] += 1
        if at in stimuli:
            counts["repeated"] += 1
        else:
            stimuli[at] = {"duration": STIMULUS_SECONDS, "stimulus": stimulus, "used": False}
    events = _events(
        (onset, about["duration"], task, about["stimulus"], reactions.get(onset), about["used"])
        for onset, about in stimuli.items()
    )
    repaired = list(heard.sentences())
    if shifted:
        repaired.append(
            f"{path.name}: {counts['shifted']} rows are shifted by three columns; {counts['repeated']} repeat a stimulus, "
            f"{counts['shifted'] - counts['repeated']} are trials that were left out."
        )
    return Behaviour(events, tuple(repaired), (*problems, *_doubts(events, path.name)), counts)


def read_behaviour(folder: str | Path, run: str) -> Behaviour:
    """Read a run's trials from the legacy tree.

    Parameters
    ----------
    folder : str or pathlib.Path
        The subject's folder.
    run : str
        ``task001_run001`` and so on.

    Returns
    -------
    Behaviour
        Every stimulus of ``behav/…/behavdata.txt``, ``used`` for those that ``model/model001/onsets/…/cond001.txt``
        (targets) and ``cond002.txt`` (standards) name: answered rightly, and clean. Without the table those two are all
        there is; without either the events are empty and a problem says so.

    Raises
    ------
    DataError
        If a table cannot be understood, naming file and line.
    """
    with listening() as heard:
        made = _behaviour(Path(folder), run)
    return replace(made, repaired=(*heard.sentences(), *made.repaired))


def _behaviour(folder: Path, run: str) -> Behaviour:
    task = TASKS.get(run.split("_")[0])
    repaired: list[str] = []
    onsets = folder / "model" / "model001" / "onsets" / run
    clean = {
        stimulus: _read_onsets(onsets / f"{name}.txt")
        for name, stimulus in (("cond001", "target"), ("cond002", "standard"))
        if (onsets / f"{name}.txt").is_file()
    }
    table = folder / "behav" / run / "behavdata.txt"
    notes: tuple[str, ...] = ()
    if table.is_file():
        trials = _read_trials(table, repaired)
        notes = _broken_off_lists(clean, trials, run)
        rows, other = [], 0
        for onset, answered, stimulus, reaction in trials:
            named = [
                kind for kind, times in clean.items() if len(times) and np.abs(times - onset).min() < ONSET_TOLERANCE
            ]
            other += bool(named) and stimulus is not None and stimulus not in named
            if clean:
                stimulus, used = stimulus or (named[0] if named else None), bool(named)
            else:
                used = stimulus is not None and answered is not None and bool(answered) == (stimulus == "target")
            rows.append((onset, STIMULUS_SECONDS, task, stimulus, reaction, used))
        if other:
            repaired.append(
                f"{run}: {other} trials are of another kind in {table.name} than in the model's files; the table is believed."
            )
    elif clean:
        repaired.append(f"{run} has no behavdata.txt; the clean trials of its model files are all that is known.")
        rows = [(t, STIMULUS_SECONDS, task, kind, None, True) for kind, times in clean.items() for t in times]
    else:
        return Behaviour(
            pd.DataFrame(columns=EVENT_COLUMNS),
            problems=(f"{run} has no trials (behav/{run}/behavdata.txt); the EEG's stimulus row may still hold them.",),
        )
    events = _events(rows)
    return Behaviour(events, tuple(repaired), (*_lost(clean, events, run), *_doubts(events, run)), notes=notes)


def _lost(clean: dict[str, np.ndarray], events: pd.DataFrame, run: str) -> tuple[str, ...]:
    """Say which trials are unused because a file is lost, empty or of another run, and not because they went wrong."""
    said = []
    if not len(events):
        said.append(f"{run} has no trial in its table (behav/{run}/behavdata.txt).")
    for name, kind in (("cond001", "target"), ("cond002", "standard")):
        times = clean.get(kind)
        if clean and (times is None or not len(times)):
            how = "is not there" if times is None else "is empty"
            said.append(f"{name}.txt of {run} {how}: no {kind} counts as answered rightly and clean, and none is used.")
        elif times is not None and len(events):
            stray = sum(np.abs(events["onset"] - time).min() >= ONSET_TOLERANCE for time in times)
            if stray:
                said.append(f"{stray} of {len(times)} onsets in {name}.txt of {run} match no trial of its table.")
    return tuple(said)


def _broken_off_lists(clean: dict[str, np.ndarray], trials: list[tuple], run: str) -> tuple[str, ...]:
    """Say which of the model's files leave out the last trials, though these were answered rightly."""
    said = []
    for name, kind in (("cond001", "target"), ("cond002", "standard")):
        times = clean.get(kind, ())
        right = sorted(
            onset
            for onset, answered, stimulus, _ in trials
            if stimulus in (None, kind) and (answered is None or bool(answered) == (kind == "target"))
        )
        named = [any(abs(onset - time) < ONSET_TOLERANCE for time in times) for onset in right]
        if lost := broken_off(named):
            before = len(named) - lost
            said.append(
                f"{name}.txt of {run} has none of the last {lost} {kind}s that its table calls answered rightly, and {sum(named)} of the "
                f"{before} before them: rows at its end may be lost, and trials that could be used with them."
            )
    return tuple(said)


def broken_off(named: Sequence[bool]) -> int:
    """Count the trials at the end that a list leaves out, if these are too many to be an accident.

    Parameters
    ----------
    named : sequence of bool
        Of each trial, in order of time, whether the list has it.

    Returns
    -------
    int
        0 where the list may well be whole, or is empty.

    Examples
    --------
    >>> broken_off([True] * 20 + [False] * 5), broken_off([True, False] * 10), broken_off([True] * 20 + [False] * 2)
    (5, 0, 0)
    """
    stretches = "".join("x" if there else "." for there in named).split("x")
    *others, lost = (len(stretch) for stretch in stretches)
    if not others or lost <= max(MOST_BY_ACCIDENT, *others):
        return 0
    # of the ways to choose which trials are named, the share that leaves the last ones out
    chance = comb(len(named) - lost, sum(named)) / comb(len(named), sum(named))
    return lost if chance < CHANCE else 0


def unlisted_end(events: pd.DataFrame, shown: Sequence[float], run: str) -> tuple[str, ...]:
    """Say if the EEG's stimulus row goes on after the last trial of the tables.

    Parameters
    ----------
    events : pandas.DataFrame
        The trials of the tables, see `eegfmri.recordings.Recording.events`.
    shown : sequence of float
        Onsets in s of the stimuli in the EEG.
    run : str
        For what is said.

    Returns
    -------
    tuple of str
        A sentence, or none.
    """
    onsets = events["onset"].to_numpy()
    if not len(onsets):
        return ()
    lost = broken_off([bool(np.abs(onsets - time).min() < STIMULUS_SECONDS) for time in shown])
    said = (
        f"The trials of {run} end at {onsets.max():.0f} s, and the EEG's own stimulus row shows {lost} stimuli after that: rows at the end "
        "of its table may be lost.",
    )
    return said * bool(lost)


def _read_trials(path: Path, repaired: list[str]) -> list[tuple]:
    """Return onset, response (0, 1, None), stimulus and reaction time (None without one) of each row."""
    lines = read_text(path).splitlines()
    names = lines[0].split() if lines else []
    has_header = bool(names) and number(names[0]) is None
    if not has_header:
        by_count = {2: ["TrialOnset", "RT"], 3: ["TrialOnset", "Response", "Stimulus"]}
        names = by_count.get(len(names), ["TrialOnset", "Response", "Stimulus", "RT"])
    columns = {name.lower(): place for place, name in enumerate(names)}
    if "trialonset" not in columns:
        raise DataError(f"{path}, line 1: no column TrialOnset among {', '.join(names)}; fetch the file again.")
    if has_header and (lacking := [name for name in ("Response", "Stimulus", "RT") if name.lower() not in columns]):
        repaired.append(
            f"{path.name} of {path.parent.name} has no column {', '.join(lacking)} among {', '.join(names)}."
        )
    trials = []
    for place, line in enumerate(lines[int(has_header) :], start=1 + int(has_header)):
        cells = line.split()
        if not cells:
            continue

        def cell(name: str, cells: list[str] = cells) -> str | None:
            place = columns.get(name)
            return None if place is None or place >= len(cells) else cells[place]

        onset = number(cell("trialonset"))
        if onset is None or len(cells) > len(names):
            repaired.append(f"{path.name} of {path.parent.name}, line {place}: {line.strip()!r} is no trial; left out.")
            continue
        stimulus = (cell("stimulus") or "").lower()
        if len(cells) < len(names) or stimulus not in ("", "standard", "target", *MISSING):
            repaired.append(
                f"{path.name} of {path.parent.name}, line {place}: {line.strip()!r} lacks a value, or has an unknown one."
            )
        reaction = number(cell("rt"))
        trials.append(
            (
                onset,
                number(cell("response")),
                stimulus if stimulus in ("standard", "target") else None,
                reaction if reaction is not None and reaction > 0 else None,
            )
        )
    return trials


def _read_onsets(path: Path) -> np.ndarray:
    """Return the onsets (s) of a three-column file: onset, duration, weight."""
    onsets = []
    for place, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            values = [number(cell) for cell in line.split()]
            if None in values or len(values) != 3:
                raise DataError(
                    f"{path}, line {place}: {line.strip()!r} is not 'onset duration weight' in s; correct it."
                )
            onsets.append(values[0])
    return np.array(onsets)


def _events(rows: Iterable[tuple]) -> pd.DataFrame:
    """Make `Recording.events` of (onset, duration, task, stimulus, reaction time, used), in order of time."""
    table = pd.DataFrame(
        [
            (
                onset,
                duration,
                f"{task} {stimulus}" if task and stimulus else None,
                reaction,
                used and stimulus is not None,
            )
            for onset, duration, task, stimulus, reaction, used in rows
        ],
        columns=EVENT_COLUMNS,
    )
    types = {"onset": float, "duration": float, "response_time": float, "used": bool}
    return table.astype(types).sort_values("onset", ignore_index=True)


def _doubts(events: pd.DataFrame, name: str) -> tuple[str, ...]:
    """Say what shows that a run went wrong: too few targets, stimuli on top of each other."""
    doubts = []
    used = events[events["used"]]
    targets = int(used["trial_type"].str.endswith("target").sum())
    if len(events) and targets < MIN_TARGET_SHARE * len(events):
        doubts.append(f"{name} has {targets} usable targets among {len(events)} stimuli, where one in five is due.")
    gap = events["onset"].diff().min()
    if gap < STIMULUS_SECONDS:
        doubts.append(
            f"{name} has two stimuli {1000 * gap:.0f} ms apart, though one lasts {1000 * STIMULUS_SECONDS:.0f} ms."
        )
    return tuple(doubts)


def decode_events(stimulus: np.ndarray, response: np.ndarray, sfreq: float) -> pd.DataFrame:
    """Decode the marker rows of a run.

    Parameters
    ----------
    stimulus, response : numpy.ndarray
        Levels over time, shape (n_times,): 25 task on, 125 and 150 auditory standard and target, 225 and 250 visual
        standard and target, 0 nothing; 100 button down.
    sfreq : float
        Samples per second.

    Returns
    -------
    pandas.DataFrame
        Columns of `Recording.events`. A level counts when two samples in a row have it, so that a ramp from 0 to 150 is
        not taken for a standard on its way.

    Raises
    ------
    DataError
        If more than one sample in a hundred lies near none of the levels.
    """
    stimulus = np.asarray(stimulus, dtype=float)
    known = np.array([0, *LEVELS])
    nearest = known[np.abs(stimulus[:, None] - known).argmin(axis=1)]
    # Half of the smallest step between levels.
    strange = np.abs(stimulus - nearest) > 12.5
    if strange.mean() > 0.01:
        raise DataError(
            f"{strange.mean():.0%} of the stimulus row lies near none of the levels 0, {', '.join(map(str, LEVELS))}: "
            "it is not the stimulus row of this dataset."
        )
    nearest[strange] = -1
    onsets, levels, lengths = _stretches(nearest)
    presses, down, _ = _stretches(np.where(np.asarray(response, dtype=float) > RESPONSE_LEVEL / 2, 1, 0))
    presses = presses[down == 1]
    rows, running = [], False
    shown = [(on, level, length) for on, level, length in zip(onsets, levels, lengths, strict=True) if level > 0]
    stimuli = np.array([on for on, level, _ in shown if level > 25])
    for on, level, length in shown:
        if level == 25:
            if not running:
                rows.append((on / sfreq, 0.0, LEVELS[level], np.nan, True))
            running = True
            continue
        place = np.searchsorted(stimuli, on, side="right")
        following = stimuli[place] if place < len(stimuli) else len(stimulus)
        place = np.searchsorted(presses, on, side="right")
        answer = (presses[place] - on) / sfreq if place < len(presses) and presses[place] < following else np.nan
        rows.append((on / sfreq, length / sfreq, LEVELS[level], answer, True))
    return pd.DataFrame(rows, columns=EVENT_COLUMNS)


def _stretches(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start, level and length of every stretch of at least two equal samples."""
    edges = np.flatnonzero(np.diff(levels)) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [len(levels)]]))
    steady = lengths > 1
    return starts[steady], levels[starts[steady]], lengths[steady]
