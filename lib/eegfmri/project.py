"""Where the project lies: the folders that hold the book, the data and the caches."""

import os
from pathlib import Path

from eegfmri.errors import RequestError


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
    if "EEGFMRI_ROOT" in os.environ:
        return Path(os.environ["EEGFMRI_ROOT"]).resolve()
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
    return Path(os.environ["EEGFMRI_CACHE"]) if "EEGFMRI_CACHE" in os.environ else data_dir() / "cache"
