"""A tiny NODDI tree written by hand, so that the reader is tested against files that no simulator of ours made."""

from pathlib import Path

import nibabel
import numpy as np

T_R = 2.16

#: The 64 channels in the order of the files: the ECG is the 32nd.
ORDER = (
    "Fp1 Fp2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T7 T8 P7 P8 Fz Cz Pz Oz FC1 FC2 CP1 CP2 FC5 FC6 CP5 CP6 TP9 TP10 POz ECG "
    "AF3 AF4 FC3 FC4 CP3 CP4 PO3 PO4 F5 F6 C5 C6 P5 P6 AF7 AF8 FT7 FT8 TP7 TP8 PO7 PO8 FT9 FT10 P9 P10 PO9 PO10 O9 O10 "
    "Fpz CPz"
)
CHANNELS = tuple(ORDER.split())

#: Time stamps of the files, by subject: one has a wrong month, one an underscore.
STAMPS = {"32": "20130410320002", "38": "20130105380002", "50": "20131003_500002"}


def stamp(subject: str) -> str:
    """Return the stamp that the files of a subject begin with."""
    return STAMPS.get(subject, f"20130424{subject}0002")


def write_eeg(
    root: Path,
    subject: str = "35",
    *,
    source: str = "export",
    part: str = "EEG1",
    sfreq: float = 250.0,
    lead_in: float = 20.0,
    tail: float = 8.0,
    n_volumes: int = 12,
    markers: list[tuple[str, str, float]] | None = None,
    names: tuple[str, ...] = CHANNELS,
    named: str | None = None,
    binary: str = "IEEE_FLOAT_32",
    orientation: str = "MULTIPLEXED",
    points: bool = False,
    coordinates: tuple[str, ...] = (),
    step: str | None = None,
    seed: int = 0,
) -> Path:
    """Write one EEG triple and return its header; markers are (type, description, onset in s), R128 per volume if None."""
    rng = np.random.default_rng(seed)
    folder = root / part / subject / source
    folder.mkdir(parents=True, exist_ok=True)
    suffix = ".dat" if source == "export" else ".eeg"
    step = step if step is not None else ("_Pulse_Artifact_Correction_bin" if source == "export" else "")
    stem = f"{stamp(subject)}{step}"
    n_times = round((lead_in + n_volumes * T_R + tail) * sfreq)
    signal = rng.normal(0, 200, (n_times, len(names))).astype("<i2" if binary == "INT_16" else "<f4")
    data = signal if orientation == "MULTIPLEXED" else np.ascontiguousarray(signal.T)
    (folder / f"{stem}{suffix}").write_bytes(data.tobytes())
    resolution = "0.5" if binary == "INT_16" else ""
    channels = "\n".join(f"Ch{i + 1}={name},,{resolution},µV" for i, name in enumerate(names))
    text = (
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={named or stem}{suffix}\nMarkerFile={named or stem}.vmrk\n"
        f"DataFormat=BINARY\nDataOrientation={orientation}\n" + (f"DataPoints={n_times}\n" if points else "")
    )
    text += (
        f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / sfreq:g}\n\n"
        f"[Binary Infos]\nBinaryFormat={binary}\n\n[Channel Infos]\n{channels}\n"
    )
    if coordinates:
        # Channels named here have none: radius 0.
        places = [f"Ch{i + 1}=0,0,0" if name in coordinates else f"Ch{i + 1}=1,{i},{i}" for i, name in enumerate(names)]
        text += "\n[Coordinates]\n" + "\n".join(places) + "\n"
    (folder / f"{stem}.vhdr").write_text(text, encoding="utf-8")
    if markers is None:
        markers = [("Response", "R128", lead_in + k * T_R) for k in range(n_volumes)]
    write_markers(folder / f"{stem}.vmrk", markers, sfreq)
    return folder / f"{stem}.vhdr"


def write_markers(path: Path, markers: list[tuple[str, str, float]], sfreq: float = 250.0) -> None:
    """Write a marker file: a new segment, then (type, description, onset in s)."""
    lines = ["Mk1=New Segment,,1,1,0,20130424120000000000"]
    lines += [f"Mk{i + 2}={kind},{name},{round(at * sfreq) + 1},1,0" for i, (kind, name, at) in enumerate(markers)]
    path.write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.with_suffix('.dat').name}\n\n[Marker Infos]\n" + "\n".join(lines) + "\n",
        encoding="utf-8",
    )


def write_images(
    root: Path,
    subject: str = "35",
    *,
    n_volumes: int = 12,
    t_r: float = T_R,
    offset: float = -90.0,
    series: str = "3",
    n_slices: int = 5,
) -> Path:
    """Write the resting image and the T1 image; return the former."""
    folder = root / "fMRI" / subject
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2)
    affine = np.diag([30.0, 30.0, 40.0, 1.0])
    affine[:3, 3] = offset, -100, -60
    image = nibabel.Nifti1Image(rng.integers(100, 900, (6, 7, n_slices, n_volumes)).astype(np.int16), affine)
    image.header.set_zooms((30, 30, 40, t_r))
    image.header.set_xyzt_units("mm", "sec")
    path = folder / f"{series}_nw_mepi_rest_with_cross.nii.gz"
    nibabel.save(image, path)
    first = {"3": "2", "05": "04"}[series]
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), affine), folder / f"{first}_fl3D_t1_sag_fun_defaced.nii.gz"
    )
    return path
