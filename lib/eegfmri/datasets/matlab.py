"""MATLAB v5 files as others wrote them: walked to their end before anything is allocated by what they claim.

A file is a sequence of elements, each a type and a length before its content; arrays are elements of elements, and may be
compressed (MathWorks, *MAT-File Format*, version 5).
"""

import struct
import zlib
from math import prod
from pathlib import Path

from eegfmri import cache
from eegfmri.errors import DataError, reading
from eegfmri.examined import remembered
from eegfmri.text import require_regular

#: Types of elements that hold others, or a compressed one, and of those with which an array begins: its flags and its shape.
_MATRIX, _COMPRESSED, _FLAGS, _SHAPE = 14, 15, 6, 5

#: Types of elements and classes of arrays that there are; scipy looks up others in memory that is not its own.
_TYPES, _CLASSES = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 14, 15, 16, 17, 18}), range(1, 19)

#: Class of arrays that hold fewer values than their shape says.
_SPARSE = 5

#: So many values may be claimed by an array that holds no bytes, as structures without fields are.
_FREE = 1000

#: An element that grows to more than so many times its size (and more than so many bytes) is no recording but a trap.
MOST_GROWTH, _SMALL = 100, 64_000_000

#: Arrays within arrays; files of EEGLAB have four.
_MOST_DEPTH = 20


def require_whole(path: Path) -> None:
    """See that a MATLAB v5 file ends where its elements end, and that none claims more than holds it.

    Parameters
    ----------
    path : pathlib.Path
        The file; what is found is remembered, so that it is read once.

    Raises
    ------
    DataError
        If it is of another kind, cut off, or damaged.
    """
    require_regular(path)
    with reading(path):
        found = remembered([cache.file_stamp(path), cache.code_digest(__name__)], lambda: {"fault": _fault(path)})
    if found["fault"]:
        raise DataError(f"{path} {found['fault']}; fetch it again.")


class _Damaged(Exception):
    """Says what is wrong with a file."""


def _fault(path: Path) -> str:
    """Return what is wrong with a file, or nothing."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(128)
        if head[:4] == b"\x89HDF" or b"MATLAB 7.3" in head:
            return "is a MATLAB 7.3 file, where version 5 is expected (save it with the option -v7)"
        if len(head) < 128 or head[126:128] not in (b"IM", b"MI"):
            return "is no MATLAB v5 file"
        order = "<" if head[126:128] == b"IM" else ">"
        place = 128
        try:
            while place < size:
                tag = stream.read(8)
                kind, length = struct.unpack(f"{order}2I", tag) if len(tag) == 8 else (0, size)
                if place + 8 + length > size:
                    return f"is truncated: {size} bytes where {place + 8 + length} are due"
                if kind == _COMPRESSED:
                    _walk_top(_Inflated(stream, length), order)
                elif kind == _MATRIX:
                    _walk(_Plain(stream, length), length, order)
                else:
                    raise _Damaged(f"has an element of type {kind}, where arrays are due")
                place += 8 + length
                stream.seek(place)
        except (_Damaged, zlib.error) as error:
            return f"is damaged: it {error}" if isinstance(error, _Damaged) else f"is damaged ({error})"
    return ""


class _Plain:
    """Bytes of a file from its place on."""

    def __init__(self, stream, length: int):
        self.stream, self.left = stream, length

    def take(self, n: int) -> bytes:
        """Return the next bytes, all of them."""
        if n > self.left:
            raise _Damaged("has an element that is longer than what holds it")
        self.left -= n
        return self.stream.read(n)

    def skip(self, n: int) -> None:
        """Pass over the next bytes."""
        if n > self.left:
            raise _Damaged("has an element that is longer than what holds it")
        self.left -= n
        self.stream.seek(n, 1)


class _Inflated:
    """What a compressed element holds, piece by piece."""

    def __init__(self, stream, length: int):
        self.stream, self.packed = stream, length
        self.most = max(_SMALL, MOST_GROWTH * length)
        self.coder, self.held, self.given = zlib.decompressobj(), b"", 0

    def _more(self) -> bytes:
        if self.coder.eof:
            return b""
        packed = self.coder.unconsumed_tail
        if not packed:
            packed = self.stream.read(min(self.packed, 1 << 16))
            self.packed -= len(packed)
        piece = self.coder.decompress(packed, 1 << 20)
        if not piece and not packed and not self.coder.eof:
            raise _Damaged("breaks off inside a compressed array")
        self.given += len(piece)
        if self.given > self.most:
            raise _Damaged(f"holds an array that grows to more than {MOST_GROWTH} times its size when it is unpacked")
        return piece

    def take(self, n: int) -> bytes:
        """Return the next bytes, all of them."""
        while len(self.held) < n:
            piece = self._more()
            if not piece and self.coder.eof:
                raise _Damaged("has an element that is longer than what holds it")
            self.held += piece
        taken, self.held = self.held[:n], self.held[n:]
        return taken

    def skip(self, n: int) -> None:
        """Pass over the next bytes."""
        while n > len(self.held):
            n -= len(self.held)
            self.held = self._more()
            if not self.held and self.coder.eof:
                raise _Damaged("has an element that is longer than what holds it")
        self.held = self.held[n:]

    def end(self) -> None:
        """See that nothing follows; the checksum of what was unpacked is compared here."""
        while not self.coder.eof:
            self.held += self._more()
            if len(self.held) > 8:
                raise _Damaged("has an array with something after its end")
        if len(self.held) > 8 or self.coder.unused_data or self.packed:
            raise _Damaged("has an array with something after its end")


def _walk_top(held: _Inflated, order: str) -> None:
    kind, length = struct.unpack(f"{order}2I", held.take(8))
    if kind != _MATRIX:
        raise _Damaged(f"has an element of type {kind}, where an array is due")
    _walk(held, length, order)
    held.end()


def _walk(held, length: int, order: str, depth: int = 0) -> None:
    """Walk the elements of an array: each must lie inside it."""
    if depth > _MOST_DEPTH:
        raise _Damaged(f"holds arrays within arrays, more than {_MOST_DEPTH} deep")
    whole, sparse = length, False
    while length > 0:
        if length < 8:
            held.skip(length)
            return
        (word,) = struct.unpack(f"{order}I", held.take(4))
        length -= 4
        if word >> 16:  # up to four bytes lie in the place of the length
            if word >> 16 > 4:
                raise _Damaged("has an element of four bytes that claims more")
            _known(word & 0xFFFF, _TYPES, "element")
            held.skip(4)
            length -= 4
            continue
        (size,) = struct.unpack(f"{order}I", held.take(4))
        length -= 4
        _known(word, _TYPES, "element")
        padded = size if word == _MATRIX else size + -size % 8
        if padded > length:
            if size > length:
                raise _Damaged("has an element that is longer than what holds it")
            padded = length
        if word == _MATRIX:
            _walk(held, padded, order, depth + 1)
        elif word == _FLAGS and size == 8:
            kind = struct.unpack(f"{order}I4x", held.take(padded))[0] & 0xFF
            _known(kind, _CLASSES, "array")
            sparse = kind == _SPARSE
        elif word == _SHAPE and length + 24 == whole and not sparse:
            # Python's numbers do not run over.
            shape = struct.unpack(f"{order}{size // 4}i", held.take(padded)[: size // 4 * 4])
            if min(shape, default=0) < 0 or prod(shape) > max(whole, _FREE):
                raise _Damaged(f"has an array of shape {shape}, which is more than it holds")
        else:
            held.skip(padded)
        length -= padded


def _known(kind: int, kinds, what: str) -> None:
    if kind not in kinds:
        raise _Damaged(f"has an {what} of type {kind}, which there is none of")
