"""Writes simulated subjects in the legacy layout of ds000116, the one that has EEG, with the quirks of the real files.

MATLAB files without triggers: the recorder starts with the scan and shares its clock. 36 electrodes are simulated against the
mean of both mastoids; the 43 bipolar pairs of ``data_noGA`` are differences of them, the 34 electrodes of ``data_reref`` are
the same without the mastoids. The gradient artefact has been removed from both by subtracting its mean over volumes, the
pulse artefact has not. Row 35 of ``data_reref`` holds an electrocardiogram, as the README says.
"""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from eegfmri.datasets.montages import EXCLUDED_PAIRS, PAIRS
from eegfmri.simulation.artefacts import MODEL_RATE, Gradient, contact_noise, make_gradient
from eegfmri.simulation.damage import WHAT, Files, damage
from eegfmri.simulation.eeg import pieces
from eegfmri.simulation.files import cut_short, write_image, write_matlab
from eegfmri.simulation.parameters import ACQUISITIONS, DEFAULT_QUIRKS, Preset, Scale
from eegfmri.simulation.quality import describe_loose, loosen
from eegfmri.simulation.sources import make_t1
from eegfmri.simulation.stimuli import STIMULUS_SECONDS, Stimuli, draw_stimuli
from eegfmri.simulation.subjects import (
    Generator,
    Planted,
    Run,
    Subject,
    make_subject,
    place_quirks,
    plant_run,
    power_truth,
    save_truth,
    scan,
)

ACQUISITION = ACQUISITIONS["oddball"]

#: Rate of the real files in Hz; they do not state it, so another one is written beside the data as ``sfreq``.
SFREQ = 1000.0

#: The pair of `eegfmri.datasets.montages.PAIRS` that is stored with its sign inverted.
INVERTED_PAIR = "C4-CP2"

#: Levels of the stimulus row, and of the response row while the button is down.
TASK_ON = 25
LEVELS = {"auditory": (125, 150), "visual": (225, 250)}
RESPONSE = 100
RESPONSE_SECONDS = 0.1
TASK_START = 2.0

#: Gain of the amplifier, and the range of its output in V: what EEG_raw.mat holds.
GAIN = 1e4
RANGE = 8.0

#: Steps of values in microvolts where files are compressed: an eighth of what the brain's smallest rhythms measure.
_STEP = 1 / 16


def make_subjects(preset: Preset, scale: Scale, generator: Generator, stages_from: dict) -> list[Subject]:
    """Draw everybody; subjects are awake throughout.

    Parameters
    ----------
    preset, scale : Preset, Scale
        Model and size.
    generator : callable
        As in `eegfmri.simulation.subjects.make_subject`.
    stages_from : dict
        Not used.

    Returns
    -------
    list of Subject
        ``001`` and on.
    """
    awake = ["W"] * int(np.ceil(scale.n_volumes * ACQUISITION.t_r / 30))
    runs = [Run(name, awake, [], "auditory" if name.startswith("task001") else "visual") for name in scale.runs]
    return [
        make_subject("oddball", f"{index + 1:03d}", runs, preset, scale.matrix, generator)
        for index in range(scale.n_subjects)
    ]


def plan_quirks(subjects: list[Subject], quirks: Iterable[str], scale: Scale) -> list[dict]:
    """Decide where each quirk goes, see `eegfmri.simulation.subjects.place_quirks`."""
    places = {
        "nested_folder": (1, "+", "The subject's folder lies in the folder of its tarball: ds116_sub002/sub002."),
        "bad_run": (0, "task002", "Four targets are left, 102 stimuli were shown, two of them 11 ms apart."),
        "missing_eeg": (2, "task001", "The run has no EEG."),
        "missing_bold": (3, "task001", "The run has no image."),
        "missing_behaviour": (4, "task001", "The run has neither behavioural table nor model files."),
        "only_bipolar": (5, "task002", "The run has EEG_noGA.mat only."),
        "short_eeg": (6, "task001", "The EEG ends after seven tenths of the scan."),
        "truncated_bold": (7, "task002", "The image breaks off after two thirds."),
        "wrong_image_rate": (2, "task002", "The image's header states a repetition time of 1 s."),
        "twice": (3, "task002", "The run lies in sub004 and in ds116_sub004/sub004."),
        "bids_events": (
            None,
            "",
            "The folder bids holds the malformed event tables of OpenNeuro's version, one per run.",
        ),
        "hidden_files": (None, "", "Beside every file lies the hidden one that macOS makes."),
        "missing_reaction_times": (9, "+task001", "Reaction times that are missing are written n/a."),
        "array_on_its_side": (9, "+task002", "The EEG arrays have one column per channel."),
        "lost_onsets": (8, "task001", "The model's file of standards (cond002.txt) is not there."),
        "gap_in_array": (8, "task002", "For a second, one channel of the EEG arrays is NaN."),
    }
    # of one run all are mended, or it is refused
    for index, kind, names in (
        (9, "+task001", ("padded_gzip", "gzip_members")),
        (9, "+task002", ("rounded_quaternion",)),
        (10, "+task001", ("empty_sform", "nan_background")),
        (10, "+task002", ("blank_volume",)),
    ):
        places |= {name: (index, kind, WHAT[name]) for name in names}
    return place_quirks(subjects, quirks, places, DEFAULT_QUIRKS["oddball"])


def write_root(root: Path, preset: Preset, scale: Scale, seed: int, digest: str, quirks: set[str]) -> None:
    """Write what stands beside the subjects."""
    (root / "README").write_text(
        "SIMULATED. No subject was measured.\n\n"
        "These files were written by the simulator of eegfmri in the legacy layout of OpenfMRI ds000116, quirks included.\n"
        f"Preset {preset.name}, scale {scale.name}, seed {seed}, digest {digest}.\n"
        f"EEG at {scale.sfreq:g} Hz in microvolts"
        + ("" if scale.sfreq == SFREQ else ", stated in the variable sfreq that the real files lack")
        + ".\nsimulated.json and the folder simulated/ hold what was planted.\n",
        encoding="utf-8",
    )
    if "bids_events" in quirks:
        (root / "bids").mkdir()


def _folder(root: Path, subject: str, nested: bool) -> Path:
    return root / f"ds116_sub{subject}" / f"sub{subject}" if nested else root / f"sub{subject}"


def write_subject(
    root: Path, preset: Preset, scale: Scale, subject: Subject, generator: Generator, quirks: dict[str, str | None]
) -> list[Run]:
    """Write the anatomical image; return the runs whose signals are to be written, see `eegfmri.simulation.subjects.Layout`."""
    if scale.t1_matrix is not None:
        data, affine = make_t1(preset, subject.anatomy, scale.t1_matrix, generator(subject.name, "t1"))
        name = "highresMPRAGE001" if subject.name == "010" else "highresSPGR001"
        write_image(_folder(root, subject.name, "nested_folder" in quirks) / "anatomy" / f"{name}.nii.gz", data, affine)
    return subject.runs


def write_run(
    root: Path,
    preset: Preset,
    scale: Scale,
    subject: Subject,
    run: Run,
    generator: Generator,
    quirks: set[str],
) -> dict:
    """Simulate one run and write EEG, image, behaviour and truth, see `eegfmri.simulation.subjects.Layout`."""
    folder = _folder(root, subject.name, "nested_folder" in quirks)
    seconds = scale.n_volumes * ACQUISITION.t_r
    trait = float(generator(subject.name, "reaction").normal())
    stimuli = draw_stimuli(preset, run.sense, seconds, trait, generator(subject.name, run.name, "stimuli"))
    if "bad_run" in quirks:
        stimuli = _gone_wrong(stimuli)
    planted = plant_run("oddball", preset, subject, run, 0.0, seconds, generator, stimuli)
    if "missing_eeg" not in quirks:
        _write_eeg(folder / "EEG" / run.name, preset, scale, subject, run, planted, stimuli, generator, quirks)
    truth = {"power": power_truth("oddball", planted, scale.n_volumes), "trials": stimuli.table()}
    if "missing_bold" not in quirks:
        image = folder / "BOLD" / run.name / "bold.nii.gz"
        stated = 1.0 if "wrong_image_rate" in quirks else None
        truth |= scan("oddball", preset, subject, run, planted, scale.n_volumes, generator, image, stated)
        if "truncated_bold" in quirks:
            cut_short(image, 2 / 3, 0)
        damage(Files(image=image), quirks)
    if "missing_behaviour" not in quirks:
        _write_behaviour(folder, run.name, stimuli, quirks)
    if "bids_events" in quirks:
        _write_bids_events(root / "bids", subject.name, run, stimuli)
    if "twice" in quirks:
        other = _folder(root, subject.name, "nested_folder" not in quirks)
        shutil.copytree(folder / "BOLD" / run.name, other / "BOLD" / run.name)
    facts = {
        "n_volumes": scale.n_volumes,
        "lead_in_seconds": 0.0,
        "loose": describe_loose(planted.loose, ACQUISITION.channels),
    }
    return facts | save_truth(root, f"sub{subject.name}_{run.name}", truth)


def _gone_wrong(stimuli: Stimuli) -> Stimuli:
    """Keep 102 stimuli and four targets (fewer in a shorter run), and show one stimulus 11 ms after another."""
    keep = np.arange(min(102, len(stimuli.onsets)))
    onsets, targets = stimuli.onsets[keep].copy(), stimuli.targets[keep].copy()
    targets[np.flatnonzero(targets)[max(1, 4 * len(keep) // 102) :]] = False
    middle = len(keep) // 2
    onsets[middle] = np.round(onsets[middle - 1] + 0.011, 3)
    targets[middle - 1 : middle + 1] = False
    return replace(
        stimuli,
        onsets=onsets,
        targets=targets,
        reaction_times=np.where(targets, stimuli.reaction_times[keep], np.nan),
        sizes=stimuli.sizes[keep],
        slowness=np.where(targets, stimuli.slowness[keep], 0.0),
        used=stimuli.used[keep],
    )


def _pair_matrix() -> np.ndarray:
    """Differences of electrodes that make the bipolar pairs, shape (43, 36)."""
    names = ACQUISITION.channels
    matrix = np.zeros((len(PAIRS), len(names)), dtype=np.float32)
    for row, pair in enumerate(PAIRS):
        plus, minus = pair.split("-")
        sign = -1.0 if pair == INVERTED_PAIR else 1.0
        matrix[row, names.index(plus)] = sign
        matrix[row, names.index(minus)] = -sign
    return matrix


def _levels(stimuli: Stimuli, n_times: int, sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of stimuli and responses, each of shape (n_times,)."""
    shown, pressed = np.zeros(n_times), np.zeros(n_times)
    shown[round(TASK_START * sfreq) :] = TASK_ON
    standard, target = LEVELS[stimuli.sense]
    for onset, is_target, reaction in zip(stimuli.onsets, stimuli.targets, stimuli.reaction_times, strict=True):
        first = round(onset * sfreq)
        shown[first : first + round(STIMULUS_SECONDS * sfreq)] = target if is_target else standard
        if np.isfinite(reaction):
            first = round((onset + reaction) * sfreq)
            pressed[first : first + round(RESPONSE_SECONDS * sfreq)] = RESPONSE
    return shown, pressed


def _write_eeg(folder, preset, scale, subject, run, planted: Planted, stimuli, generator, quirks) -> None:
    slow, sfreq = planted.eeg, scale.sfreq
    n_times = round(scale.n_volumes * ACQUISITION.t_r * sfreq)
    scalp = slow.scalp + slow.pulse
    frontal = 0.3 * (scalp[0] + scalp[1])
    rows = np.vstack([scalp, slow.gaze, slow.blinks + frontal, slow.heart, 0.7 * slow.heart])
    rows = loosen(rows, planted.loose)[:, : round(n_times / sfreq * MODEL_RATE)].astype(np.float32)
    n_electrodes = len(ACQUISITION.channels)
    pairs = _pair_matrix()
    sensors = generator(subject.name, run.name, "sensors")
    parts = pieces(preset, ACQUISITION, rows, sfreq, sensors, noise=subject.quality.noise)
    recorded = np.concatenate(list(parts), axis=1)[:, :n_times]  # volts, 36 electrodes and four more
    shown, pressed = _levels(stimuli, n_times, sfreq)
    gradient = _gradient(preset, scale, subject, planted, pairs, generator(subject.name, run.name, "gradient"))

    bipolar = np.empty((len(PAIRS) + 4, n_times), dtype=np.float32)
    np.matmul(pairs, recorded[:n_electrodes], out=bipolar[: len(PAIRS)])
    bipolar[len(PAIRS) :] = recorded[n_electrodes:]
    contact = generator(subject.name, run.name, "contact")
    for number in EXCLUDED_PAIRS.get(subject.name, ()):
        bipolar[number - 1] += 1e-6 * preset.bad_contact * contact_noise(n_times, sfreq, contact)
    if scale.raw_sfreq is not None and int(subject.name) <= scale.raw_subjects:
        raw = bipolar.copy()
        gradient.add_to(raw, 0)
        raw = np.clip(GAIN * raw, -RANGE, RANGE)
        _save(folder / "EEG_raw.mat", "data_raw", raw, shown, pressed, sfreq, quirks)
        del raw
    gradient.without_mean().add_to(bipolar, 0)
    kept = n_times * 7 // 10 if "short_eeg" in quirks else n_times
    _save(folder / "EEG_noGA.mat", "data_noGA", 1e6 * bipolar[:, :kept], shown[:kept], pressed[:kept], sfreq, quirks)
    if "only_bipolar" not in quirks:
        monopolar = recorded[[*range(n_electrodes - 2), n_electrodes + 2], :kept]
        # potentials that fit the differences best, then against the mastoids: what re-referencing does
        potentials = np.linalg.pinv(pairs)
        potentials -= potentials[-2:].mean(axis=0)
        gradient.without_mean().mixed(potentials[:-2]).add_to(monopolar, 0)
        _save(
            folder / "EEG_rereferenced.mat", "data_reref", 1e6 * monopolar, shown[:kept], pressed[:kept], sfreq, quirks
        )


def _gradient(preset, scale, subject, planted, pairs, rng) -> Gradient:
    """Gradient artefact of the 43 pairs: a twisted pair lies where its two electrodes lie."""
    middle = np.abs(pairs) @ subject.head.electrodes / 2
    return make_gradient(
        preset,
        ACQUISITION,
        middle,
        preset.gradient_peak_twisted,
        scale.matrix[2],
        planted.body,
        scale.n_volumes,
        scale.sfreq,
        0,
        rng,
    )


def _save(
    path: Path, name: str, values: np.ndarray, shown: np.ndarray, pressed: np.ndarray, sfreq: float, quirks
) -> None:
    real = sfreq == SFREQ
    whole = np.empty((len(values) + 2, values.shape[1]), dtype=np.float64 if real else np.float32)
    # rounded, so that what is compressed shrinks; MATLAB's own numbers at the real rate
    np.copyto(whole[:-2], values) if real else np.multiply(np.rint(values / _STEP), _STEP, out=whole[:-2])
    whole[-2], whole[-1] = shown, pressed
    if "gap_in_array" in quirks:
        whole[4, round(20 * sfreq) : round(21 * sfreq)] = np.nan
    if "array_on_its_side" in quirks:
        whole = np.ascontiguousarray(whole.T)
    variables = {name: whole} if real else {name: whole, "sfreq": float(sfreq)}
    write_matlab(path, variables, compressed=not real)


def _write_behaviour(folder: Path, run: str, stimuli: Stimuli, quirks: set[str]) -> None:
    missing = "n/a" if "missing_reaction_times" in quirks else "NaN"
    table = ["TrialOnset\tResponse\tStimulus\tRT"]
    files: dict[str, list[str]] = {"cond001": [], "cond002": [], "cond003": []}
    for onset, target, reaction, used in zip(
        stimuli.onsets, stimuli.targets, stimuli.reaction_times, stimuli.used, strict=True
    ):
        answered = np.isfinite(reaction)
        table.append(
            f"{onset:.3f}\t{int(answered)}\t{'target' if target else 'standard'}\t{f'{reaction:.3f}' if answered else missing}"
        )
        if used:
            files["cond001" if target else "cond002"].append(f"{onset:.3f}\t{STIMULUS_SECONDS:.3f}\t1")
            if target and answered:
                files["cond003"].append(f"{onset:.3f}\t{reaction:.3f}\t1")
    behaviour = folder / "behav" / run
    behaviour.mkdir(parents=True)
    (behaviour / "behavdata.txt").write_text("\n".join(table) + "\n", encoding="utf-8")
    onsets = folder / "model" / "model001" / "onsets" / run
    onsets.mkdir(parents=True)
    if "lost_onsets" in quirks:
        del files["cond002"]
    for name, lines in files.items():
        (onsets / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_bids_events(root: Path, subject: str, run: Run, stimuli: Stimuli) -> None:
    """Write a table as malformed as the real ones: targets twice, trials without a name, the last rows shifted."""
    number = f"{int(subject):02d}"
    folder = root / f"sub-{number}" / "func"
    folder.mkdir(parents=True, exist_ok=True)
    task = f"{run.sense}oddballwithbuttonresponsetotargetstimuli"
    rows = ["onset\tduration\ttrial_type\tResponse\tStimulus\tresponse_time"]
    first_standards = 0
    for onset, target, reaction, used in zip(
        stimuli.onsets, stimuli.targets, stimuli.reaction_times, stimuli.used, strict=True
    ):
        kind, answered = ("target" if target else "standard"), int(np.isfinite(reaction))
        if not used:
            rows.append(f"{onset:.3f}\tn/a\tn/a\t{answered}\t{kind}\tn/a")
            continue
        if not target and first_standards < 2:
            first_standards += 1
            rows.append(f"{onset:.3f}\t0.200\t{run.sense} standard stimulus presentation\tn/a\tn/a\tn/a")
            continue
        if target:
            rows.append(
                f"{onset:.3f}\t{reaction:.3f}\tbehavioral response time following {run.sense} oddball stimulus onset\t"
                f"{answered}\t{kind}\t{reaction:.3f}"
            )
        named = "oddball" if target else "standard"
        rows.append(f"{onset:.3f}\t0.200\t{run.sense} {named} stimulus presentation\t{answered}\t{kind}\tn/a")
    unnamed = [i for i, row in enumerate(rows) if "stimulus presentation\tn/a" in row]
    rows += [f"n/a\tn/a\tn/a\t{rows[i].split()[0]}\t0\tstandard" for i in unnamed]
    name = f"sub-{number}_task-{task}_run-{int(run.name[-3:]):02d}_events.tsv"
    (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
