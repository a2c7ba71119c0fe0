"""What becomes of files that were written soundly: by editors, copies between machines, other software, broken transfers.

Each function changes files in place. Those of `MENDED` leave every signal as it is: a reader that knows them reads the same.
"""

import gzip
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: What macOS puts beside a file that it copies to a disk of another kind.
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(200)


@dataclass(frozen=True)
class Files:
    """Files of a run; None for what it has not."""

    header: Path | None = None
    image: Path | None = None
    sidecar: Path | None = None


def greek_unit(files: Files) -> None:
    """Write the Greek letter for the micro sign in the units of the channels."""
    _edit(files.header, lambda text: text.replace("µV", "μV"))


def latin1_header(files: Files) -> None:
    """Encode the header in Latin-1, though it says UTF-8."""
    text = files.header.read_text(encoding="utf-8")
    files.header.write_bytes(text.encode("latin-1"))


def blanks_in_header(files: Files) -> None:
    """Put blanks and tabs at the ends of the header's lines and around its signs of equality."""
    _edit(files.header, lambda text: re.sub(r"(\w)=", r"\1 = ", text.replace("\r\n", " \t\r\n")))


def latin1_markers(files: Files) -> None:
    """Add a comment of the person at the scanner to the markers, in Latin-1."""
    path = files.header.with_suffix(".vmrk")
    content = path.read_bytes().rstrip()
    number = len(re.findall(rb"^Mk\d+=", content, re.MULTILINE)) + 1
    path.write_bytes(content + f"\r\nMk{number}=Comment,Müdigkeit größer,1,1,0\r\n".encode("latin-1"))


def padded_gzip(files: Files) -> None:
    """Fill up the image's last block with zeros, as tapes and some disks do."""
    content = files.image.read_bytes()
    files.image.write_bytes(content + bytes(512 - len(content) % 512))


def gzip_members(files: Files) -> None:
    """Compress the image in pieces that stand one behind the other, as parallel compressors do."""
    plain = gzip.decompress(files.image.read_bytes())
    step = len(plain) // 3 + 1
    pieces = (plain[start : start + step] for start in range(0, len(plain), step))
    files.image.write_bytes(b"".join(gzip.compress(piece, 1, mtime=0) for piece in pieces))


def milliseconds(files: Files) -> None:
    """State the image's repetition time in ms."""

    def change(content: bytearray) -> None:
        t_r = np.frombuffer(bytes(content[92:96]), "<f4")
        content[92:96] = (1000 * t_r).astype("<f4").tobytes()
        content[123] = content[123] & 0x07 | 16

    _edit_image(files.image, change)


def rounded_quaternion(files: Files) -> None:
    """Leave the quaternion alone to tell the place, longer than 1 by rounding to five digits."""

    def change(content: bytearray) -> None:
        content[254:256] = bytes(2)
        vector = np.frombuffer(bytes(content[256:268]), "<f4").astype(float)
        content[256:268] = (vector * (1 + 5e-6) / max(np.linalg.norm(vector), 1e-9)).astype("<f4").tobytes()

    _edit_image(files.image, change)


def empty_sform(files: Files) -> None:
    """Say that the matrix tells the place, and leave it empty."""
    _edit_image(files.image, lambda content: content.__setitem__(slice(280, 328), bytes(48)))


def text_repetition_time(files: Files) -> None:
    """Write the repetition time of the sidecar as a text."""
    _edit_facts(files.sidecar, lambda facts: facts | {"RepetitionTime": f"{facts['RepetitionTime']:g} "})


def reversed_slices(files: Files) -> None:
    """Count slices from the other end, and say so in the sidecar."""
    _edit_facts(
        files.sidecar, lambda facts: facts | {"SliceTiming": facts["SliceTiming"][::-1], "SliceEncodingDirection": "k-"}
    )


def nan_background(files: Files) -> None:
    """Store the image as numbers with a fraction, NaN where its mean is small."""
    import nibabel

    image = nibabel.load(files.image)
    data = np.asarray(image.dataobj).astype(np.float32)
    mean = data.mean(axis=-1)
    data[mean < 0.2 * mean.max()] = np.nan
    masked = nibabel.Nifti1Image(data, image.affine, image.header)
    masked.set_data_dtype(np.float32)
    nibabel.save(masked, files.image)


def blank_volume(files: Files) -> None:
    """Leave the last volume blank, as when a scan is broken off."""

    def change(content: bytearray) -> None:
        size = 2 * int(np.prod(np.frombuffer(bytes(content[42:48]), "<i2"), dtype=int))
        content[-size:] = bytes(size)

    _edit_image(files.image, change)


def undecodable_sidecar(files: Files) -> None:
    """Break the sidecar off."""
    content = files.sidecar.read_bytes()
    files.sidecar.write_bytes(content[: 2 * len(content) // 3])


#: Damage that a reader can mend without a guess, by the name of the quirk: signals, times and places are as they were.
MENDED: dict[str, Callable[[Files], None]] = {
    "greek_unit": greek_unit,
    "latin1_header": latin1_header,
    "blanks_in_header": blanks_in_header,
    "latin1_markers": latin1_markers,
    "milliseconds": milliseconds,
    "rounded_quaternion": rounded_quaternion,
    "empty_sform": empty_sform,
    "text_repetition_time": text_repetition_time,
    "reversed_slices": reversed_slices,
    # after what writes the image anew
    "gzip_members": gzip_members,
    "padded_gzip": padded_gzip,
}

#: Damage that takes something away.
LOST: dict[str, Callable[[Files], None]] = {
    "nan_background": nan_background,
    "blank_volume": blank_volume,
    "undecodable_sidecar": undecodable_sidecar,
}

#: What each of them does, for ``simulated.json``.
WHAT = {name: change.__doc__.partition("\n")[0] for name, change in {**MENDED, **LOST}.items()}


def damage(files: Files, quirks: Iterable[str]) -> None:
    """Change a run's files by those of the quirks that this module knows."""
    wanted = set(quirks)
    for name, change in {**LOST, **MENDED}.items():
        if name in wanted:
            change(files)


def hide_files(root: Path) -> None:
    """Put the hidden file of macOS beside every file of the dataset but the truth."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and "simulated" not in str(path.relative_to(root)) and not path.name.startswith("."):
            path.with_name(f"._{path.name}").write_bytes(APPLE_DOUBLE)


def _edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_bytes(change(path.read_bytes().decode("utf-8")).encode("utf-8"))


def _edit_facts(path: Path, change: Callable[[dict], dict]) -> None:
    facts = change(json.loads(path.read_text(encoding="utf-8")))
    path.write_text(json.dumps(facts, indent="\t") + "\n", encoding="utf-8")


def _edit_image(path: Path, change: Callable[[bytearray], None]) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    change(content)
    path.write_bytes(gzip.compress(bytes(content), 6, mtime=0))
