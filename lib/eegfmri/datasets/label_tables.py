"""The label tables of the sleep dataset, ``sub-XX-sleep-stage.tsv``: what their rows say, mended where that takes no guess."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from eegfmri.errors import DataError, plain
from eegfmri.forgiven import forgive, listening
from eegfmri.recordings import EPOCH_COLUMNS, EPOCH_SECONDS
from eegfmri.text import number, read_text, trimmed_lines

#: Name of a subject's table.
LABEL_FILE = re.compile(r"sub-(?P<subject>\w+)-sleep-stage\.tsv$")

_RUN = re.compile(r"task-(?:rest|sleep)_run-\d+")
_LABEL = re.compile(
    r"^(?:(?P<stage>W|1|2|3)(?: \((?P<doubt>uncertain|unscorable)\))?|2 or 3 \(unscorable\)|unscorable)$"
)
_STAGE_NAMES = {"W": "W", "1": "N1", "2": "N2", "3": "N3"}
_LABEL_COLUMNS = ["session", "epoch_start_time_sec", "30-sec_epoch_sleep_stage"]


@dataclass(frozen=True)
class Labels:
    """A subject's label table: epochs per run, and what was mended or stands in the way."""

    runs: dict[str, pd.DataFrame]
    repaired: dict[str, list[str]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)


def read_labels(path: str | Path) -> Labels:
    r"""Read one ``sub-XX-sleep-stage.tsv``, mending what can be mended without a guess.

    Parameters
    ----------
    path : str or pathlib.Path
        Tab-separated table with CRLF line ends: run, start of the epoch in seconds, stage; sub-01 alone has a leading
        column ``subject``.

    Returns
    -------
    Labels
        Epochs per run, as `Recording.epochs` describes them; every epoch counts as used until signals cap it.

    Raises
    ------
    DataError
        If it is no text, or its header is not this table's, naming file and line.
    """
    path = Path(path)
    with listening() as heard:
        lines = trimmed_lines(read_text(path), path)
        if stray := sum(any(cell != cell.strip() for cell in line.split("\t")) for line in lines):
            forgive(path, f"lines with blanks around a tab ({stray})")
    header = [name.strip() for name in lines[0].split("\t")] if lines else []
    extra = header[:1] == ["subject"]
    if header[int(extra) :] != _LABEL_COLUMNS:
        raise DataError(
            f"{path}, line 1: the columns are {header}, expected {_LABEL_COLUMNS}; fetch the file again from the dataset."
        )
    subject = LABEL_FILE.search(path.name)["subject"]
    rows: dict[str, list[dict]] = {}
    repaired: dict[str, list[str]] = {}
    problems: dict[str, list[str]] = {}
    everywhere = list(heard.sentences())
    if extra:
        everywhere.append(f"{path.name} has an extra leading column 'subject'; it was checked and dropped.")
    for place, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        fields = [cell.strip() for cell in line.split("\t")]
        if extra:
            owner, *fields = fields
            if owner.strip().lstrip("0") != subject.lstrip("0"):
                run = fields[0] if fields else "?"
                problems.setdefault(run, []).append(
                    f"{path.name}, line {place}: the row belongs to subject {owner}, the file to {subject}; "
                    "whose labels these are would be a guess."
                )
        if len(fields) == 2 and (match := re.fullmatch(r"(\d+)\s+(\S.*)", fields[1])):
            repaired.setdefault(fields[0], []).append(
                f"{path.name}, line {place}: a blank stood for the tab between '{match[1]}' and '{match[2]}'; read as two fields."
            )
            fields = [fields[0], match[1], match[2]]
        run = fields[0]
        onset = number(fields[1]) if len(fields) == 3 else None
        if onset is None or onset < 0:
            problems.setdefault(run, []).append(
                f"{path.name}, line {place}: {line!r} is not 'run, seconds, stage'; correct the row."
            )
            continue
        stage, certainty = parse_stage(fields[2])
        if certainty is None:
            problems.setdefault(run, []).append(
                f"{path.name}, line {place}: stage {fields[2]!r} is not in the dataset's vocabulary; correct the label."
            )
            continue
        rows.setdefault(run, []).append(
            {
                "onset": onset,
                "duration": EPOCH_SECONDS,
                "label": fields[2],
                "stage": stage,
                "certainty": certainty,
                "used": certainty == "certain",
            }
        )
    runs = {run: pd.DataFrame(epochs, columns=EPOCH_COLUMNS) for run, epochs in rows.items()}
    for run, epochs in runs.items():
        steps = np.diff(epochs["onset"])
        if len(steps) and not (steps > 0).all():
            problems.setdefault(run, []).append(
                f"{path.name}: the epochs of {run} are not in order of time; which label holds would be a guess."
            )
        if not _RUN.fullmatch(run):
            problems.setdefault(run, []).append(
                f"{path.name}: {run[:60]!r} is not the name of a run (task-rest_run-1, task-sleep_run-1, …); correct the rows."
            )
        lacking = round(epochs["onset"].max() / EPOCH_SECONDS) + 1 - len(epochs)
        if lacking > 0:
            repaired.setdefault(run, []).append(
                f"{path.name} has no row for {lacking} of the {lacking + len(epochs)} epochs of {run}; they are left out."
            )
        if (epochs["onset"] % EPOCH_SECONDS).any():
            problems.setdefault(run, []).append(
                f"{path.name}: epochs of {run} do not start at multiples of {EPOCH_SECONDS:.0f} s; correct the table."
            )
    for run in runs:
        repaired[run] = everywhere + repaired.get(run, [])
    said = ({run: [plain(text) for text in texts] for run, texts in kind.items()} for kind in (repaired, problems))
    return Labels(runs, *said)


def parse_stage(label: str) -> tuple[str | None, str | None]:
    """Split a label into stage and certainty.

    Parameters
    ----------
    label : str
        As written: ``W``, ``1``, ``2 (uncertain)``, ``2 or 3 (unscorable)``, ``Unscorable``.

    Returns
    -------
    stage : {"W", "N1", "N2", "N3"} or None
        None where the scorer named none, or two.
    certainty : {"certain", "uncertain", "unscorable"} or None
        None where the label is not in the dataset's vocabulary.

    Examples
    --------
    >>> parse_stage("2 (uncertain)")
    ('N2', 'uncertain')
    >>> parse_stage("Unscorable")
    (None, 'unscorable')
    """
    text = label.strip()
    match = _LABEL.match(text if text[:1] not in "uUw" else text.replace("U", "u", 1).replace("w", "W", 1))
    if match is None:
        return None, None
    if match["stage"] is None:
        return None, "unscorable"
    return _STAGE_NAMES[match["stage"]], match["doubt"] or "certain"
