"""A tiny ds003768 written by hand, so that readers are tested against files that no simulator of ours made."""

import json
from pathlib import Path

import nibabel
import numpy as np

from eegfmri.datasets.sleep import EEG_CHANNELS

T_R = 2.1


def write_run(
    root: Path,
    subject: str = "01",
    run: str = "task-rest_run-1",
    *,
    sfreq: float = 50.0,
    lead_in: float = 4.0,
    tail: float = 3.0,
    n_volumes: int = 29,
    names: tuple[str, ...] = (*EEG_CHANNELS, "EOG", "ECG"),
    trigger: str = "R128",
    data_file: str | None = None,
    seed: int = 0,
) -> Path:
    """Write one EEG and BOLD pair; return the EEG header's path."""
    rng = np.random.default_rng(seed)
    folder = root / f"sub-{subject}" / "eeg"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"sub-{subject}_{run}_eeg"
    n_times = round((lead_in + n_volumes * T_R + tail) * sfreq)
    signal = rng.normal(0, 200, (n_times, len(names))).astype("<i2")
    (folder / f"{stem}.eeg").write_bytes(signal.tobytes())
    channels = "\n".join(f"Ch{i + 1}={name},,0.1,µV" for i, name in enumerate(names))
    (folder / f"{stem}.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={data_file or stem + '.eeg'}\nMarkerFile={(data_file or stem).removesuffix('.eeg')}.vmrk\n"
        "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / sfreq:g}\n\n"
        f"[Binary Infos]\nBinaryFormat=INT_16\n\n[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    write_markers(folder / f"{stem}.vmrk", [lead_in + k * T_R for k in range(n_volumes)], sfreq, trigger)
    folder = root / f"sub-{subject}" / "func"
    folder.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(rng.integers(100, 900, (6, 7, 5, n_volumes)).astype(np.int16), np.diag([30, 30, 30, 1]))
    image.header.set_zooms((30, 30, 30, T_R))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, folder / f"sub-{subject}_{run}_bold.nii.gz")
    (folder / f"sub-{subject}_{run}_bold.json").write_text(json.dumps({"RepetitionTime": T_R}))
    return root / f"sub-{subject}" / "eeg" / f"{stem}.vhdr"


def write_markers(path: Path, onsets: list[float], sfreq: float, trigger: str = "R128") -> None:
    """Write a marker file with volume triggers at ``onsets`` (s) and a button press in the lead-in."""
    lines = ["Mk1=New Segment,,1,1,0,20200101120000000000", "Mk2=Stimulus,S  1,11,1,0"]
    lines += [f"Mk{i + 3}=Response,{trigger},{round(onset * sfreq) + 1},1,0" for i, onset in enumerate(onsets)]
    path.write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.with_suffix('.eeg').name}\n\n[Marker Infos]\n" + "\n".join(lines) + "\n",
        encoding="utf-8",
    )


def write_labels(root: Path, subject: str, rows: list[str], header: str | None = None) -> Path:
    """Write a label table with CRLF line ends, rows as given (tabs included)."""
    path = root / "sourcedata" / f"sub-{subject}-sleep-stage.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    header = header or "session\tepoch_start_time_sec\t30-sec_epoch_sleep_stage"
    path.write_bytes("\r\n".join([header, *rows, ""]).encode())
    return path


def epochs(run: str = "task-rest_run-1", labels: str = "W1") -> list[str]:
    """Rows of one run: one label per character."""
    return [f"{run}\t{30 * i}\t{label}" for i, label in enumerate(labels)]
