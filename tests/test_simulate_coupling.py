"""Drowsiness, couplings of networks, noise that follows the voxel, connectivity of one's own; the analyses they were calibrated by."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from eegfmri.errors import RequestError
from eegfmri.metrics.intervals import bootstrap
from eegfmri.opening import open_recordings
from eegfmri.preprocessing.atlas import NETWORKS, load_atlas, network_regions
from eegfmri.recovery import coupling, targets
from eegfmri.recovery.headroom import WAYS, headroom
from eegfmri.recovery.planted import Truth
from eegfmri.simulation import simulate as simulator
from eegfmri.simulation.activity import PRE_ROLL, draw_differences, draw_traits, plant
from eegfmri.simulation.bold import (
    _LocalNoise,
    _shares,
    region_coupling,
    regional_bold,
    thermal_percent,
)
from eegfmri.simulation.parameters import ACQUISITIONS, CALIBRATED, PRESETS, REALISTIC, SCALES, UNCOUPLED, WEAK
from eegfmri.simulation.sources import cortical_regions, make_anatomy


@pytest.fixture(scope="module")
def uncoupled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncoupled") / "rest"
    scale = replace(SCALES["rest"]["tiny"], raw_sfreq=None, raw_subjects=0)
    return simulator.simulate("rest", folder, scale=scale, preset="uncoupled", seed=3)


def planted_run(preset, seed=0, minutes=10, proneness=0.0):
    regions = cortical_regions()
    traits = draw_traits(preset, len(regions.groups), np.random.default_rng(seed))
    traits = replace(traits, proneness=proneness)
    stages = ["W"] * (2 * minutes)
    rng = np.random.default_rng(seed + 1)
    return (
        regions,
        traits,
        plant(
            preset,
            regions,
            traits,
            stages,
            -PRE_ROLL,
            60.0 * minutes,
            rng,
            None,
            drowsy_rng=np.random.default_rng(seed + 2),
        ),
    )


def test_only_what_is_in_the_table_differs_from_the_first_edition():
    for name, change in CALIBRATED.items():
        assert getattr(REALISTIC, name) == change.value != getattr(WEAK, name), name
    assert replace(REALISTIC, name="weak", **{name: getattr(WEAK, name) for name in CALIBRATED}) == WEAK


def test_drowsiness_thins_alpha_out_and_comes_and_goes_slowly():
    _, _, drowsy = planted_run(REALISTIC)
    assert 0 <= drowsy.drowsiness.min() < 0.2 and 0.8 < drowsy.drowsiness.max() <= 1
    alpha, theta = (np.log(drowsy.power[band]).mean(axis=0) for band in ("alpha", "theta"))
    assert np.corrcoef(alpha, drowsy.drowsiness)[0, 1] < -0.5
    assert np.corrcoef(theta, drowsy.drowsiness)[0, 1] > 0.3
    quarter = len(drowsy.times) // 4
    spectrum = np.abs(np.fft.rfft(drowsy.drowsiness - drowsy.drowsiness.mean())) ** 2
    frequencies = np.fft.rfftfreq(len(drowsy.times), 1 / 12.5)
    assert spectrum[frequencies < 0.05].sum() > 0.9 * spectrum.sum()
    assert drowsy.drowsiness[:quarter].std() > 0


def test_who_stays_alert_is_never_drowsy_and_weak_knows_no_drowsiness():
    _, _, alert = planted_run(REALISTIC, proneness=None)
    assert not alert.drowsiness.any()
    _, _, weak = planted_run(WEAK)
    assert weak.drowsiness is None


def test_drowsiness_raises_the_senses_and_lowers_the_thalamus():
    regions, traits, activity = planted_run(REALISTIC)
    flat = replace(REALISTIC, coupling={band: {"": 0.0} for band in REALISTIC.coupling}, network_coupling={})
    course = regional_bold(flat, regions, traits, activity)
    for group, sign in (("occipital", 1), ("sensorimotor", 1), ("thalamus", -1)):
        r = np.corrcoef(course[regions.members(group)].mean(axis=0)[60:], activity.drowsiness[:-60])[0, 1]
        assert sign * r > 0.5, group


def test_a_network_couples_near_its_centres_and_nowhere_else():
    regions = cortical_regions()
    only = replace(
        WEAK,
        coupling={band: {"": 0.0} for band in WEAK.coupling},
        network_coupling={"alpha": {"DAN": -1.0}},
        network_width=16.0,
    )
    planted = region_coupling(only, regions)
    distance = np.linalg.norm(regions.centroids[:, None] - np.array(NETWORKS["DAN"])[None], axis=-1).min(axis=1)
    alpha = planted[:, 2]
    assert alpha.min() < -0.5 and not alpha[distance > 45].any()
    assert np.corrcoef(np.exp(-0.5 * (distance / 16) ** 2), alpha)[0, 1] < -0.99
    assert not np.delete(planted, 2, axis=1).any()
    centres = network_regions(load_atlas())
    assert set(centres) == set(NETWORKS) and not set(centres["DAN"]) & set(centres["DMN"])


def test_couplings_differ_between_subjects_band_by_band():
    regions = cortical_regions()
    drawn = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        drawn.append(draw_differences(REALISTIC, regions, draw_traits(REALISTIC, 100, rng), rng))
    factors = np.array([list(one.band_coupling.values()) for one in drawn])
    assert factors.std(axis=0) == pytest.approx(REALISTIC.band_coupling_spread, abs=0.12)
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.2
    assert np.mean([one.proneness is None for one in drawn]) == pytest.approx(REALISTIC.never_drowsy, abs=0.06)


def test_thermal_noise_falls_as_the_voxel_grows_and_physiological_noise_does_not():
    assert thermal_percent(REALISTIC, 27.0) == pytest.approx(100 / REALISTIC.thermal_snr)
    assert thermal_percent(REALISTIC, 270.0) == pytest.approx(10 / REALISTIC.thermal_snr)
    assert thermal_percent(WEAK, 27.0) == thermal_percent(WEAK, 270.0) == pytest.approx(100 / WEAK.tsnr)
    assert thermal_percent(PRESETS["strong"], 27.0) == 0
    likeness = []
    for matrix in ((20, 20, 10), (80, 80, 35)):
        anatomy = make_anatomy(REALISTIC, cortical_regions(), ACQUISITIONS["rest"], matrix, np.random.default_rng(0))
        fields = _LocalNoise(REALISTIC, anatomy, 2.0, np.random.default_rng(1)).next(30)
        assert fields.std() == pytest.approx(REALISTIC.physiological_noise, rel=0.05)
        memory = (fields[..., 1:] * fields[..., :-1]).mean() / fields.var()
        assert memory == pytest.approx(np.exp(-2.0 / REALISTIC.physiological_seconds), abs=0.02)
        likeness.append((fields[1:] * fields[:-1]).mean() / fields.var())
    step = np.linalg.norm(anatomy.affine[:3, 0])
    sigma = REALISTIC.physiological_width / np.sqrt(8 * np.log(2))
    assert likeness[1] == pytest.approx(np.exp(-(step**2) / (4 * sigma**2)), abs=0.08)
    assert abs(likeness[0]) < 0.1 < likeness[1], "what is smooth over some mm is not over a voxel of a centimetre"
    assert _LocalNoise(WEAK, anatomy, 2.0, np.random.default_rng(1)).next(2) is None


def test_percentages_of_a_region_are_those_of_its_mean_over_voxels():
    regions = cortical_regions()
    anatomy = make_anatomy(REALISTIC, regions, ACQUISITIONS["rest"], (32, 32, 16), np.random.default_rng(0))
    weights = anatomy.membership / _shares(anatomy)
    whole = np.asarray(anatomy.membership.sum(axis=0)).ravel()
    for region in range(0, 100, 9):
        percent = np.zeros(100)
        percent[region] = 1.0
        seen = weights @ percent
        own = anatomy.membership[:, [region]].toarray().ravel()
        assert (own * seen).sum() / whole[region] == pytest.approx(1.0, abs=0.01)


def test_nothing_of_neurons_reaches_uncoupled_bold(uncoupled):
    truth = simulator.read_truth(uncoupled)
    for subject in truth["subjects"].values():
        for run in subject["runs"].values():
            assert not np.asarray(run["bold"]).any()
            assert np.asarray(run["power"]).std() > 0
    assert not region_coupling(UNCOUPLED, cortical_regions()).any()
    assert (
        UNCOUPLED.physiological_noise == REALISTIC.physiological_noise
        and UNCOUPLED.motion_field == REALISTIC.motion_field
    )
    for table in UNCOUPLED.evoked_bold.values():
        assert not any(table.values())


def test_the_map_finds_a_planted_coupling_at_its_lag_and_frequency(monkeypatch):
    rng, n_seconds, t_r = np.random.default_rng(0), 900, 2.0

    class Run:
        subject = "01"

    power = rng.gamma(2.0, size=(40, n_seconds))
    times = 0.5 + np.arange(n_seconds)
    moments = 1.0 + t_r * np.arange(440)
    series = rng.standard_normal((100, 440))
    driven = np.interp(moments - 4.0, times, power[9])
    series[network_regions(load_atlas())["DAN"]] -= 2 * driven
    monkeypatch.setattr(coupling, "power_by_frequency", lambda recording: (power, times))
    monkeypatch.setattr(coupling, "regional_bold", lambda recording: (series, moments))
    maps = coupling.coupling_maps([Run()], ("DAN", "DMN"))
    found = np.unravel_index(np.argmin(maps.r[0, 0]), maps.r[0, 0].shape)
    assert (maps.lags[found[0]], maps.frequencies[found[1]]) == (4, 10)
    assert maps.of("DAN", (10, 10), [4])[0] < -0.8
    assert np.abs(maps.r[0, 1]).max() < 0.25
    with pytest.raises(RequestError, match="no recording with EEG and BOLD"):
        coupling.coupling_maps([])


def test_alertness_is_read_from_bold_by_others_templates(monkeypatch):
    rng = np.random.default_rng(1)
    weights, t_r, n = rng.standard_normal(100), 2.0, 300

    class Run:
        def __init__(self, subject):
            self.subject, self.t_r = subject, t_r
            slow = np.convolve(rng.standard_normal(n + 20), np.hanning(20), "valid")[:n]
            self.ratio = coupling._passed(slow[None], t_r)[0]
            self.series = np.outer(weights, self.ratio) + 3 * rng.standard_normal((100, n))

    monkeypatch.setattr(coupling, "regional_bold", lambda run: (run.series, t_r * np.arange(n)))
    monkeypatch.setattr(coupling, "alertness_ratio", lambda run, moments: run.ratio)
    runs = [Run(name) for name in "abcd"]
    for ratio, read in coupling.alertness_series(runs).values():
        assert np.corrcoef(ratio, read)[0, 1] > 0.7
    runs[0].series[:7] = 0.0  # regions without signal
    assert np.isfinite(coupling.alertness_series(runs)["a"][1]).all()
    runs[0].ratio = coupling._passed(rng.standard_normal((1, n)), t_r)[0]
    ratio, read = coupling.alertness_series(runs)["a"]
    assert abs(np.corrcoef(ratio, read)[0, 1]) < 0.3, "its own EEG did not teach its template"
    with pytest.raises(RequestError, match="two subjects"):
        coupling.alertness_series(runs[:1])


def test_what_was_not_measured_is_in_no_map_and_in_no_reading_of_alertness(monkeypatch):
    rng = np.random.default_rng(2)

    class Stream:
        sfreq, names, gaps = 100.0, ("Cz", "Pz"), ((100.0, 7.5),)
        eeg = 1e-5 * rng.standard_normal((2, 60000))

        def load(self):
            return self.eeg

    class Run:
        subject, t_r = "01", 2.0

    moments = 1.0 + 2.0 * np.arange(290)
    series = rng.standard_normal((100, 290))
    monkeypatch.setattr(coupling.eeg, "prepare", lambda recording, settings: Stream())
    monkeypatch.setattr(coupling, "regional_bold", lambda recording: (series, moments))
    power, times = coupling.power_by_frequency(Run())
    lacking = times[np.isnan(power).any(axis=0)]
    np.testing.assert_array_equal(lacking, 100.5 + np.arange(8))
    exact = coupling.coupling_maps([Run()], ("DAN",)).r
    Stream.eeg[:, 10000:10750] *= 1e6  # whatever stands in the gap changes nothing
    np.testing.assert_array_equal(coupling.coupling_maps([Run()], ("DAN",)).r, exact)
    assert np.isnan(coupling.alertness_ratio(Run(), moments)).all()
    with pytest.raises(RequestError, match="has no gaps"):
        coupling.alertness_series([Run(), Run()])


def test_connectivity_of_the_head_does_not_see_one_source_twice():
    """White noise of independent regions, mixed at the electrodes: leakage alone makes no connectivity."""

    class Stream:
        sfreq, gaps = 100.0, ()
        names = tuple(ACQUISITIONS["sleep"].channels)

        def load(self):
            return np.random.default_rng(0).standard_normal((len(self.names), 12000)) * 1e-5

    original = coupling.eeg.prepare
    try:
        coupling.eeg.prepare = lambda recording, settings: Stream()
        found = coupling.power_connectivity(None)
    finally:
        coupling.eeg.prepare = original
    for matrix in found.values():
        assert matrix.shape == (100, 100) and np.allclose(matrix, matrix.T)
        assert abs(np.median(matrix)) < 0.2
    one = found["alpha"]
    assert coupling.resemblance(one, one) == pytest.approx(1.0)
    assert coupling.resemblance_to_others({"a": one, "b": one, "c": one}) == pytest.approx(np.ones(3))


def test_what_nobody_has_stays_unknown_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean = coupling._mean_of_known([np.array([1.0, np.nan, np.nan]), np.array([3.0, 5.0, np.nan])])
    np.testing.assert_array_equal(mean, [2.0, 5.0, np.nan])


def test_rows_of_targets_are_computed_and_judged():
    rng = np.random.default_rng(0)
    r = np.zeros((6, 2, 20, 40)) + 0.01 * rng.standard_normal((6, 2, 20, 40))
    r[:, 0, 2:4, 7:12] -= 0.15
    maps = coupling.CouplingMaps(tuple("abcdef"), ("DAN", "DMN"), coupling.LAGS, coupling.FREQUENCIES, r)
    rows = {row.key: row for row in targets.coupling_rows(maps)}
    alpha = rows["coupling/dan/alpha"]
    assert alpha.met and alpha.value == pytest.approx(maps.of("DAN", "alpha", (2, 3)).mean()) == pytest.approx(
        -0.15, abs=0.01
    )
    expected = bootstrap(lambda drawn: maps.of("DAN", "alpha", (2, 3))[drawn].mean(axis=-1), 6, 0)
    assert (alpha.low, alpha.high) == (expected.low, expected.high)
    assert not rows["coupling/dan/alpha/spread"].met and not rows["coupling/dan/delta"].met
    assert rows["coupling/dan/gamma"].met and rows["coupling/dan/late"].met
    mean, spread = targets.alertness_rows([0.0, 0.4, 0.8])
    assert mean.met and spread.met and spread.value == pytest.approx(0.8)
    real = {"neighbours": 0.4, "global_percent": 0.2, "tsnr": 80.0}
    judged = targets.noise_rows({"neighbours": 0.41, "global_percent": 0.3, "tsnr": 61.0, "voxel_mm": 3.0}, real)
    assert [row.met for row in judged] == [True, False, True]


def test_what_can_be_known_is_ordered_as_it_must_be(tmp_path):
    root = simulator.simulate("rest", tmp_path / "rest", scale="tiny", preset="strong", seed=1)
    recordings = open_recordings(root, "rest")
    found = headroom(Truth(recordings), list(recordings.select(usable=True)))
    assert list(found) == list(WAYS) and all(len(values) == 3 for values in found.values())
    means = {way: values.mean() for way, values in found.items()}
    assert means["own planted BOLD"] > 0.5
    assert means["own planted BOLD"] > means["planted power, between"] > means["scalp power, between"]
