"""Where the project lies: the folders that hold the book, the data and the caches.

Inside a clone of the project everything lies in it. Where only the package is installed, as for a chapter's notebook in a class, the
tables come with the package, and what is simulated or cached lands in the user's cache folder.
"""

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

#: Where a wheel has the tables of ``data/`` (see ``setup.py``); in a clone there is no such folder.
_PACKAGED = Path(__file__).resolve().parent / "tables"

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
    found = find_root()
    if found is None:
        raise RequestError(
            f"No project found above {Path.cwd()}: run the command inside a clone, or set EEGFMRI_ROOT to its folder."
        )
    return found


def find_root() -> Path | None:
    """Return the project's top folder as `root` does, or None where only the package is installed."""
    if (named := _named("EEGFMRI_ROOT")) is not None:
        return named.resolve()
    for start in (Path.cwd(), Path(__file__).resolve()):
        for folder in (start, *start.parents):
            if (folder / "book" / "_toc.yml").is_file():
                return folder
    return None


def book_dir() -> Path:
    """Return the folder of the book's sources."""
    return root() / "book"


def data_dir() -> Path:
    """Return the folder of the ledger, the manifests and downloads."""
    return root() / "data"


def table(name: str) -> Path:
    """Return a file that is tracked under ``data/``, or the copy of it that the package brings where there is no clone.

    Parameters
    ----------
    name : str
        Path below ``data/``, as ``claims.yml`` or ``manifests/sleep.tsv``.

    Returns
    -------
    pathlib.Path
        Its path, whether or not there is such a file.
    """
    found = find_root()
    return _PACKAGED / name if found is None else found / "data" / name


def bibliography() -> Path:
    """Return the BibTeX file of the book, or the copy of it that the package brings where there is no clone."""
    found = find_root()
    return _PACKAGED / "references.bib" if found is None else found / "book" / "references.bib"


def simulated_dir() -> Path:
    """Return the folder of simulated recordings: ``data/simulated`` of a clone, else one in the user's cache."""
    return _writable() / "simulated"


def cache_dir() -> Path:
    """Return the folder of cached preprocessing and fold results (``EEGFMRI_CACHE`` wins)."""
    return _writable() / "cache" if (named := _named("EEGFMRI_CACHE")) is None else named


def _writable() -> Path:
    """Return where made things lie: the clone's ``data``, else the user's cache folder."""
    found = find_root()
    if found is not None:
        return found / "data"
    from platformdirs import user_cache_path

    return user_cache_path("eegfmri", appauthor=False)


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
