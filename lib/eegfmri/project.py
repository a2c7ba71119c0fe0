"""Where the project lies: the folders that hold the book, the data and the caches."""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eegfmri.errors import CannotWrite, RequestError

#: What the names of our folders among the system's temporary ones begin with.
TEMPORARY = "eegfmri-"

#: What follows a folder's name in that of the file beside it, whose lock is held as long as somebody uses the folder.
_LOCK = ".lock"

#: Seconds after which a folder without such a file, as earlier versions made them, is taken for a leftover.
_OLD = 3600


def root() -> Path:
    """Return the project's top folder: the one that holds ``book/_toc.yml``.

    It is sought upwards from the working directory, then from this file, so that both an editable install
    and a call from inside a clone find it. The environment variable ``EEGFMRI_ROOT`` wins over both.

    Returns
    -------
    pathlib.Path
        Absolute path of the folder.

    Raises
    ------
    RequestError
        If no such folder is found.
    """
    if (named := _named("EEGFMRI_ROOT")) is not None:
        return named.resolve()
    for start in (Path.cwd(), Path(__file__).resolve()):
        for folder in (start, *start.parents):
            if (folder / "book" / "_toc.yml").is_file():
                return folder
    raise RequestError(
        f"No project found above {Path.cwd()}: run the command inside a clone, or set EEGFMRI_ROOT to its folder."
    )


def book_dir() -> Path:
    """Return the folder of the book's sources."""
    return root() / "book"


def data_dir() -> Path:
    """Return the folder of the ledger, the manifests, downloads and simulated recordings."""
    return root() / "data"


def cache_dir() -> Path:
    """Return the folder of cached preprocessing and fold results (``EEGFMRI_CACHE`` wins)."""
    return data_dir() / "cache" if (named := _named("EEGFMRI_CACHE")) is None else named


def check_environment() -> None:
    """Raise `RequestError` if an environment variable is set to what can be no folder, before anything is done for nothing."""
    for variable in ("EEGFMRI_ROOT", "EEGFMRI_CACHE"):
        folder = _named(variable)
        if folder is not None and folder.exists() and not folder.is_dir():
            raise RequestError(
                f"{variable} names {folder}, which is not a folder: give it the path of one, or unset it."
            )


def _named(variable: str) -> Path | None:
    """Return the folder that an environment variable names, or None where it is not set."""
    value = os.environ.get(variable)
    if value is None:
        return None
    if not value.strip() or "\0" in value:
        raise RequestError(f"{variable} is set but names no folder: give it the path of one, or unset it.")
    return Path(value).expanduser()


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Give a folder among the system's temporary ones that goes when the block ends, or at the next start after a kill.

    Parameters
    ----------
    purpose : str
        Stands in its name.

    Yields
    ------
    pathlib.Path
        The folder, ``eegfmri-<purpose>-…``.

    Raises
    ------
    CannotWrite
        If there is no place for it.
    """
    from filelock import FileLock

    folder = Path(tempfile.gettempdir()) / f"{TEMPORARY}{purpose}-{secrets.token_hex(6)}"
    lock = FileLock(f"{folder}{_LOCK}")
    with CannotWrite.saying(folder):
        lock.acquire()
        folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def remove_leftovers() -> None:
    """Remove the temporary folders of processes that were killed; those in use are locked, and stay."""
    from filelock import FileLock

    for path in sorted(Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*-*")):
        folder = path.with_name(path.name.removesuffix(_LOCK))
        lock = folder.with_name(folder.name + _LOCK)
        # What belongs to another user or is in use (filelock's Timeout is an OSError) is left alone.
        with suppress(OSError):
            status = path.lstat()
            if path.is_symlink() or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
                continue
            if not lock.exists() and time.time() - status.st_mtime < _OLD:
                continue
            with FileLock(lock, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink(missing_ok=True)
