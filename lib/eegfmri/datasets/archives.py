"""Unpacking what strangers have packed: plain files and folders inside one folder, or nothing at all.

A member that points outside, a link, a device or a damaged byte ends the unpacking, and what had been unpacked is removed. What an
archive claims (names, headers, sizes, members) is bounded before it is believed.
"""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from eegfmri.errors import CannotWrite, DataError, EegFmriError

#: Bytes of the disk that unpacking leaves free.
RESERVE = 500_000_000

#: Members that an archive may have; those of the datasets have thousands.
MOST_MEMBERS = 100_000

#: Bytes of one header that a tar may have: of a long name, or of extended attributes.
MOST_HEADER = 1 << 20

#: How many times as large as the archive its contents may be, beyond `LEAST_CONTENTS` bytes; signals and images shrink to a half.
MOST_RATIO, LEAST_CONTENTS = 100, 1_000_000_000

#: What an operating system leaves in an archive; never unpacked.
_LITTER = ("__MACOSX", ".DS_Store")


class Damaged(DataError):
    """An archive cannot be read to its end: fetched again, it may be whole."""


@contextmanager
def unpacked(archive: Path, folder: Path) -> Iterator[Path]:
    """Unpack an archive into a temporary folder that goes when the block ends.

    Parameters
    ----------
    archive : pathlib.Path
        A ``.tgz``, ``.tar.gz`` or ``.zip``.
    folder : pathlib.Path
        The temporary folder; removed first if it is there.

    Yields
    ------
    pathlib.Path
        ``folder``, with regular files and folders only.

    Raises
    ------
    Damaged
        If the archive cannot be read to its end, whatever is wrong with it.
    DataError
        If a member is anything but a regular file or folder inside, or the archive claims more than is believed.
    EegFmriError
        If the disk would be full, or cannot be written to.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        try:
            if archive.name.endswith(".zip"):
                _unpack_zip(archive, folder)
            else:
                _unpack_tar(archive, folder)
        except EegFmriError:
            raise
        # What a damaged archive makes tarfile, zipfile and their decompressors raise cannot be listed.
        except Exception as error:
            if isinstance(error, OSError) and error.errno in CannotWrite.NUMBERS:
                raise CannotWrite.of(error, folder.parent) from error
            reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
            reason = reason.encode("utf-8", "backslashreplace").decode()
            raise Damaged(f"{archive.name} is damaged ({reason}); nothing of it was unpacked.") from error
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack_tar(archive: Path, folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise EegFmriError("Unpacking safely needs Python 3.11.4 or newer: make the environment anew with it.")
    budget = _Budget(archive)
    with gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as tar:
            for member in tar:
                budget.take(member.name, member.size)
                # Of what is behind, tar needs nothing; it would keep it for all members.
                tar.members = []
                if _litter(member.name):
                    continue
                if not (member.isreg() or member.isdir()):
                    raise _refusal(archive, member.name, "neither a file nor a folder")
                _require_inside(archive, member.name)
                _require_space(archive, folder, member.size)
                # Python's own guard as well: it also takes away odd permissions and owners.
                tar.extract(member, folder, filter="data")
        # tar ends at its first empty block; gzip's checksum stands at the very end.
        while block := stream.read(1 << 20):
            budget.take("the end", len(block), members=0)


class _Header(tarfile.TarInfo):
    """A header of a tar, refused if it is damaged, which tarfile takes for the archive's end, or claims to go on for long."""

    _EXTENSIONS = (
        tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
    )  # fmt: skip

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        if header.size < 0 or (header.type in cls._EXTENSIONS and header.size > MOST_HEADER):
            raise tarfile.ReadError(f"a header claims {header.size} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            header._no_sparse_files()
        return header

    def _no_sparse_files(self, *_):
        raise tarfile.ReadError("it holds a sparse file, whose map may be of any length")

    # The three forms that a sparse file takes in extended headers.
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _no_sparse_files


class _Budget:
    """What an archive may still claim: members, and bytes of all of them together."""

    def __init__(self, archive: Path):
        self.archive, self.members = archive, MOST_MEMBERS
        self.n_bytes = LEAST_CONTENTS + MOST_RATIO * archive.stat().st_size

    def take(self, name: str, n_bytes: int, members: int = 1) -> None:
        """Count a member; refuse the archive when there are too many or they are too large."""
        self.members -= members
        self.n_bytes -= n_bytes
        if n_bytes < 0 or self.members < 0 or self.n_bytes < 0:
            raise _refusal(self.archive, name, "beyond what an archive of its size can hold")


def _unpack_zip(archive: Path, folder: Path) -> None:
    budget = _Budget(archive)
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            budget.take(member.filename, member.file_size)
            if _litter(member.filename):
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refusal(archive, member.filename, "neither a file nor a folder")
            if member.flag_bits & 1:
                raise _refusal(archive, member.filename, "encrypted")
            _require_inside(archive, member.filename)
            target = folder.joinpath(*PurePosixPath(member.filename).parts)
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            _require_space(archive, folder, member.file_size)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with bundle.open(member) as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
            except (FileExistsError, NotADirectoryError):
                raise _refusal(archive, member.filename, "in it twice") from None


def _litter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part in _LITTER or part.startswith("._") for part in parts)


def _require_inside(archive: Path, name: str) -> None:
    pure = PurePosixPath(name)
    if (
        not name
        or pure.is_absolute()
        or ".." in pure.parts
        or "\\" in name
        or "\0" in name
        or ":" in (pure.parts or ("",))[0]
    ):
        raise _refusal(archive, name, "outside its folder")


def _require_space(archive: Path, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size + RESERVE > free:
        raise EegFmriError(
            f"The disk is full: unpacking {archive.name} needs more than the {free / 1e9:.1f} GB that are free at {folder.parent}; "
            "make room and run the command again."
        )


def _refusal(archive: Path, name: str, what: str) -> DataError:
    return DataError(f"{archive.name} was refused, and nothing of it unpacked: its member {name!r} is {what}.")


def move_into(folder: Path, root: Path, names: list[str]) -> None:
    """Move the named entries of a folder into another on the same disk, each in one step, replacing what is there."""
    for name in names:
        target = root / name
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)
        os.replace(folder / name, target)
