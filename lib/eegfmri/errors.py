"""What can go wrong, in two kinds: the request was wrong, or the work failed.

Every message is one sentence that names what, where, and what to do; the command line prints it without a
traceback and leaves with the exit code of its kind.
"""

import errno
import os
import re
import traceback
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

#: Environment variable that has the traceback behind a refused file shown; ``--debug`` sets it.
DEBUG = "EEGFMRI_DEBUG"


class EegFmriError(Exception):
    """The work failed: a file is not what it should be, a chapter's cell raised, a disk is full."""

    exit_code = 1


class RequestError(EegFmriError):
    """The request was wrong: a misspelt parameter, a missing folder, two datasets of one kind."""

    exit_code = 2


class DataError(EegFmriError):
    """A recording's file cannot be used, with the file, the line or field, and the remedy.

    What is quoted from a damaged file may be of any length and hold any characters: see `plain`.
    """

    def __init__(self, message: object = ""):
        super().__init__(plain(str(message)))


#: Kinds of characters that move a cursor, turn text round or stand for bytes that are no text: controls, surrogates.
_INVISIBLE = ("Cc", "Cs")

#: Marks that turn the direction of what follows, so that a name looks like another one.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_printable(text: str) -> bool:
    """Say whether a text holds neither control characters, line breaks included, nor bytes that are no text."""
    return not any(unicodedata.category(character) in _INVISIBLE or character in _TURNING for character in text)


def escaped(text: str, keep: str = "\n\t") -> str:
    r"""Return a text that may be sent to a terminal: control characters and bytes that are no text are written as escapes.

    Parameters
    ----------
    text : str
        From a file, a file's name or anywhere else.
    keep : str
        Control characters that stay: line breaks and tabs.

    Returns
    -------
    str
        The same, but for what would not be seen.

    Examples
    --------
    >>> print(escaped("W\x1b[2J"))
    W\x1b[2J
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in keep or is_printable(character)
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


#: Characters of one word in a sentence (paths are shorter), and of a sentence.
_LONGEST_WORD = 300
_LONGEST_LINE = 1200


def plain(text: str) -> str:
    r"""Make a text fit for one line of a terminal, whatever was quoted into it.

    Parameters
    ----------
    text : str
        A sentence.

    Returns
    -------
    str
        Line breaks and long gaps are blanks, characters that steer a terminal are written out, words of more than 300 characters and
        lines of more than 1200 are cut.

    Examples
    --------
    >>> plain("a unit of 'x\x1b[2J'\n  is none")
    "a unit of 'x\\x1b[2J' is none"
    """
    text = re.sub(r" {4,}|[ ]*[\t\r\n\v\f\x85\u2028\u2029]\s*", " ", text)
    words = [word if len(word) <= _LONGEST_WORD else f"{word[:40]}…{word[-20:]}" for word in text.split(" ")]
    line = escaped(" ".join(words), keep="")
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 201]}…{line[-200:]}"


#: What the system says when there is no room.
_NO_ROOM = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


class CannotWrite(EegFmriError, OSError):
    """A file cannot be written: the disk is full, or its folder is closed to us.

    Attributes
    ----------
    errno : int
        The system's number of the error.
    strerror : str
        Its words.
    """

    #: Errors of the system that are always about writing: no room, a file too large, a disk that can only be read.
    NUMBERS = _NO_ROOM | {errno.EFBIG, errno.EROFS}

    def __init__(self, message: str, number: int | None = None, words: str | None = None):
        super().__init__(message)
        self.message, self.errno, self.strerror = message, number, words

    def __str__(self) -> str:
        return self.message

    def __reduce__(self):
        return type(self), (self.message, self.errno, self.strerror)

    @classmethod
    def of(cls, error: OSError, path: object) -> "CannotWrite":
        """Say in one sentence what the system has reported about a path."""
        words = error.strerror or str(error)
        if error.errno in _NO_ROOM:
            message = f"{path} cannot be written, the disk is full ({words}): make room and run the command again."
        elif error.errno == errno.EFBIG:
            message = f"{path} cannot be written, files may not become so large here ({words}): name another folder."
        else:
            message = f"{path} cannot be written ({words}): allow writing to its folder, or name another one."
        return cls(message, error.errno, words)

    @classmethod
    @contextmanager
    def saying(cls, path: object, full: bool = False) -> Iterator[None]:
        """Turn the system's errors into `CannotWrite`; only those about room and read-only disks where ``full``."""
        try:
            yield
        except EegFmriError:
            raise
        except OSError as error:
            if full and error.errno not in cls.NUMBERS:
                raise
            raise cls.of(error, path) from error


@contextmanager
def reading(path: object, remedy: str = "fetch the file again") -> Iterator[None]:
    """Stand around whatever opens or reads one file: any exception becomes a `DataError` that names the file.

    What a damaged file makes a library raise cannot be listed, so every exception counts. With the environment variable
    `DEBUG` its traceback is printed all the same, so that a fault of ours is not taken for one of the file.

    Parameters
    ----------
    path : object
        What is read, as the sentence names it.
    remedy : str, default="fetch the file again"
        What to do.

    Yields
    ------
    None

    Raises
    ------
    DataError
        In place of any exception but the library's own, which say already what is wrong.
    """
    try:
        yield
    except EegFmriError:
        raise
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        reason = " ".join(str(error).split()).rstrip(".")
        cause = f"{type(error).__name__}: {reason[:300]}" if reason else type(error).__name__
        raise DataError(f"{path} cannot be read ({cause}): {remedy}.") from error


@contextmanager
def looking_up(given: object, remedy: str, option: str = "") -> Iterator[None]:
    """Stand around whatever looks whether there is something at a path that somebody gave.

    Parameters
    ----------
    given : object
        What was given for a path.
    remedy : str
        What to do: ``"give that of a file"``.
    option : str, default=""
        Which option or parameter it was given to.

    Yields
    ------
    None

    Raises
    ------
    RequestError
        If it cannot be a path at all: a name that is too long, a NUL, the home of nobody, links in a circle.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        place = f"{option}: " if option else ""
        raise RequestError(f"{place}{plain(repr(str(given)))} is no path ({reason}): {remedy}.") from None
