"""One file from a server to its final name: resumed where it broke off, checked, and never there half.

Bytes arrive in ``NAME.part``. Only when their number and checksum are right does the file get its name. What came wrong is
thrown away and fetched once more; what came wrong twice is kept as ``NAME.wrong`` and reported.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from eegfmri.errors import DataError, EegFmriError

#: Answers that mean "later".
BUSY = (408, 429, 500, 502, 503, 504)

#: Attempts in a row that bring no byte before a file is given up.
MAX_IDLE_ATTEMPTS = 6

#: Times that a file may come wrong before it is given up.
MAX_WRONG = 2

#: Seconds to wait for a connection, and for the next byte.
TIMEOUTS = (15, 60)

#: Longest pause between two attempts, in s, whatever the server asks for.
MAX_PAUSE = 120.0

_CHUNK = 1 << 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server and what is known of it.

    Attributes
    ----------
    name : str
        Path under the dataset's folder, with slashes.
    url : str
        Where it is; https, or this machine.
    n_bytes : int or None
        Its size, where known.
    md5 : str or None
        Its checksum, where published.
    """

    name: str
    url: str
    n_bytes: int | None = None
    md5: str | None = None


@dataclass
class Transfer:
    """What a download does while it goes: whom it tells, how it waits, what went wrong so far.

    Attributes
    ----------
    listen : callable
        Called as ``listen(event, file, value)``: ``start`` (bytes there already), ``bytes`` (number more, negative when
        they are thrown away), ``done`` (size), ``retry`` (reason), ``failed`` (error).
    pause : float
        Seconds before the second attempt; doubled for each further one.
    stop : threading.Event
        Set it, and all transfers end, leaving their parts for the next time.
    faults : dict of str to int
        How often each kind of fault was met.
    """

    listen: Callable[[str, RemoteFile, object], None] = lambda event, file, value: None
    pause: float = 1.0
    stop: threading.Event = field(default_factory=threading.Event)
    faults: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _local: threading.local = field(default_factory=threading.local)

    @property
    def session(self) -> requests.Session:
        """The connection pool of this thread: requests does not share one between threads."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            # Compressed on the way, sizes and ranges would mean something else.
            self._local.session.headers["Accept-Encoding"] = "identity"
        return self._local.session

    def fault(self, kind: str) -> None:
        """Count a fault."""
        with self._lock:
            self.faults[kind] = self.faults.get(kind, 0) + 1

    def wait(self, seconds: float) -> None:
        """Pause; raise `Stopped` when the download is being ended."""
        if self.stop.wait(min(seconds, MAX_PAUSE)):
            raise Stopped("The download was interrupted; the same command goes on from there.")


class Stopped(EegFmriError):
    """The download was ended from outside; parts are kept."""


class _Retry(Exception):
    """An attempt that failed in a way another may not."""

    def __init__(self, kind: str, reason: str, after: float | None = None):
        super().__init__(reason)
        self.kind, self.after = kind, after


class _Wrong(Exception):
    """What came is not what was due."""

    def __init__(self, kind: str, reason: str):
        super().__init__(reason)
        self.kind = kind


def require_safe(url: str) -> None:
    """Refuse an address that is neither https nor this machine's own."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise DataError(f"{url} is not https; nothing is fetched over a connection that anyone could change.")


def fetch_file(file: RemoteFile, path: Path, transfer: Transfer) -> dict:
    """Fetch one file, going on where an earlier attempt broke off.

    Parameters
    ----------
    file : RemoteFile
        What to fetch.
    path : pathlib.Path
        Its final name; ``.part``, ``.part.tag`` and ``.wrong`` beside it are this function's own.
    transfer : Transfer
        Listener, pauses and counts.

    Returns
    -------
    dict
        ``bytes`` and ``md5`` of the file as it stands under its final name.

    Raises
    ------
    DataError
        If the server has no such file, or sent something wrong `MAX_WRONG` times.
    EegFmriError
        If it could not be reached, or the download was stopped.
    """
    require_safe(file.url)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    transfer.listen("start", file, part.stat().st_size if part.is_file() else 0)
    idle = wrong = 0
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            size = _attempt(file, part, transfer)
            md5 = _require_right(file, part, size)
        except _Retry as failure:
            transfer.fault(failure.kind)
            after = part.stat().st_size if part.is_file() else 0
            idle = 0 if after > before else idle + 1
            if idle >= MAX_IDLE_ATTEMPTS:
                raise EegFmriError(
                    f"{file.name} could not be fetched after {idle} attempts without a byte ({failure}); what came is kept, "
                    "run the command again later."
                ) from None
            transfer.listen("retry", file, str(failure))
            pause = transfer.pause * 2 ** max(idle - 1, 0) if failure.after is None else failure.after
            transfer.wait(pause)
        except _Wrong as failure:
            transfer.fault(failure.kind)
            wrong += 1
            if part.is_file():
                transfer.listen("bytes", file, -part.stat().st_size)
            if wrong >= MAX_WRONG:
                aside = path.with_name(path.name + ".wrong")
                if part.is_file():
                    os.replace(part, aside)
                kept = f"; it is kept as {aside.name}" if aside.is_file() else ""
                raise DataError(f"{file.name} came wrong {wrong} times: {failure}{kept}.") from None
            _forget(part)
            transfer.listen("retry", file, str(failure))
            transfer.wait(transfer.pause)
        else:
            os.replace(part, path)
            _forget(part)
            transfer.listen("done", file, size)
            return {"bytes": size, "md5": md5}


def remote_size(url: str, transfer: Transfer) -> int | None:
    """Ask a server for a file's size in bytes; None if it does not say or cannot be reached."""
    require_safe(url)
    try:
        with transfer.session.head(url, timeout=TIMEOUTS, allow_redirects=True) as answer:
            length = answer.headers.get("Content-Length", "")
            return int(length) if answer.ok and length.isdigit() else None
    except requests.RequestException:
        return None


def file_md5(path: Path) -> str:
    """Return the MD5 of a file: a checksum against damage, which is what the datasets publish."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _attempt(file: RemoteFile, part: Path, transfer: Transfer) -> int:
    """Ask for what is lacking and write it; return the size that the file must have."""
    have = part.stat().st_size if part.is_file() else 0
    tag = _tag_file(part).read_text(encoding="utf-8").strip() if _tag_file(part).is_file() else ""
    if have and not file.md5 and not tag:
        # Without checksum and version tag, two halves of different files could be joined unnoticed.
        transfer.listen("bytes", file, -have)
        _forget(part)
        have = 0
    if file.n_bytes is not None and have >= file.n_bytes:
        return file.n_bytes
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag:
            headers["If-Range"] = tag
    try:
        with transfer.session.get(file.url, headers=headers, stream=True, timeout=TIMEOUTS) as answer:
            for step in (*answer.history, answer):
                require_safe(step.url)
            if answer.status_code == 416 and answer.headers.get("Content-Range") == f"bytes */{have}":
                return have  # all of it had come before the last attempt ended
            total = _total(file, part, answer, have, transfer)
            fresh = answer.status_code == 200
            if have and fresh:
                transfer.fault("range ignored")
                transfer.listen("bytes", file, -have)
            if fresh:
                _remember_tag(part, answer)
            written = _write(file, part, answer, total, fresh, transfer)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Retry("dropped", f"the connection broke ({type(error).__name__})") from None
    if total is not None and written < total:
        raise _Retry("dropped", f"{written} of {total} bytes came")
    return written


def _total(file: RemoteFile, part: Path, answer, have: int, transfer: Transfer) -> int | None:
    """Judge the answer; return the whole file's size as the server gives it."""
    code = answer.status_code
    if code in BUSY:
        asked = answer.headers.get("Retry-After", "")
        raise _Retry("busy", f"the server answers {code}", float(asked) if asked.isdigit() else None)
    if code == 416:
        _forget(part)
        raise _Wrong("wrong range", f"the server has fewer bytes than the {have} that are there")
    if code not in (200, 206):
        transfer.fault("refused")
        raise DataError(f"{file.name} is not to be had: {urlsplit(file.url).hostname} answers {code} {answer.reason}.")
    if code == 206:
        span = answer.headers.get("Content-Range", "")
        first, _, rest = span.removeprefix("bytes ").partition("-")
        total = rest.partition("/")[2]
        if first != str(have):
            raise _Wrong("wrong range", f"the server sent {span or 'an unnamed range'} for bytes from {have} on")
        total = int(total) if total.isdigit() else None
    else:
        length = answer.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
    if file.n_bytes is not None and total is not None and total != file.n_bytes:
        raise _Wrong("wrong length", f"the server has {total} bytes where {file.n_bytes} are due")
    return file.n_bytes if total is None else total


def _remember_tag(part: Path, answer) -> None:
    tag = answer.headers.get("ETag", "")
    # A weak tag may stand for two different files.
    tag = tag if tag and not tag.startswith("W/") else ""
    if tag:
        _tag_file(part).write_text(tag, encoding="utf-8")
    else:
        _tag_file(part).unlink(missing_ok=True)


def _write(file: RemoteFile, part: Path, answer, total: int | None, fresh: bool, transfer: Transfer) -> int:
    with part.open("wb" if fresh else "ab") as stream:
        # The bytes as they are: a server that labels an archive as compressed content must not have it unpacked here.
        for block in answer.raw.stream(_CHUNK, decode_content=False):
            if transfer.stop.is_set():
                raise Stopped("The download was interrupted; the same command goes on from there.")
            stream.write(block)
            transfer.listen("bytes", file, len(block))
            if total is not None and stream.tell() > total:
                raise _Wrong("wrong length", f"more than {total} bytes came")
        return stream.tell()


def _require_right(file: RemoteFile, part: Path, size: int) -> str:
    found = part.stat().st_size
    if found != size:
        raise _Wrong("wrong length", f"{found} bytes where {size} are due")
    md5 = file_md5(part)
    if file.md5 and md5 != file.md5:
        raise _Wrong("wrong bytes", f"its MD5 is {md5} where {file.md5} is due")
    return md5
