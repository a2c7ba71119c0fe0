"""Results on disk under a key made of everything they depend on: inputs, parameters, code, versions.

Arrays are kept as ``.npy`` (memory-mapped when read), the rest as JSON; nothing is ever pickled. Everything is
written to a temporary name in the same folder, brought to the disk and then renamed, so a crash leaves no half file under a final
name. An entry carries its length and a checksum, and one that is not as it was written counts as absent: it is made anew.
"""

import ast
import errno
import hashlib
import importlib.metadata
import json
import os
import struct
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from eegfmri.errors import CannotWrite, DataError

try:
    import fcntl
except ImportError:  # Windows has no such locks: what a killed process left stays there
    fcntl = None

PACKAGE = "eegfmri"

#: Files that begin so are being written, or were when their writer was killed.
PART = ".part-"

#: What follows the array in an ``.npy`` entry, where numpy does not look: a mark, the number of bytes before it, their CRC-32.
_SEAL = struct.Struct("<8sQI")
_MARK = b"eegfmri\x01"

#: Name of the file that says what the files of a sealed folder must be.
SEAL_FILE = "whole.json"


def digest(*parts: object, length: int = 12) -> str:
    """Hash JSON-able values, paths' contents excluded, into a short hexadecimal key.

    Parameters
    ----------
    *parts : object
        Values that ``json`` can write; sets and paths are written as sorted lists and strings, arrays as the
        hash of their type, shape and bytes.
    length : int, default=12
        Number of hexadecimal digits.

    Returns
    -------
    str
        The key.
    """
    text = json.dumps(parts, sort_keys=True, default=_jsonable, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def _jsonable(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        body = hashlib.sha256(value.tobytes()).hexdigest()
        return [str(value.dtype), list(getattr(value, "shape", ())), body]
    raise TypeError(f"A cache key cannot be made of {type(value).__name__}: pass numbers, strings or arrays.")


def file_stamp(path: str | Path) -> tuple[str, int, int]:
    """Identify a file's state by its path, size in bytes and modification time in ns."""
    path = Path(path)
    status = path.stat()
    return (str(path.resolve()), status.st_size, status.st_mtime_ns)


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it to ``path`` if the block ends well.

    The bytes are on the disk before the name is there, and what writers that were killed have left in the folder is removed.

    Parameters
    ----------
    path : str or pathlib.Path
        The final name; its folder is made if need be.

    Yields
    ------
    pathlib.Path
        A temporary name in the same folder, with the same suffixes.

    Raises
    ------
    CannotWrite
        If the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    with CannotWrite.saying(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_unfinished(str(path.parent.resolve()))
        handle, temporary = _begin(path)
    try:
        with CannotWrite.saying(path, full=True):
            yield temporary
        with CannotWrite.saying(path):
            os.chmod(temporary, 0o644)
            rename_whole(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        # With it goes the lock that tells other processes that this one is at work.
        os.close(handle)


def _begin(path: Path) -> tuple[int, Path]:
    """Make a temporary file beside a path, locked as long as the descriptor is open."""
    while True:
        handle, name = tempfile.mkstemp(prefix=PART, suffix="".join(path.suffixes), dir=path.parent)
        if fcntl is None:
            return handle, Path(name)
        fcntl.flock(handle, fcntl.LOCK_EX)
        # Another process may have taken it for a leftover in the moment before it was locked.
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)


@lru_cache(maxsize=4096)
def _remove_unfinished(folder: str) -> None:
    """Remove from a folder, once in a process, the files whose writers were killed; nobody holds their locks."""
    if fcntl is None:
        return
    names = []
    with suppress(OSError):
        names = os.listdir(folder)
    for name in names:
        path = os.path.join(folder, name)
        if not name.startswith(PART) or not os.path.isfile(path):
            continue
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(handle)


def rename_whole(temporary: str | Path, path: str | Path) -> None:
    """Give a file its final name when its bytes are on the disk, and bring the name there, too."""
    _to_disk(temporary)
    os.replace(temporary, path)
    # Some file systems cannot do this for folders; then the name arrives when they see fit.
    with suppress(OSError):
        _to_disk(Path(path).parent)


def _to_disk(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def write_json(path: str | Path, value: object) -> Path:
    """Write ``value`` as indented UTF-8 JSON, whole or not at all, and return the path."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)


def read_json(path: str | Path) -> object:
    """Read a UTF-8 JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


# --- entries that know whether they are whole ------------------------------------------------------------------------


def keep_json(path: str | Path, value: object) -> Path:
    """Write ``value`` as a JSON entry of the cache, with the digest that `kept_json` compares, and return the path."""
    value = json.loads(json.dumps(value))
    return write_json(path, {"digest": digest(value), "value": value})


def kept_json(path: str | Path) -> object | None:
    """Return what `keep_json` has written, or None if it is absent or not as it was written."""
    # Wrong bytes, another encoding, deep nesting, a pipe for a file: whatever is there, it is not the entry.
    with suppress(OSError, ValueError, RecursionError):
        if Path(path).is_file():
            entry = read_json(path)
            if isinstance(entry, dict) and entry.keys() == {"digest", "value"}:
                return entry["value"] if digest(entry["value"]) == entry["digest"] else None
    return None


def save_array(path: str | Path, array) -> Path:
    """Write ``array`` as a ``.npy`` entry, whole or not at all, and return the path.

    Any reader of ``.npy`` files reads it; length and checksum stand behind the array, where `is_whole` finds them.
    """
    import numpy as np

    with written_whole(path) as temporary:
        with temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
        length = temporary.stat().st_size
        seal = _SEAL.pack(_MARK, length, _checksum(temporary, length))
        with temporary.open("ab") as stream:
            stream.write(seal)
    return Path(path)


def kept_array(path: str | Path, make: Callable[[], object]) -> Path:
    """Return the path of a ``.npy`` entry that is made once: who needs it while it is being made, in whatever process, waits for it.

    Parameters
    ----------
    path : str or pathlib.Path
        Where it is kept.
    make : callable
        Returns the array, if it is not there, whole.

    Returns
    -------
    pathlib.Path
        For `load_array`.
    """
    path = Path(path)
    if not is_whole(path):
        with making(path):
            if not is_whole(path):
                save_array(path, make())
    return path


@contextmanager
def making(path: str | Path) -> Iterator[None]:
    """Let one process at a time make what is kept under a path; the lock of a process that is killed goes with it."""
    from filelock import FileLock

    path = Path(path)
    folder = path.parent / ".making"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{path.name}.lock"):
        yield


def load_array(path: str | Path):
    """Return the array of an entry that `save_array` has written, memory-mapped read-only.

    Raises
    ------
    DataError
        If it is absent, or not as it was written.
    """
    import numpy as np

    if not is_whole(path):
        what = "is damaged, or was not written by this version" if Path(path).exists() else "is not there"
        raise DataError(f"The cached array {path} {what}: run the command again, and it is made anew.")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def is_whole(path: str | Path) -> bool:
    """Say whether an ``.npy`` entry is there and as it was written.

    It is read to its end the first time that a process asks, 0.03 s for 100 MB that the system still holds in memory; after
    that only its size and time are looked at.

    Parameters
    ----------
    path : str or pathlib.Path
        Written by `save_array`.

    Returns
    -------
    bool
        Whether length and checksum agree.
    """
    path = Path(path)
    try:
        if not path.is_file():
            return False
        length = path.stat().st_size - _SEAL.size
        if length < 0:
            return False
        with path.open("rb") as stream:
            stream.seek(length)
            mark, stated, checksum = _SEAL.unpack(stream.read(_SEAL.size))
        return (mark, stated) == (_MARK, length) and _checksum(path, length) == checksum
    except (OSError, ValueError, struct.error):
        return False


def seal_folder(folder: str | Path) -> None:
    """Write down length and checksum of every file of a folder, in `SEAL_FILE`, for `is_whole_folder`."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != SEAL_FILE)
    keep_json(Path(folder) / SEAL_FILE, {path.relative_to(folder).as_posix(): _measured(path) for path in files})


def is_whole_folder(folder: str | Path, names: Iterable[str] = ()) -> bool:
    """Say whether the files of a sealed folder, the named ones among them, are there and as they were written."""
    folder = Path(folder)
    stated = kept_json(folder / SEAL_FILE)
    if not isinstance(stated, dict) or not set(names) <= set(stated):
        return False
    return all(_measured(folder / name) == measured for name, measured in stated.items())


def _measured(path: Path) -> list[int] | None:
    """Return a file's length and checksum, or None if there is no such file."""
    try:
        length = path.stat().st_size if path.is_file() else None
        return None if length is None else [length, _checksum(path, length)]
    except OSError:
        return None


#: Checksums of files that this process has read, by path and state.
_read: dict[tuple[str, int, int, int], int] = {}


def _checksum(path: Path, length: int) -> int:
    """Return the CRC-32 of a file's first ``length`` bytes; of a file in the same state it is computed once."""
    status = path.stat()
    state = (str(path.absolute()), length, status.st_mtime_ns, status.st_ino)
    if state not in _read:
        checksum = 0
        with path.open("rb") as stream:
            while length > 0 and (block := stream.read(min(length, 1 << 20))):
                checksum, length = zlib.crc32(block, checksum), length - len(block)
        _read[state] = checksum
    return _read[state]


class Recent:
    """What was made last, up to so many bytes, for whoever in this process asks for it again.

    Parameters
    ----------
    most : int
        Bytes. What is larger by itself is handed out and not kept.
    """

    def __init__(self, most: int):
        self.most = most
        self._kept: OrderedDict[object, object] = OrderedDict()

    def get(self, key: object, make: Callable[[], object]):
        """Return what was made under a key, or make it.

        Parameters
        ----------
        key : hashable
            Names everything that ``make`` depends on.
        make : callable
            Returns an array (or tensor), which is not to be changed.

        Returns
        -------
        array
            The same object for the same key, as long as it is kept.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = make()
        if made.nbytes <= self.most:
            self._kept[key] = made
            while sum(kept.nbytes for kept in self._kept.values()) > self.most:
                self._kept.popitem(last=False)
        return made


@lru_cache(maxsize=1)
def _modules() -> dict[str, Path]:
    base = Path(__file__).resolve().parent
    modules = {}
    for path in sorted(base.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        name = ".".join((PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)))
        modules[name] = path
    return modules


def imported_modules(source: str, package: str | None = None) -> set[str]:
    """Return the library modules that a piece of Python source imports, wherever in it.

    Parameters
    ----------
    source : str
        Python source; imports inside functions count, and so do modules whose full name stands in a string.
    package : str or None
        Name of the package that relative imports refer to.

    Returns
    -------
    set of str
        Full module names inside this library, parents' ``__init__`` included.
    """
    known, found = _modules(), set()
    for level, name in _parsed(source)[1]:
        if level:
            stem = (package or PACKAGE).split(".")
            stem = stem[: len(stem) - level + 1]
            name = ".".join([*stem, name] if name else stem)
        pieces = name.split(".")
        for depth in range(1, len(pieces) + 1):
            candidate = ".".join(pieces[:depth])
            if candidate in known:
                found.add(candidate)
    return found


def syntax(source: str) -> str:
    """Return what Python source means to the interpreter: its syntax tree, written out.

    Comments, docstrings of modules, classes and functions, line breaks and the kind of quotation marks leave no trace in it.

    Parameters
    ----------
    source : str
        Python source.

    Returns
    -------
    str
        The tree as `ast.dump` writes it.
    """
    return _parsed(source)[0]


@lru_cache(maxsize=1024)
def _parsed(source: str) -> tuple[str, tuple[tuple[int, str], ...]]:
    """Return a source's tree, written out, and what it imports as (level of a relative import, name)."""
    # Keys of every prepared run ask for the same few files: parsing them once saves a fifth of a second each time.
    known, imports, tree = _modules(), [], ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
        elif isinstance(node, ast.Import):
            imports += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            imports += [(node.level, base), *((node.level, f"{base}.{alias.name}".strip(".")) for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in known:
            imports.append((0, node.value))  # imported by name, as a register of readers does
    return ast.dump(tree), tuple(imports)


def import_closure(modules: Iterable[str]) -> set[str]:
    """Return the library modules reachable from ``modules`` through imports, themselves included."""
    known, closure, pending = _modules(), set(), [name for name in modules if name in _modules()]
    while pending:
        name = pending.pop()
        if name in closure:
            continue
        closure.add(name)
        path = known[name]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        pending.extend(imported_modules(path.read_text(encoding="utf-8"), package))
    return closure


def code_digest(*modules: str) -> str:
    """Hash the import closure of ``modules`` as `syntax` sees it: it changes when any of that code does, not with comments."""
    known = _modules()
    closure = sorted(import_closure(modules))
    return digest([(name, _digest_of_syntax(known[name].read_text(encoding="utf-8"))) for name in closure])


@lru_cache(maxsize=1024)
def _digest_of_syntax(source: str) -> str:
    return digest(syntax(source))


def versions(*distributions: str) -> dict[str, str]:
    """Return the installed versions of the named distributions."""
    return {name: importlib.metadata.version(name) for name in distributions}
