"""Unpacking what strangers have packed: plain files and folders inside one folder, or nothing at all.

A member that points outside, a link, a device or a damaged byte ends the unpacking, and what had been unpacked is removed.
"""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from eegfmri.errors import DataError, EegFmriError

#: Bytes of the disk that unpacking leaves free.
RESERVE = 500_000_000

#: What an operating system leaves in an archive; never unpacked.
_LITTER = ("__MACOSX", ".DS_Store")


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
    DataError
        If a member is anything but a regular file or folder inside, or the archive is damaged.
    EegFmriError
        If the disk would be full.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        try:
            if archive.name.endswith(".zip"):
                _unpack_zip(archive, folder)
            else:
                _unpack_tar(archive, folder)
        except (
            tarfile.TarError,
            zipfile.BadZipFile,
            gzip.BadGzipFile,
            EOFError,
            zlib.error,
            NotImplementedError,
        ) as error:
            raise DataError(f"{archive.name} is damaged ({error}); nothing of it was unpacked.") from error
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack_tar(archive: Path, folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise EegFmriError("Unpacking safely needs Python 3.11.4 or newer: make the environment anew with it.")
    with gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if _litter(member.name):
                    continue
                if not (member.isreg() or member.isdir()):
                    raise _refusal(archive, member.name, "neither a file nor a folder")
                _require_inside(archive, member.name)
                _require_space(archive, folder, member.size)
                # Python's own guard as well: it also takes away odd permissions and owners.
                tar.extract(member, folder, filter="data")
        # tar ends at its first empty block; gzip's checksum stands at the very end.
        while stream.read(1 << 20):
            pass


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
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
