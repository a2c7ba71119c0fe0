"""Simulated subjects: who they are, what is planted in a run, and where the quirks of real files go.

What the three layouts share. A layout module (`sleep`, `oddball`, `rest`) lists its subjects,
writes each run with `plant_run` and `scan`, and has its own quirks.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from eegfmri import cache
from eegfmri.errors import RequestError
from eegfmri.simulation.activity import (
    POWER_RATE,
    PRE_ROLL,
    Activity,
    Traits,
    draw_differences,
    draw_traits,
    plant,
)
from eegfmri.simulation.artefacts import MODEL_RATE
from eegfmri.simulation.body import Body, make_body
from eegfmri.simulation.bold import make_volumes, region_coupling, volume_means
from eegfmri.simulation.eeg import Slow, make_eeg
from eegfmri.simulation.files import write_image
from eegfmri.simulation.parameters import ACQUISITIONS, BANDS, Preset, Scale
from eegfmri.simulation.quality import Loose, Quality, draw_loose, draw_quality
from eegfmri.simulation.sources import Anatomy, Head, Warp, cortical_regions, make_anatomy, make_head
from eegfmri.simulation.stimuli import Stimuli, desynchronise, evoke, stimulate

#: Folder of the planted arrays, beside the recordings.
TRUTH_FOLDER = "simulated"

#: Returns the generator that belongs to these names alone.
Generator = Callable[..., np.random.Generator]


class Layout(Protocol):
    """What a module that writes a layout (``sleep``, ``oddball``, ``rest``) offers, beside ``make_subjects`` and ``plan_quirks``."""

    def write_subject(
        self,
        root: Path,
        preset: Preset,
        scale: Scale,
        subject: "Subject",
        generator: Generator,
        quirks: dict[str, str | None],
    ) -> list["Run"]:
        """Write what belongs to a subject and not to a run.

        Parameters
        ----------
        root : pathlib.Path
            The dataset's folder.
        preset, scale : Preset, Scale
            Model and size.
        subject : Subject
            Who.
        generator : callable
            As in `make_subject`.
        quirks : dict
            The subject's quirks and the run they fall into.

        Returns
        -------
        list of Run
            Runs whose signals are to be written.
        """

    def write_run(
        self,
        root: Path,
        preset: Preset,
        scale: Scale,
        subject: "Subject",
        run: "Run",
        generator: Generator,
        quirks: set[str],
    ) -> dict:
        """Simulate one run and write its files and its truth.

        Parameters
        ----------
        root : pathlib.Path
            The dataset's folder.
        preset, scale : Preset, Scale
            Model and size.
        subject, run : Subject, Run
            Whose run, and which.
        generator : callable
            As in `make_subject`.
        quirks : set of str
            Quirks of this run; those of the subject and of the dataset where its files depend on them.

        Returns
        -------
        dict
            Facts of the run for ``simulated.json``.
        """


@dataclass(frozen=True)
class Run:
    """One run to simulate: its name, the stage of each 30 s, and what the layout adds.

    Attributes
    ----------
    name : str
        As the reader calls it.
    stages : list of str
        One per 30 s from the first volume on.
    labels : list of str
        What the scorer wrote (sleep).
    sense : str
        Sense of the stimuli (oddball).
    """

    name: str
    stages: list[str]
    labels: list[str]
    sense: str = ""


@dataclass(frozen=True)
class Subject:
    """One simulated subject: its name, what is planted, its runs, whose stage statistics it follows, and how good its EEG is."""

    name: str
    traits: Traits
    head: Head
    anatomy: Anatomy
    runs: list[Run]
    donor: str = ""
    quality: Quality = field(default_factory=Quality)


def make_subject(
    dataset: str,
    subject: str,
    runs: list[Run],
    preset: Preset,
    matrix: tuple[int, int, int],
    generator: Generator,
    donor: str = "",
) -> Subject:
    """Draw one subject: traits, head and anatomy.

    Parameters
    ----------
    dataset : str
        Says which electrodes and which field of view.
    subject : str
        As the reader calls it; every random stream depends on it.
    runs : list of Run
        What the subject does.
    preset : Preset
        Model.
    matrix : tuple of int
        Voxels per axis of a volume.
    generator : callable
        ``generator(*names)`` returns the `numpy.random.Generator` that belongs to these names alone.
    donor : str
        Whose stage statistics the subject follows.

    Returns
    -------
    Subject
        Everything but signals.
    """
    regions, acquisition = cortical_regions(), ACQUISITIONS[dataset]
    traits = draw_traits(preset, len(regions.groups), generator(subject, "traits"))
    return Subject(
        subject,
        draw_differences(preset, regions, traits, generator(subject, "differences")),
        make_head(preset, regions, acquisition, generator(subject, "head")),
        make_anatomy(preset, regions, acquisition, matrix, generator(subject, "anatomy")),
        runs,
        donor,
        draw_quality(preset, generator(subject, "eeg traits")),
    )


@dataclass(frozen=True)
class Planted:
    """What happens in a run before it is recorded: power, body, stimuli, EEG at the model's rate, electrodes that come loose."""

    activity: Activity
    body: Body
    eeg: Slow
    stimulated: np.ndarray | None
    loose: tuple[Loose, ...] = ()


def plant_run(
    dataset: str,
    preset: Preset,
    subject: Subject,
    run: Run,
    lead_in: float,
    stop: float,
    generator: Generator,
    stimuli: Stimuli | None = None,
) -> Planted:
    """Plant a run and make its EEG.

    Parameters
    ----------
    dataset : str
        Acquisition to follow.
    preset : Preset
        Model.
    subject, run : Subject, Run
        Whose run, and which.
    lead_in : float
        Seconds of EEG before the first volume, a multiple of the model's step.
    stop : float
        Last second of EEG, from the first volume.
    generator : callable
        As in `make_subject`.
    stimuli : Stimuli or None
        Trials of an oddball run.

    Returns
    -------
    Planted
        From ``-lead_in`` on; power begins a haemodynamic response earlier.
    """
    regions, acquisition = cortical_regions(), ACQUISITIONS[dataset]

    def rng(purpose):
        return generator(subject.name, run.name, purpose)

    state = {"alpha": preset.eyes_open_alpha} if acquisition.eyes_open else None
    quality = subject.quality
    activity = plant(
        preset,
        regions,
        subject.traits,
        run.stages,
        -lead_in - PRE_ROLL,
        stop,
        rng("power"),
        state,
        quality.stage_log_gain,
        rng("drowsiness"),
    )
    evoked = stimulated = None
    if stimuli is not None:
        desynchronise(preset, regions, stimuli, activity)
        stimulated = stimulate(preset, regions, stimuli, activity)
        evoked = evoke(preset, regions, stimuli, -lead_in, int((stop + lead_in + 1) * MODEL_RATE))
    body = make_body(preset, subject.traits, activity, acquisition.t_r, rng("body"))
    eeg = make_eeg(
        preset,
        regions,
        acquisition,
        subject.head,
        subject.traits,
        activity,
        body,
        -lead_in,
        rng("eeg"),
        evoked,
        quality.noise,
    )
    loose = draw_loose(preset, acquisition, eeg.start, eeg.scalp.shape[1], rng("loose"))
    return Planted(activity, body, eeg, stimulated, loose)


def scan(
    dataset: str,
    preset: Preset,
    subject: Subject,
    run: Run,
    planted: Planted,
    n_volumes: int,
    generator: Generator,
    path: Path,
    t_r: float | None = None,
) -> dict[str, np.ndarray]:
    """Scan a run, write its image, and return the planted arrays ``bold`` and ``motion``.

    Parameters
    ----------
    dataset, preset, subject, run, planted : str, Preset, Subject, Run, Planted
        What happens.
    n_volumes : int
        Volumes to acquire.
    generator : callable
        As in `make_subject`.
    path : pathlib.Path
        Image to write.
    t_r : float or None
        Repetition time that the header states, s; the true one if None.

    Returns
    -------
    dict of str to numpy.ndarray
        Shapes (n_regions, n_volumes) and (n_volumes, 6).
    """
    acquisition = ACQUISITIONS[dataset]
    volumes = make_volumes(
        preset,
        cortical_regions(),
        acquisition,
        subject.traits,
        subject.anatomy,
        planted.activity,
        planted.body,
        n_volumes,
        generator(subject.name, run.name, "bold"),
        planted.stimulated,
        generator(subject.name, run.name, "bold noise"),
    )
    write_image(path, volumes.data, subject.anatomy.affine, t_r or acquisition.t_r)
    return {"bold": volumes.coupled, "motion": volumes.motion.astype(np.float32)}


def power_truth(dataset: str, planted: Planted, n_volumes: int) -> np.ndarray:
    """Mean planted power over each volume, shape (n_regions, n_bands, n_volumes)."""
    return volume_means(planted.activity, n_volumes, ACQUISITIONS[dataset].t_r)


def save_truth(root: Path, stem: str, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Write planted arrays; return their names inside the dataset, for ``simulated.json``."""
    (root / TRUTH_FOLDER).mkdir(exist_ok=True)
    names = {}
    for kind, array in arrays.items():
        names[kind] = f"{TRUTH_FOLDER}/{stem}_{kind}.npy"
        cache.save_array(root / names[kind], array)
    return names


def on_grid(seconds: float) -> float:
    """Round a time to the model's step."""
    return round(seconds * POWER_RATE) / POWER_RATE


def describe_subject(subject: Subject, runs: dict[str, dict]) -> dict:
    """Return a subject's planted truth for ``simulated.json``."""
    traits = subject.traits
    return {
        **({"stages_like": subject.donor} if subject.donor else {}),
        "latency": round(traits.latency, 4),
        "region_latency": [round(float(value), 4) for value in traits.region_latency],
        "coupling_factor": round(traits.coupling_factor, 4),
        "band_coupling": {band: round(value, 4) for band, value in traits.band_coupling.items()},
        "proneness": None if traits.proneness is None else round(traits.proneness, 4),
        "alpha_frequency": round(traits.alpha_frequency, 4),
        "spindle_frequency": round(traits.spindle_frequency, 4),
        "log_power": {band: round(value, 4) for band, value in traits.log_power.items()},
        "stage_exponent": round(traits.stage_exponent, 4),
        "background_exponent": round(traits.background_exponent, 4),
        "quality": {"noise": round(subject.quality.noise, 4), "residual": round(subject.quality.residual, 4)},
        "stage_log_gain": {
            band: {stage: round(value, 4) for stage, value in own.items()}
            for band, own in subject.quality.stage_log_gain.items()
        },
        "head_radius": round(subject.head.radius, 5),
        "mni_to_scanner": np.round(subject.anatomy.to_scanner, 6).tolist(),
        "warp": {name: np.round(values, 6).tolist() for name, values in asdict(subject.anatomy.warp).items()},
        "runs": runs,
    }


def planted_way(subject: Mapping) -> Callable[[np.ndarray], np.ndarray]:
    """Return the way from the scanner to MNI152 that was planted, local warps included.

    Parameters
    ----------
    subject : mapping
        Entry of a subject in ``simulated.json``.

    Returns
    -------
    callable
        Takes points in scanner mm, shape (n_points, 3), to MNI mm.
    """
    warp = Warp(**{name: np.array(values) for name, values in subject["warp"].items()})
    inverse = np.linalg.inv(np.array(subject["mni_to_scanner"]))
    return lambda points: warp(points) @ inverse[:3, :3].T + inverse[:3, 3]


def describe_model(preset: Preset) -> dict:
    """Return what is planted alike in everybody: bands, regions, couplings."""
    regions = cortical_regions()
    planted = region_coupling(preset, regions)
    return {
        "bands": {band: list(limits) for band, limits in BANDS.items()},
        "regions": [
            {
                "name": name,
                "group": group,
                "mni": [round(float(value), 1) for value in centroid],
                "coupling": {band: round(float(value), 6) for band, value in zip(BANDS, row, strict=True)},
            }
            for name, group, centroid, row in zip(
                regions.names, regions.groups, regions.centroids, planted, strict=True
            )
        ],
        "arrays": {
            "power": "n_regions x n_bands x n_volumes: mean planted power over each volume, relative to wakefulness",
            "bold": "n_regions x n_volumes: noise-free response to planted power and to stimuli, percent, at the middle of "
            "each volume",
            "motion": "n_volumes x 6: translation in mm and rotation in radians along and about scanner x, y, z",
            "trials": "n_stimuli x 5 (oddball): onset in s, target, reaction time in s, size of the response, used",
        },
    }


def place_quirks(
    subjects: list[Subject],
    quirks: Iterable[str],
    places: Mapping[str, tuple[int | None, str, str]],
    crowded: Iterable[str] = (),
) -> list[dict]:
    """Decide where each quirk goes, always the same way.

    Parameters
    ----------
    subjects : list of Subject
        Everybody.
    quirks : iterable of str
        What to plant.
    places : mapping
        Quirk → (number of the subject it would like or None for the dataset as a whole, part of the name of the run it needs
        or ``*`` for a whole subject, ``+`` for what concerns a subject and leaves room for other quirks, ``+`` and part of a name for
        a run that leaves room; what is done).
    crowded : iterable of str
        Quirks of every dataset: when few subjects are simulated they may share a run, or go with the subject who is not there.

    Returns
    -------
    list of dict
        ``quirk``, ``subject``, ``run`` and ``what``; run None for a whole subject, subject None for the dataset.

    Raises
    ------
    RequestError
        If there are more quirks than runs to hold them.
    """
    taken: set[tuple[str, str]] = set()
    planned = []
    for quirk in sorted(quirks, key=lambda quirk: places[quirk][1] != "*"):  # whole subjects first
        index, kind, what = places[quirk]
        entry = {"quirk": quirk, "subject": None, "run": None, "what": what}
        planned.append(entry)
        if index is None:
            continue
        if kind == "+" and quirk in crowded and index >= len(subjects):
            planned.remove(entry)
            continue
        if kind.startswith("+"):
            subject = subjects[index % len(subjects)]
            runs = [run.name for run in subject.runs if kind[1:] in run.name] or [subject.runs[-1].name]
            entry |= {"subject": subject.name, "run": runs[-1] if kind[1:] else None}
            continue
        options = []
        for step in range(len(subjects)):
            subject = subjects[(index + step) % len(subjects)]
            runs = [run.name for run in subject.runs if kind == "*" or kind in run.name] or [subject.runs[-1].name]
            free = [name for name in runs if (subject.name, name) not in taken]
            if (len(free) == len(subject.runs)) if kind == "*" else free:
                options = [(subject.name, runs if kind == "*" else free[-1:])]
                break
        if not options and quirk in crowded:
            subject = subjects[index % len(subjects)]
            options = [
                (subject.name, [run.name for run in subject.runs if kind in run.name][-1:] or [subject.runs[-1].name])
            ]
        if not options:
            raise RequestError(
                f"No run is left for the quirk {quirk!r}: simulate more subjects, or plant fewer quirks."
            )
        subject, runs = options[0]
        taken.update((subject, run) for run in runs)
        entry |= {"subject": subject, "run": None if kind == "*" else runs[0]}
    return planned
