"""One file from a server to its final name: resumed where it broke off, checked, and never there half.

Bytes arrive in ``NAME.part``. Only when their number and checksum are right does the file get its name. What came wrong is
thrown away and fetched once more; what came wrong twice is kept as ``NAME.wrong`` and reported. Nothing that a server says is
taken for a number, an address or a file before it has been looked at.
"""

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from eegfmri.cache import rename_whole
from eegfmri.errors import CannotWrite, DataError, EegFmriError

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

#: Bytes of the disk that a file whose size nobody knows may not take.
RESERVE = 500_000_000

#: Bytes of a listing that are read; OSF's pages have a few thousand.
MOST_LISTING = 20_000_000

_CHUNK = 1 << 20
_BETWEEN_CHECKS = 100_000_000
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
    md5, sha256 : str or None
        Its checksums, where published, or recorded at its first arrival.
    """

    name: str
    url: str
    n_bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None

    def differs(self, found: Mapping[str, str]) -> str | None:
        """Say which checksum is not the one that is due, or return None."""
        for kind, due in (("MD5", self.md5), ("SHA-256", self.sha256)):
            here = found[kind.lower().replace("-", "")]
            if due and here != due:
                return f"its {kind} is {here} where {due} is due"
        return None


class _Session(requests.Session):
    """A connection pool that goes to no address that `require_safe` refuses, whoever names it."""

    def get_redirect_target(self, resp):
        try:
            target = super().get_redirect_target(resp)
            address = None if target is None else urljoin(resp.url, target)
        except ValueError as error:
            raise _nowhere(resp.url) from error
        if address is not None:
            require_safe(address)
            if _is_here(address) and not _is_here(resp.url):
                raise DataError(f"{resp.url} sends to {address}, this machine itself; nothing is fetched from there.")
        return target


def _nowhere(url: str) -> DataError:
    return DataError(f"{url} sends to an address that is none; try again later, or name a mirror.")


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
            self._local.session = _Session()
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
    try:
        parts = urlsplit(url)
        # urlsplit leaves out line breaks, the request would not
        safe = (
            bool(parts.hostname)
            and url.isprintable()
            and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(url)))
        )
    except ValueError:
        raise DataError(f"{url[:300]!r} is no address.") from None
    if not safe:
        shown = repr(url)[1:-1][:300]
        raise DataError(f"{shown} is not https; nothing is fetched over a connection that anyone could change.")


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in _LOOPBACK


def stated_number(text: str) -> int | None:
    """Return the number that a header states in decimal digits, or None: ``²`` is a digit, too, and thousands of nines are a number."""
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text.strip()) else None


def fetch_json(url: str, transfer: Transfer) -> object:
    """Fetch a listing, again where the server is busy or sends something that is no JSON.

    Parameters
    ----------
    url : str
        Its address.
    transfer : Transfer
        Pauses and counts.

    Returns
    -------
    object
        What the JSON says, of whatever type.

    Raises
    ------
    DataError
        If the address is not safe.
    EegFmriError
        If it could not be had.
    """
    require_safe(url)
    for attempt in range(4):
        try:
            with transfer.session.get(url, timeout=TIMEOUTS, stream=True) as answer:
                answer.raise_for_status()
                content = answer.raw.read(MOST_LISTING + 1, decode_content=True)
            if len(content) > MOST_LISTING:
                raise ValueError(f"more than {MOST_LISTING // 1_000_000} MB")
            return json.loads(content)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, RecursionError) as error:
            transfer.fault("busy")
            if attempt == 3:
                raise EegFmriError(
                    f"The list of files at {url} could not be read ({_reason(error)}); run the command again later."
                ) from None
            transfer.wait(transfer.pause * 2**attempt)
    raise AssertionError


def _reason(error: Exception) -> str:
    """Return the words of an error in one line that any terminal can show."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words[:300].encode("utf-8", "backslashreplace").decode()


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
        ``bytes``, ``md5`` and ``sha256`` of the file as it stands under its final name.

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
            checksums = _require_right(file, part, size)
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
            rename_whole(part, path)
            _forget(part)
            transfer.listen("done", file, size)
            return {"bytes": size, **checksums}


def remote_size(url: str, transfer: Transfer) -> int | None:
    """Ask a server for a file's size in bytes; None if it does not say or cannot be reached."""
    require_safe(url)
    try:
        with transfer.session.head(url, timeout=TIMEOUTS, allow_redirects=True) as answer:
            return stated_number(answer.headers.get("Content-Length", "")) if answer.ok else None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError):
        return None


def file_checksums(path: Path) -> dict[str, str]:
    """Return ``md5``, a checksum against damage, which is what the datasets publish, and ``sha256`` of a file."""
    both = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            for checksum in both.values():
                checksum.update(block)
    return {name: checksum.hexdigest() for name, checksum in both.items()}


#: A strong version tag: what stands between its quotation marks can be sent back as it came.
_TAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _attempt(file: RemoteFile, part: Path, transfer: Transfer) -> int:
    """Ask for what is lacking and write it; return the size that the file must have."""
    have = part.stat().st_size if part.is_file() else 0
    tag = _tag_file(part).read_text(encoding="utf-8", errors="replace") if _tag_file(part).is_file() else ""
    tag = tag if _TAG.fullmatch(tag) else ""
    if have and not file.md5 and not file.sha256 and not tag:
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
    except CannotWrite:
        raise
    # requests and http.client raise ValueErrors of their own at answers that are none.
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise _Retry("dropped", f"the connection broke ({type(error).__name__})") from None
    if total is not None and written < total:
        raise _Retry("dropped", f"{written} of {total} bytes came")
    return written


def _total(file: RemoteFile, part: Path, answer, have: int, transfer: Transfer) -> int | None:
    """Judge the answer; return the whole file's size as the server gives it."""
    code = answer.status_code
    if code in BUSY:
        raise _Retry("busy", f"the server answers {code}", stated_number(answer.headers.get("Retry-After", "")))
    if code == 416:
        _forget(part)
        raise _Wrong("wrong range", f"the server has fewer bytes than the {have} that are there")
    if code not in (200, 206):
        transfer.fault("refused")
        said = f"{code} {answer.reason or ''}".encode("ascii", "backslashreplace").decode().strip()
        raise DataError(f"{file.name} is not to be had: {urlsplit(file.url).hostname} answers {said[:100]}.")
    if code == 206:
        span = answer.headers.get("Content-Range", "")
        first, _, rest = span.removeprefix("bytes ").partition("-")
        total = rest.partition("/")[2]
        if first != str(have):
            raise _Wrong("wrong range", f"the server sent {span or 'an unnamed range'} for bytes from {have} on")
        total = stated_number(total)
    else:
        total = stated_number(answer.headers.get("Content-Length", ""))
    if file.n_bytes is not None and total is not None and total != file.n_bytes:
        raise _Wrong("wrong length", f"the server has {total} bytes where {file.n_bytes} are due")
    return file.n_bytes if total is None else total


def _remember_tag(part: Path, answer) -> None:
    tag = answer.headers.get("ETag", "")
    # A weak tag may stand for two different files; one that no request can carry is of no use.
    if _TAG.fullmatch(tag):
        _tag_file(part).write_text(tag, encoding="utf-8")
    else:
        _tag_file(part).unlink(missing_ok=True)


def _write(file: RemoteFile, part: Path, answer, total: int | None, fresh: bool, transfer: Transfer) -> int:
    written = checked = 0
    with part.open("wb" if fresh else "ab") as stream:
        # The bytes as they are: a server that labels an archive as compressed content must not have it unpacked here.
        for block in answer.raw.stream(_CHUNK, decode_content=False):
            if transfer.stop.is_set():
                raise Stopped("The download was interrupted; the same command goes on from there.")
            with CannotWrite.saying(part, full=True):
                stream.write(block)
            written += len(block)
            if total is None and written > checked + _BETWEEN_CHECKS:
                checked = written
                if shutil.disk_usage(part.parent).free < RESERVE:
                    raise EegFmriError(
                        f"{file.name} goes on beyond {written / 1e9:.1f} GB, its server does not say how far, and the disk is nearly "
                        "full: make room, or name another place with --dest."
                    )
            transfer.listen("bytes", file, len(block))
            if total is not None and stream.tell() > total:
                raise _Wrong("wrong length", f"more than {total} bytes came")
        return stream.tell()


def _require_right(file: RemoteFile, part: Path, size: int) -> dict[str, str]:
    found = part.stat().st_size
    if found != size:
        raise _Wrong("wrong length", f"{found} bytes where {size} are due")
    checksums = file_checksums(part)
    if (wrong := file.differs(checksums)) is not None:
        raise _Wrong("wrong bytes", wrong)
    return checksums
