"""The simulator: what was planted can be found again in the files by independent means, and the files are the real layout."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eegfmri import project
from eegfmri.datasets import sleep
from eegfmri.errors import DataError, RequestError
from eegfmri.simulation import simulate as simulator
from eegfmri.simulation.parameters import OTHER_QUIRKS, PRESETS, SCALES, parameter_table
from eegfmri.simulation.stage_sequences import read_label_runs
from eegfmri.simulation.subjects import describe_subject, make_subject, planted_way

EPOCH = 30


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> Path:
    """Label tables with plenty of W, N1 and N2 for two subjects, in the form of the real ones."""
    folder = tmp_path_factory.mktemp("labels")
    stages = {
        "rest": ["W", "W", "W", "1", "1", "2", "2", "W"],
        "sleep": ["W", "W", "W", "W", "1", "1", "1", "1", "2", "2", "2", "2"],
    }
    for subject in ("07", "11"):
        rows = ["session\tepoch_start_time_sec\t30-sec_epoch_sleep_stage"]
        for kind, labels in stages.items():
            rows += [f"task-{kind}_run-1\t{EPOCH * i}\t{label}" for i, label in enumerate(labels)]
        (folder / f"sub-{subject}-sleep-stage.tsv").write_text("\r\n".join(rows) + "\r\n", newline="")
    return folder


@pytest.fixture(scope="session")
def strong(tmp_path_factory, tables) -> Path:
    """Two subjects, noise-free and strongly coupled, with known stages and no quirks."""
    dest = tmp_path_factory.mktemp("strong") / "sleep"
    return simulator.simulate(
        "sleep", dest, scale="tiny", preset="strong", seed=1, n_subjects=2, labels_dir=tables, quirks=()
    )


@pytest.fixture(scope="session")
def realistic(tmp_path_factory) -> Path:
    """Three subjects as in the book, tiny."""
    return simulator.simulate("sleep", tmp_path_factory.mktemp("realistic") / "sleep", scale="tiny", seed=0)


def scalp(root: Path, subject: str, run: str) -> tuple[np.ndarray, list[str], float]:
    """Scalp EEG in V from the first R128 on, read by MNE alone."""
    import mne

    raw = mne.io.read_raw_brainvision(
        root / f"sub-{subject}" / "eeg" / f"sub-{subject}_{run}_eeg.vhdr", preload=True, verbose="error"
    )
    first = min(a["onset"] for a in raw.annotations if a["description"] == "Response/R128")
    raw.crop(tmin=first)
    return raw.get_data(), raw.ch_names, raw.info["sfreq"]


def volumes(root: Path, subject: str, run: str):
    import nibabel

    return nibabel.load(root / f"sub-{subject}" / "func" / f"sub-{subject}_{run}_bold.nii.gz")


def around(image, subject: dict, mni: list[tuple[float, float, float]]) -> np.ndarray:
    """Mean signal of the voxels at MNI coordinates, found through the planted registration, in percent."""
    to_voxel = np.linalg.inv(image.affine) @ np.array(subject["mni_to_scanner"])
    data = np.asarray(image.dataobj, dtype=float)
    index = np.round([(to_voxel @ [*xyz, 1])[:3] for xyz in mni]).astype(int)
    series = np.mean([data[tuple(i)] for i in index], axis=0)
    return 100 * (series / series.mean() - 1)


def power_per_volume(eeg: np.ndarray, sfreq: float, band: tuple[float, float], n_volumes: int) -> np.ndarray:
    from scipy.signal import butter, sosfiltfilt

    filtered = sosfiltfilt(butter(4, band, "bandpass", fs=sfreq, output="sos"), eeg)
    n_times = round(2.1 * sfreq)
    return (filtered[:, : n_volumes * n_times] ** 2).reshape(len(eeg), n_volumes, n_times).mean(axis=(0, 2))


def runs_of(root: Path) -> list[tuple[str, dict, str, dict]]:
    truth = simulator.read_truth(root)
    return [
        (subject, traits, run, facts)
        for subject, traits in truth["subjects"].items()
        for run, facts in traits["runs"].items()
    ]


# What was planted is found again


def test_wakeful_alpha_peaks_at_the_planted_frequency_over_occipital_cortex(strong):
    from scipy.signal import welch

    for subject, traits, run, facts in runs_of(strong):
        eeg, names, sfreq = scalp(strong, subject, run)
        awake = np.concatenate(
            [
                eeg[:, round(i * EPOCH * sfreq) : round((i + 1) * EPOCH * sfreq)]
                for i, stage in enumerate(facts["stages"])
                if stage == "W"
            ],
            axis=1,
        )
        frequencies, density = welch(awake, sfreq, nperseg=round(4 * sfreq))
        inside = (frequencies >= 7) & (frequencies <= 14)
        occipital = density[[names.index(name) for name in ("O1", "O2", "Oz")]].mean(axis=0)
        peak = frequencies[inside][occipital[inside].argmax()]
        # the resolution is 0.25 Hz and the peak's half width 0.9 Hz
        assert abs(peak - traits["alpha_frequency"]) < 0.6
        frontal = density[[names.index(name) for name in ("F3", "F4")]].mean(axis=0)
        assert occipital[inside].max() > 10 * frontal[inside].max()


def test_stages_separate_by_band_power(strong):
    from scipy.signal import welch

    for subject, _, run, facts in runs_of(strong):
        eeg, names, sfreq = scalp(strong, subject, run)
        n_times = round(EPOCH * sfreq)
        epochs = eeg[[names.index("O1"), names.index("O2")], : len(facts["stages"]) * n_times]
        epochs = epochs.reshape(2, len(facts["stages"]), n_times)
        frequencies, density = welch(epochs, sfreq, nperseg=round(4 * sfreq))

        def power(low, high, f=frequencies, d=density):
            return np.log(d[..., (f >= low) & (f < high)].mean(axis=(0, 2)))

        stages = np.array(facts["stages"])
        alpha, delta = power(8, 13), power(1, 4)
        assert alpha[stages == "W"].min() > alpha[stages == "N1"].mean()
        assert delta[stages == "N2"].min() > delta[stages == "W"].max()


def test_the_response_lags_planted_power_by_the_planted_latency(strong):
    from nilearn.glm.first_level import glover_hrf

    truth = simulator.read_truth(strong)
    bands = list(truth["truth"]["bands"])
    coupling = np.array([[region["coupling"][band] for band in bands] for region in truth["truth"]["regions"]])
    step, per_volume = 0.1, 21
    shifts = np.arange(-2.0, 3.01, 0.1)
    responses = [glover_hrf(step, oversampling=1, time_length=32.0, onset=shift) for shift in shifts]
    errors = []
    for _, subject, _, facts in runs_of(strong):
        drive = np.einsum("rb,rbv->rv", coupling, facts["power"] - 1)
        for region in np.flatnonzero(np.abs(coupling).sum(axis=1) > 0)[::7]:
            fine = np.repeat(drive[region], per_volume)
            fitted = []
            for response in responses:
                course = np.convolve(fine, response)[per_volume // 2 : len(fine) : per_volume][: drive.shape[1]]
                past = 16  # volumes whose haemodynamic past lies before the scan
                fitted.append(np.corrcoef(course[past:], facts["bold"][region, past : len(course)])[0, 1])
            assert max(fitted) > 0.95
            errors.append(5 + shifts[np.argmax(fitted)] - subject["region_latency"][region])
    # power is known per volume of 2.1 s only, so single regions are off by a few tenths of a second
    assert abs(np.median(errors)) < 0.15
    assert np.percentile(np.abs(errors), 90) < 0.6


def test_occipital_bold_falls_and_thalamic_bold_rises_after_alpha(strong):
    places = {
        "occipital": ([(10, -92, 2), (-10, -92, 2), (28, -84, 14), (-28, -84, 14)], -1),
        "thalamus": ([(10, -18, 8), (-10, -18, 8)], 1),
    }
    for subject, traits, run, facts in runs_of(strong):
        eeg, names, sfreq = scalp(strong, subject, run)
        alpha = power_per_volume(eeg[[names.index(n) for n in ("O1", "O2", "Oz")]], sfreq, (8, 13), facts["n_volumes"])
        image = volumes(strong, subject, run)
        for mni, sign in places.values():
            series = around(image, traits, mni)
            later = [np.corrcoef(alpha[: len(alpha) - k], series[k:])[0, 1] for k in range(7)]
            strongest = int(np.argmax(np.abs(later)))
            assert sign * later[strongest] > 0.3
            assert 1 <= strongest <= 4  # 2 to 8 s


def test_realistic_alpha_and_bold_are_coupled_but_not_copies(realistic):
    for subject, traits, run, facts in runs_of(realistic):
        image = volumes(realistic, subject, run)
        planted = facts["power"][:, list(PRESETS["realistic"].stage_gain).index("alpha")]
        groups = np.array([region["group"] for region in simulator.read_truth(realistic)["truth"]["regions"]])
        alpha = planted[groups == "occipital"].mean(axis=0)
        series = around(image, traits, [(10, -92, 2), (-10, -92, 2), (28, -84, 14), (-28, -84, 14)])
        assert abs(np.corrcoef(alpha[:-2], series[2:])[0, 1]) < 0.9
        response = facts["bold"][groups == "occipital"].mean(axis=0)
        assert np.corrcoef(alpha[:-2], response[2:])[0, 1] < 0


def test_the_brain_lies_where_the_planted_registration_says(realistic):
    import nibabel
    from nilearn.datasets import load_mni152_brain_mask
    from nilearn.image import resample_img

    for subject, traits, run, _ in runs_of(realistic):
        image = volumes(realistic, subject, run)
        mean = np.asarray(image.dataobj, dtype=float).mean(axis=-1)
        template = load_mni152_brain_mask(resolution=4)
        moved = nibabel.Nifti1Image(
            np.asarray(template.dataobj, dtype=np.float32), np.array(traits["mni_to_scanner"]) @ template.affine
        )
        mask = (
            resample_img(moved, image.affine, image.shape[:3], force_resample=True, copy_header=True).get_fdata() > 0.5
        )
        bright = mean > 0.5 * np.percentile(mean, 95)
        dice = 2 * (mask & bright).sum() / (mask.sum() + bright.sum())
        assert dice > 0.9  # the local warps and partial volumes of these large voxels take the rest
        shift = np.array(traits["mni_to_scanner"]) - np.eye(4)
        assert np.abs(shift).max() > 1  # so that registration has something to do


def test_the_planted_way_to_the_template_can_be_read_back():
    def generator(*names):
        return np.random.default_rng([len(name) for name in names])

    subject = make_subject("sleep", "01", [], PRESETS["realistic"], (20, 20, 10), generator)
    way = planted_way(json.loads(json.dumps(describe_subject(subject, {}))))
    points = np.random.default_rng(0).uniform(-60, 60, (50, 3))
    np.testing.assert_allclose(way(points), subject.anatomy.to_mni(points), atol=1e-3)
    # warps are there, on top of the affine map
    plain = np.linalg.inv(subject.anatomy.to_scanner)
    assert 0.5 < np.linalg.norm(way(points) - (points @ plain[:3, :3].T + plain[:3, 3]), axis=1).mean() < 5


def test_the_ecg_beats_at_a_human_rate(realistic):
    import mne

    path = next((realistic / "sub-01" / "eeg").glob("*sleep*.vhdr"))
    raw = mne.io.read_raw_brainvision(path, verbose="error", preload=True)
    raw.set_channel_types({"ECG": "ecg", "EOG": "eog"}, verbose="error")
    beats, _, rate = mne.preprocessing.find_ecg_events(raw, verbose="error")
    assert 40 < rate < 90
    assert len(beats) == pytest.approx(rate / 60 * raw.times[-1], rel=0.1)


# The files are the real layout


def test_mne_and_nibabel_read_the_files(realistic):
    import mne

    for subject, _, run, facts in runs_of(realistic):
        header = realistic / f"sub-{subject}" / "eeg" / f"sub-{subject}_{run}_eeg.vhdr"
        if "DataFile=r" in header.read_text():
            continue
        raw = mne.io.read_raw_brainvision(header, verbose="error")
        assert raw.info["sfreq"] == 250
        assert raw.ch_names[:2] + raw.ch_names[-4:] == ["Fp1", "Fp2", "TP9", "TP10", "EOG", "ECG"]
        triggers = [a["onset"] for a in raw.annotations if a["description"] == "Response/R128"]
        image = volumes(realistic, subject, run)
        assert len(triggers) == image.shape[3] == facts["n_volumes"]
        np.testing.assert_allclose(np.diff(triggers), 2.1, atol=1e-9)
        assert triggers[0] == pytest.approx(facts["lead_in_seconds"])
        assert triggers[0] >= 4
        assert raw.times[-1] > triggers[-1] + 2.1
        assert image.get_data_dtype() == np.int16
        np.testing.assert_allclose(image.header.get_zooms(), (12, 12, 14, 2.1), rtol=1e-5)
        np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)
        sidecar = json.loads((header.parents[1] / "func" / f"sub-{subject}_{run}_bold.json").read_text())
        timing = np.array(sidecar["SliceTiming"])
        assert len(timing) == image.shape[2]
        assert (np.diff(timing) < 0).all()
        assert timing.max() < sidecar["RepetitionTime"] == 2.1
        assert "SIMULATED" in sidecar["Manufacturer"]


def test_acquisition_times_follow_the_order_of_runs(realistic):
    for subject in ("01", "02"):
        times = []
        for run in ("task-rest_run-1", "task-sleep_run-1"):
            path = realistic / f"sub-{subject}" / "func" / f"sub-{subject}_{run}_bold.json"
            hours, minutes, seconds = json.loads(path.read_text())["AcquisitionTime"].split(":")
            times.append(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
        assert times[1] - times[0] > 600


def test_the_default_quirks_stand_in_the_files(realistic):
    first = (realistic / "sourcedata" / "sub-01-sleep-stage.tsv").read_bytes()
    assert first.startswith(b"subject\tsession\t")
    labels = [path.read_bytes() for path in sorted((realistic / "sourcedata").iterdir())]
    assert all(text.count(b"\r\n") == text.count(b"\n") for text in labels)
    assert not labels[1].startswith(b"subject")
    text = b"".join(labels).decode()
    assert len(re.findall(r"\(uncertain\)", text)) == 2
    assert len(re.findall(r"\(unscorable\)", text)) == 1
    assert len(re.findall(r"\t\d+ [W123]", text)) == 1
    headers = [path for path in realistic.rglob("*.vhdr") if "DataFile=rsub-" in path.read_text()]
    assert len(headers) == 1
    statuses = {recording.name: recording.status for recording in sleep.read(realistic)}
    assert set(statuses.values()) <= {"ok", "repaired"}
    assert statuses[headers[0].name.removesuffix("_eeg.vhdr")] == "repaired"
    planted = json.loads((realistic / "simulated.json").read_text())["quirks"]
    assert {entry["quirk"] for entry in planted} == {
        "subject_column",
        "renamed_header",
        "doubtful_labels",
        "blank_for_tab",
        "marked_sidecars",
    }
    assert (realistic / "task-rest_eeg.json").read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.slow
def test_the_other_quirks_can_be_planted(tmp_path):
    root = simulator.simulate("sleep", tmp_path / "odd", scale="tiny", n_subjects=13, quirks=OTHER_QUIRKS["sleep"])
    planted = {e["quirk"]: e for e in json.loads((root / "simulated.json").read_text())["quirks"]}

    def eeg(quirk, suffix):
        entry = planted[quirk]
        return root / f"sub-{entry['subject']}" / "eeg" / f"sub-{entry['subject']}_{entry['run']}_eeg{suffix}"

    assert json.loads((root / "task-sleep_eeg.json").read_text())["SamplingFrequency"] != 250
    assert eeg("truncated_eeg", ".eeg").stat().st_size % 64
    assert "TP10" not in eeg("missing_channel", ".vhdr").read_text()
    assert eeg("missing_channel", ".eeg").stat().st_size % (2 * 31) == 0
    assert "R128" not in eeg("no_trigger", ".vmrk").read_text()
    assert not eeg("missing_eeg", ".vhdr").exists()
    entry = planted["missing_bold"]
    assert not list((root / f"sub-{entry['subject']}" / "func").glob(f"*{entry['run']}*"))

    read = {recording.name: recording for recording in sleep.read(root)}

    def status(quirk):
        return read[f"sub-{planted[quirk]['subject']}_{planted[quirk]['run']}"].status

    assert status("no_trigger") == "refused"
    assert status("missing_bold") == status("missing_eeg") == "missing"
    assert status("truncated_eeg") == "repaired"


def test_real_tables_give_the_stages(strong, tables):
    for written, given in zip(sorted((strong / "sourcedata").iterdir()), sorted(tables.iterdir()), strict=True):
        assert read_label_runs(written) == read_label_runs(given)


@pytest.mark.real_data
def test_the_published_tables_give_the_stages(real_data, tmp_path):
    source = real_data / "ds003768_text" / "sourcedata"
    root = simulator.simulate("sleep", tmp_path / "real", scale="tiny", n_subjects=1, labels_dir=source, quirks=())
    written = read_label_runs(root / "sourcedata" / "sub-01-sleep-stage.tsv")
    given = read_label_runs(source / "sub-01-sleep-stage.tsv")
    assert written == {key: given[key][:n] for key, n in ((("rest", 1), 8), (("sleep", 1), 12))}


# Same seed, same bytes; made once, whole or not at all


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_whoever_else_is_simulated(realistic, tmp_path):
    one = simulator.simulate("sleep", tmp_path / "one", scale="tiny", n_subjects=1, n_jobs=1)
    again = simulator.simulate("sleep", tmp_path / "again", scale="tiny", n_subjects=1, n_jobs=2)
    other = simulator.simulate("sleep", tmp_path / "other", scale="tiny", n_subjects=1, seed=1)
    assert contents(one) == contents(again)
    for path in (*(one / "sub-01").rglob("*.eeg"), *(one / "sub-01").rglob("*.nii.gz")):
        name = path.relative_to(one)
        assert path.read_bytes() == (realistic / name).read_bytes()
        assert path.read_bytes() != (other / name).read_bytes()


def small_project(folder: Path) -> dict[str, str]:
    """A project with nothing but the stage statistics; returns the environment that names it."""
    (folder / "data").mkdir(parents=True)
    shutil.copy(project.data_dir() / "sleep_stage_statistics.json", folder / "data")
    return {**os.environ, "EEGFMRI_ROOT": str(folder)}


ENSURE = (
    "import sys; from eegfmri.simulation.simulate import ensure; "
    "print(ensure('sleep', scale='tiny', n_subjects=int(sys.argv[1])))"
)


@pytest.mark.slow
def test_two_processes_make_a_dataset_once(tmp_path):
    environment = small_project(tmp_path)
    processes = [
        subprocess.Popen([sys.executable, "-c", ENSURE, "1"], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(answers) == 1
    made = [path for path in (tmp_path / "data" / "simulated").iterdir() if path.is_dir()]
    assert [str(path) for path in made] == list(answers)
    document = made[0] / "simulated.json"
    written = document.stat().st_mtime_ns
    subprocess.run([sys.executable, "-c", ENSURE, "1"], env=environment, check=True, capture_output=True)
    assert document.stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_killed_simulation_leaves_nothing_under_the_final_name(tmp_path):
    environment = small_project(tmp_path)
    folder = tmp_path / "data" / "simulated"
    process = subprocess.Popen([sys.executable, "-c", ENSURE, "2"], env=environment, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(folder.glob(".part-*/sub-*/eeg/*.eeg")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []
    made = subprocess.run(
        [sys.executable, "-c", ENSURE, "2"], env=environment, check=True, capture_output=True, text=True
    )
    assert (Path(made.stdout.strip()) / "simulated.json").is_file()
    assert not list(folder.glob(".part-*"))


def test_a_failed_simulation_cleans_up(tmp_path, monkeypatch):
    from eegfmri.simulation import subjects as simulate_subjects

    def full(*_args, **_kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(simulate_subjects, "write_image", full)
    with pytest.raises(OSError, match="No space"):
        simulator.simulate("sleep", tmp_path / "sleep", scale="tiny", n_subjects=1, n_jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_the_digest_names_code_and_parameters(realistic):
    digest = simulator.simulation_digest("sleep", scale="tiny")
    assert digest == json.loads((realistic / "simulated.json").read_text())["digest"]
    assert digest == simulator.simulation_digest("sleep", scale="tiny", n_subjects=3)
    others = [
        simulator.simulation_digest("sleep", scale="tiny", seed=1),
        simulator.simulation_digest("sleep", scale="tiny", preset="strong"),
        simulator.simulation_digest("sleep", scale="tiny", n_subjects=2),
        simulator.simulation_digest("sleep", scale="small"),
    ]
    assert len({digest, *others}) == 5


def test_the_digest_imports_nothing_heavy():
    code = (
        "import sys; from eegfmri.simulation.simulate import simulation_digest; simulation_digest('sleep'); "
        "print([m for m in ('mne', 'nilearn', 'scipy', 'nibabel', 'sklearn', 'joblib') if m in sys.modules])"
    )
    environment = {**os.environ, "EEGFMRI_ROOT": str(project.root())}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dataset": "slep"}, "slep"),
        ({"preset": "loud"}, "loud"),
        ({"scale": "huge"}, "huge"),
        ({"n_subjects": 0}, "0"),
        ({"quirks": ("typo",)}, "typo"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_written(tmp_path, arguments, named):
    arguments = {"dataset": "sleep", **arguments}
    with pytest.raises(RequestError, match=named):
        simulator.simulate(arguments.pop("dataset"), tmp_path / "new", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(RequestError, match="not empty"):
        simulator.simulate("sleep", tmp_path, scale="tiny", n_subjects=1)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_real_recordings_have_no_truth(tmp_path):
    with pytest.raises(DataError, match=r"simulated\.json"):
        simulator.read_truth(tmp_path)


# Parameters and scales


def test_every_parameter_has_a_reason_and_its_sources_are_in_the_bibliography():
    book = Path(__file__).parents[1] / "book"
    keys = set(re.findall(r"^@\w+\{([^,]+),", "".join(p.read_text() for p in book.glob("*.bib")), flags=re.M))
    for row in [row for preset in PRESETS for row in parameter_table(preset)]:
        assert len(row["reason"]) > 10, row["name"]
        assert set(row["sources"]) <= keys, row["name"]
        assert row["sources"] or re.search("[Aa]ssumed|[Cc]alibrated|[Aa]bsent", row["reason"]), row["name"]


def test_the_strong_preset_has_no_noise_and_triples_the_couplings():
    weak, strong = PRESETS["weak"], PRESETS["strong"]
    assert strong.sensor_noise == strong.drift == strong.bold_fluctuation == 0
    assert np.isinf(strong.tsnr)
    assert strong.at("coupling", "alpha", "occipital") == 3 * weak.at("coupling", "alpha", "occipital") < 0


def test_a_file_at_the_scanner_rate_holds_the_same_brain(tmp_path):
    from scipy.signal import resample_poly

    base = replace(SCALES["sleep"]["tiny"], n_subjects=1, n_sleep=0, rest_epochs=2)
    files = {}
    for sfreq in (250.0, 5000.0):
        scale = replace(base, name=f"rate-{sfreq:g}", sfreq=sfreq)
        root = simulator.simulate("sleep", tmp_path / scale.name, scale=scale, preset="strong", quirks=())
        files[sfreq] = scalp(root, "01", "task-rest_run-1")[0][:30]
    slow = resample_poly(files[5000.0], 1, 20, axis=1)[:, 250:-250]
    difference = slow - files[250.0][:, 250 : 250 + slow.shape[1]]
    # both are rounded to half a microvolt, and their interpolation filters differ near 60 Hz
    assert difference.std() < 0.3e-6
