"""Results on disk under a key made of everything they depend on: inputs, parameters, code, versions.

Arrays are kept as ``.npy`` (memory-mapped when read), the rest as JSON; nothing is ever pickled. Everything is
written to a temporary name in the same folder and then renamed, so a crash leaves no half file under a final name.
"""

import ast
import hashlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

PACKAGE = "eegfmri"


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
    return hashlib.sha256(text.encode()).hexdigest()[:length]


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

    Parameters
    ----------
    path : str or pathlib.Path
        The final name; its folder is made if need be.

    Yields
    ------
    pathlib.Path
        A temporary name in the same folder, with the same suffixes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".part-", suffix="".join(path.suffixes), dir=path.parent)
    os.close(handle)
    os.chmod(name, 0o644)
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: object) -> Path:
    """Write ``value`` as indented UTF-8 JSON, whole or not at all, and return the path."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)


def read_json(path: str | Path) -> object:
    """Read a UTF-8 JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def save_array(path: str | Path, array) -> Path:
    """Write ``array`` as ``.npy``, whole or not at all, and return the path."""
    import numpy as np

    with written_whole(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
    return Path(path)


def load_array(path: str | Path):
    """Return the array of an ``.npy`` file, memory-mapped read-only."""
    import numpy as np

    return np.load(path, mmap_mode="r", allow_pickle=False)


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
