"""Tables of events as BIDS has them, and as people write them: onset, duration, trial type."""

from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd

from eegfmri.errors import DataError, plain, reading
from eegfmri.text import number, read_text

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
        If there is no column of onsets, or no event is left.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no file {path}: give the path of a table of events.")
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = next((sign for sign in "\t;," if sign in first), r"\s+")
    with reading(path, "correct the table"):
        table = pd.read_csv(
            StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True, engine="python"
        )
    table.columns = [str(name).strip().lower() for name in table.columns]
    if "onset" not in table:
        raise DataError(
            f"{path} has no column onset, only {', '.join(table.columns) or 'nothing'}: rename the column of onsets in s."
        )
    said = []
    if ragged := int(table.isna().any(axis=1).sum()):
        said.append(f"{path.name}: {ragged} of {len(table)} rows have fewer columns than the line of names.")
    if "duration" not in table:
        said.append(f"{path.name} has no column duration: events are taken for moments.")
    if "trial_type" not in table:
        said.append(
            f"{path.name} has no column trial_type among {', '.join(table.columns)}: all events are taken for one type."
        )
    rows, without_onset, without_type, without_duration = [], 0, 0, 0
    for row in table.fillna("").to_dict("records"):
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
