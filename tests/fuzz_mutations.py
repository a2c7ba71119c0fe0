"""Damage as it happens to files, drawn from a seed: by transfers, editors, disks, other software, and by malice.

`damage` returns what was done in words and what the file then is: bytes, or something that is no regular file (`Replaced`).
"""

import gzip
import io
import json
import os
import re
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

#: What stands in a field where a number is due.
_ODD = "1e999|-1|0|NaN|99999999999999999999|²|n/a|1,5|0x10|1e-320|∞|true|None|1_0|١٢|+5|.5|1e5|inf|-inf|2.1s|00012|1.2.3|[]|{}|'"
ODD_NUMBERS = tuple(f"{_ODD}|| |1 000|\t|1e3\t".split("|"))

#: The same where JSON or YAML is due, as they are written there.
ODD_VALUES = [
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '"n/a"',
    "-1",
    "0",
    "NaN",
    "Infinity",
    "1e999",
    '"²"',
    "[1]",
    '[{"a": [1]}]',
    '"2.1"',
    "12345678901234567890123",
    '"\\ud800"',
    '"\\u0000"',
]

#: Extremes of binary fields.
ODD_FLOATS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e30, -1e30, 1e-30, 3.4e38, 0.5)
ODD_INTEGERS = (0, -1, 1, 2, 3, 7, 8, 255, 32767, -32768, 4711)


@dataclass(frozen=True)
class Replaced:
    """Something that is no regular file, by what it is."""

    kind: str

    def put(self, path: Path) -> None:
        """Put it in the place of a file."""
        if self.kind == "pipe":
            os.mkfifo(path)
        elif self.kind == "folder":
            path.mkdir()
        elif self.kind == "socket":
            with socket.socket(socket.AF_UNIX) as made:
                folder = os.open(path.parent, os.O_RDONLY)
                try:  # a socket's path must be short
                    made.bind(f"/proc/self/fd/{folder}/{path.name}")
                finally:
                    os.close(folder)
        else:
            targets = {"loop": path.name, "dangling link": "not there", "zeros": "/dev/zero", "void": "/dev/null"}
            path.symlink_to(targets[self.kind])


REPLACEMENTS = ("pipe", "folder", "loop", "dangling link", "zeros", "void", "socket")

Content = bytes | Replaced
Change = Callable[[np.random.Generator, bytes], bytes]


def _place(rng: np.random.Generator, length: int) -> int:
    """Draw a place, more often near the beginning, where headers are."""
    return min(length - 1, int(length * rng.random() ** (1 if rng.random() < 0.4 else 4))) if length else 0


# --- bytes -----------------------------------------------------------------------------------------------------------


def _flip(rng, content):
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 1, 3, 20]))):
        if changed:
            changed[_place(rng, len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _overwrite(rng, content):
    place, length = _place(rng, len(content)), int(rng.choice([1, 2, 4, 8, 64]))
    return content[:place] + rng.bytes(min(length, len(content) - place)) + content[place + length :]


def _zero(rng, content):
    place, length = _place(rng, len(content)), int(rng.choice([1, 4, 64, 512, 4096]))
    return content[:place] + bytes(min(length, len(content) - place)) + content[place + length :]


def _insert(rng, content):
    place = _place(rng, len(content))
    return content[:place] + rng.bytes(int(rng.choice([1, 2, 7, 64, 512]))) + content[place:]


def _delete(rng, content):
    place = _place(rng, len(content))
    return content[:place] + content[place + int(rng.choice([1, 2, 7, 64, 512])) :]


def _truncate(rng, content):
    return content[: int(rng.choice([0, 1, 10, 100, _place(rng, len(content)), int(len(content) * rng.random())]))]


def _end_lost(rng, content):
    return content[: max(0, len(content) - int(rng.choice([1, 2, 3, 8, 20, 64, 1000])))]


def _append(rng, content):
    return content + (rng.bytes(int(rng.choice([1, 64, 5000]))) if rng.random() < 0.6 else bytes(512))


def _twice(rng, content):
    return content + content


def _repeat(rng, content):
    place, length = _place(rng, len(content)), int(rng.choice([1, 16, 256]))
    return content[:place] + content[place : place + length] + content[place:]


def _swap(rng, content):
    a, b = sorted((_place(rng, len(content)), _place(rng, len(content))))
    length = min(int(rng.choice([1, 16, 256])), b - a)
    return (
        content[:a]
        + content[b : b + length]
        + content[a + length : b]
        + content[a : a + length]
        + content[b + length :]
    )


def _noise(rng, content):
    return rng.bytes(int(rng.choice([10, 400, 5000])))


def _other_format(rng, content):
    return [
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n" * 20,
        b"\x89HDF\r\n\x1a\n" * 90,
        b"PK\x03\x04" * 50,
    ][int(rng.integers(3))]


BYTES: dict[str, Change] = {
    "bits flipped": _flip,
    "bytes overwritten": _overwrite,
    "bytes zeroed": _zero,
    "bytes inserted": _insert,
    "bytes lost": _delete,
    "cut off": _truncate,
    "the end lost": _end_lost,
    "something appended": _append,
    "twice over": _twice,
    "bytes repeated": _repeat,
    "bytes swapped": _swap,
    "noise instead": _noise,
    "another format instead": _other_format,
}


# --- text ------------------------------------------------------------------------------------------------------------


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _lines(change):
    def changed(rng, content):
        lines = _text(content).splitlines(keepends=True)
        return _as_bytes("".join(change(rng, lines))) if lines else content

    return changed


def _swapped_lines(rng, lines):
    a, b = rng.integers(0, len(lines), 2)
    lines[a], lines[b] = lines[b], lines[a]
    return lines


def _without_line(rng, lines):
    del lines[int(rng.integers(len(lines)))]
    return lines


def _line_again(rng, lines):
    lines.insert(int(rng.integers(len(lines))), lines[int(rng.integers(len(lines)))])
    return lines


def _blanks_in_line(rng, lines):
    place = int(rng.integers(len(lines)))
    blank = str(rng.choice([" ", "\t", "  \t ", "\u00a0"]))
    bare = lines[place].rstrip("\r\n")
    end = lines[place][len(bare) :]
    lines[place] = (blank + bare if rng.random() < 0.5 else bare + blank) + end
    return lines


def _number(rng, content):
    text = _text(content)
    found = list(re.finditer(r"-?\d+(?:\.\d+)?", text))
    if not found:
        return content
    match = found[_place(rng, len(found))]
    new = str(rng.choice(ODD_NUMBERS)) if rng.random() < 0.7 else str(int(rng.integers(0, 10**6)))
    return _as_bytes(text[: match.start()] + new + text[match.end() :])


def _digit(rng, content):
    places = [place for place, byte in enumerate(content) if 48 <= byte <= 57]
    if not places:
        return content
    place = places[_place(rng, len(places))]
    return content[:place] + bytes([48 + int(rng.integers(10))]) + content[place + 1 :]


def _word(rng, content):
    text = _text(content)
    found = list(re.finditer(r"[^\W\d]+", text))
    if not found:
        return content
    a, b = (found[int(place)] for place in rng.integers(0, len(found), 2))
    return _as_bytes(text[: a.start()] + (b[0] if rng.random() < 0.7 else a[0].swapcase()) + text[a.end() :])


def _encoded(rng, content):
    encoding = str(rng.choice(["utf-16", "utf-8-sig", "utf-32", "latin-1", "utf-16-le", "cp037", "cp1251"]))
    text = content.decode("utf-8", "replace")
    if rng.random() < 0.5:
        text += "\n; Jülich µ é\n" if b";" in content else ""
    return text.encode(encoding, "replace")


def _line_ends(rng, content):
    return re.sub(rb"\r?\n", [b"\r\n", b"\r", b"\n", b"\n\n", b" \n", b"\t\r\n"][int(rng.integers(6))], content)


def _long_line(rng, content):
    place = _place(rng, len(content))
    filling = [b" ", b"\t", b"x", b"1", b"=", b"[", b"\\", b","][int(rng.integers(8))]
    return content[:place] + filling * int(rng.choice([300, 30_000])) + content[place:]


def _nul(rng, content):
    place = _place(rng, len(content))
    return content[:place] + b"\0" * int(rng.choice([1, 50])) + content[place:]


def _separators(rng, content):
    old, new = (str(sign) for sign in rng.choice(["\t", ",", ";", " ", "=", ":", "\n"], 2, replace=False))
    text = _text(content)
    return _as_bytes(text.replace(old, new, int(rng.choice([1, 1, -1]))))


TEXT: dict[str, Change] = {
    "lines swapped": _lines(_swapped_lines),
    "a line lost": _lines(_without_line),
    "a line twice": _lines(_line_again),
    "blanks around a line": _lines(_blanks_in_line),
    "an odd number": _number,
    "another digit": _digit,
    "another word": _word,
    "another encoding": _encoded,
    "other line ends": _line_ends,
    "a very long line": _long_line,
    "NUL bytes": _nul,
    "other separators": _separators,
}


# --- JSON and YAML ---------------------------------------------------------------------------------------------------


def _json_value(rng, content):
    text = _text(content)
    found = list(re.finditer(r'(?<=: )("[^"\n]*"|-?[\d.]+|true|false|null)', text))
    if not found:
        return content
    match = found[int(rng.integers(len(found)))]
    return _as_bytes(text[: match.start()] + str(rng.choice(ODD_VALUES)) + text[match.end() :])


def _json_nested(rng, content):
    depth = int(rng.choice([50, 2000, 100_000]))
    if rng.random() < 0.5:
        return b"[" * depth + (b"]" * depth if rng.random() < 0.5 else b"")
    nested = b"[" * depth + b"]" * depth
    return re.sub(rb": [^,\n{\[]+", lambda _: b": " + nested, content, count=1)


def _json_whole(rng, content):
    kinds = [
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b"[" + content + b"]",
        b"{,}",
        content.rstrip()[:-1] + b",}",
        b"true",
    ]
    return kinds[int(rng.integers(len(kinds)))]


def _json_key_again(rng, content):
    found = re.findall(rb'"\w+": [^,{\[\n]+', content)
    if not found:
        return content
    name = found[int(rng.integers(len(found)))].partition(b":")[0]
    again = name + b": " + _as_bytes(str(rng.choice(ODD_VALUES)))
    return content.replace(b"{", b"{" + again + b", ", 1)


JSON: dict[str, Change] = {
    "an odd value": _json_value,
    "nested deeply": _json_nested,
    "another kind of document": _json_whole,
    "a name twice": _json_key_again,
}


def _yaml_line(rng, content):
    lines = _text(content).splitlines(keepends=True)
    place = int(rng.integers(len(lines)))
    odd = [
        "  - &a [*a]\n",
        "x: !!python/object/apply:os.system ['true']\n",
        "\tx: y\n",
        "? [a, b]\n: c\n",
        "x: {a: b\n",
        "- - - -\n",
        "<<: *nobody\n",
        "%YAML 9.9\n",
        "--- \n",
        "x: 0o7_7:61:61\n",
        "date: 2026-99-99\n",
        "key: '\n",
        "? \n",
        "1: 2\n",
    ]
    lines.insert(place, odd[int(rng.integers(len(odd)))])
    return _as_bytes("".join(lines))


def _yaml_value(rng, content):
    text = _text(content)
    found = list(re.finditer(r"(?<=: )[^\n#{\[]+$", text, re.MULTILINE))
    if not found:
        return content
    match = found[int(rng.integers(len(found)))]
    return _as_bytes(
        text[: match.start()] + str(rng.choice([*ODD_VALUES, "2020-01-01", "~", "*a", "!x y"])) + text[match.end() :]
    )


def _yaml_bomb(rng, content):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    bomb = "\n".join(lines) + "\n"
    return bomb.encode() + content if rng.random() < 0.5 else bomb.encode() + b"schema: 1\npapers: *a11\nclaims: *a11\n"


def _yaml_nested(rng, content):
    depth = int(rng.choice([50, 3000]))
    return [b"[" * depth, b"- " * depth, b"{a: " * depth, b"".join(b" " * n + b"a:\n" for n in range(min(depth, 500)))][
        int(rng.integers(4))
    ]


YAML: dict[str, Change] = {
    "an odd line": _yaml_line,
    "an odd value": _yaml_value,
    "aliases that multiply": _yaml_bomb,
    "nested deeply": _yaml_nested,
}


# --- gzip and NIfTI --------------------------------------------------------------------------------------------------

#: Fields of a NIfTI header that a reader may believe: name, offset, type, number.
NIFTI_FIELDS = (
    ("sizeof_hdr", 0, "<i4", 1),
    ("dim", 40, "<i2", 8),
    ("datatype", 70, "<i2", 1),
    ("bitpix", 72, "<i2", 1),
    ("pixdim", 76, "<f4", 8),
    ("vox_offset", 108, "<f4", 1),
    ("scl_slope", 112, "<f4", 1),
    ("scl_inter", 116, "<f4", 1),
    ("xyzt_units", 123, "<i1", 1),
    ("qform_code", 252, "<i2", 1),
    ("sform_code", 254, "<i2", 1),
    ("quatern", 256, "<f4", 6),
    ("srow", 280, "<f4", 12),
    ("magic", 344, "<i1", 4),
)


def _nifti_field(rng, content):
    _, offset, dtype, number = NIFTI_FIELDS[int(rng.integers(len(NIFTI_FIELDS)))]
    kind = np.dtype(dtype)
    place = offset + kind.itemsize * int(rng.integers(number))
    values = ODD_FLOATS if kind.kind == "f" else ODD_INTEGERS
    odd = np.array(values[int(rng.integers(len(values)))]).astype(kind, casting="unsafe").tobytes()
    return content[:place] + odd + content[place + kind.itemsize :]


def _swapped_order(rng, content):
    header = np.frombuffer(content[:348], "<i2").byteswap().tobytes()
    return header + content[348:]


NIFTI: dict[str, Change] = {
    "an odd field": _nifti_field,
    "odd fields": lambda rng, c: _nifti_field(rng, _nifti_field(rng, c)),
    "another order of bytes": _swapped_order,
}


def _inside_gzip(change: Change) -> Change:
    def changed(rng, content):
        return gzip.compress(change(rng, gzip.decompress(content)), 1, mtime=0)

    return changed


def _members(rng, content):
    plain = gzip.decompress(content)
    place = int(rng.integers(1, max(2, len(plain))))
    return gzip.compress(plain[:place], 1, mtime=0) + gzip.compress(plain[place:], 1, mtime=0)


def _padded(rng, content):
    return content + bytes(int(rng.choice([1, 512, 4096])))


@lru_cache
def _member_of_zeros() -> bytes:
    return gzip.compress(bytes(1 << 20), 9, mtime=0)


def _gzip_bomb(rng, content):
    bomb = _member_of_zeros() * 4096  # 4 GiB in 4 MB
    return (content if rng.random() < 0.5 else b"") + bomb


def _not_gzip(rng, content):
    return gzip.decompress(content)


GZIP: dict[str, Change] = {
    "several members": _members,
    "padded with zeros": _padded,
    "a bomb": _gzip_bomb,
    "not compressed": _not_gzip,
    **{f"inside: {name}": _inside_gzip(change) for name, change in {**NIFTI, **BYTES}.items()},
}


# --- MATLAB ----------------------------------------------------------------------------------------------------------


def _inside_matlab(change: Change) -> Change:
    """Change one compressed element of a MATLAB v5 file and compress it again; an element that is not compressed as it lies."""

    def changed(rng, content):
        place, elements = 128, []
        while place + 8 <= len(content):
            kind, length = struct.unpack("<II", content[place : place + 8])
            elements.append((place, kind, length))
            place += 8 + length
        place, kind, length = elements[int(rng.integers(len(elements)))]
        body = content[place + 8 : place + 8 + length]
        plain = zlib.decompress(body) if kind == 15 else body
        damaged = change(rng, plain)
        body = zlib.compress(damaged, 1) if kind == 15 else damaged
        return content[:place] + struct.pack("<II", kind, len(body)) + body + content[place + 8 + length :]

    return changed


def _matlab_word(rng, content):
    """Put an odd number in place of one of four bytes: types, lengths, dimensions and flags of the format are such."""
    place = 4 * int(rng.integers(0, min(40, len(content) // 4)))
    return (
        content[:place] + struct.pack("<i", ODD_INTEGERS[int(rng.integers(len(ODD_INTEGERS)))]) + content[place + 4 :]
    )


@lru_cache
def _deflated_zeros() -> tuple[bytes, bytes]:
    coder = zlib.compressobj(9)
    head = coder.compress(bytes(1 << 20)) + coder.flush(zlib.Z_FULL_FLUSH)
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    return head, coder.compress(bytes(1 << 20)) + coder.flush(zlib.Z_FULL_FLUSH)


def _matlab_bomb(rng, content):
    """An element of 4 GiB in 4 MB, behind the head of the first: an array that claims to be so large, or just zeros."""
    head, block = _deflated_zeros()
    body = head + 4095 * block
    if rng.random() < 0.5:
        coder = zlib.compressobj(9)
        claim = struct.pack("<8I", 14, 0xFFFFFFF0, 6, 8, 6, 0, 5, 8) + struct.pack("<2i", 37, 14_000_000)
        claim += struct.pack("<2I", 1, 10) + b"data_reref".ljust(16, b"\0") + struct.pack("<2I", 9, 0xFFFFFF00)
        body = coder.compress(claim) + coder.flush(zlib.Z_FULL_FLUSH) + 4095 * block
    return content[:128] + struct.pack("<II", 15, len(body)) + body


MATLAB: dict[str, Change] = {
    "a bomb": _matlab_bomb,
    "an odd number in a header": _inside_matlab(_matlab_word),
    **{f"inside: {name}": _inside_matlab(change) for name, change in BYTES.items()},
}


# --- EDF -------------------------------------------------------------------------------------------------------------


def _edf_field(rng, content):
    """Put an odd number in a field of eight characters: sizes, counts, durations and ranges are such."""
    length = int(content[184:192] or b"0")
    place = 8 * int(rng.integers(0, length // 8)) if rng.random() < 0.5 else int(rng.choice([184, 236, 244, 252]))
    width = 4 if place == 252 else 8
    odd = _as_bytes(str(rng.choice(ODD_NUMBERS)))[:width].ljust(width)
    return content[:place] + odd + content[place + width :]


EDF: dict[str, Change] = {"an odd field": _edf_field}


# --- npy -------------------------------------------------------------------------------------------------------------


def _npy_shape(rng, content):
    shapes = [b"(1, 1)", b"(99999999, 99999999)", b"(-1, 3)", b"()", b"(0,)", b"'x'", b"(3, 4), 'fortran_order': True"]
    return re.sub(rb"\(\d+, \d+\)", lambda _: shapes[int(rng.integers(len(shapes)))], content, count=1)


def _npy_pickled(rng, content):
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


NPY: dict[str, Change] = {"another shape": _npy_shape, "a pickle": _npy_pickled}


# --- all of them -----------------------------------------------------------------------------------------------------

#: Kinds of damage by the ending of a file's name; those of a longer ending come before those of a shorter.
BY_ENDING: dict[str, dict[str, Change]] = {
    ".nii.gz": GZIP,
    ".nii": NIFTI,
    ".mat": MATLAB,
    ".set": MATLAB,
    ".edf": EDF,
    ".npy": NPY,
    ".json": {**TEXT, **JSON},
    ".yml": {**TEXT, **YAML},
    **dict.fromkeys((".vhdr", ".vmrk", ".tsv", ".txt"), TEXT),
}


def damage(rng: np.random.Generator, name: str, content: bytes) -> tuple[str, Content]:
    """Damage a file.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    name : str
        Of the file, whose ending tells the format.
    content : bytes
        Sound.

    Returns
    -------
    what : str
        In words.
    content : bytes or Replaced
        What the file then is.
    """
    if rng.random() < 0.04:
        kind = str(rng.choice(REPLACEMENTS))
        return f"{kind} instead", Replaced(kind)
    own = next((kinds for ending, kinds in BY_ENDING.items() if name.endswith(ending)), {})
    kinds = own if own and rng.random() < 0.65 else BYTES
    what = str(rng.choice(list(kinds)))
    return what, kinds[what](rng, content)


def fields(document: object) -> object:
    """Return the skeleton of a JSON or YAML document: names and kinds, no values."""
    if isinstance(document, dict):
        return {str(name): fields(value) for name, value in document.items()}
    if isinstance(document, list):
        return [fields(value) for value in document]
    return (
        "number" if isinstance(document, (int, float)) and not isinstance(document, bool) else type(document).__name__
    )


def parsed(content: bytes) -> object:
    """Parse JSON, None if it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
