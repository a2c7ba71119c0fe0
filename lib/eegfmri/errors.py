"""What can go wrong, in two kinds: the request was wrong, or the work failed.

Every message is one sentence that names what, where, and what to do; the command line prints it without a
traceback and leaves with the exit code of its kind.
"""


class EegFmriError(Exception):
    """The work failed: a file is not what it should be, a chapter's cell raised, a disk is full."""

    exit_code = 1


class RequestError(EegFmriError):
    """The request was wrong: a misspelt parameter, a missing folder, two datasets of one kind."""

    exit_code = 2


class DataError(EegFmriError):
    """A recording's file cannot be used, with the file, the line or field, and the remedy."""
