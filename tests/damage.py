"""What can happen to the bytes of a file, drawn from a seeded generator."""

from collections.abc import Callable, Iterator

import numpy as np


def _flipped(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content)))]


def _without_a_piece(content: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:first] + content[max(last, first + 1) :]


def _zeros(content: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:first] + bytes(last - first) + content[last:]


def _noise(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    piece = rng.bytes(int(rng.integers(1, 64)))
    return content[:at] + piece + content[at + len(piece) :]


def _longer(content: bytes, rng: np.random.Generator) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 200)))


def _twice(content: bytes, _: np.random.Generator) -> bytes:
    return content + content


def _shuffled(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    return content[at:] + content[:at]


#: Contents that have nothing to do with what stood there.
FOREIGN = (
    b"",
    b"\0",
    b"{}",
    b"[]",
    b"null",
    b"1e999",
    b'"text"',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\xff\xfe{\0}\0",
    b"\xef\xbb\xbf{}",
    b"\x80\x81\x82",
    b"<!doctype html><title>404</title>",
    b'{"schema": 1, "files": null}',
    b'{"digest": "0", "value": null}',
    b"\x93NUMPY\x01\x00\xff\xff",
)


def _foreign(_: bytes, rng: np.random.Generator) -> bytes:
    return FOREIGN[int(rng.integers(len(FOREIGN)))]


KINDS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    _flipped,
    _cut,
    _without_a_piece,
    _zeros,
    _noise,
    _longer,
    _twice,
    _shuffled,
    _foreign,
)


def damaged(content: bytes, number: int, seed: int = 0) -> Iterator[bytes]:
    """Yield so many damaged versions of a file's content, all kinds in turn, each different from the content."""
    rng = np.random.default_rng(seed)
    made = 0
    while made < number:
        version = KINDS[made % len(KINDS)](content, rng)
        if version != content:
            yield version
            made += 1
