"""What was found by reading a file to its end, remembered under the file's size and time, so that it is read once."""

import contextlib
from collections.abc import Callable

from eegfmri import cache, project


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
        The result.
    """
    path = project.cache_dir() / "examined" / f"{cache.digest(stamp)}.json"
    if path.is_file():
        with contextlib.suppress(OSError, ValueError, RecursionError):
            entry = cache.read_json(path)
            if isinstance(entry, dict) and cache.digest(entry.get("found")) == entry.get("digest"):
                return entry["found"]
    found = examine()
    # a folder that cannot be written to costs time and nothing else
    with contextlib.suppress(OSError):
        cache.write_json(path, {"found": found, "digest": cache.digest(found)})
    return found
