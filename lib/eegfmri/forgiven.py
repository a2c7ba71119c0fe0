"""What readers forgive a file: a mark of byte order, another encoding, stray blanks, padding. It is read as meant, and said.

A reader calls `forgive` where it reads past something that others would stumble over. Whoever opens the files is `listening`, and
puts what was heard among what is said of a recording, a table or the dataset; those in between pass nothing along.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path


class Heard:
    """What was forgiven, file by file, each fault once, in the order in which it was met."""

    def __init__(self) -> None:
        self._faults: dict[Path, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, path: str | Path, fault: str) -> None:
        """Keep a fault of a file."""
        self._faults.setdefault(Path(path).absolute(), {})[fault] = None

    def facts(self) -> list[list[str]]:
        """Return what JSON can hold: path and fault."""
        return [[str(path), fault] for path, faults in self._faults.items() for fault in faults]

    def sentences(self, root: str | Path | None = None) -> tuple[str, ...]:
        """Say what was forgiven, one sentence for each file.

        Parameters
        ----------
        root : str, pathlib.Path or None
            Files are named by their path below it; by their name alone if None.

        Returns
        -------
        tuple of str
            Sentences.
        """
        folder = None if root is None else Path(root).absolute()
        return tuple(
            f"{path.relative_to(folder).as_posix() if folder in path.parents else path.name}: {'; '.join(faults)}; read as meant."
            for path, faults in self._faults.items()
        )


_listener: ContextVar[Heard | None] = ContextVar("listener", default=None)
_for_all: ContextVar[Heard | None] = ContextVar("for_all", default=None)


def forgive(path: str | Path, fault: str) -> None:
    """Have whoever is listening know that something in a file was read past.

    Parameters
    ----------
    path : str or pathlib.Path
        The file.
    fault : str
        A few words: ``"blanks at the ends of lines (3)"``.
    """
    heard = _listener.get()
    if heard is not None:
        heard.add(path, fault)


@contextmanager
def listening(to_all: bool = False) -> Iterator[Heard]:
    """Hear what is forgiven while the block runs; whoever was listening before hears nothing of it.

    Parameters
    ----------
    to_all : bool, default=False
        Whether it is a whole dataset that is opened: then what is `inherited` inside, at any depth, is heard here.

    Yields
    ------
    Heard
        Fills while the block runs.
    """
    heard = Heard()
    token = _listener.set(heard)
    outer = _for_all.set(heard) if to_all else None
    try:
        yield heard
    finally:
        _listener.reset(token)
        if outer is not None:
            _for_all.reset(outer)


@contextmanager
def saying(sentences: list[str]) -> Iterator[None]:
    """Append what is forgiven while the block runs to a list of sentences, however the block ends."""
    with listening() as heard:
        try:
            yield
        finally:
            sentences.extend(heard.sentences())


@contextmanager
def inherited() -> Iterator[None]:
    """Stand around the reading of a file that many recordings share, so that it is said of the dataset and not of each of them."""
    everyone = _for_all.get()
    token = _listener.set(_listener.get() if everyone is None else everyone)
    try:
        yield
    finally:
        _listener.reset(token)
