"""Six kinds of planted truth, found again by plain estimators; and the estimators on signals whose answer is known.

Recordings are noise-free (preset ``strong``, or a part of it), or the planted arrays are used: what is tested is that the truth is
in the files, not that it can be seen through noise. What is seen through noise is measured and reported in the book.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eegfmri.datasets import oddball, sleep
from eegfmri.metrics.intervals import bootstrap_mean
from eegfmri.recovery import simulator as recovery
from eegfmri.simulation import simulate as simulator
from eegfmri.simulation.parameters import BANDS, GROUPS, PRESETS, REALISTIC, SCALES, STRONG


def label_tables(folder: Path) -> Path:
    """Two subjects with plenty of W, N1 and N2."""
    stages = {"rest": "W W W 1 1 2 2 W", "sleep": "W W W W 1 1 1 1 2 2 2 2"}
    for subject in ("03", "04"):
        rows = ["session\tepoch_start_time_sec\t30-sec_epoch_sleep_stage"]
        for kind, labels in stages.items():
            rows += [f"task-{kind}_run-1\t{30 * i}\t{label}" for i, label in enumerate(labels.split())]
        (folder / f"sub-{subject}-sleep-stage.tsv").write_text("\r\n".join(rows) + "\r\n", newline="")
    return folder


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Path:
    tables = label_tables(tmp_path_factory.mktemp("labels"))
    dest = tmp_path_factory.mktemp("recovery") / "sleep"
    return simulator.simulate(
        "sleep", dest, scale="tiny", preset="strong", seed=3, n_subjects=2, labels_dir=tables, quirks=()
    )


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Path:
    """Responses to stimuli and nothing else: power does not reach the BOLD."""
    preset = replace(STRONG, name="responses only", coupling={band: {"": 0.0} for band in BANDS})
    scale = replace(SCALES["oddball"]["tiny"], name="task", n_subjects=2, n_volumes=120)
    return simulator.simulate(
        "oddball", tmp_path_factory.mktemp("recovery") / "oddball", scale=scale, preset=preset, quirks=()
    )


def runs_of(root: Path, reader):
    truth = simulator.read_truth(root)
    for recording in reader.read(root):
        subject = truth["subjects"][recording.subject]
        yield recording, subject, subject["runs"][recording.run]


def scalp(recording) -> tuple[np.ndarray, list[str]]:
    names = [name for name in recording.ch_names if name in recording.scalp_channels]
    return recording.raw().get_data(picks=names), names


# 1. Alpha peak and slope


def test_a_peak_and_a_slope_of_one_s_own_making_are_found():
    rng = np.random.default_rng(0)
    sfreq, seconds = 200.0, 300
    frequencies = np.fft.rfftfreq(int(sfreq * seconds), 1 / sfreq)
    for exponent, peak in ((1.0, 8.6), (1.8, 11.3)):
        power = np.concatenate([[0.0], frequencies[1:] ** -exponent])
        power += 3 * 10.0**-exponent * np.exp(-0.5 * ((frequencies - peak) / 0.8) ** 2)
        phases = rng.standard_normal((6, len(frequencies))) + 1j * rng.standard_normal((6, len(frequencies)))
        fit = recovery.fit_spectrum(np.fft.irfft(phases * np.sqrt(power)), sfreq)
        # the spectrum's resolution is 0.25 Hz
        assert fit.alpha_frequency == pytest.approx(peak, abs=0.25)
        # 97 points with 150 segments each: the slope's standard error is below 0.03
        assert fit.exponent == pytest.approx(exponent, abs=0.1)
        assert fit.alpha_height > 3


def test_the_planted_alpha_peak_is_found_in_the_files(night):
    for recording, subject, facts in runs_of(night, sleep):
        eeg, _ = scalp(recording)
        n_times = round(30 * recording.sfreq)
        awake = np.concatenate(
            [eeg[:, i * n_times : (i + 1) * n_times] for i, stage in enumerate(facts["stages"]) if stage == "W"], axis=1
        )
        names, same = recovery.wakeful_eeg([recording])
        np.testing.assert_allclose(same, awake - awake.mean(axis=0), atol=1e-12)
        back = [i for i, name in enumerate(names) if name.startswith("O")]
        found = recovery.fit_spectrum(awake, recording.sfreq, back).alpha_frequency
        # the peak is 0.9 Hz wide to each side, and dividing by a falling line moves it up by a tenth or two
        assert abs(found - subject["alpha_frequency"]) < 0.5


def test_the_planted_slope_is_found_in_the_files(tmp_path):
    """Without oscillations; far above the half microvolt to which files are rounded."""
    silent = replace(STRONG, name="background only", moment={band: {"": 0.0} for band in BANDS}, background=20.0)
    scale = replace(SCALES["sleep"]["tiny"], name="slope", n_subjects=3, n_sleep=0, matrix=(8, 8, 4))
    root = simulator.simulate("sleep", tmp_path / "sleep", scale=scale, preset=silent, quirks=())
    found, planted = [], []
    for recording, subject, _ in runs_of(root, sleep):
        found.append(recovery.fit_spectrum(scalp(recording)[0], recording.sfreq).exponent)
        planted.append(subject["background_exponent"])
    assert np.ptp(planted) > 0.1
    np.testing.assert_allclose(found, planted, atol=0.1)


# 2. Delay


def test_a_shift_of_one_s_own_making_is_found():
    rng = np.random.default_rng(1)
    slow = np.cumsum(rng.standard_normal((4, 6000)), axis=1)
    slow -= np.linspace(0, 1, 6000) * slow[:, -1:]
    for lag in (0.0, 4.2, 7.7):
        answer = np.roll(slow, round(lag / 0.1), axis=1)
        found = recovery.response_lag(slow[:, ::20], answer[:, ::20], 2.0)
        assert found.peak == pytest.approx(lag, abs=0.3)  # a random walk is rough between two volumes
        assert found.correlations.max() > 0.95


@pytest.mark.parametrize("t_r", [2.0, 2.1])
def test_weights_per_volume_convolve_as_steps_of_a_tenth_of_a_second_do(t_r):
    from nilearn.glm.first_level import glover_hrf

    drive, fine = np.random.default_rng(2).standard_normal(60), round(t_r / 0.1)
    held = np.repeat(drive, fine)
    kernels = recovery._volume_kernels(t_r)
    for shift, kernel in zip(recovery._SHIFTS[::10], kernels[::10], strict=True):
        fines = glover_hrf(t_r / fine, oversampling=1, time_length=32.0, onset=shift)
        wanted = np.convolve(held, fines)[fine // 2 : len(held) : fine]
        np.testing.assert_allclose(np.convolve(drive, kernel)[: len(drive)], wanted, atol=1e-12)


def test_the_planted_latency_is_found_without_noise(night):
    coupling = np.array([[STRONG.at("coupling", band, group) for band in BANDS] for group in GROUPS])
    for recording, subject, facts in runs_of(night, sleep):
        drive = np.einsum("gb,gbv->gv", coupling, recovery.group_means(facts["power"]) - 1)
        exact = recovery.fit_latency(drive, recovery.group_means(facts["bold"]), recording.t_r)
        # power is known per volume of 2.1 s only
        assert abs(exact - subject["latency"]) < 0.15
        lag = recovery.response_lag(drive, recovery.group_means(facts["bold"]), recording.t_r)
        # the undershoot pulls the maximum forward, by less than a second
        assert -1.0 < lag.peak - subject["latency"] < 0.1
        measured = recovery.measure_run(recording, subject)
        # slices are taken up to a second before and after the middle of a volume
        assert abs(recovery.fit_latency(drive, measured.series, recording.t_r) - subject["latency"]) < 0.5
        delays, curve = recovery.run_delays(recording, measured, coupling)
        by_way = dict(zip(recovery.DELAY_WAYS, delays, strict=True))
        assert (by_way["truth"], by_way["peak"]) == (exact, lag.peak)
        assert by_way["files"] == curve.peak


# 3. Couplings


def test_every_planted_sign_is_found_without_noise(night):
    coupling = np.array([[STRONG.at("coupling", band, group) for band in BANDS] for group in GROUPS])
    exact, seen = [], []
    for recording, subject, facts in runs_of(night, sleep):
        exact.append(recovery.coupling_of_groups(facts["power"], recovery.group_means(facts["bold"]), recording.t_r))
        series = recovery.place_series(recording.image(), subject["mni_to_scanner"])
        seen.append(recovery.coupling_of_groups(facts["power"], series, recording.t_r))
    exact, seen = np.mean(exact, axis=0), np.mean(seen, axis=0)
    large = np.abs(coupling) >= 0.3  # a tenth of a percent, tripled
    assert large.sum() == 18
    assert (np.sign(exact) == np.sign(coupling))[large].all()
    # the latency of a subject is not the canonical one, which costs some of the size
    assert 0.8 < (exact * coupling).sum() / (coupling**2).sum() < 1.2
    for band, group, sign in (
        ("alpha", "occipital", -1),
        ("alpha", "thalamus", 1),
        ("beta", "sensorimotor", -1),
        ("beta", "default", 1),
        ("gamma", "occipital", 1),
    ):
        assert sign * seen[GROUPS.index(group), list(BANDS).index(band)] > 0, (band, group)


def test_somebody_else_s_power_explains_less(night):
    runs = [run for run in runs_of(night, sleep) if "sleep" in run[0].run]
    (first, _, own), (_, _, other) = runs
    series = recovery.group_means(own["bold"])
    alpha, occipital = list(BANDS).index("alpha"), GROUPS.index("occipital")

    def explained(power):
        x = recovery.convolved(recovery.group_means(power)[occipital, [alpha]], first.t_r)
        return np.corrcoef(x[0], series[occipital])[0, 1] ** 2

    assert explained(own["power"]) > 2 * explained(other["power"])


def test_signs_are_judged_by_their_intervals():
    #        right wrong missed absent invented
    planted = np.array([1.0, -1.0, 1.0, 0.0, 0.0])
    mean = np.array([0.5, 0.5, 0.5, 0.5, 0.5])
    low, high = np.array([0.1, 0.1, -0.1, -0.1, 0.1]), np.full(5, 1.0)
    judged = recovery.judge_signs(planted, mean, low, high)
    found = {name: np.flatnonzero(which).tolist() for name, which in judged.items()}
    assert found == {
        "planted": [0, 1, 2], "right": [0], "wrong": [1], "missed": [2], "absent": [3, 4], "invented": [4],
    }  # fmt: skip


def test_limits_are_those_of_each_column():
    values = np.random.default_rng(0).standard_normal((9, 2, 3))
    mean, low, high = recovery.bootstrap_limits(values, seed=4)
    one = bootstrap_mean(values[:, 1, 2], 4)
    assert (mean[1, 2], low[1, 2], high[1, 2]) == (one.value, one.low, one.high)
    np.testing.assert_allclose(mean, values.mean(axis=0))


# 4. Regions


def test_an_event_s_regressor_peaks_at_one_five_seconds_later():
    (row,) = recovery.event_regressors({"single": np.array([10.0])}, 60, 0.5)
    assert row.max() == pytest.approx(1.0, abs=0.01)
    assert 0.5 * (row.argmax() + 0.5) == pytest.approx(15.0, abs=0.5)


def test_regions_that_answer_to_targets_are_found(task):
    target = np.array([REALISTIC.evoked_bold["target"].get(group, 0.0) for group in GROUPS])
    exact, seen = [], []
    for recording, subject, facts in runs_of(task, oddball):
        events = recording.events
        targets = events["onset"][events["trial_type"].fillna("").str.endswith("target")].to_numpy()
        design = recovery.event_regressors({"all": events["onset"].to_numpy(), "target": targets}, 120, recording.t_r)
        exact.append(recovery.regress(recovery.group_means(facts["bold"]), design, recording.t_r)[:, 1])
        series, way = recovery.measure_run(recording, subject).series, subject["mni_to_scanner"]
        of_groups, of_regions = recovery.event_responses(recording, series, way)
        np.testing.assert_allclose(of_groups, recovery.regress(series, design, recording.t_r))
        in_groups = recovery.group_means(of_regions)
        assert np.corrcoef(in_groups, of_groups[:, 1])[0, 1] > 0.9, "a group's response is about its regions' mean"
        seen.append(of_groups[:, 1])
    exact, seen = np.mean(exact, axis=0), np.mean(seen, axis=0)
    # reaction times add up to 0.12 % per standard deviation, and a shifted response costs some of the peak
    np.testing.assert_allclose(exact, target, atol=0.1)
    assert (np.sign(seen) == np.sign(target))[np.abs(target) >= 0.15].all()
    assert np.corrcoef(seen, target)[0, 1] > 0.9


def test_the_senses_answer_where_they_should(task):
    for recording, _, facts in runs_of(task, oddball):
        events = recording.events
        sense = "auditory" if recording.run.startswith("task001") else "visual"
        ours, others = ("temporal", "occipital") if sense == "auditory" else ("occipital", "temporal")
        standards = events["onset"][events["trial_type"].fillna("").str.endswith("standard")].to_numpy()
        targets = events["onset"][events["trial_type"].fillna("").str.endswith("target")].to_numpy()
        design = recovery.event_regressors({"standard": standards, "target": targets}, 120, recording.t_r)
        found = recovery.regress(recovery.group_means(facts["bold"]), design, recording.t_r)[:, 0]
        assert found[GROUPS.index(ours)] == pytest.approx(REALISTIC.evoked_bold[sense][ours], abs=0.08)
        assert abs(found[GROUPS.index(others)]) < 0.08


# 5. Stages


@pytest.mark.parametrize("band", ["delta", "theta", "alpha", "beta"])
def test_the_planted_gain_of_each_stage_is_found_in_the_files(tmp_path, band):
    """One rhythm and nothing else: bands overlap at their edges, and a background fills them all."""
    never = dict.fromkeys(STRONG.spindles_per_minute, 0.0)
    alone = {name: moment if name == band else {"": 0.0} for name, moment in STRONG.moment.items()}
    preset = replace(
        STRONG,
        name="one rhythm",
        moment=alone,
        fluctuation=0.0,
        background=0.0,
        spindles_per_minute=never,
        k_complexes_per_minute=never,
    )
    scale = replace(SCALES["sleep"]["tiny"], name="stages", n_subjects=1, matrix=(8, 8, 4))
    tables = label_tables(tmp_path)
    root = simulator.simulate("sleep", tmp_path / "sleep", scale=scale, preset=preset, labels_dir=tables, quirks=())
    for recording, _, facts in runs_of(root, sleep):
        eeg, _ = scalp(recording)
        level = recovery.stage_power(eeg - eeg.mean(axis=0), recording.sfreq, facts["stages"])[band]
        for stage in ("N1", "N2"):
            planted = 10 * np.log10(preset.stage_gain[band][stage] / preset.stage_gain[band]["W"])
            # noise of 3 Hz bandwidth scatters by 0.3 dB in a minute, in either stage: three standard deviations
            assert level[stage] - level["W"] == pytest.approx(planted, abs=1.0), (recording.name, stage)


def test_stage_power_knows_which_epoch_is_which():
    rng = np.random.default_rng(2)
    loud = np.repeat([1.0, 10.0, 1.0, 10.0], 3000) * rng.standard_normal((2, 12000))
    level = recovery.stage_power(loud, 100.0, ["W", "N2", None, "N2"])
    assert set(level["alpha"]) == {"W", "N2"}
    for band in BANDS:
        assert level[band]["N2"] - level[band]["W"] == pytest.approx(20, abs=1.5)


# 6. Sequences of stages: tests/test_stage_sequences.py


def test_the_estimators_know_no_preset():
    """They read files and planted arrays; a preset's numbers must not reach them."""
    text = Path(recovery.__file__).read_text(encoding="utf-8")
    assert not any(name in text for name in ("Preset", "PRESETS", "REALISTIC", "STRONG"))
    assert set(PRESETS) == {"realistic", "uncoupled", "weak", "strong"}


def test_responses_keep_the_sizes_first_assumed():
    """Whoever raises them until a model sees them has tuned the simulator."""
    assert REALISTIC.evoked_bold["auditory"] == {"temporal": 0.25}
    assert REALISTIC.evoked_bold["visual"] == {"occipital": 0.25}
    assert REALISTIC.evoked_bold["target"]["parietal"] == 0.35
    assert REALISTIC.reaction_bold == {"frontal": 0.12, "limbic": 0.12, "parietal": 0.06}
