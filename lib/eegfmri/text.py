"""Text, JSON and numbers as others wrote them: any encoding, marks of byte order, stray blanks.

What can be understood without a guess is understood, and forgiven in words (`eegfmri.forgiven`); the rest raises `DataError`, which
names file and place.
"""

import json
import math
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from eegfmri.errors import DataError, reading
from eegfmri.forgiven import forgive

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
    return decode(_content(Path(path)), path, stated)


def read_utf8(path: str | Path) -> str:
    """Read a text file that this project writes: UTF-8, other bytes are damage and no other encoding.

    Parameters
    ----------
    path : str or pathlib.Path
        A regular file.

    Returns
    -------
    str
        Without the mark of byte order that an editor may have put before it.

    Raises
    ------
    DataError
        If it is no regular file, or not UTF-8.
    """
    with reading(path, "remove it, and have it written again"):
        return _content(Path(path)).decode("utf-8-sig")


def _content(path: Path) -> bytes:
    require_regular(path)
    with reading(path), path.open("rb") as stream:
        content = stream.read(MOST_TEXT + 1)
    if len(content) > MOST_TEXT:
        raise DataError(f"{path} holds more than {MOST_TEXT // 1_000_000} MB, too much for text: fetch the file again.")
    return content


def decode(content: bytes, path: str | Path, stated: str | None = None) -> str:
    """Decode bytes of a text file, see `read_text`."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            with reading(path):
                text = content.decode(encoding).removeprefix("\ufeff")
            utf8 = encoding == "utf-8"
            forgive(path, "a mark of byte order before its text" if utf8 else f"encoded in {encoding.upper()}")
            return text
    if b"\0" in content:
        raise DataError(f"{path} holds binary data where text is expected: fetch the file again.")
    for encoding in ("utf-8", stated, "cp1252"):
        try:
            # an encoding of two bytes to a letter would turn any text into some other
            if encoding and b"[]".decode(encoding) == "[]":
                text = content.decode(encoding)
                break
        except (UnicodeDecodeError, LookupError):
            continue
    else:
        text, encoding = content.decode("latin-1"), "latin-1"
    if encoding not in ("utf-8", stated):
        forgive(path, f"encoded in {encoding} where {stated or 'utf-8'} is due")
    return text


def trimmed_lines(text: str, path: str | Path, blanks: str = " \t") -> list[str]:
    """Split a text into lines and take off the blanks at their ends.

    Parameters
    ----------
    text : str
        Of a table in which blanks at the ends of lines mean nothing.
    path : str or pathlib.Path
        Its file, to which they are forgiven.
    blanks : str
        What counts as a blank.

    Returns
    -------
    list of str
        Lines.
    """
    lines = text.splitlines()
    trimmed = [line.rstrip(blanks) for line in lines]
    if count := sum(bool(short) and short != line for line, short in zip(lines, trimmed, strict=True)):
        forgive(path, f"blanks at the ends of lines ({count})")
    return trimmed


#: Names of a sidecar whose values are numbers, in s and Hz.
NUMBERS = ("RepetitionTime", "SamplingFrequency", "SliceTiming")


def read_facts(path: str | Path) -> dict:
    """Read a JSON sidecar.

    Parameters
    ----------
    path : str or pathlib.Path
        UTF-8 or not, with or without a mark of byte order.

    Returns
    -------
    dict
        What it states; of `NUMBERS`, what is written as a text is a number.

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
    for name in NUMBERS:
        value = facts.get(name)
        values = value if isinstance(value, list) else [value]
        meant = [number(item) if isinstance(item, str) else None for item in values]
        if any(item is not None for item in meant):
            forgive(path, f"{name} is written as a text")
            values = [item if as_meant is None else as_meant for item, as_meant in zip(values, meant, strict=True)]
            facts[name] = values if isinstance(value, list) else values[0]
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


# --- what leaves the library ---------------------------------------------------------------------------------------


def jsonable(value: object) -> object:
    """Return what strict JSON in UTF-8 can hold: numbers that are not finite as None, bytes that are no text as escapes.

    Parameters
    ----------
    value : object
        Of dicts, lists, tuples, texts, numbers, truth values and None, nested.

    Returns
    -------
    object
        The same, copied.

    Examples
    --------
    >>> jsonable({"low": float("nan"), "names": ("a", "b")})
    {'low': None, 'names': ['a', 'b']}
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {jsonable(key) if isinstance(key, str) else key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


# --- YAML ------------------------------------------------------------------------------------------------------------

#: Characters of a YAML document.
MOST_YAML = 5_000_000

#: Values that a YAML document may have when all its aliases are written out.
MOST_VALUES = 200_000


def load_yaml(text: str, where: str | Path) -> object:
    """Read YAML of plain values.

    Parameters
    ----------
    text : str
        One document.
    where : str or pathlib.Path
        Its file, as the message names it.

    Returns
    -------
    object
        Dicts, lists, texts, numbers, dates, truth values, None.

    Raises
    ------
    DataError
        If it is no YAML, refers to itself, or its aliases stand for more than `MOST_VALUES` values.
    """
    import yaml

    if len(text) > MOST_YAML:
        raise DataError(f"{where} has {len(text)} characters; YAML is read up to {MOST_YAML}: write less.")
    try:
        # the loader written in Python: that in C overflows its stack where lists are nested 100,000 deep
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _written_out(node, {}, set()) > MOST_VALUES:
            raise DataError(
                f"{where} stands for more than {MOST_VALUES} values once its aliases are written out: write less."
            )
        return loader.construct_document(node)
    except DataError:
        raise
    except RecursionError:
        raise DataError(f"{where} is nested too deeply: write it flatter.") from None
    # What a scalar such as 2020-99-99 or a key that is a list makes the library raise cannot be listed.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{where} is not valid YAML ({reason[:300]}): correct it.") from None


def _written_out(node, sizes: dict[int, int], above: set[int]) -> int:
    """Count the values of a YAML tree in which an alias counts as often as it stands there."""
    import yaml

    if id(node) in above:
        raise yaml.YAMLError("an alias refers to what it stands in")
    if id(node) not in sizes:
        above.add(id(node))
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = parts if isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) else []
        sizes[id(node)] = 1 + sum(_written_out(part, sizes, above) for part in inner)
        above.discard(id(node))
    return sizes[id(node)]
