"""NIfTI images as others wrote them: one way to open them, which judges type, size, content and position first.

What can be mended without a guess is mended and said; the rest raises `DataError`.
"""

import io
import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel import imageglobals
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError

from eegfmri import cache
from eegfmri.errors import DataError, reading
from eegfmri.examined import remembered, require_unchanged, stamp_of
from eegfmri.forgiven import forgive, inherited, listening
from eegfmri.text import number, read_facts, require_regular, visible

#: Folders above an image in which a sidecar for a whole task is looked for, nearest first.
MOST_FOLDERS_UP = 4

#: How far (s) two statements of a repetition time may lie apart and still agree.
T_R_TOLERANCE = 1e-3

#: Seconds per unit of time of a NIfTI header, by its code; 0 states none, and means seconds.
_SECONDS = {0: 1.0, 8: 1.0, 16: 1e-3, 24: 1e-6}

#: How far (share, mm) two statements of voxel sizes and places may lie apart and still agree.
_SIZE_TOLERANCE, _PLACE_TOLERANCE = 0.01, 0.5

#: Sizes (mm) of voxels that a scan can have.
_SMALLEST_VOXEL, _LARGEST_VOXEL = 0.05, 100.0


@dataclass(frozen=True)
class ImageFacts:
    """What is true of an image: header, size and content agree.

    Attributes
    ----------
    shape : tuple of int
        (x, y, z, n_volumes), or (x, y, z).
    t_r : float or None
        Repetition time in s as the header says it, which need not be true; None if it says none.
    affine : numpy.ndarray or None
        4 x 4, from voxels to mm; None if the header states no position, for which nibabel would put in a centred one.
    simulated : bool
        Whether the header says that the image was simulated.
    repaired : tuple of str
        One sentence each: what was mended.
    """

    shape: tuple[int, ...]
    t_r: float | None
    affine: np.ndarray | None
    simulated: bool = False
    repaired: tuple[str, ...] = ()


def open_image(path: str | Path):
    """Open an image lazily, judged and mended.

    Parameters
    ----------
    path : str or pathlib.Path
        NIfTI, compressed or not.

    Returns
    -------
    nibabel.Nifti1Image
        Data are read when sliced, voxels that are NaN as 0; a reading that fails raises `DataError` with the file's name.

    Raises
    ------
    DataError
        If the file is no image of real numbers, is truncated or damaged, or blank where a scan is not.
    """
    return _open(Path(path))[0]


def open_anatomy(path: str | Path):
    """Open an anatomical image, see `open_image`: three axes, of which a fourth of length 1 is taken off."""
    image = open_image(path)
    while len(image.shape) > 3 and image.shape[-1] == 1:
        image = image.slicer[..., 0] if len(image.shape) == 4 else _squeezed(image)
    if len(image.shape) != 3:
        raise DataError(f"{path} has shape {image.shape}, an anatomical image has three axes: give another file.")
    return image


def image_facts(path: str | Path) -> ImageFacts:
    """Judge an image, see `open_image`.

    Parameters
    ----------
    path : str or pathlib.Path
        NIfTI, compressed or not.

    Returns
    -------
    ImageFacts
        What is true of it, and what was mended.

    Raises
    ------
    DataError
        As `open_image`.
    """
    return _open(Path(path))[1]


def run_facts(path: str | Path) -> ImageFacts:
    """Judge the image of a run: `image_facts`, of four axes, more than one volume."""
    return _open(Path(path), a_run=True)[1]


def _squeezed(image):
    return nibabel.Nifti1Image(np.asarray(image.dataobj)[..., 0], image.affine)


def _open(path: Path, a_run: bool = False) -> tuple[object, ImageFacts]:
    require_regular(path)
    repaired: list[str] = []
    with reading(f"{path} as NIfTI"), _heard() as heard, listening() as forgiven:
        try:
            image = nibabel.load(path)
        except (HeaderDataError, ValueError) as error:
            if "w2" not in str(error):
                raise
            image = _RoundedImage.from_filename(path)
            repaired.append(
                f"{path.name}: the quaternion of its position is longer than 1 by rounding; it was normalised."
            )
        if not isinstance(image, nibabel.nifti1.Nifti1Pair):
            raise DataError(f"{path} is a {type(image).__name__}, not NIfTI: convert it.")
        header, shape = image.header, tuple(int(n) for n in image.shape)
        dtype = header.get_data_dtype()
        if dtype.names or dtype.kind not in "iuf":
            kind = "colours" if dtype.names else f"numbers of type {dtype}"
            raise DataError(f"{path} holds {kind}, where one real number per voxel is expected: give another file.")
        if not shape or min(shape) < 1 or len(shape) < 3:
            raise DataError(f"{path} has shape {shape}, an image has at least three axes: fetch the file again.")
        if a_run and (len(shape) != 4 or shape[3] < 2):
            raise DataError(
                f"{path} has shape {shape}: a run has four dimensions, three axes of space and its volumes."
            )
        found = _content(Path(image.file_map["image"].filename), image.dataobj.offset, shape, dtype)
    _judge(path, shape, found, repaired)
    repaired += [f"{path.name}: its header was mended ({text})." for text in heard]
    repaired += forgiven.sentences()
    affine, image = _position(path, image, repaired)
    if type(image.dataobj) is ArrayProxy:
        # nibabel lets a proxy be chosen per class of image only, and `load` chooses that class itself
        image._dataobj = _Guarded.around(image.dataobj, path)
    t_r = None
    if len(shape) > 3:
        # three bits are the unit of space, three that of time; what is none of time says nothing
        second, stated = _SECONDS.get(int(header["xyzt_units"]) & 0x38), number(header["pixdim"][4])
        t_r = stated * second if stated is not None and stated > 0 and second is not None else None
    simulated = header["descrip"].tobytes().startswith(b"SIMULATED")
    return image, ImageFacts(shape, t_r, affine, simulated, tuple(repaired))


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what nibabel mends in a header, which it only logs."""
    heard: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (text := record.getMessage().rstrip(".")) not in heard:
                heard.append(text)

    handler, propagates = Collect(), imageglobals.logger.propagate
    kept = imageglobals.logger.handlers[:]
    imageglobals.logger.handlers[:], imageglobals.logger.propagate = [handler], False
    try:
        yield heard
    finally:
        imageglobals.logger.handlers[:], imageglobals.logger.propagate = kept, propagates


class _RoundedHeader(nibabel.Nifti1Header):
    """As written by software that rounds the quaternion of the position."""

    quaternion_threshold = 1e-3


class _RoundedImage(nibabel.Nifti1Image):
    """With such a header."""

    header_class = _RoundedHeader


def _position(path: Path, image, repaired: list[str]):
    """Return the affine that the header states, or None, and the image with it."""
    header = image.header
    coded = {form: int(header[f"{form}_code"]) > 0 for form in ("sform", "qform")}
    if not any(coded.values()):
        return None, image
    affine = image.affine

    def sound(matrix) -> bool:
        return bool(np.isfinite(matrix).all()) and abs(np.linalg.det(matrix[:3, :3])) > 1e-6

    if sound(affine):
        repaired += _unlike(path, header, affine, image.shape, coded)
        return affine, image
    with reading(f"{path} as NIfTI"):
        other = header.get_qform() if coded["qform"] else None
    if coded["sform"] and other is not None and sound(other):
        repaired.append(f"{path.name}: its sform is empty or NaN, its qform is not; the qform was used.")
        mended = type(image)(image.dataobj, other, header)
        mended.set_sform(other, code=int(header["qform_code"]))
        return other, mended
    repaired.append(f"{path.name}: its affine is empty or NaN.")
    return None, image


def _unlike(path: Path, header, affine: np.ndarray, shape: tuple, coded: dict[str, bool]) -> list[str]:
    """Compare what a header says of the place: voxel sizes with the affine, its two forms with each other if they mean one space."""
    said = []
    sizes, columns = np.abs(header["pixdim"][1:4]), np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(sizes, columns, rtol=_SIZE_TOLERANCE, atol=0):
        stated, used = (" x ".join(f"{size:.4g}" for size in triple) for triple in (sizes, columns))
        said.append(f"{path.name} states voxels of {stated} mm, its affine gives {used} mm; the affine is used.")
    space = {1: "m", 3: "µm"}.get(int(header["xyzt_units"]) & 0x07)
    if space is not None:
        stated = " x ".join(f"{size:.4g}" for size in columns)
        if not ((columns >= _SMALLEST_VOXEL) & (columns <= _LARGEST_VOXEL)).all():
            raise DataError(f"{path} states voxels of {stated} {space}, mm are expected: convert its affine.")
        said.append(f"{path.name} states voxels of {stated} {space}, which cannot be; they are taken for mm.")
    if all(coded.values()) and int(header["sform_code"]) == int(header["qform_code"]):
        try:
            other = header.get_qform()
        except (HeaderDataError, ValueError):
            other = np.full((4, 4), np.nan)
        corners = np.array(
            [[x, y, z, 1.0] for x in (0, shape[0] - 1) for y in (0, shape[1] - 1) for z in (0, shape[2] - 1)]
        ).T
        apart = np.abs((affine - other) @ corners).max()
        if not apart <= _PLACE_TOLERANCE:
            said.append(f"{path.name}: its sform and its qform place it {apart:.3g} mm apart; the sform is used.")
    return said


# --- what stands beside an image -------------------------------------------------------------------------------------


def sidecar_facts(path: str | Path) -> tuple[dict, tuple[Path, ...]]:
    """Read what JSON sidecars say of an image: its own, and those of its task in the folders above, as BIDS inherits them.

    Parameters
    ----------
    path : str or pathlib.Path
        The image.

    Returns
    -------
    facts : dict
        The nearest statement of each name; empty without a sidecar.
    sidecars : tuple of pathlib.Path
        Where they come from, nearest first.

    Raises
    ------
    DataError
        If one of them is no JSON object.
    """
    path = Path(path)
    own = path.with_name(path.name.split(".nii")[0] + ".json")
    words = set(re.split(r"[_-]", path.name.split(".")[0]))
    found = [own] if own.is_file() else []
    for folder in list(path.absolute().parents)[:MOST_FOLDERS_UP]:
        for shared in visible(folder.glob("task-*_bold.json")):
            if shared.name.split("_")[0].removeprefix("task-") in words and shared != own:
                found.append(shared)
    facts: dict = {}
    for sidecar in reversed(found):
        with nullcontext() if sidecar == own else inherited():
            facts |= read_facts(sidecar)
    return facts, tuple(found)


def read_slice_times(bold_file: str | Path) -> np.ndarray:
    """Read when each slice was acquired from the sidecars of an image (``SliceTiming``).

    Parameters
    ----------
    bold_file : str or pathlib.Path
        The image (``…_bold.nii.gz``).

    Returns
    -------
    numpy.ndarray
        Shape (n_slices,), s after the start of the volume, from the lowest index along z up; ``SliceEncodingDirection``
        ``k-`` means that the sidecar counts from the other end.

    Raises
    ------
    DataError
        If there is no sidecar, or it gives no time in s for each slice.
    """
    facts, sidecars = sidecar_facts(bold_file)
    own = Path(bold_file).with_name(Path(bold_file).name.split(".nii")[0] + ".json")
    sidecar = sidecars[0] if sidecars else own
    if facts.get("SliceTiming") in (None, [], "", "n/a"):
        raise DataError(
            f"{sidecar} does not say when slices were acquired (SliceTiming): prepare without slice-time correction, or add it."
        )
    stated = facts["SliceTiming"]
    times = [number(value) for value in stated] if isinstance(stated, list) else [None]
    if None in times or min(times) < 0:
        raise DataError(f"{sidecar}: SliceTiming is {str(stated)[:80]}, expected one time in s per slice; correct it.")
    t_r = number(facts.get("RepetitionTime"))
    if Path(bold_file).is_file():
        about = image_facts(bold_file)
        t_r = t_r or about.t_r
        if len(times) != about.shape[2]:
            raise DataError(
                f"{sidecar}: SliceTiming has {len(times)} times, {Path(bold_file).name} has {about.shape[2]} slices; correct it."
            )
    if t_r is not None and t_r > 0 and max(times) >= t_r:
        raise DataError(
            f"{sidecar}: SliceTiming goes to {max(times):g} s, a volume takes {t_r:g} s; times are due in s after its start."
        )
    direction = str(facts.get("SliceEncodingDirection", "k"))
    if direction not in ("k", "k-"):
        raise DataError(
            f"{sidecar}: slices lie along {direction!r} (SliceEncodingDirection), here they are taken along the third axis (k)."
        )
    return np.array(times if direction == "k" else times[::-1], dtype=float)


def repetition_time(
    name: str, header: float | None, sidecar: object = None, paced: float | None = None
) -> tuple[float | None, tuple[str, ...]]:
    """Compare what header, sidecar and triggers say of the repetition time.

    Parameters
    ----------
    name : str
        Of the image, for what is said.
    header : float or None
        s, see `ImageFacts`.
    sidecar : object
        ``RepetitionTime`` in s as the sidecar writes it, a text too; None if it does not say.
    paced : float or None
        s between triggers.

    Returns
    -------
    t_r : float or None
        s; None if nothing says.
    repaired : tuple of str
        One sentence if a statement was passed over.

    Raises
    ------
    DataError
        If two of them differ and neither is plainly empty. Empty is a header without a value, and one that says 1 s where
        sidecar and triggers agree on another.
    """
    said = number(sidecar)
    said = None if said is None or said <= 0 else said
    header = header if header is not None and header > 0 else None
    others = [value for value in (said, paced) if value is not None]
    agreed = said is not None and paced is not None and _paced(said, paced)
    if header is None:
        if len(others) == 2 and not agreed:
            raise _differing(name, header, said, paced)
        if not others:
            return None, ()
        source = "its sidecar" if said is not None else "its triggers"
        return others[0], (f"{name} states no repetition time; {others[0]:g} s was taken from {source}.",)
    if (said is None or _same(header, said)) and (paced is None or _paced(header, paced)):
        return (said if said is not None else header), ()
    if agreed and _same(header, 1.0):
        return said, (
            f"{name} says a repetition time of 1 s, its sidecar and triggers {said:g} s; those were believed.",
        )
    raise _differing(name, header, said, paced)


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= T_R_TOLERANCE


def _paced(stated: float, paced: float) -> bool:
    """Whether triggers, which lie on samples of a clock of their own, keep a stated time."""
    return abs(stated - paced) <= 0.01 * stated


def _differing(name: str, header: float | None, said: float | None, paced: float | None) -> DataError:
    values = {"header": header, "sidecar": said, "triggers": paced}
    listed = ", ".join(f"its {source} {value:g} s" for source, value in values.items() if value is not None)
    return DataError(
        f"{name}: statements of the repetition time differ ({listed}), which one holds would be a guess; correct the wrong one."
    )


# --- content ---------------------------------------------------------------------------------------------------------


def _content(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> dict:
    """Read the file to its end once and remember what was found: bytes, blank volumes, NaN voxels, several gzip members.

    A gzip file's checksum is known to be right only when all of it has been read.
    """
    stamp = [cache.file_stamp(path), offset, list(shape), str(dtype), cache.code_digest(__name__)]
    return remembered(stamp, lambda: _read_to_the_end(path, offset, shape, dtype))


def _read_to_the_end(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> dict:
    n_volumes = int(np.prod(shape[3:], dtype=np.int64))
    size = int(np.prod(shape[:3], dtype=np.int64)) * dtype.itemsize
    due = offset + n_volumes * size
    compressed = _compressed(path)
    if not compressed and path.stat().st_size != due:
        return {"due": due, "bytes": path.stat().st_size}
    # deflate cannot pack more than about a thousand bytes into one: a header that claims more is wrong
    if compressed and due > 1100 * path.stat().st_size + 1_000_000:
        return {"due": due, "bytes": -1}
    found = {"due": due, "bytes": 0, "blank": [], "nan": 0, "values": n_volumes * size // dtype.itemsize}
    with io.BufferedReader(_Unpacked(path), 1 << 20) if compressed else path.open("rb") as stream:
        try:
            found["bytes"] = len(stream.read(offset))
            for index, block in enumerate(_blocks(stream, size, n_volumes)):
                found["bytes"] += len(block)
                if len(block) == size:
                    _look(np.frombuffer(block, dtype), index, found)
            found["bytes"] += len(stream.read(1))
            if compressed:
                stream.raw.forgive()
        except EOFError:
            # cut off inside the compressed stream, or before the checksum that ends it
            found["bytes"] = min(found["bytes"], due - 1)
    return found


class _Unpacked(io.RawIOBase):
    """What a gzip file holds, to the end of its last stream, checksums compared; it counts streams and padding."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.file = path, path.open("rb")
        self.coder, self.packed, self.streams, self.padding = None, b"", 0, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def close(self) -> None:
        """Close the file too."""
        self.file.close()
        super().close()

    def readinto(self, buffer) -> int:
        """Unpack at most as many bytes as the buffer holds; 0 at the end."""
        while True:
            if self.coder is None and not self._begin():
                return 0
            piece = self.coder.decompress(self.packed, len(buffer))
            ended = self.coder.eof
            self.packed = self.coder.unused_data if ended else self.coder.unconsumed_tail
            if ended:
                self.coder = None
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)
            if not ended and not self._more():
                raise EOFError("the file ends inside a gzip stream")

    def _more(self) -> bool:
        """Read on in the file where nothing is left of what was read."""
        if not self.packed:
            self.packed = self.file.read(1 << 16)
        return bool(self.packed)

    def _begin(self) -> bool:
        """Begin the next stream, if there is one: zeros may lie between streams and after the last."""
        while self._more():
            packed = self.packed.lstrip(b"\0") if self.streams else self.packed
            self.padding += len(self.packed) - len(packed)
            self.packed = packed
            if packed:
                self.coder = zlib.decompressobj(wbits=31)
                self.streams += 1
                return True
        return False

    def forgive(self) -> None:
        """Say what is not as a compressor leaves it."""
        if self.streams > 1:
            forgive(self.path, f"compressed in pieces, one behind the other ({self.streams})")
        if self.padding:
            forgive(self.path, f"filled up with zeros ({self.padding} bytes)")


def _blocks(stream, size: int, n_volumes: int) -> Iterator[bytes]:
    for _ in range(n_volumes):
        block = stream.read(size)
        if block:
            yield block
        if len(block) < size:
            return


def _look(values: np.ndarray, index: int, found: dict) -> None:
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        found["nan"] += int(len(values) - finite.sum())
        values = values[finite]
    if not len(values) or values.min() == values.max():
        found["blank"].append(index)


def _compressed(path: Path) -> bool:
    if path.suffix != ".gz":
        return False
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            raise DataError(f"{path} is not gzip although its name says so; fetch the file again.")
    return True


def _judge(path: Path, shape: tuple[int, ...], found: dict, repaired: list[str]) -> None:
    due = found["due"]
    if found["bytes"] != due:
        has = "far fewer" if found["bytes"] < 0 else f"{'more' if found['bytes'] > due else found['bytes']}"
        raise DataError(
            f"{path} is truncated or damaged: {due} bytes are due by its header, and it holds {has}; fetch it again."
        )
    n_volumes = int(np.prod(shape[3:], dtype=np.int64))
    blank = found["blank"]
    if len(blank) == n_volumes:
        raise DataError(f"{path} is blank: every voxel has one value; fetch it again.")
    if blank:
        named = ", ".join(str(index + 1) for index in blank[:6]) + (", …" if len(blank) > 6 else "")
        raise DataError(
            f"{path}: volume {named} of {n_volumes} is blank, as when a scan or a transfer breaks off; cut the image or fetch it again."
        )
    if found["nan"]:
        share = found["nan"] / found["values"]
        repaired.append(f"{path.name}: {share:.1%} of its values are NaN or infinite; they are read as 0.")


class _Guarded(ArrayProxy):
    """The data of an image: what fails while they are read names the file, and NaN is read as 0."""

    @classmethod
    def around(cls, proxy: ArrayProxy, path: Path) -> "_Guarded":
        """Return a copy of a proxy that stands in for it."""
        guarded = proxy.copy()
        guarded.__class__ = cls
        guarded.path, guarded.stamp = path, stamp_of(path)
        return guarded

    def _get_scaled(self, dtype, slicer):
        require_unchanged(self.path, self.stamp)
        with reading(self.path):
            values = super()._get_scaled(dtype, slicer)
        if values.dtype.kind != "f" or np.isfinite(values).all():
            return values
        return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
