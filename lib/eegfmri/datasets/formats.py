"""What the readers of the three datasets share: names without data behind them, marks of the simulator, names of channels.

What can be mended without a guess is mended and said; the rest raises `DataError`.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from eegfmri import cache
from eegfmri.errors import DataError
from eegfmri.prose import enumerate_names
from eegfmri.text import read_facts, require_regular

#: Written beside simulated recordings.
SIMULATION_FILE = "simulated.json"

#: Environment variable with which tests have simulated recordings taken for real ones, to see what happens to those.
AS_REAL = "EEGFMRI_TEST_AS_REAL"

#: More missing scalp channels than this cannot be interpolated with any confidence.
MAX_MISSING_CHANNELS = 3


def marked(*marks: bool) -> bool:
    """Whether any file of a recording says that it was simulated; never with the tests' switch `AS_REAL`."""
    return any(marks) and not os.environ.get(AS_REAL)


def simulation(root: Path) -> dict | None:
    """Return preset, scale, seed and digest of a simulated dataset, or None for a real one."""
    path = root / SIMULATION_FILE
    if not marked(path.is_file()):
        return None
    try:
        written = read_facts(path)
    except DataError:
        written = {}  # that it is there says what the recordings are; what was planted is not known
    facts = {key: written.get(key, "unknown") for key in ("preset", "scale", "seed")}
    return facts | {"digest": str(written.get("digest") or cache.digest(cache.file_stamp(path)))}


def not_downloaded(path: Path) -> str | None:
    """Say why a file that the tree names is not there: a dangling link or the text of a git-annex pointer."""
    if not path.exists():
        return f"{path.name} is a link to a file that was not downloaded"
    require_regular(path)
    if path.stat().st_size < 400 and b"/annex/objects/" in path.read_bytes()[:400]:
        return f"{path.name} is a git-annex pointer, not data: fetch it with `git annex get`"
    return None


def status(repaired: Iterable[str], missing: bool = False, refused: bool = False) -> str:
    """Name the state of a recording: what is missing counts before what is wrong, that before what was mended."""
    return "missing" if missing else "refused" if refused else "repaired" if tuple(repaired) else "ok"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Join names for a sentence: ``a, b and c``; of more than ``most`` the first, and how many follow."""
    if len(names) > most:
        return f"{names[0]} and {len(names) - 1} more"
    return enumerate_names(names, nobody="")


def name_channels(
    raw, scalp: Sequence[str], others: Mapping[str, str], header: Path | None = None, repaired: list[str] | None = None
) -> None:
    """Give channels their canonical names and types, in place, by name and never by position.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        A recording of the dataset.
    scalp : sequence of str
        The scalp channels that the dataset promises.
    others : Mapping of str to str
        The other channels, with their MNE types; what is in neither list is typed ``misc``.
    header : pathlib.Path or None
        Named in what is said.
    repaired : list of str or None
        Gets one sentence for channels renamed, one for those that are lacking; None says nothing and refuses nothing.

    Raises
    ------
    DataError
        If more than `MAX_MISSING_CHANNELS` scalp channels are lacking.
    """
    names = {name.lower(): name for name in (*scalp, *others)} | ({"ekg": "ECG"} if "ECG" in others else {})
    renamed = {}
    for name in raw.ch_names:
        canonical = names.get(name.strip().lower(), name)
        if canonical != name and canonical not in raw.ch_names:
            renamed[name] = canonical
    raw.rename_channels(renamed, verbose="error")
    # MNE types a channel without coordinates misc: O9 and O10 of one recording are on the scalp all the same.
    types = {name: "eeg" if name in scalp else others.get(name, "misc") for name in raw.ch_names}
    raw.set_channel_types(types, on_unit_change="ignore", verbose="error")
    if repaired is None:
        return
    if renamed:
        pairs = ", ".join(f"{old!r} as {new}" for old, new in renamed.items())
        repaired.append(f"{header.name}: channel names were read as meant ({pairs}).")
    absent = [name for name in scalp if name not in raw.ch_names]
    if len(absent) > MAX_MISSING_CHANNELS:
        raise DataError(
            f"{header.name} lacks {len(absent)} of {len(scalp)} scalp channels ({', '.join(absent)}): too many to interpolate; "
            "check that the header belongs to this dataset."
        )
    if absent:
        repaired.append(
            f"{header.name} lacks channel {', '.join(absent)}; it is interpolated from its neighbours when used."
        )
    lacking = [name for name in others if name not in raw.ch_names]
    if lacking:
        repaired.append(f"{header.name} lacks {', '.join(lacking)}; steps that need it are left out.")
