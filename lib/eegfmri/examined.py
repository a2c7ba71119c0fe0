"""What was found by reading a file to its end, remembered under the file's size and time, so that it is read once.

What was found holds for the file as it was: `require_unchanged` stands before everything that is read later.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

from eegfmri import cache, project
from eegfmri.errors import DataError
from eegfmri.forgiven import forgive, listening


def remembered(stamp: list, examine: Callable[[], dict]) -> dict:
    """Return what an examination found, from the cache if it was made before.

    Parameters
    ----------
    stamp : list
        Everything that the result depends on: `eegfmri.cache.file_stamp` of the files, parameters, digest of the code.
    examine : callable
        Returns the result, a dict that JSON can write.

    Returns
    -------
    dict
        The result. What the examination forgave a file is remembered with it, and said each time.
    """
    path = project.cache_dir() / "examined" / f"{cache.digest(stamp)}.json"
    kept = cache.kept_json(path)
    if not isinstance(kept, dict) or kept.keys() != {"found", "forgiven"}:
        with listening() as heard:
            found = examine()
        kept = {"found": found, "forgiven": heard.facts()}
        # a folder that cannot be written to costs time and nothing else
        with contextlib.suppress(OSError):
            cache.keep_json(path, kept)
    for file, fault in kept["forgiven"]:
        forgive(file, fault)
    return kept["found"]


def stamp_of(path: str | Path) -> tuple[str, int, int] | None:
    """Return `eegfmri.cache.file_stamp` of a file, None if it is not there."""
    try:
        return cache.file_stamp(path)
    except (OSError, RuntimeError):  # the latter is how a link that leads to itself is told
        return None


def require_unchanged(path: str | Path, stamp: tuple[str, int, int] | None) -> None:
    """Raise `DataError` if a file is not as it was when it was examined.

    Parameters
    ----------
    path : str or pathlib.Path
        The file.
    stamp : (str, int, int) or None
        `stamp_of` it at that time.
    """
    now = stamp_of(path)
    if now != stamp:
        what = "is gone" if now is None else "has changed"
        raise DataError(f"{path} {what} since it was opened: open it again.")
