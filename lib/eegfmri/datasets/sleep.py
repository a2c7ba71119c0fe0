"""The sleep dataset: OpenNeuro ds003768 (Gu et al. 2023), as it lies on disk, traps included.

Sampling rate, channel names and time zero come from each run's own header and markers: the root sidecars say 250 Hz where
the files hold 5000 Hz, and a recording starts well before its scan. Time zero is the first volume trigger, ``R128``.
What can be mended without guessing is mended and said; what would need a guess about time or identity is refused.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from eegfmri.datasets.brainvision import BrainVisionRecording, open_run
from eegfmri.datasets.formats import listed, marked, not_downloaded, simulation, status
from eegfmri.datasets.label_tables import LABEL_FILE, Labels, read_labels
from eegfmri.datasets.montages import SLEEP_CHANNELS as EEG_CHANNELS
from eegfmri.errors import DataError, RequestError, reading
from eegfmri.forgiven import listening, saying
from eegfmri.images import repetition_time, run_facts, sidecar_facts
from eegfmri.recordings import EPOCH_COLUMNS, EPOCH_SECONDS, Recording, RecordingSet
from eegfmri.text import number as as_number
from eegfmri.text import read_facts, visible

#: Channels that are not on the scalp, with their MNE types.
OTHER_CHANNELS = {"EOG": "eog", "ECG": "ecg"}

#: Rules that leave 23 of the 33 subjects: one paper reports 23 folds and does not say which. Each takes the counts of
#: certain epochs (``W``, ``N1``, ``N2``), those in sleep runs (``sleep_W`` …) and the number of sleep runs.
SELECTIONS = {
    "six_sleep_runs": ("at least 6 sleep runs", "sleep_runs >= 6"),
    "nine_n2": ("at least 9 certain epochs of N2", "N2 >= 9"),
    "six_of_each": ("at least 6 certain epochs of each of W, N1 and N2", "W >= 6 and N1 >= 6 and N2 >= 6"),
    "twenty_five_n1": ("at least 25 certain epochs of N1", "N1 >= 25"),
    "three_of_each_asleep": (
        "at least 3 certain epochs of each of W, N1 and N2 in the sleep runs",
        "sleep_W >= 3 and sleep_N1 >= 3 and sleep_N2 >= 3",
    ),
}

_RUN_FILE = re.compile(r"sub-(?P<subject>\w+?)_(?P<run>task-(?:rest|sleep)_run-\d+)_(?:eeg\.vhdr|bold\.nii(?:\.gz)?)$")
#: How names of the dataset's runs begin: nothing but the number between ``sub-`` and the underscore.
_SPELLING = re.compile(r"sub-[0-9A-Za-z]+[_.]")
_TRIGGER = re.compile(r"(?:^|/)\s*R\s*128$")


def is_root(folder: str | Path) -> bool:
    """Tell whether a folder holds this dataset, by its content."""
    folder = Path(folder)
    return any((folder / "sourcedata").glob("sub-*-sleep-stage.tsv")) or any(
        folder.glob("sub-*/eeg/sub-*_task-sleep_run-*_eeg.vhdr")
    )


def read(root: str | Path) -> RecordingSet:
    """Open the dataset: tables, headers and markers of every run, no signals.

    Parameters
    ----------
    root : str or pathlib.Path
        The dataset's top folder, or a folder with nothing but its label tables.

    Returns
    -------
    RecordingSet
        One recording per run that a label table, an EEG header or an image names, in the order of subject and run.

    Raises
    ------
    DataError
        If the folder holds nothing of this dataset.
    """
    root = Path(root)
    tables = {}
    for folder in (root / "sourcedata", root):
        for path in visible(folder.glob("sub-*-sleep-stage.tsv")):
            if match := LABEL_FILE.search(path.name):
                tables.setdefault(match["subject"], path)
    signals: dict[tuple[str, str], dict[str, Path]] = {}
    for path in visible((*root.glob("sub-*/eeg/*_eeg.vhdr"), *root.glob("sub-*/func/*_bold.nii*"))):
        if match := _RUN_FILE.search(path.name):
            kind = "eeg" if path.suffix == ".vhdr" else "bold"
            signals.setdefault((match["subject"], match["run"]), {})[kind] = path
    if not tables and not signals:
        raise DataError(
            f"{root} holds nothing of the sleep dataset: expected sourcedata/sub-XX-sleep-stage.tsv or sub-XX/eeg/*.vhdr."
        )
    simulated_by = simulation(root)
    with listening(to_all=True) as heard:
        recordings, notes = _open_runs(root, tables, signals, simulated_by is not None)
        notes += _sidecar_notes(root, recordings)
    notes += heard.sentences(root)
    notes += (*_sleepless_notes(recordings), *_folder_notes(root / "sourcedata"))
    return RecordingSet("sleep", root, tuple(recordings), tuple(notes), simulated_by)


def _open_runs(root: Path, tables, signals, simulated: bool) -> tuple[list["SleepRecording"], list[str]]:
    """Open every run that a table or a file names; return them, and what is to be said of label tables without runs."""
    recordings, notes = [], []
    for subject in sorted({*tables, *(subject for subject, _ in signals)}):
        runs = {run for owner, run in signals if owner == subject}
        try:
            with reading(tables.get(subject)):
                labels = read_labels(tables[subject]) if subject in tables else Labels({})
        except DataError as error:
            # Which runs the table has is not known: those with signals carry the reason.
            labels = Labels({}, problems={run: [str(error)] for run in runs})
            notes += [] if runs else [f"The label table of sub-{subject} is refused: {error}"]
        for run in sorted({*labels.runs, *runs}, key=_run_order):
            recordings.append(_open_run(root, subject, run, labels, signals.get((subject, run), {}), simulated))
    return recordings, notes


def select_subjects(recordings: RecordingSet, rule: str = "six_of_each") -> tuple[str, ...]:
    """Choose subjects by one of the rules that give 23 on the published label tables.

    Parameters
    ----------
    recordings : RecordingSet
        The dataset, with its labels.
    rule : str, default="six_of_each"
        A key of `SELECTIONS`; the default has every stage present in every subject, which is our reading.

    Returns
    -------
    tuple of str
        Subjects in order.

    Raises
    ------
    RequestError
        If there is no such rule.
    """
    table = recordings.stage_table()
    return subjects_by_rule(table.assign(runs=1), rule)


def subjects_by_rule(table: pd.DataFrame, rule: str) -> tuple[str, ...]:
    """Choose subjects by one of `SELECTIONS` from counts.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``subject``, ``run`` (beginning with ``task-rest`` or ``task-sleep``), ``runs`` (how many runs a row stands for), ``W``,
        ``N1``, ``N2`` (certain epochs).
    rule : str
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
    stages = ["W", "N1", "N2"]
    asleep = table[table["run"].str.startswith("task-sleep")].groupby("subject")
    counts = table.groupby("subject")[stages].sum().join(asleep[stages].sum().add_prefix("sleep_"))
    counts["sleep_runs"] = asleep["runs"].sum()
    return tuple(counts.fillna(0).query(SELECTIONS[rule][1]).index)


@dataclass(frozen=True, eq=False)
class SleepRecording(BrainVisionRecording):
    """A run of ds003768."""

    other_channels = OTHER_CHANNELS

    @property
    def scalp_channels(self) -> tuple[str, ...]:
        """The 30 scalp channels of the dataset."""
        return EEG_CHANNELS


def _run_order(run: str) -> tuple[bool, int]:
    """Order runs as they were acquired: rest before sleep, then by number."""
    number = re.search(r"run-(\d+)$", run)
    return not run.startswith("task-rest"), int(number[1]) if number else 0


def _open_run(root, subject, run, labels, signals, simulated) -> SleepRecording:
    epochs = labels.runs.get(run, pd.DataFrame(columns=EPOCH_COLUMNS))
    repaired, problems = list(labels.repaired.get(run, [])), list(labels.problems.get(run, []))
    refused = bool(problems)
    facts: dict = {}
    missing, notes = [], []
    for kind, expected in (("eeg", "sub-XX/eeg/*_eeg.vhdr"), ("bold", "sub-XX/func/*_bold.nii.gz")):
        path = signals.get(kind)
        if path is None:
            missing.append(
                f"no {kind.upper()} file ({expected.replace('XX', subject).replace('*', f'sub-{subject}_{run}')})"
            )
            continue
        try:
            with reading(path):
                if reason := not_downloaded(path):
                    missing.append(reason)
        except DataError as error:
            problems.append(str(error))
            refused = True
    if run not in labels.runs and run not in labels.problems:
        missing.append(f"no stage labels (sourcedata/sub-{subject}-sleep-stage.tsv)")
    if missing:
        problems.append(f"Missing: {'; '.join(missing)}.")
    if not missing and not refused:
        try:
            with reading(f"sub-{subject}_{run}"), saying(repaired):
                facts = _signal_facts(signals["eeg"], signals["bold"], repaired, notes)
                epochs = _cap(epochs, facts, repaired, notes)
        except DataError as error:
            problems.append(str(error))
            refused = True
    simulated |= facts.pop("simulated", False)
    return SleepRecording(
        dataset="sleep",
        subject=subject,
        run=run,
        status=status(repaired, bool(missing), refused),
        repaired=tuple(repaired),
        problems=tuple(problems),
        notes=tuple(notes),
        eeg_file=signals.get("eeg"),
        bold_file=signals.get("bold"),
        epochs=epochs,
        simulated=simulated,
        t1_file=_t1_file(root, subject),
        **facts,
    )


def _signal_facts(header: Path, image: Path, repaired: list[str], notes: list[str]) -> dict:
    """Read what headers, markers and sizes say; append what was mended or is odd, raise on what is a guess."""
    eeg = open_run(header, EEG_CHANNELS, OTHER_CHANNELS, repaired, notes=notes)
    raw, sfreq = eeg.raw, float(eeg.raw.info["sfreq"])
    about = run_facts(image)
    n_volumes = about.shape[3]
    onsets = np.array([a["onset"] for a in raw.annotations if _TRIGGER.search(a["description"].strip())])
    if not len(onsets):
        raise DataError(
            f"{header.with_suffix('.vmrk').name} has no volume trigger (R128): where the scan starts in the EEG would be "
            "a guess; fetch the marker file again."
        )
    samples = np.round(np.sort(onsets) * sfreq).astype(int)
    first, last = int(samples[0]), int(samples[-1])
    sidecar, _ = sidecar_facts(image)
    pace = float(np.median(np.diff(samples))) / sfreq if len(samples) > 1 else None
    t_r, mended = repetition_time(image.name, about.t_r, sidecar.get("RepetitionTime"), pace)
    repaired += (*about.repaired, *mended)
    if t_r is None:
        stem = image.name.split(".nii")[0]
        raise DataError(
            f"{image.name} says no repetition time and no sidecar says one; add RepetitionTime to {stem}.json."
        )
    if len(samples) > 1:
        steps = np.diff(samples) / (t_r * sfreq)
        if np.abs(steps - np.round(steps)).max() > 0.01 or np.round(steps).min() < 1:
            raise DataError(
                f"{header.with_suffix('.vmrk').name}: volume triggers are {np.median(np.diff(samples)) / sfreq:.4g} s apart "
                f"(median), the repetition time is {t_r:g} s; the two modalities cannot be aligned without a guess."
            )
        lost = int((np.round(steps) - 1).sum())
        if lost:
            repaired.append(f"{lost} volume trigger(s) inside the run are missing; volumes were counted by time.")
    n_times = raw.n_times - first
    triggered = round((last - first) / (t_r * sfreq)) + 1
    if triggered < n_volumes:
        ends_early = raw.n_times - last < 1.5 * t_r * sfreq
        if not ends_early:
            raise DataError(
                f"{header.with_suffix('.vmrk').name} has triggers for {triggered} volumes, {image.name} has {n_volumes}, and the "
                "EEG goes on after the last trigger: which volumes lack a trigger would be a guess."
            )
        repaired.append(f"The EEG ends after {triggered} of {n_volumes} volumes; the rest of the scan is not used.")
    elif triggered > n_volumes:
        repaired.append(
            f"{triggered} volume triggers for {n_volumes} volumes; what follows the last volume is not used."
        )
    return {
        "sfreq": sfreq,
        "ch_names": tuple(raw.ch_names),
        "first_sample": first,
        "n_times": n_times,
        "t_r": t_r,
        "n_volumes": min(triggered, n_volumes),
        "volume_shape": about.shape[:3],
        "overrides": eeg.overrides,
        "gaps": eeg.signals.gaps,
        "simulated": marked(eeg.header.simulated, about.simulated),
    }


def _t1_file(root: Path, subject: str) -> Path | None:
    """The subject's anatomical image, if it was downloaded; a run can be used without it."""
    path = next(iter(visible((root / f"sub-{subject}" / "anat").glob(f"sub-{subject}_T1w.nii*"))), None)
    try:
        return None if path is None or not_downloaded(path) else path
    except (DataError, OSError):
        return None


def _cap(epochs: pd.DataFrame, facts: dict, repaired: list[str], notes: list[str]) -> pd.DataFrame:
    """Mark epochs that outlast the signals as unused, and note signals that outlast the labels by more than an epoch.

    A repetition time of slack allows for scans cut to whole volumes.
    """
    ends = epochs["onset"] + epochs["duration"]
    eeg_end = facts["n_times"] / facts["sfreq"]
    bold_end = facts["n_volumes"] * facts["t_r"]
    covered = (ends <= eeg_end + 0.5 / facts["sfreq"]) & (ends <= bold_end + facts["t_r"])
    cut = int((~covered).sum())
    if cut:
        repaired.append(
            f"Signals end at {min(eeg_end, bold_end):.1f} s (EEG {eeg_end:.1f} s, BOLD {bold_end:.1f} s); the last {cut} of "
            f"{len(epochs)} scored epochs have none and are not used."
        )
    end = min(eeg_end, bold_end)
    if (beyond := end - ends.max()) > EPOCH_SECONDS:
        notes.append(
            f"The stage labels end at {ends.max():.0f} s, the signals at {end:.1f} s; for the last {int(beyond // EPOCH_SECONDS)} epochs "
            "of signal there are no labels, so they are not used."
        )
    return epochs.assign(used=epochs["used"] & covered)


def _sidecar_notes(root: Path, recordings: Iterable[Recording]) -> tuple[str, ...]:
    """Say once per sidecar where it contradicts the recordings' own headers."""
    notes = []
    for task in ("rest", "sleep"):
        sidecar = root / f"task-{task}_eeg.json"
        rates = {r.sfreq for r in recordings if r.run.startswith(f"task-{task}") and r.sfreq}
        if sidecar.is_file() and rates:
            try:
                stated = as_number(read_facts(sidecar).get("SamplingFrequency"))
            except DataError as error:
                notes.append(str(error))
                continue
            if stated is not None and any(abs(rate - stated) > 1e-6 for rate in rates):
                found = ", ".join(f"{rate:g}" for rate in sorted(rates))
                notes.append(f"{sidecar.name} says {stated:g} Hz, the headers {found} Hz; the headers are believed.")
    return tuple(notes)


def _sleepless_notes(recordings: Iterable[Recording]) -> tuple[str, ...]:
    """Say who has rest runs only: a run that nobody recorded leaves no row behind that could be seen to be missing."""
    asleep = {r.subject for r in recordings if r.run.startswith("task-sleep")}
    awake = list(dict.fromkeys(f"sub-{r.subject}" for r in recordings if r.subject not in asleep))
    if not awake:
        return ()
    who = f"{listed(awake)} {'has' if len(awake) == 1 else 'have'} no" if asleep else "Nobody here has a"
    return (f"{who} sleep run, neither in a label table nor as files; rest runs are all that is used.",)


def _folder_notes(sourcedata: Path) -> tuple[str, ...]:
    """Say which folders beside the label tables are left alone, and whether their names could be taken for the runs'."""
    folders = sorted(path for path in sourcedata.glob("[!.]*") if path.is_dir())
    if not folders:
        return ()
    there = f"sourcedata also holds {listed([folder.name for folder in folders])}"
    names = sorted(path.name for folder in folders for path in visible(folder.rglob("*")) if not path.is_dir())
    odd = [name for name in names if name[:3].lower() == "sub" and not _SPELLING.match(name)]
    if not odd:
        return (f"{there}; nothing is read from there.",)
    # Capitals sort before small letters: first and last show both kinds of slip.
    shown = " and ".join(repr(name) for name in dict.fromkeys((odd[0], odd[-1])))
    return (
        f"{there}; {len(odd)} of {len(names)} files there are not named as the runs are ({shown}): none is matched to a run, "
        "and nothing is read from there.",
    )
