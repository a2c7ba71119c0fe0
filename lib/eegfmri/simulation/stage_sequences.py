"""Sequences of sleep stages, drawn as one real subject's, not as an average night's.

`fit_stage_statistics` reads the scored tables of ds003768 and keeps, for each subject and kind of run, how long bouts of
each stage lasted and what followed them. `draw_stages` then walks through one subject's statistics: a semi-Markov chain
whose dwell times are that subject's own (a Kaplan-Meier estimate, because a run's end cuts its last bout). Pooling subjects
into one chain would make every simulated subject sleep alike and would turn dwell times geometric.
"""

import itertools
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eegfmri.cache import read_json
from eegfmri.datasets.label_tables import parse_stage, read_labels
from eegfmri.errors import DataError
from eegfmri.recordings import STAGES

if TYPE_CHECKING:
    import pandas as pd

#: The two kinds of run.
RUN_KINDS = ("rest", "sleep")

_RUN = re.compile(r"task-(rest|sleep)_run-(\d+)")
_SUBJECT_TABLE = "sub-*-sleep-stage.tsv"


def read_label_runs(path: str | Path) -> dict[tuple[str, int], list[str]]:
    """Read the labels of one table as written, run by run, by the dataset's own reader.

    Parameters
    ----------
    path : str or pathlib.Path
        ``sub-XX-sleep-stage.tsv``; what `eegfmri.datasets.label_tables.read_labels` mends is accepted.

    Returns
    -------
    dict
        (kind of run, number of the run) to its labels, one per 30-s epoch, in order of time.

    Raises
    ------
    DataError
        If the reader would refuse a run of it.
    """
    labels = read_labels(path)
    for problem in itertools.chain(*labels.problems.values()):
        raise DataError(problem)
    runs = {tuple(_RUN.fullmatch(run).groups()): list(epochs["label"]) for run, epochs in labels.runs.items()}
    return {(kind, int(number)): own for (kind, number), own in sorted(runs.items())}


def label_stage(label: str) -> str | None:
    """Return the stage of a label without doubt (``"2"`` is ``"N2"``), None for uncertain and unscorable ones."""
    stage, certainty = parse_stage(label)
    return stage if certainty == "certain" else None


def fit_stage_statistics(labels_dir: str | Path) -> dict:
    """Count bouts and transitions per subject and kind of run in real label tables.

    A bout is a stretch of equal, certain stages inside a run. It *ended* if another stage followed directly, and was
    *censored* if the run ended or an uncertain or unscorable epoch followed: then it lasted at least so long. A bout that
    begins a run, or follows doubt, counts from the first epoch seen.

    Parameters
    ----------
    labels_dir : str or pathlib.Path
        Folder with ``sub-XX-sleep-stage.tsv``, as ``sourcedata`` of ds003768.

    Returns
    -------
    dict
        ``subjects`` → subject → ``rest`` or ``sleep`` → ``runs``, ``epochs`` (scored with certainty), ``initial`` (stage
        → runs that begin so), ``ended`` and ``censored`` (stage → length in epochs → bouts), ``transitions`` (stage →
        next stage → bouts); beside it the source and the method.

    Raises
    ------
    DataError
        If the folder holds no label table.
    """
    tables = sorted(Path(labels_dir).glob(_SUBJECT_TABLE))
    if not tables:
        raise DataError(f"{labels_dir} holds no {_SUBJECT_TABLE}: name the folder `sourcedata` of ds003768.")
    subjects = {}
    for table in tables:
        subject = table.name.split("-")[1]
        runs = read_label_runs(table)
        subjects[subject] = {
            kind: _count([labels for (k, _), labels in runs.items() if k == kind])
            for kind in RUN_KINDS
            if any(k == kind for k, _ in runs)
        }
    return {
        "schema": 1,
        "source": {
            "dataset": "OpenNeuro ds003768",
            "version": "1.0.13",
            "doi": "10.18112/openneuro.ds003768.v1.0.13",
            "licence": "CC0",
            "files": "sourcedata/sub-*-sleep-stage.tsv",
        },
        "method": "eegfmri.simulation.stage_sequences.fit_stage_statistics: bouts of equal, certain stages per subject and "
        "kind of run; lengths in epochs of 30 s; a bout cut by the end of its run or by a doubtful epoch is censored.",
        "subjects": subjects,
    }


def _count(runs: list[list[str]]) -> dict:
    initial, epochs = Counter(), 0
    ended: dict[str, Counter] = {}
    censored: dict[str, Counter] = {}
    transitions: dict[str, Counter] = {}
    for labels in runs:
        stages = [label_stage(label) for label in labels]
        epochs += sum(stage is not None for stage in stages)
        if stages[0] is not None:
            initial[stages[0]] += 1
        start = 0
        for stop in range(1, len(stages) + 1):
            if stop < len(stages) and stages[stop] == stages[start]:
                continue
            stage, following = stages[start], stages[stop] if stop < len(stages) else None
            if stage is not None:
                (censored if following is None else ended).setdefault(stage, Counter())[stop - start] += 1
                if following is not None:
                    transitions.setdefault(stage, Counter())[following] += 1
            start = stop
    return {
        "runs": len(runs),
        "epochs": epochs,
        "initial": dict(sorted(initial.items())),
        "ended": _jsonable(ended),
        "censored": _jsonable(censored),
        "transitions": {stage: dict(sorted(counts.items())) for stage, counts in sorted(transitions.items())},
    }


def _jsonable(table: dict[str, Counter]) -> dict[str, dict[str, int]]:
    return {
        stage: {str(length): n for length, n in sorted(lengths.items())} for stage, lengths in sorted(table.items())
    }


def load_stage_statistics() -> dict:
    """Return the statistics shipped with the project, derived from the 33 tables of ds003768."""
    from eegfmri.project import table

    return read_json(table("sleep_stage_statistics.json"))


def published_stage_table() -> "pd.DataFrame":
    """Count the certain epochs of the real label tables, from the statistics shipped with the project.

    Returns
    -------
    pandas.DataFrame
        One row per subject and kind of run: ``subject``, ``run`` (``task-rest`` or ``task-sleep``), ``runs`` (how many),
        and a column per stage.
    """
    import pandas as pd

    rows = []
    for subject, kinds in load_stage_statistics()["subjects"].items():
        for kind, found in kinds.items():
            row = {"subject": subject, "run": f"task-{kind}", "runs": found["runs"]}
            for stage in STAGES:
                lengths = [found[end].get(stage, {}) for end in ("ended", "censored")]
                row[stage] = sum(int(length) * count for table in lengths for length, count in table.items())
            rows.append(row)
    return pd.DataFrame(rows)


def donors(statistics: dict) -> list[str]:
    """Return the subjects who have both kinds of run, ordered by the share of wakefulness, then by name."""

    def wake(subject):
        kinds = statistics["subjects"][subject]
        awake = sum(
            int(length) * n
            for kind in kinds.values()
            for outcome in ("ended", "censored")
            for length, n in kind[outcome].get("W", {}).items()
        )
        return awake / max(1, sum(kind["epochs"] for kind in kinds.values()))

    complete = [subject for subject, kinds in statistics["subjects"].items() if all(k in kinds for k in RUN_KINDS)]
    return sorted(complete, key=lambda subject: (wake(subject), subject))


def choose_donor(ordered: list[str], index: int, seed: int) -> str:
    """Choose whose statistics the simulated subject number ``index`` (from 0) follows.

    Steps of the golden ratio through subjects ordered by wakefulness, from a random start: however many subjects are
    simulated, they spread over good and poor sleepers, and subject 3 is the same whether 4 or 40 are simulated.
    """
    start = np.random.default_rng([seed, 33]).random()
    return ordered[int(((start + index * (5**0.5 - 1) / 2) % 1) * len(ordered))]


def draw_stages(statistics: dict, n_epochs: int, rng: np.random.Generator) -> list[str]:
    """Draw the stages of one run from one subject's statistics of that kind of run.

    Parameters
    ----------
    statistics : dict
        ``fit_stage_statistics(...)["subjects"][subject][kind]``.
    n_epochs : int
        Epochs to draw.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    list of str
        ``n_epochs`` of ``W``, ``N1``, ``N2``, ``N3``.
    """
    stage = _choose(statistics["initial"], rng)
    stages: list[str] = []
    while len(stages) < n_epochs:
        dwell = _draw_dwell(statistics["ended"].get(stage, {}), statistics["censored"].get(stage, {}), rng)
        stages += [stage] * (n_epochs if dwell is None else dwell)
        if dwell is not None:
            stage = _choose(statistics["transitions"][stage], rng)
    return stages[:n_epochs]


def _draw_dwell(ended: dict[str, int], censored: dict[str, int], rng: np.random.Generator) -> int | None:
    """Draw a length from the Kaplan-Meier estimate; None if the bout outlasts every length ever seen to end."""
    n_at_risk = sum(ended.values()) + sum(censored.values())
    for length in sorted({int(length) for length in (*ended, *censored)}):
        n_ended = ended.get(str(length), 0)
        if n_ended and rng.random() < n_ended / n_at_risk:
            return length
        n_at_risk -= n_ended + censored.get(str(length), 0)
    return None


def _choose(counts: dict[str, int], rng: np.random.Generator) -> str:
    names = sorted(counts)
    weights = np.array([counts[name] for name in names], dtype=float)
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]
