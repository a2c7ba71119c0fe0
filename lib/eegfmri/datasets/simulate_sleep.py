"""Writes simulated people in the layout of ds003768, with the quirks of the real files.

BrainVision triples (float microvolts rounded to 16 bits, volume triggers ``R128``, a lead-in before the scan and a tail
after it), one NIfTI image per run, label tables with CRLF line ends, the root sidecars. The header is written here and not
by pybv because a run is written piece by piece, and pybv wants it whole.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eegfmri.datasets.simulate_activity import POWER_RATE, PRE_ROLL, Traits, draw_traits, plant
from eegfmri.datasets.simulate_bold import make_volumes, slice_times, volume_means
from eegfmri.datasets.simulate_eeg import make_eeg, pieces
from eegfmri.datasets.simulate_parameters import BANDS, T_R, Preset, Scale
from eegfmri.datasets.simulate_sources import (
    EEG_CHANNELS,
    REFERENCE,
    Anatomy,
    Head,
    Regions,
    cortical_regions,
    make_anatomy,
    make_head,
)
from eegfmri.datasets.stage_sequences import choose_donor, donors, draw_stages, label_stage
from eegfmri.recordings import EPOCH_SECONDS

#: Microvolts per bit, as a BrainAmp MR records.
RESOLUTION = 0.5

_LABEL_OF_STAGE = {"W": "W", "N1": "1", "N2": "2", "N3": "3"}
_TRUTH_FOLDER = "simulated"


@dataclass(frozen=True)
class Run:
    """One run to simulate: ``task-rest_run-1``, its label strings and the stages behind them."""

    name: str
    labels: list[str]
    stages: list[str]


@dataclass(frozen=True)
class Person:
    """One simulated subject: its name, what is planted, its runs, and whose stage statistics it follows."""

    subject: str
    traits: Traits
    head: Head
    anatomy: Anatomy
    runs: list[Run]
    donor: str


def make_person(index: int, preset: Preset, scale: Scale, generator, stages_from: dict) -> Person:
    """Draw one person: traits, head, anatomy and the stages of every run.

    Parameters
    ----------
    index : int
        Number of the person from 0.
    preset, scale : Preset, Scale
        Model and size.
    generator : callable
        ``generator(*names)`` returns the `numpy.random.Generator` that belongs to these names alone.
    stages_from : dict
        ``{"statistics": ..., "seed": ...}`` to draw stages, or ``{"tables": [(subject, runs), ...]}`` to take real ones.

    Returns
    -------
    Person
        Everything but signals.
    """
    subject = f"{index + 1:02d}"
    regions = cortical_regions()
    wanted = [("rest", n + 1, scale.rest_epochs) for n in range(scale.n_rest)]
    wanted += [("sleep", n + 1, scale.sleep_epochs) for n in range(scale.n_sleep)]
    runs = []
    if "tables" in stages_from:
        donor, tables = stages_from["tables"][index]
        for kind, number, n_epochs in wanted:
            if (kind, number) in tables:
                labels = tables[kind, number][:n_epochs]
                runs.append(Run(f"task-{kind}_run-{number}", labels, stages_behind(labels)))
    else:
        statistics = stages_from["statistics"]
        donor = choose_donor(donors(statistics), index, stages_from["seed"])
        for kind, number, n_epochs in wanted:
            name = f"task-{kind}_run-{number}"
            drawn = draw_stages(statistics["subjects"][donor][kind], n_epochs, generator(subject, name, "stages"))
            runs.append(Run(name, [_LABEL_OF_STAGE[stage] for stage in drawn], drawn))
    return Person(
        subject,
        draw_traits(preset, len(regions.groups), generator(subject, "traits")),
        make_head(preset, regions, generator(subject, "head")),
        make_anatomy(preset, regions, scale.matrix, generator(subject, "anatomy")),
        runs,
        donor,
    )


def stages_behind(labels: Iterable[str]) -> list[str]:
    """Return a stage for every label: of ``2 or 3 (unscorable)`` the first, of ``unscorable`` the one before (at first W)."""
    stages: list[str] = []
    for label in labels:
        stage = label_stage(label) or label_stage(label.split()[0])
        stages.append(stage or (stages[-1] if stages else "W"))
    return stages


def plan_quirks(people: list[Person], quirks: Iterable[str], scale: Scale) -> list[dict]:
    """Decide where each quirk goes, always the same way: ``quirk``, ``subject``, ``run`` and what was done (``what``)."""

    def at(index: int, kind: str) -> tuple[str, str]:
        person = people[index % len(people)]
        names = [run.name for run in person.runs if kind in run.name]
        return person.subject, (names or [person.runs[-1].name])[-1 if kind == "sleep" else 0]

    last = scale.sleep_epochs
    places = {
        "subject_column": (*at(0, "rest"), "The label table has a leading column 'subject'."),
        "doubtful_labels": (
            *at(1, "sleep"),
            "Epochs 4 and 5 are marked uncertain, epoch 7 unscorable (counted from 0).",
        ),
        "renamed_header": (*at(2, "rest"), "DataFile and MarkerFile of the header begin with 'rsub-'."),
        "blank_for_tab": (*at(4, "sleep"), f"A blank for a tab in the row at {30 * (last - 3)} s."),
        "wrong_sidecar_rate": (None, None, "The root sidecars name a sampling frequency that no file has."),
        "truncated_eeg": (*at(5, "sleep"), "The .eeg file breaks off after two thirds, inside a sample."),
        "missing_channel": (*at(1, "sleep"), "The recording lacks channel TP10."),
        "missing_bold": (*at(6, "sleep"), "The run has no image."),
        "missing_eeg": (*at(7, "rest"), "The run has no EEG."),
        "no_trigger": (*at(3, "rest"), "The marker file has no R128."),
    }
    return [
        {"quirk": quirk, "subject": places[quirk][0], "run": places[quirk][1], "what": places[quirk][2]}
        for quirk in quirks
    ]


def write_run(root: Path, preset: Preset, scale: Scale, person: Person, run: Run, generator, quirks: set[str]) -> dict:
    """Simulate one run and write its EEG, its image and its truth.

    Parameters
    ----------
    root : pathlib.Path
        The dataset's folder.
    preset, scale : Preset, Scale
        Model and size.
    person, run : Person, Run
        Whose run, and which.
    generator : callable
        As in `make_person`.
    quirks : set of str
        Quirks of this run.

    Returns
    -------
    dict
        Facts of the run for ``simulated.json``.
    """

    def rng(purpose):
        return generator(person.subject, run.name, purpose)

    regions: Regions = cortical_regions()
    step = 1 / POWER_RATE
    bounds = rng("bounds")
    lead_in = round(bounds.uniform(*scale.lead_in) / step) * step
    tail = round(bounds.uniform(*scale.tail) / step) * step
    scored = EPOCH_SECONDS * len(run.stages)
    n_volumes = int(scored / T_R)
    activity = plant(preset, regions, person.traits, run.stages, -lead_in - PRE_ROLL, scored + tail, rng("power"))
    slow = make_eeg(preset, regions, person.head, person.traits, activity, -lead_in, rng("eeg"))
    stem = f"sub-{person.subject}_{run.name}"
    facts = {
        "stages": run.stages,
        "lead_in_seconds": round(lead_in, 6),
        "tail_seconds": round(tail, 6),
        "n_volumes": n_volumes,
    }
    if "missing_eeg" not in quirks:
        channels = [*EEG_CHANNELS, "EOG", "ECG"]
        kept = [i for i, name in enumerate(channels) if not ("missing_channel" in quirks and name == "TP10")]
        folder = root / f"sub-{person.subject}" / "eeg"
        folder.mkdir(parents=True, exist_ok=True)
        n_times = _write_signal(folder / f"{stem}_eeg.eeg", pieces(preset, slow, scale.sfreq, rng("sensors")), kept)
        first = round(lead_in * scale.sfreq)
        _write_header(folder / f"{stem}_eeg.vhdr", [channels[i] for i in kept], scale.sfreq, "renamed_header" in quirks)
        markers = [] if "no_trigger" in quirks else _triggers(first, n_volumes, scale.sfreq)
        markers += _buttons(run, first, scale.sfreq, rng("buttons"))
        _write_markers(folder / f"{stem}_eeg.vmrk", sorted(markers), "renamed_header" in quirks)
        if "truncated_eeg" in quirks:
            n_bytes = 2 * len(kept)
            os.truncate(folder / f"{stem}_eeg.eeg", (2 * n_times // 3) * n_bytes + n_bytes // 3)
    if "missing_bold" not in quirks:
        volumes = make_volumes(
            preset, regions, person.traits, person.anatomy, activity, slow.beats, n_volumes, rng("bold")
        )
        folder = root / f"sub-{person.subject}" / "func"
        folder.mkdir(parents=True, exist_ok=True)
        _write_image(folder / f"{stem}_bold.nii.gz", volumes.data, person.anatomy.affine)
        order = [other.name for other in person.runs].index(run.name)
        _write_bold_sidecar(folder / f"{stem}_bold.json", run, scale, order)
        truth = {"bold": volumes.coupled, "motion": volumes.motion.astype(np.float32)}
    else:
        truth = {}
    truth["power"] = volume_means(activity, n_volumes)
    (root / _TRUTH_FOLDER).mkdir(exist_ok=True)
    for kind, array in truth.items():
        name = f"{_TRUTH_FOLDER}/{stem}_{kind}.npy"
        np.save(root / name, array, allow_pickle=False)
        facts[kind] = name
    return facts


def _write_signal(path: Path, parts: Iterable[np.ndarray], kept: list[int]) -> int:
    """Write multiplexed 16-bit samples piece by piece; return their number per channel."""
    n_times = 0
    with path.open("wb") as stream:
        for part in parts:
            bits = np.clip(np.round(part[kept].T * np.float32(1e6 / RESOLUTION)), -32768, 32767).astype("<i2")
            bits.tofile(stream)
            n_times += len(bits)
    return n_times


def _write_header(path: Path, channels: list[str], sfreq: float, renamed: bool) -> None:
    stem = ("r" if renamed else "") + path.stem
    lines = [
        "Brain Vision Data Exchange Header File Version 1.0",
        "; SIMULATED recording, written by eegfmri",
        "",
        "[Common Infos]",
        "Codepage=UTF-8",
        f"DataFile={stem}.eeg",
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
        *(f"Ch{i}={name},{REFERENCE},{RESOLUTION:g},µV" for i, name in enumerate(channels, start=1)),
        "",
    ]
    path.write_text("\r\n".join(lines), encoding="utf-8", newline="")


def _triggers(first: int, n_volumes: int, sfreq: float) -> list[tuple[int, str, str]]:
    return [(first + round(k * T_R * sfreq), "Response", "R128") for k in range(n_volumes)]


def _buttons(run: Run, first: int, sfreq: float, rng: np.random.Generator) -> list[tuple[int, str, str]]:
    """Presses (S  1) now and then in wakefulness, and prompts without one (S  2, S  3), in sleep runs."""
    if "sleep" not in run.name:
        return []
    markers = []
    for epoch, stage in enumerate(run.stages):
        sample = first + round((epoch + rng.uniform(0.1, 0.9)) * EPOCH_SECONDS * sfreq)
        drawn = rng.random()
        if stage == "W" and drawn < 0.4:
            markers.append((sample, "Stimulus", "S  1"))
        elif drawn > 0.9:
            markers.append((sample, "Stimulus", f"S  {rng.integers(2, 4)}"))
    return markers


def _write_markers(path: Path, markers: list[tuple[int, str, str]], renamed: bool) -> None:
    lines = [
        "Brain Vision Data Exchange Marker File, Version 1.0",
        "; SIMULATED recording, written by eegfmri",
        "",
        "[Common Infos]",
        "Codepage=UTF-8",
        f"DataFile={'r' if renamed else ''}{path.stem}.eeg",
        "",
        "[Marker Infos]",
        "; Mk<number>=<type>,<description>,<position in samples, from 1>,<size>,<channel, 0 for all>",
        "Mk1=New Segment,,1,1,0",
        *(f"Mk{i}={kind},{name},{sample + 1},1,0" for i, (sample, kind, name) in enumerate(markers, start=2)),
        "",
    ]
    path.write_text("\r\n".join(lines), encoding="utf-8", newline="")


def _write_image(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    import nibabel

    image = nibabel.Nifti1Image(data, affine)
    image.header.set_zooms((*np.linalg.norm(affine[:3, :3], axis=0), T_R))
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"SIMULATED by eegfmri"
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nibabel.save(image, path)


def _write_bold_sidecar(path: Path, run: Run, scale: Scale, order: int) -> None:
    seconds = 21 * 3600 + 4 * 60 + 7.0575 + order * 1007.4125
    minutes, second = divmod(seconds, 60)
    document = {
        "Modality": "MR",
        "MagneticFieldStrength": 3,
        "Manufacturer": "SIMULATED by eegfmri",
        "ProtocolName": run.name.split("_")[0].removeprefix("task-"),
        "SeriesNumber": 9 + 4 * order,
        # as in the real sidecars, hours and seconds are not padded
        "AcquisitionTime": f"{int(minutes // 60) % 24}:{int(minutes % 60):02d}:{second:.6f}",
        "SliceThickness": round(140.0 / scale.matrix[2], 6),
        "EchoTime": 0.025,
        "RepetitionTime": T_R,
        "FlipAngle": 90,
        "PhaseEncodingDirection": "j-",
        "SliceTiming": [round(float(time), 4) for time in slice_times(scale.matrix[2])],
        "TaskName": "rest" if "rest" in run.name else "sleep",
    }
    path.write_text(json.dumps(document, indent="\t") + "\n", encoding="utf-8")


def write_labels(root: Path, person: Person, quirks: dict[str, str]) -> None:
    """Write one label table; ``quirks`` maps the subject's quirks to the run they fall into."""
    extra = "subject_column" in quirks
    rows = ["session\tepoch_start_time_sec\t30-sec_epoch_sleep_stage"]
    for run in person.runs:
        labels = list(run.labels)
        if quirks.get("doubtful_labels") == run.name:
            for epoch, doubt in ((4, "uncertain"), (5, "uncertain"), (7, "unscorable")):
                labels[epoch] = f"{labels[epoch]} ({doubt})"
        for epoch, label in enumerate(labels):
            broken = quirks.get("blank_for_tab") == run.name and epoch == len(labels) - 3
            rows.append(f"{run.name}\t{30 * epoch}{' ' if broken else chr(9)}{label}")
    if extra:
        rows = [f"subject\t{rows[0]}", *(f"{int(person.subject)}\t{row}" for row in rows[1:])]
    folder = root / "sourcedata"
    folder.mkdir(exist_ok=True)
    text = "\r\n".join(rows) + "\r\n"
    (folder / f"sub-{person.subject}-sleep-stage.tsv").write_text(text, encoding="utf-8", newline="")


def write_root(root: Path, preset: Preset, scale: Scale, seed: int, digest: str, wrong_rate: bool) -> None:
    """Write what stands beside the subjects: description, README, sidecars."""
    description = {
        "Name": "SIMULATED simultaneous EEG and fMRI during sleep, in the layout of ds003768",
        "BIDSVersion": "1.4.1",
        "License": "CC0",
        "GeneratedBy": [{"Name": "eegfmri", "Description": "simulator"}],
    }
    (root / "dataset_description.json").write_text(json.dumps(description, indent=4) + "\n", encoding="utf-8")
    (root / "README").write_text(
        "SIMULATED. No person was measured.\n\n"
        "These files were written by the simulator of eegfmri in the layout of OpenNeuro ds003768, quirks included.\n"
        f"Preset {preset.name}, scale {scale.name}, seed {seed}, digest {digest}.\n"
        "simulated.json and the folder simulated/ hold what was planted: power per region, band and volume,\n"
        "noise-free regional BOLD, motion, couplings, latencies, registrations, and the list of quirks.\n",
        encoding="utf-8",
    )
    # ds003768's sidecars say 250 Hz whatever the files hold
    rate = 250 if not wrong_rate or scale.sfreq != 250 else 1000
    for task, epochs in (("rest", scale.rest_epochs), ("sleep", scale.sleep_epochs)):
        document = {
            "TaskName": task,
            "SamplingFrequency": rate,
            "PowerLineFrequency": 60,
            "EEGReference": REFERENCE,
            "EEGChannelCount": 30,
            "EOGChannelCount": 1,
            "ECGChannelCount": 1,
            "EMGChannelCount": 0,
            "MiscChannelCount": 0,
            "RecordingType": "continuous",
            "RecordingDuration": int(EPOCH_SECONDS * epochs),
            "SoftwareFilters": "n/a",
        }
        (root / f"task-{task}_eeg.json").write_text(json.dumps(document, indent=2), encoding="utf-8")


def describe_person(person: Person, preset: Preset, runs: dict[str, dict]) -> dict:
    """Return a person's planted truth for ``simulated.json``."""
    traits = person.traits
    return {
        "stages_like": person.donor,
        "latency": round(traits.latency, 4),
        "region_latency": [round(float(value), 4) for value in traits.region_latency],
        "coupling_factor": round(traits.coupling_factor, 4),
        "alpha_frequency": round(traits.alpha_frequency, 4),
        "spindle_frequency": round(traits.spindle_frequency, 4),
        "log_power": {band: round(value, 4) for band, value in traits.log_power.items()},
        "stage_exponent": round(traits.stage_exponent, 4),
        "background_exponent": round(traits.background_exponent, 4),
        "head_radius": round(person.head.radius, 5),
        "mni_to_scanner": np.round(person.anatomy.to_scanner, 6).tolist(),
        "runs": runs,
    }


def describe_model(preset: Preset) -> dict:
    """Return what is planted alike in everybody: bands, regions, couplings."""
    regions = cortical_regions()
    return {
        "bands": {band: list(limits) for band, limits in BANDS.items()},
        "regions": [
            {
                "name": name,
                "group": group,
                "mni": [round(float(value), 1) for value in centroid],
                "coupling": {band: preset.at("coupling", band, group) for band in BANDS},
            }
            for name, group, centroid in zip(regions.names, regions.groups, regions.centroids, strict=True)
        ],
        "arrays": {
            "power": "n_regions x n_bands x n_volumes: mean planted power over each volume, relative to wakefulness",
            "bold": "n_regions x n_volumes: noise-free response to planted power, percent, at the middle of each volume",
            "motion": "n_volumes x 6: translation in mm and rotation in radians along scanner x, y, z",
        },
    }
