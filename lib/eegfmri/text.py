"""Text, JSON and numbers as others wrote them: any encoding, marks of byte order, stray blanks.

What can be understood without a guess is understood; the rest raises `DataError`, which names file and place.
"""

import json
import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from eegfmri.errors import DataError, reading

#: Bytes of text that are read; tables, headers and markers of a day's recording have a hundredth.
MOST_TEXT = 200_000_000

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def visible(paths: Iterable[Path]) -> list[Path]:
    """Sort paths and leave out hidden ones: macOS puts a ``._`` file beside each file it copies."""
    return sorted(path for path in paths if not path.name.startswith("."))


def require_regular(path: Path) -> None:
    """Raise `DataError` unless a path is a regular file: a pipe or a device would be read for ever."""
    if path.exists() and not stat.S_ISREG(os.stat(path).st_mode):
        raise DataError(f"{path} is no regular file: give the path of one.")


def read_text(path: str | Path, stated: str | None = None) -> str:
    """Read a text file, whatever its encoding and the machine's locale.

    Parameters
    ----------
    path : str or pathlib.Path
        A regular file.
    stated : str or None
        Encoding that the file claims; it is believed only where the bytes are not UTF-8, which other encodings are not by chance.

    Returns
    -------
    str
        Without a mark of byte order.

    Raises
    ------
    DataError
        If it is no regular file, or holds binary data.
    """
    path = Path(path)
    require_regular(path)
    with reading(path), path.open("rb") as stream:
        content = stream.read(MOST_TEXT + 1)
    if len(content) > MOST_TEXT:
        raise DataError(f"{path} holds more than {MOST_TEXT // 1_000_000} MB, too much for text: fetch the file again.")
    return decode(content, path, stated)


def decode(content: bytes, path: str | Path, stated: str | None = None) -> str:
    """Decode bytes of a text file, see `read_text`."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            with reading(path):
                return content.decode(encoding).removeprefix("\ufeff")
    if b"\0" in content:
        raise DataError(f"{path} holds binary data where text is expected: fetch the file again.")
    for encoding in ("utf-8", stated, "cp1252"):
        try:
            # an encoding of two bytes to a letter would turn any text into some other
            if encoding and b"[]".decode(encoding) == "[]":
                return content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode("latin-1")


def read_facts(path: str | Path) -> dict:
    """Read a JSON sidecar.

    Parameters
    ----------
    path : str or pathlib.Path
        UTF-8 or not, with or without a mark of byte order.

    Returns
    -------
    dict
        What it states.

    Raises
    ------
    DataError
        If it is no JSON object, naming the file and the place.
    """
    text = read_text(path)
    try:
        facts = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}): correct the file or fetch it again.") from error
    if not isinstance(facts, dict):
        raise DataError(
            f"{path} holds a {type(facts).__name__}, a sidecar is an object of names and values: fetch it again."
        )
    return facts


def _once(pairs: list[tuple[str, object]]) -> dict:
    """Make an object of names and values; a name that is stated twice, and differently, makes both worthless."""
    made: dict = {}
    for name, value in pairs:
        if name in made and made[name] != value:
            raise ValueError(f"{name[:60]!r} is stated twice and differently")
        made[name] = value
    return made


def number(value: object) -> float | None:
    """Return a finite number, also of a text (``"2.1"``), or None for whatever stands for a missing one (``n/a``, NaN, empty)."""
    if isinstance(value, bool) or (isinstance(value, str) and not (value.isascii() and "_" not in value)):
        return None  # Python reads 1_000 and digits of every script, which nobody writes into a table
    try:
        found = float(value.strip() if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
