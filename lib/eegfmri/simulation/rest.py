"""Writes simulated subjects in the layout of NODDI's resting EEG and fMRI, odd names and lengths included.

Each subject has an export (250 Hz, corrected for gradient and pulse artefacts, of the real file's length) and one image; some
have the recorder's own file as well. Export and image do not start together: markers say where the scan begins.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from eegfmri.datasets.montages import REST_MONTAGES
from eegfmri.simulation.artefacts import MODEL_RATE, make_gradient, residual_gradient
from eegfmri.simulation.damage import WHAT, Files, damage
from eegfmri.simulation.eeg import pieces
from eegfmri.simulation.files import cut_short, write_header, write_image, write_markers, write_signal
from eegfmri.simulation.parameters import ACQUISITIONS, DEFAULT_QUIRKS, Preset, Scale
from eegfmri.simulation.quality import describe_loose, loosen
from eegfmri.simulation.sources import make_t1
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

ACQUISITION = ACQUISITIONS["rest"]

#: Stem of each subject's files and length of the export in s, as in the real tree; odd ones first, so that few subjects show
#: most of what is odd. 38 has a wrong month in its name, 50 an underscore.
SUBJECTS = {
    "32": ("20130410320002", 648.088),
    "35": ("20130424350002", 788.9),
    "38": ("20130105380002", 717.5),
    "40": ("20130510400002", 695.7),
    "50": ("20131003_500002", 672.1),
    "36": ("20130425360002", 727.8),
    "37": ("20130426370002", 780.6),
    "39": ("20130501390002", 728.5),
    "42": ("20130523420002", 739.6),
    "43": ("20130529430002", 682.4),
    "44": ("20130605440002", 679.4),
    "45": ("20130627450002", 672.4),
    "46": ("20130703460002", 689.1),
    "47": ("20130710470002", 730.4),
    "48": ("20130717480002", 687.0),
    "49": ("20130918490002", 670.3),
}

#: The one subject whose export is cut to the scan, and the one whose images are numbered differently.
CUT = "32"
RENUMBERED = "40"

#: Seconds of the recorder's file around the export of `CUT`.
CUT_MARGINS = (31.2, 12.0)

#: Name of the only run.
RUN = "rest"

#: Microvolts per bit of the export.
EXPORT_RESOLUTION = 0.1

#: Place of the electrocardiogram among the 64 channels.
ECG_PLACE = 31

#: The other montage, and the two electrodes between which each of its own six lies.
SECOND_MONTAGE = REST_MONTAGES["F1 F2 C1 C2 P1 P2"]
BETWEEN = {
    "F1": ("Fz", "F3"),
    "F2": ("Fz", "F4"),
    "C1": ("Cz", "C3"),
    "C2": ("Cz", "C4"),
    "P1": ("Pz", "P3"),
    "P2": ("Pz", "P4"),
}

#: Seconds of a real scan.
SCAN_SECONDS = 648.0


def make_subjects(preset: Preset, scale: Scale, generator: Generator, stages_from: dict) -> list[Subject]:
    """Draw everybody; subjects are awake, with open eyes.

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
        The first of `SUBJECTS`.
    """
    awake = ["W"] * int(np.ceil(scale.n_volumes * ACQUISITION.t_r / 30))
    return [
        make_subject("rest", subject, [Run(RUN, awake, [])], preset, scale.matrix, generator)
        for subject in list(SUBJECTS)[: scale.n_subjects]
    ]


def plan_quirks(subjects: list[Subject], quirks: Iterable[str], scale: Scale) -> list[dict]:
    """Decide where each quirk goes, see `eegfmri.simulation.subjects.place_quirks`."""
    places = {
        "scan_start": (2, "+", "One marker 'Scan Start' tells where the scan begins, no marker per volume."),
        "toggle_marker": (3, "+", "Volumes are marked 'T  1'."),
        "renamed_header": (4, "+", "The export's header names the recorder's files instead of its own."),
        "no_marker": (5, RUN, "No marker tells where the scan begins."),
        "missing_eeg": (6, RUN, "There is no EEG."),
        "missing_bold": (7, RUN, "There is no image."),
        "truncated_eeg": (8, RUN, "The export breaks off after two thirds, inside a sample."),
        "truncated_bold": (9, RUN, "The image breaks off after two thirds."),
        "zero_affine": (10, RUN, "The image's affine is empty but for the voxels' sizes."),
        "wrong_image_rate": (11, RUN, "The image's header states a repetition time of 1 s."),
        "broken_raw": (0, "+", "The recorder's file breaks off after a third."),
        "second_montage": (
            0,
            "+",
            "The cap has F1 F2 C1 C2 P1 P2 in place of six electrodes at the lower edge of the back.",
        ),
        "hidden_files": (None, "", "Beside every file lies the hidden one that macOS makes."),
        "inherited_sidecar": (
            None,
            "",
            "task-rest_bold.json states the repetition time as a text, behind a mark of byte order.",
        ),
    }
    # of one run all are mended, or it is refused
    for index, names in (
        (12, ("blanks_in_header", "latin1_markers", "padded_gzip", "milliseconds")),
        (13, ("greek_unit", "rounded_quaternion")),
        (14, ("latin1_header", "empty_sform", "gzip_members")),
        (1, ("nan_background",)),
        (15, ("blank_volume",)),
    ):
        places |= {name: (index, f"+{RUN}", WHAT[name]) for name in names}
    return place_quirks(subjects, quirks, places, DEFAULT_QUIRKS["rest"])


def write_root(root: Path, preset: Preset, scale: Scale, seed: int, digest: str, quirks: set[str]) -> None:
    """Write what stands beside the subjects."""
    (root / "README").write_text(
        "SIMULATED. No subject was measured.\n\n"
        "These files were written by the simulator of eegfmri in the layout of NODDI (OSF 94c5t), quirks included.\n"
        f"Preset {preset.name}, scale {scale.name}, seed {seed}, digest {digest}.\n"
        "simulated.json and the folder simulated/ hold what was planted.\n",
        encoding="utf-8",
    )
    if "inherited_sidecar" in quirks:
        facts = {"TaskName": "rest", "Manufacturer": "SIMULATED by eegfmri", "RepetitionTime": f"{ACQUISITION.t_r:g}"}
        (root / "task-rest_bold.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8-sig")


def write_subject(
    root: Path, preset: Preset, scale: Scale, subject: Subject, generator: Generator, quirks: dict[str, str | None]
) -> list[Run]:
    """Write the anatomical image; return the runs whose signals are to be written, see `eegfmri.simulation.subjects.Layout`."""
    if scale.t1_matrix is not None:
        data, affine = make_t1(preset, subject.anatomy, scale.t1_matrix, generator(subject.name, "t1"))
        number = "04" if subject.name == RENUMBERED else "2"
        write_image(root / "fMRI" / subject.name / f"{number}_fl3D_t1_sag_fun_defaced.nii.gz", data, affine)
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
    """Simulate one run and write export, recorder's file, image and truth, see `eegfmri.simulation.subjects.Layout`."""
    seconds = scale.n_volumes * ACQUISITION.t_r
    total = SUBJECTS[subject.name][1] - SCAN_SECONDS + seconds
    share = generator(subject.name, run.name, "bounds").uniform(0.35, 0.9)
    if subject.name == CUT:
        lead_in, before, after = 0.0, *CUT_MARGINS
    else:
        lead_in = on_grid(share * (total - seconds))
        before, after = lead_in, total - seconds - lead_in
    planted = plant_run("rest", preset, subject, run, before, on_grid(seconds + after) + 0.08, generator)
    if "missing_eeg" not in quirks:
        _write_eeg(root, preset, scale, subject, run, planted, before - lead_in, total, lead_in, generator, quirks)
    truth = {"power": power_truth("rest", planted, scale.n_volumes)}
    if "missing_bold" not in quirks:
        number = "05" if subject.name == RENUMBERED else "3"
        image = root / "fMRI" / subject.name / f"{number}_nw_mepi_rest_with_cross.nii.gz"
        stated = 1.0 if "wrong_image_rate" in quirks else None
        truth |= scan("rest", preset, subject, run, planted, scale.n_volumes, generator, image, stated)
        if "zero_affine" in quirks:
            _empty_affine(image)
        if "truncated_bold" in quirks:
            cut_short(image, 2 / 3, 0)
        damage(Files(_export(root, subject.name).with_suffix(".vhdr"), image), quirks)
    facts = {
        "lead_in_seconds": round(lead_in, 6),
        "raw_lead_in_seconds": round(before, 6),
        "export_seconds": round(total, 6),
        "n_volumes": scale.n_volumes,
        "loose": describe_loose(planted.loose, SECOND_MONTAGE if "second_montage" in quirks else ACQUISITION.channels),
    }
    return facts | save_truth(root, f"{subject.name}_{run.name}", truth)


def _write_eeg(root, preset, scale, subject, run, planted, skipped, total, lead_in, generator, quirks) -> None:
    """Write the export, ``skipped`` s after the recorder's start and ``total`` s long, and the recorder's file."""
    slow, name = planted.eeg, subject.name
    stamp = SUBJECTS[name][0]
    channels, places = list(ACQUISITION.channels), subject.head.electrodes
    if "second_montage" in quirks:
        mixing = _second_montage()
        channels, places = list(SECOND_MONTAGE), mixing @ places
        places *= (np.linalg.norm(subject.head.electrodes, axis=1).mean() / np.linalg.norm(places, axis=1))[:, None]
    channels.insert(ECG_PLACE, "ECG")

    def with_heart(scalp):
        scalp = loosen(mixing @ scalp if "second_montage" in quirks else scalp, planted.loose)
        return np.insert(scalp, ECG_PLACE, slow.heart, axis=0).astype(np.float32)

    def rng(purpose):
        return generator(name, run.name, purpose)

    path = _export(root, name)
    path.parent.mkdir(parents=True)
    begin = round(skipped * MODEL_RATE)
    left, noise = subject.quality.residual, subject.quality.noise
    rows = with_heart(slow.scalp + left * preset.pulse_left * slow.pulse)[:, begin : begin + round(total * MODEL_RATE)]
    n_times = round(total * scale.sfreq)
    electrodes = np.insert(places, ECG_PLACE, places[0], axis=0)
    residual = residual_gradient(
        preset,
        ACQUISITION,
        electrodes,
        scale.matrix[2],
        planted.body,
        scale.n_volumes,
        scale.sfreq,
        round(lead_in * scale.sfreq),
        rng("residual gradient"),
        left,
    )
    parts = pieces(preset, ACQUISITION, rows, scale.sfreq, rng("sensors"), residual, noise=noise)
    write_signal(path.with_suffix(".dat"), _at_most(parts, n_times), resolution=EXPORT_RESOLUTION)
    named = stamp if "renamed_header" in quirks else None
    write_header(
        path.with_suffix(".vhdr"),
        channels,
        "FCz",
        scale.sfreq,
        named=named,
        suffix=".dat",
        resolution=EXPORT_RESOLUTION,
    )
    markers = _markers(round(lead_in * scale.sfreq), scale, scale.sfreq, quirks)
    write_markers(path.with_suffix(".vmrk"), markers, named=named, suffix=".dat")
    if "truncated_eeg" in quirks:
        os.truncate(path.with_suffix(".dat"), 2 * len(channels) * (2 * n_times // 3) + 37)

    if scale.raw_sfreq is None or list(SUBJECTS).index(name) >= scale.raw_subjects:
        return
    folder = path.parents[1] / "raw"
    folder.mkdir(parents=True)
    first = round(-slow.start * scale.raw_sfreq)
    gradient = make_gradient(
        preset,
        ACQUISITION,
        electrodes,
        preset.gradient_peak,
        scale.matrix[2],
        planted.body,
        scale.n_volumes,
        scale.raw_sfreq,
        first,
        rng("gradient"),
    )
    path = folder / stamp
    rows = with_heart(slow.scalp + slow.pulse)
    parts = pieces(preset, ACQUISITION, rows, scale.raw_sfreq, rng("raw sensors"), gradient, noise=noise)
    n_times = write_signal(path.with_suffix(".eeg"), parts)
    write_header(path.with_suffix(".vhdr"), channels, "FCz", scale.raw_sfreq)
    write_markers(path.with_suffix(".vmrk"), _markers(first, scale, scale.raw_sfreq, quirks))
    if "broken_raw" in quirks:
        os.truncate(path.with_suffix(".eeg"), 2 * len(channels) * (n_times // 3) + 37)


def _export(root: Path, name: str) -> Path:
    """Return the path of a subject's export, without a suffix."""
    half = "EEG1" if int(name) < 42 else "EEG2"
    suffix = "Segmentation_bin" if name == CUT else "Pulse_Artifact_Correction_bin"
    return root / half / name / "export" / f"{SUBJECTS[name][0]}_{suffix}"


def _second_montage() -> np.ndarray:
    """What each electrode of the other montage sees of those of the first, shape (63, 63): itself, or the mean of two neighbours."""
    mixing = np.zeros((len(SECOND_MONTAGE), len(ACQUISITION.channels)), dtype=np.float32)
    for row, name in enumerate(SECOND_MONTAGE):
        for seen in BETWEEN.get(name, (name,)):
            mixing[row, ACQUISITION.channels.index(seen)] = 1 / len(BETWEEN.get(name, (name,)))
    return mixing


def _at_most(parts: Iterable[np.ndarray], n_times: int) -> Iterable[np.ndarray]:
    for part in parts:
        yield part[:, :n_times]
        n_times -= part.shape[1]
        if n_times <= 0:
            return


def _markers(first: int, scale: Scale, sfreq: float, quirks: set[str]) -> list[tuple[int, str, str]]:
    if "no_marker" in quirks:
        return []
    if "scan_start" in quirks:
        return [(first, "Comment", "Scan Start")]
    kind, name = ("Toggle", "T  1") if "toggle_marker" in quirks else ("Response", "R128")
    return [(first + round(k * ACQUISITION.t_r * sfreq), kind, name) for k in range(scale.n_volumes)]


def _empty_affine(path: Path) -> None:
    """Leave nothing in the header that says where the volume lies."""
    import nibabel

    image = nibabel.load(path)
    data, zooms = np.asarray(image.dataobj), image.header.get_zooms()
    blank = nibabel.Nifti1Image(data, np.diag([*zooms[:3], 1.0]))
    blank.header.set_zooms(zooms)
    blank.header.set_xyzt_units("mm", "sec")
    blank.set_sform(np.diag([*zooms[:3], 1.0]), code=1)
    blank.set_qform(np.diag([*zooms[:3], 1.0]), code=1)
    nibabel.save(blank, path)
