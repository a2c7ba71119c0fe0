"""Writes simulated subjects in the layout of ds003768, with the quirks of the real files.

BrainVision triples (16 bits, volume triggers ``R128``, a lead-in before the scan and a tail after it), one NIfTI image per
run, an anatomical image per subject, label tables with CRLF line ends, the root sidecars.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from eegfmri.datasets.label_tables import parse_stage
from eegfmri.recordings import EPOCH_SECONDS
from eegfmri.simulation.artefacts import make_gradient, residual_gradient
from eegfmri.simulation.bold import slice_times
from eegfmri.simulation.damage import WHAT, Files, damage
from eegfmri.simulation.eeg import pieces
from eegfmri.simulation.files import cut_short, write_header, write_image, write_markers, write_signal
from eegfmri.simulation.parameters import ACQUISITIONS, DEFAULT_QUIRKS, Preset, Scale
from eegfmri.simulation.quality import describe_loose, loosen
from eegfmri.simulation.scoring import bordering_shares, score
from eegfmri.simulation.sources import make_t1
from eegfmri.simulation.stage_sequences import choose_donor, donors, draw_stages
from eegfmri.simulation.subjects import (
    Generator,
    Run,
    Subject,
    make_subject,
    on_grid,
    place_quirks,
    plant_run,
    power_truth,
    save_truth,
    scan,
)

ACQUISITION = ACQUISITIONS["sleep"]

_LABEL_OF_STAGE = {"W": "W", "N1": "1", "N2": "2", "N3": "3"}

#: Labels of the real tables that name no certain stage, besides ``W (uncertain)`` and its like.
RARE_LABELS = ("2 or 3 (unscorable)", "unscorable", "Unscorable", "3 (unscorable)", "3 (uncertain)")


def make_subjects(preset: Preset, scale: Scale, generator: Generator, stages_from: dict) -> list[Subject]:
    """Draw everybody: traits, heads, anatomies and the stages of every run.

    Parameters
    ----------
    preset, scale : Preset, Scale
        Model and size.
    generator : callable
        As in `eegfmri.simulation.subjects.make_subject`.
    stages_from : dict
        ``{"statistics": ..., "seed": ...}`` to draw stages, or ``{"tables": [(subject, runs), ...]}`` to take real ones.

    Returns
    -------
    list of Subject
        ``01`` and on.
    """
    subjects = []
    for index in range(scale.n_subjects):
        subject = f"{index + 1:02d}"
        donor, runs = _runs(index, subject, preset, scale, generator, stages_from)
        subjects.append(make_subject("sleep", subject, runs, preset, scale.matrix, generator, donor))
    return subjects


def _runs(
    index: int, subject: str, preset: Preset, scale: Scale, generator: Generator, stages_from: dict
) -> tuple[str, list[Run]]:
    """Whose statistics or tables the subject follows, and its runs; real labels are taken for the truth, drawn stages are scored."""
    wanted = [("rest", n + 1, scale.rest_epochs) for n in range(scale.n_rest)]
    wanted += [("sleep", n + 1, scale.sleep_epochs) for n in range(scale.n_sleep)]
    runs = []
    if "tables" in stages_from:
        donor, tables = stages_from["tables"][index]
        for kind, number, n_epochs in wanted:
            if (kind, number) in tables:
                labels = tables[kind, number][:n_epochs]
                runs.append(Run(f"task-{kind}_run-{number}", stages_behind(labels), labels))
        return donor, runs
    statistics = stages_from["statistics"]
    donor = choose_donor(donors(statistics), index, stages_from["seed"])
    bordering = bordering_shares(
        statistics, {"rest": scale.n_rest * scale.rest_epochs, "sleep": scale.n_sleep * scale.sleep_epochs}
    )
    for kind, number, n_epochs in wanted:
        name = f"task-{kind}_run-{number}"
        drawn = draw_stages(statistics["subjects"][donor][kind], n_epochs, generator(subject, name, "stages"))
        scored = score(preset, drawn, bordering, generator(subject, name, "scorer"))
        runs.append(Run(name, drawn, [_LABEL_OF_STAGE[stage] for stage in scored]))
    return donor, runs


def stages_behind(labels: Iterable[str]) -> list[str]:
    """Return a stage for every label: of ``2 or 3 (unscorable)`` the first, of ``unscorable`` the one before (at first W)."""
    stages: list[str] = []
    for label in labels:
        stage = parse_stage(label)[0] or parse_stage(label.split()[0])[0]
        stages.append(stage or (stages[-1] if stages else "W"))
    return stages


def plan_quirks(subjects: list[Subject], quirks: Iterable[str], scale: Scale) -> list[dict]:
    """Decide where each quirk goes, see `eegfmri.simulation.subjects.place_quirks`."""
    broken = 30 * (scale.sleep_epochs - 3)
    places = {
        "subject_column": (0, "+", "The label table of sub-01 has a leading column 'subject'."),
        "doubtful_labels": (1, "sleep", "Epochs 4 and 5 are marked uncertain, epoch 7 unscorable (counted from 0)."),
        "renamed_header": (2, "rest", "DataFile and MarkerFile of the header begin with 'rsub-'."),
        "blank_for_tab": (4, "sleep", f"A blank for a tab in the row at {broken} s."),
        "wrong_sidecar_rate": (None, "", "The root sidecars name a sampling frequency that no file has."),
        "truncated_eeg": (5, "sleep", "The .eeg file breaks off after two thirds, inside a sample."),
        "missing_channel": (1, "sleep", "The recording lacks channel TP10."),
        "odd_channel_names": (0, "rest", "Channel names are in capitals, and one has a blank at its end."),
        "rare_labels": (
            3,
            "sleep",
            "The first epochs bear labels of the real tables' tail: " + ", ".join(RARE_LABELS) + ".",
        ),
        "lost_triggers": (4, "rest", "Two volume triggers inside the run are missing."),
        "no_trigger": (3, "rest", "The marker file has no R128."),
        "missing_bold": (6, "sleep", "The run has no image."),
        "missing_eeg": (7, "rest", "The run has no EEG."),
        "annex_pointer": (5, "rest", "Header, marker and signal file are the texts of git-annex pointers."),
        "truncated_bold": (6, "rest", "The image breaks off after two thirds."),
        "labels_only": (8, "*", "The subject has a label table and no signals."),
        "no_sleep_run": (9, "*", "The subject has rest runs only."),
        "extra_sourcedata": (
            None,
            "",
            "Folders beside the label tables, with a name that has a blank and one with a capital: to be left alone.",
        ),
        "hidden_files": (None, "", "Beside every file lies the hidden one that macOS makes."),
        "marked_sidecars": (None, "", "The root sidecars begin with a mark of byte order."),
        "labels_in_utf16": (10, "+", "The label table is encoded in UTF-16."),
    }
    # of one run all are mended, or it is refused
    for index, kind, names in (
        (10, "+rest", ("blanks_in_header", "latin1_markers", "padded_gzip", "text_repetition_time")),
        (10, "+sleep", ("gzip_members", "reversed_slices", "milliseconds")),
        (11, "+rest", ("greek_unit", "rounded_quaternion")),
        (11, "+sleep", ("latin1_header", "empty_sform", "nan_background")),
        (12, "+rest", ("undecodable_sidecar",)),
        (12, "+sleep", ("blank_volume",)),
    ):
        places |= {name: (index, kind, WHAT[name]) for name in names}
    return place_quirks(subjects, quirks, places, DEFAULT_QUIRKS["sleep"])


def write_subject(
    root: Path, preset: Preset, scale: Scale, subject: Subject, generator: Generator, quirks: dict[str, str | None]
) -> list[Run]:
    """Write what belongs to a subject and not to a run: label table and anatomical image, see `eegfmri.simulation.subjects.Layout`."""
    runs = [run for run in subject.runs if "no_sleep_run" not in quirks or "rest" in run.name]
    _write_labels(root, subject.name, runs, quirks)
    if "labels_only" in quirks:
        return []
    if scale.t1_matrix is not None:
        data, affine = make_t1(preset, subject.anatomy, scale.t1_matrix, generator(subject.name, "t1"))
        stem = root / f"sub-{subject.name}" / "anat" / f"sub-{subject.name}_T1w"
        write_image(stem.with_name(f"{stem.name}.nii.gz"), data, affine)
        document = {"Modality": "MR", "MagneticFieldStrength": 3, "Manufacturer": "SIMULATED by eegfmri"}
        stem.with_name(f"{stem.name}.json").write_text(json.dumps(document, indent="\t") + "\n", encoding="utf-8")
    return runs


def write_run(
    root: Path,
    preset: Preset,
    scale: Scale,
    subject: Subject,
    run: Run,
    generator: Generator,
    quirks: set[str],
) -> dict:
    """Simulate one run and write its EEG, its image and its truth, see `eegfmri.simulation.subjects.Layout`."""
    bounds = generator(subject.name, run.name, "bounds")
    lead_in, tail = on_grid(bounds.uniform(*scale.lead_in)), on_grid(bounds.uniform(*scale.tail))
    scored = EPOCH_SECONDS * len(run.stages)
    n_volumes = int(scored / ACQUISITION.t_r)
    planted = plant_run("sleep", preset, subject, run, lead_in, scored + tail, generator)
    stem = f"sub-{subject.name}_{run.name}"
    facts = {
        "stages": run.stages,
        "scored": stages_behind(run.labels),
        "lead_in_seconds": round(lead_in, 6),
        "tail_seconds": round(tail, 6),
        "n_volumes": n_volumes,
        "loose": describe_loose(planted.loose, ACQUISITION.channels),
    }
    if "missing_eeg" not in quirks:
        folder = root / f"sub-{subject.name}" / "eeg"
        folder.mkdir(parents=True, exist_ok=True)
        _write_eeg(folder / f"{stem}_eeg", preset, scale, subject, run, planted, n_volumes, generator, quirks)
    truth = {"power": power_truth("sleep", planted, n_volumes)}
    if "missing_bold" not in quirks:
        image = root / f"sub-{subject.name}" / "func" / f"{stem}_bold.nii.gz"
        truth |= scan("sleep", preset, subject, run, planted, n_volumes, generator, image)
        if "truncated_bold" in quirks:
            cut_short(image, 2 / 3, 0)
        order = [other.name for other in subject.runs].index(run.name)
        sidecar = image.with_name(f"{stem}_bold.json")
        _write_bold_sidecar(sidecar, run, scale, order)
        damage(Files(root / f"sub-{subject.name}" / "eeg" / f"{stem}_eeg.vhdr", image, sidecar), quirks)
    return facts | save_truth(root, stem, truth)


def _write_eeg(path, preset, scale, subject, run, planted, n_volumes, generator, quirks) -> None:
    slow, sfreq = planted.eeg, scale.sfreq
    lead_in = -slow.start
    first = round(lead_in * sfreq)
    scalp, quality = slow.scalp, subject.quality
    # the wires of EOG and ECG leave by the forehead
    wires = np.vstack([subject.head.electrodes, subject.head.electrodes[:2]])
    scanned = (scale.matrix[2], planted.body, n_volumes, sfreq, first)
    if scale.scanner_artefacts:
        scalp = scalp + slow.pulse
        rng = generator(subject.name, run.name, "gradient")
        gradient = make_gradient(preset, ACQUISITION, wires, preset.gradient_peak, *scanned, rng)
    else:
        if preset.pulse_left_sleep:
            scalp = scalp + quality.residual * preset.pulse_left_sleep * slow.pulse
        rng = generator(subject.name, run.name, "residual gradient")
        gradient = residual_gradient(preset, ACQUISITION, wires, *scanned, rng, quality.residual)
    eog = slow.blinks + slow.gaze + 0.3 * (scalp[0] + scalp[1])
    rows = loosen(np.vstack([scalp, eog, slow.heart]), planted.loose).astype(np.float32)
    channels = [*ACQUISITION.channels, "EOG", "ECG"]
    kept = [i for i, name in enumerate(channels) if not ("missing_channel" in quirks and name == "TP10")]
    names = [channels[i] for i in kept]
    if "odd_channel_names" in quirks:
        names = [name.upper() for name in names[:-3]] + [f"{names[-3]} ", *names[-2:]]
    rng = generator(subject.name, run.name, "sensors")
    sensors = pieces(preset, ACQUISITION, rows, sfreq, rng, gradient, noise=quality.noise)
    n_times = write_signal(path.with_suffix(".eeg"), sensors, kept)
    named = f"r{path.name}" if "renamed_header" in quirks else None
    write_header(path.with_suffix(".vhdr"), names, ACQUISITION.reference[0], sfreq, named=named)
    markers = [] if "no_trigger" in quirks else _triggers(first, n_volumes, sfreq)
    if "lost_triggers" in quirks:
        del markers[n_volumes // 3], markers[n_volumes // 2]
    markers += _buttons(run, first, sfreq, generator(subject.name, run.name, "buttons"))
    write_markers(path.with_suffix(".vmrk"), markers, named=named)
    if "truncated_eeg" in quirks:
        n_bytes = 2 * len(kept)
        os.truncate(path.with_suffix(".eeg"), (2 * n_times // 3) * n_bytes + n_bytes // 3)
    if "annex_pointer" in quirks:
        for suffix in (".vhdr", ".vmrk", ".eeg"):
            file = path.with_suffix(suffix)
            file.write_text(f"/annex/objects/MD5E-s{file.stat().st_size}--{0:032x}{suffix}\n", encoding="utf-8")


def _triggers(first: int, n_volumes: int, sfreq: float) -> list[tuple[int, str, str]]:
    return [(first + round(k * ACQUISITION.t_r * sfreq), "Response", "R128") for k in range(n_volumes)]


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
        "RepetitionTime": ACQUISITION.t_r,
        "FlipAngle": 90,
        "PhaseEncodingDirection": "j-",
        "SliceTiming": [round(float(time), 4) for time in slice_times(ACQUISITION, scale.matrix[2])],
        "TaskName": "rest" if "rest" in run.name else "sleep",
    }
    path.write_text(json.dumps(document, indent="\t") + "\n", encoding="utf-8")


def _write_labels(root: Path, subject: str, runs: list[Run], quirks: dict[str, str | None]) -> None:
    rows = ["session\tepoch_start_time_sec\t30-sec_epoch_sleep_stage"]
    for run in runs:
        labels = list(run.labels)
        if quirks.get("doubtful_labels") == run.name:
            for epoch, doubt in ((4, "uncertain"), (5, "uncertain"), (7, "unscorable")):
                labels[epoch] = f"{labels[epoch]} ({doubt})"
        if quirks.get("rare_labels") == run.name:
            labels[: len(RARE_LABELS)] = RARE_LABELS
        for epoch, label in enumerate(labels):
            broken = quirks.get("blank_for_tab") == run.name and epoch == len(labels) - 3
            rows.append(f"{run.name}\t{30 * epoch}{' ' if broken else chr(9)}{label}")
    if "subject_column" in quirks:
        rows = [f"subject\t{rows[0]}", *(f"{int(subject)}\t{row}" for row in rows[1:])]
    folder = root / "sourcedata"
    folder.mkdir(exist_ok=True)
    text = "\r\n".join(rows) + "\r\n"
    encoding = "utf-16" if "labels_in_utf16" in quirks else "utf-8"
    (folder / f"sub-{subject}-sleep-stage.tsv").write_text(text, encoding=encoding, newline="")


def write_root(root: Path, preset: Preset, scale: Scale, seed: int, digest: str, quirks: set[str]) -> None:
    """Write what stands beside the subjects: description, README, sidecars."""
    description = {
        "Name": "SIMULATED simultaneous EEG and fMRI during sleep, in the layout of ds003768",
        "BIDSVersion": "1.4.1",
        "License": "CC0",
        "GeneratedBy": [{"Name": "eegfmri", "Description": "simulator"}],
    }
    (root / "dataset_description.json").write_text(json.dumps(description, indent=4) + "\n", encoding="utf-8")
    (root / "README").write_text(
        "SIMULATED. No subject was measured.\n\n"
        "These files were written by the simulator of eegfmri in the layout of OpenNeuro ds003768, quirks included.\n"
        f"Preset {preset.name}, scale {scale.name}, seed {seed}, digest {digest}.\n"
        "simulated.json and the folder simulated/ hold what was planted: power per region, band and volume,\n"
        "noise-free regional BOLD, motion, couplings, latencies, registrations, and the list of quirks.\n",
        encoding="utf-8",
    )
    # ds003768's sidecars say 250 Hz whatever the files hold
    rate = 250 if "wrong_sidecar_rate" not in quirks or scale.sfreq != 250 else 1000
    for task, epochs in (("rest", scale.rest_epochs), ("sleep", scale.sleep_epochs)):
        document = {
            "TaskName": task,
            "SamplingFrequency": rate,
            "PowerLineFrequency": 60,
            "EEGReference": ACQUISITION.reference[0],
            "EEGChannelCount": 30,
            "EOGChannelCount": 1,
            "ECGChannelCount": 1,
            "EMGChannelCount": 0,
            "MiscChannelCount": 0,
            "RecordingType": "continuous",
            "RecordingDuration": int(EPOCH_SECONDS * epochs),
            "SoftwareFilters": "n/a",
        }
        encoding = "utf-8-sig" if "marked_sidecars" in quirks else "utf-8"
        (root / f"task-{task}_eeg.json").write_text(json.dumps(document, indent=2), encoding=encoding)
    if "extra_sourcedata" in quirks:
        for folder, name in (
            ("sourcedata/fMRI_processed_file_1/sub-02", "sub-02 _task-rest_run-1_bold.nii"),
            ("sourcedata/fMRI_processed_file_1/sub-04", "Sub-04_task-sleep_run-7_bold.nii"),
            ("sourcedata/fMRI_field_map/Sub-03/anat", "Sub-03_fieldmap.nii"),
        ):
            write_image(root / folder / name, np.zeros((2, 2, 2), dtype=np.int16), np.eye(4))
        eyes = root / "sourcedata" / "EyeTracker_data" / "sub-02"
        eyes.mkdir(parents=True)
        (eyes / "sub-02_eyetracker.txt").write_text("SIMULATED\n", encoding="utf-8")
