"""Files that simulated recordings are written to: BrainVision piece by piece, NIfTI, MATLAB.

The BrainVision header is written here and not by pybv because a run is written piece by piece, and pybv wants it whole.
"""

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

#: Microvolts per bit, as a BrainAmp MR records: 16 bits reach to 16 mV.
RESOLUTION = 0.5

#: Bytes before the first element of a MATLAB v5 file, those of them that hold a text, and the type of a compressed element.
_MATLAB_HEADER = 128
_MATLAB_TEXT = 116
_MATLAB_COMPRESSED = 15


def write_signal(
    path: Path, parts: Iterable[np.ndarray], kept: list[int] | None = None, resolution: float = RESOLUTION
) -> int:
    """Write multiplexed 16-bit samples piece by piece (volts, of the rows kept); return their number per channel."""
    n_times = 0
    with path.open("wb") as stream:
        for part in parts:
            rows = part if kept is None else part[kept]
            scaled = np.rint(rows.T * np.float32(1e6 / resolution))
            np.clip(scaled, -32768, 32767, out=scaled)
            scaled.astype("<i2").tofile(stream)
            n_times += len(scaled)
    return n_times


def write_header(
    path: Path,
    channels: list[str],
    reference: str,
    sfreq: float,
    *,
    named: str | None = None,
    suffix: str = ".eeg",
    resolution: float = RESOLUTION,
) -> None:
    """Write a ``.vhdr`` beside its signal file; ``named`` is the stem it gives to the other two (its own if None)."""
    stem = named or path.stem
    lines = [
        "Brain Vision Data Exchange Header File Version 1.0",
        "; SIMULATED recording, written by eegfmri",
        "",
        "[Common Infos]",
        "Codepage=UTF-8",
        f"DataFile={stem}{suffix}",
        f"MarkerFile={stem}.vmrk",
        "DataFormat=BINARY",
        "; Data orientation: MULTIPLEXED=ch1,pt1, ch2,pt1 ...",
        "DataOrientation=MULTIPLEXED",
        f"NumberOfChannels={len(channels)}",
        "; Sampling interval in microseconds",
        f"SamplingInterval={1e6 / sfreq:g}",
        "",
        "[Binary Infos]",
        "BinaryFormat=INT_16",
        "",
        "[Channel Infos]",
        "; Ch<number>=<name>,<reference>,<resolution in unit>,<unit>",
        *(f"Ch{i}={name},{reference},{resolution:g},µV" for i, name in enumerate(channels, start=1)),
        "",
    ]
    path.write_text("\r\n".join(lines), encoding="utf-8", newline="")


def write_markers(
    path: Path, markers: list[tuple[int, str, str]], *, named: str | None = None, suffix: str = ".eeg"
) -> None:
    """Write a ``.vmrk`` of (sample from 0, type, description); ``named`` as in `write_header`."""
    lines = [
        "Brain Vision Data Exchange Marker File, Version 1.0",
        "; SIMULATED recording, written by eegfmri",
        "",
        "[Common Infos]",
        "Codepage=UTF-8",
        f"DataFile={named or path.stem}{suffix}",
        "",
        "[Marker Infos]",
        "; Mk<number>=<type>,<description>,<position in samples, from 1>,<size>,<channel, 0 for all>",
        "Mk1=New Segment,,1,1,0",
        *(f"Mk{i}={kind},{name},{sample + 1},1,0" for i, (sample, kind, name) in enumerate(sorted(markers), start=2)),
        "",
    ]
    path.write_text("\r\n".join(lines), encoding="utf-8", newline="")


def write_image(path: Path, data: np.ndarray, affine: np.ndarray, t_r: float | None = None) -> None:
    """Write a NIfTI image in scanner space; ``t_r`` in s for volumes over time."""
    import nibabel

    image = nibabel.Nifti1Image(data, affine)
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    image.header.set_zooms(zooms if t_r is None else (*zooms, t_r))
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"SIMULATED by eegfmri"
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def write_matlab(path: Path, variables: dict[str, np.ndarray], compressed: bool) -> None:
    """Write a MATLAB v5 file.

    Compressed elements are made here: scipy's own take fifteen times as long on noise, which repeats nothing that a search
    for repetitions could find, so only the coding of single bytes is left on.
    """
    import io

    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    mark = b"SIMULATED by eegfmri".ljust(_MATLAB_TEXT)
    if not compressed:
        savemat(path, variables, format="5", oned_as="row")
        with path.open("r+b") as stream:
            stream.write(mark)
        return
    with path.open("wb") as stream:
        for number, (name, value) in enumerate(variables.items()):
            plain = io.BytesIO()
            savemat(plain, {name: value}, format="5", oned_as="row")
            head, element = plain.getbuffer()[:_MATLAB_HEADER], plain.getbuffer()[_MATLAB_HEADER:]
            coder = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
            body = coder.compress(element) + coder.flush()
            stream.write(mark + bytes(head[_MATLAB_TEXT:]) if number == 0 else b"")
            stream.write(struct.pack("<II", _MATLAB_COMPRESSED, len(body)) + body)


def cut_short(path: Path, share: float, odd_bytes: int) -> None:
    """Cut a file to a share of its size, to a number of bytes that ends inside a sample: a transfer that broke off."""
    size = path.stat().st_size
    keep = int(size * share)
    with path.open("r+b") as stream:
        stream.truncate(keep - keep % 64 + odd_bytes)
