"""Tables of events as BIDS has them, and as people write them: onset, duration, trial type."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from eegfmri.errors import DataError, plain, reading
from eegfmri.forgiven import forgive, saying
from eegfmri.text import number, read_text, trimmed_lines

#: What stands for a missing value, in small letters.
MISSING = ("", "n/a", "na", "nan", "none", "null")

#: Trial type of events whose table names none.
ONLY_TYPE = "event"


@dataclass(frozen=True)
class EventTable:
    """Events of a run, and what was made of the table.

    Attributes
    ----------
    events : pandas.DataFrame
        ``onset`` (s), ``duration`` (s), ``trial_type`` (text without blanks around), in order of time.
    said : tuple of str
        One sentence each: rows left out, columns that are lacking.
    """

    events: pd.DataFrame
    said: tuple[str, ...] = ()

    @property
    def trial_types(self) -> tuple[str, ...]:
        """Trial types that there are, sorted."""
        return tuple(sorted(self.events["trial_type"].unique()))


def read_events(path: str | Path) -> EventTable:
    """Read a table of events.

    Parameters
    ----------
    path : str or pathlib.Path
        Text with a line of names, columns parted by tabs, semicolons, commas or blanks. ``onset`` must be there; without
        ``duration`` events are moments, without ``trial_type`` they are of one type.

    Returns
    -------
    EventTable
        Rows without an onset or a trial type (``n/a``) are left out and counted; a duration that is missing is 0.

    Raises
    ------
    DataError
        If there is no column of onsets, a row has a value more than there are columns, or no event is left.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no file {path}: give the path of a table of events.")
    said: list[str] = []
    with reading(path, "correct the table"), saying(said):
        names, table, ragged = _rows(path)
    if "onset" not in names:
        raise DataError(
            f"{path} has no column onset, only {', '.join(names) or 'nothing'}: rename the column of onsets in s."
        )
    if ragged:
        said.append(f"{path.name}: {ragged} of {len(table)} rows have fewer columns than the line of names.")
    if "duration" not in names:
        said.append(f"{path.name} has no column duration: events are taken for moments.")
    if "trial_type" not in names:
        said.append(
            f"{path.name} has no column trial_type among {', '.join(names)}: all events are taken for one type."
        )
    rows, without_onset, without_type, without_duration = [], 0, 0, 0
    for row in table:
        onset = number(row["onset"])
        duration = number(row["duration"]) if "duration" in row else 0.0
        kind = row["trial_type"].strip() if "trial_type" in row else ONLY_TYPE
        if onset is None:
            without_onset += 1
        elif kind.lower() in MISSING:
            without_type += 1
        else:
            without_duration += duration is None or duration < 0
            rows.append((onset, max(duration or 0.0, 0.0), kind))
    for count, what in (
        (without_onset, "no onset and are left out"),
        (without_type, "no trial type and are left out"),
        (without_duration, "no duration and are taken for moments"),
    ):
        if count:
            said.append(f"{path.name}: {count} of {len(table)} rows have {what}.")
    if not rows:
        raise DataError(
            f"{path} has no event with an onset and a trial type among {len(table)} rows: check its columns."
        )
    events = pd.DataFrame(rows, columns=["onset", "duration", "trial_type"]).sort_values("onset", ignore_index=True)
    return EventTable(events, tuple(plain(text) for text in said))


def _rows(path: Path) -> tuple[list[str], list[dict[str, str]], int]:
    """Return the names of a table's columns in small letters, its rows, and how many of these have fewer values than there are names."""
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = next((sign for sign in "\t;," if sign in first), None)
    if separator is None:
        cells = [(place, line.split()) for place, line in enumerate(text.splitlines(), start=1)]
    else:
        lines = trimmed_lines(text, path, blanks=" ")
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        cells = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    (_, names), *cells = [(place, row) for place, row in cells if any(row)] or [(0, [])]
    names = [name.lower() for name in names]
    if twice := [name for name in ("onset", "duration", "trial_type") if names.count(name) > 1]:
        raise DataError(f"{path} has more than one column {twice[0]}: rename or remove all but one.")
    rows, ragged, surplus = [], 0, 0
    for place, row in cells:
        if any(row[len(names) :]):
            raise DataError(
                f"{path}, line {place}: {len(row)} values for {len(names)} columns, so which value belongs to which column would be a "
                "guess; correct the row."
            )
        surplus += len(row) > len(names)
        ragged += len(row) < len(names)
        rows.append(dict(zip(names, [*row, *[""] * (len(names) - len(row))], strict=False)))
    if surplus:
        forgive(path, f"signs between columns at the ends of lines ({surplus})")
    return names, rows, ragged
