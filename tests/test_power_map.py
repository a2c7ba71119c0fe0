"""What can be found: subjects as features, studies by halves, cells that are kept, and the closed form."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import Ridge

from eegfmri import cache
from eegfmri.datasets.montages import REST_CHANNELS
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.evaluation import power_map
from eegfmri.evaluation.power_map import Cell, Found, Pool, Settings
from eegfmri.lags import standardise
from eegfmri.opening import open_recordings
from eegfmri.preprocessing.bold import clean
from eegfmri.preprocessing.eeg import BANDS
from eegfmri.preprocessing.spectra import band_means, spectrogram
from eegfmri.recovery.features import estimate_measurement, measured_features, traits_of
from eegfmri.recovery.planted import Truth
from eegfmri.simulation import features
from eegfmri.simulation.activity import PRE_ROLL, draw_traits, plant
from eegfmri.simulation.body import make_body
from eegfmri.simulation.bold import volume_means
from eegfmri.simulation.eeg import make_eeg
from eegfmri.simulation.parameters import ACQUISITIONS, REALISTIC, UNCOUPLED
from eegfmri.simulation.simulate import simulate
from eegfmri.simulation.sources import cortical_regions, make_head

SMALL = Pool("realistic", 10, 3.0, seed=7)


@pytest.fixture(scope="module")
def pool():
    power_map.draw_pool(SMALL)
    return SMALL


# --- subjects as features --------------------------------------------------------------------------------------------


def test_every_electrode_of_the_cap_lies_in_an_area():
    weights = features.area_weights(REST_CHANNELS)
    assert weights.sum(axis=1) == pytest.approx(np.ones(len(features.AREAS)))
    assert (weights > 0).sum(axis=0).tolist() == [1] * len(REST_CHANNELS)
    left, right = (weights[features.AREAS.index(side)] > 0 for side in ("left", "right"))
    assert left.sum() == right.sum() > 0


def test_slow_drift_is_taken_out_as_preprocessing_does_it():
    series = np.random.default_rng(0).normal(size=(3, 150)).cumsum(axis=1)
    np.testing.assert_allclose(
        features.high_passed(series, 2.16), clean(series, 2.16, standardise=None), rtol=1e-9, atol=1e-9
    )


def test_a_subject_is_the_same_whoever_else_is_drawn_and_its_bold_is_linear_in_the_coupling(pool):
    alone = features.draw_subject(REALISTIC, pool.seed, 3, pool.n_volumes)
    np.testing.assert_array_equal(alone.stacked(), pool.load()[3])
    np.testing.assert_allclose(alone.bold(0.0), alone.rest)
    np.testing.assert_allclose(alone.bold(2.0) - alone.bold(1.0), alone.linked, atol=1e-9)
    other = features.draw_subject(REALISTIC, pool.seed, 4, pool.n_volumes)
    assert abs(np.corrcoef(alone.rest[0], other.rest[0])[0, 1]) < 0.5


def test_without_coupling_the_share_of_nothing_is_the_preset_uncoupled():
    coupled, uncoupled = (features.draw_subject(preset, 5, 0, 80) for preset in (REALISTIC, UNCOUPLED))
    assert np.abs(coupled.linked).max() > 0.05
    np.testing.assert_allclose(uncoupled.linked, 0.0, atol=1e-12)
    np.testing.assert_allclose(coupled.bold(0.0), uncoupled.bold(1.0), atol=1e-9)
    np.testing.assert_allclose(coupled.power, uncoupled.power)


def test_expected_power_is_what_simulated_eeg_shows():
    quiet = replace(
        REALISTIC, blink=0.0, slow_eye_movement=dict.fromkeys(REALISTIC.slow_eye_movement, 0.0), cardiac_field=0.0, motion_field=0.0,
        breath_field=0.0,
    )  # fmt: skip
    rng, regions, acquisition = np.random.default_rng(3), cortical_regions(), ACQUISITIONS["rest"]
    traits = draw_traits(quiet, len(regions.groups), rng)
    head = make_head(quiet, regions, acquisition, rng)
    activity = plant(quiet, regions, traits, ["W"] * 4, -PRE_ROLL, 100.0, rng)
    body = make_body(quiet, traits, activity, acquisition.t_r, rng)
    scalp = make_eeg(quiet, regions, acquisition, head, traits, activity, body, 0.0, rng).scalp
    n_volumes = 45
    expected = features.expected_power(
        replace(quiet, sensor_noise=0.0),
        traits,
        head,
        volume_means(activity, n_volumes, acquisition.t_r),
        acquisition.channels,
    )
    frequencies, density = spectrogram(scalp - scalp.mean(axis=0), 125.0, frame=2.0, overlap=0.5)
    power = band_means(frequencies, density, BANDS, axis=-2)
    width = np.array([high - low for low, high in BANDS.values()])
    measured = np.log(power.mean(axis=-1) * width)
    measured = (features.area_weights(acquisition.channels) @ measured).reshape(-1)
    level = np.log(np.exp(expected).mean(axis=1))
    # Means over 97 s of some hertz are known to within a tenth. A frame's window takes delta's lowest edge for granted: a quarter.
    slow = np.tile([band == "delta" for band in BANDS], len(features.AREAS))
    assert np.abs(measured - level)[~slow].max() < 0.12
    assert np.abs(measured - level)[slow].max() < 0.25


def test_measuring_adds_what_it_says():
    expected = np.zeros((len(features.FEATURES), 6000))
    given = features.Measurement(power_spread=0.0)
    power = features._measured_power(expected, given, np.random.default_rng(0)).reshape(5, 5, -1)
    # 6000 values with some memory know a deviation to within 4 %
    np.testing.assert_allclose(power.std(axis=2).mean(axis=0), given.power_noise, rtol=0.04)
    shared = [np.corrcoef(power[:, band])[np.triu_indices(5, 1)].mean() for band in range(5)]
    np.testing.assert_allclose(shared, given.power_common, atol=0.06)
    memory = [np.corrcoef(power[0, band, 1:], power[0, band, :-1])[0, 1] for band in range(5)]
    np.testing.assert_allclose(memory, given.power_memory, atol=0.08)


# --- from files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = simulate("rest", tmp_path_factory.mktemp("features") / "rest", scale="tiny", seed=3, n_jobs=1)
    return open_recordings(root, "rest")


def test_traits_are_drawn_again_as_they_were(files):
    truth = Truth(files)
    for subject, own in truth.document["subjects"].items():
        traits = traits_of(truth, subject)
        assert traits.coupling_factor == pytest.approx(own["coupling_factor"], abs=1e-4)
        assert traits.band_coupling == pytest.approx(own["band_coupling"], abs=1e-4)
        np.testing.assert_allclose(traits.region_latency, own["region_latency"], atol=1e-4)


def test_features_of_files_follow_planted_power(files):
    truth, recording = Truth(files), files[0]
    found = measured_features(recording)
    assert found.power.shape == (len(features.FEATURES), recording.n_volumes)
    assert found.bold.shape == (100, recording.n_volumes)
    own = truth.document["subjects"][recording.subject]
    expected = features.expected_power(
        truth.preset, traits_of(truth, recording.subject), truth.head(recording.subject), np.asarray(truth.of_run(recording)["power"]),
        REST_CHANNELS, own["quality"]["noise"],
    )  # fmt: skip
    row = features.FEATURES.index("back alpha")
    assert np.corrcoef(found.power[row], expected[row])[0, 1] > 0.5


def test_measuring_is_estimated_from_files_of_rest(files):
    found = estimate_measurement([(Truth(files), list(files))], n_draws=1)
    shipped = features.Measurement()
    assert asdict(found).keys() == asdict(shipped).keys()
    # Three runs of two minutes are not sixteen of eleven: the slope on expected alpha, and noise that is neither nothing nor all.
    assert found.power_gain[2] == pytest.approx(shipped.power_gain[2], abs=0.25)
    np.testing.assert_allclose(found.power_noise, shipped.power_noise, rtol=0.6)
    assert 0 < found.bold_gain[0] < 1.2
    with pytest.raises(RequestError, match="of rest"):
        estimate_measurement([])


# --- fitting by sums -------------------------------------------------------------------------------------------------


def series(rng, n_subjects=4, n_volumes=120, n_features=6, n_targets=5):
    """Draw standardised regressors and targets of some subjects that go together."""
    weights = rng.normal(size=(n_targets, n_features))
    x = [standardise(rng.normal(size=(n_features, n_volumes))) for _ in range(n_subjects)]
    return x, [standardise(weights @ one + 3 * rng.normal(size=(n_targets, n_volumes))) for one in x]


def sums_of(x, y):
    return np.stack([a @ a.T / a.shape[1] for a in x]), np.stack(
        [a @ b.T / a.shape[1] for a, b in zip(x, y, strict=True)]
    )


def test_ridge_by_sums_is_scikit_learn_s_on_the_series():
    x, y = series(np.random.default_rng(0))
    gram, products = sums_of(x, y)
    n = sum(one.shape[1] for one in x)
    expected = (
        Ridge(alpha=0.3 * n, fit_intercept=False).fit(np.concatenate(x, axis=1).T, np.concatenate(y, axis=1).T).coef_.T
    )
    np.testing.assert_allclose(power_map.fit_ridge(gram, products, (0.3,)), expected, atol=1e-9)


def test_scores_by_sums_are_correlations_over_time():
    x, y = series(np.random.default_rng(1))
    gram, products = sums_of(x, y)
    found = power_map.left_out(gram, products, (0.3,))
    for left in range(len(x)):
        others = [n for n in range(len(x)) if n != left]
        weights = power_map.fit_ridge(gram[others], products[others], (0.3,))
        predicted = weights.T @ x[left]
        r = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted, y[left], strict=True)]
        assert found["regions"][left] == pytest.approx(np.mean(r[:-2]))
        assert found["global"][left] == pytest.approx(r[-2])
        assert found["dan"][left] == pytest.approx(r[-1])


def test_the_penalty_is_chosen_among_teachers_and_by_halves():
    rng = np.random.default_rng(2)
    x, y = series(rng)
    noise = [standardise(rng.normal(size=one.shape)) for one in y]
    clear, blurred = (power_map.fit_ridge(*sums_of(x, targets), (0.01, 100.0)) for targets in (y, noise))
    np.testing.assert_allclose(clear, power_map.fit_ridge(*sums_of(x, y), (0.01,)))
    candidates = [power_map.fit_ridge(*sums_of(x, noise), (penalty,)) for penalty in (0.01, 100.0)]
    assert any(np.allclose(blurred, one) for one in candidates)


def test_moments_give_any_coupling_exactly(pool):
    array = pool.load()[:1]
    sums = power_map.moments(array, "ridge", 3.0, Settings())
    power, planted, linked, rest = power_map.split_rows(array[0].astype(float))
    x = power_map.design(power, "ridge", Settings())
    y = standardise(power_map.with_targets(0.7 * linked + rest))
    np.testing.assert_allclose(sums.products(0.7)[0], x @ y.T / x.shape[1], atol=1e-6)
    ceiling = [np.corrcoef(a, b)[0, 1] for a, b in zip(power_map.with_targets(planted), y, strict=True)]
    np.testing.assert_allclose(sums.ceiling(0.7)[0], ceiling, atol=1e-6)
    assert not sums.ceiling(0.0).any()


def test_lags_look_back_and_never_ahead():
    power = np.zeros((len(features.FEATURES), 40))
    power[0, 20] = 1.0
    lagged = power_map.design(power, "ridge", Settings(n_lags=3))
    peaks = [int(lagged[lag * len(power)].argmax()) for lag in range(3)]
    assert peaks == [20, 21, 22]
    later = power_map.design(power_map_course(20), "alpha", Settings())[0]
    assert later[:20] == pytest.approx(np.full(20, later[0]), abs=1e-6), "nothing before there is any power"
    assert 22 <= later.argmax() <= 24, "the response peaks about 5 s, two volumes, after the power"


def power_map_course(at):
    """Draw one burst of alpha and, much later, one lack of it, so that the mean is nothing."""
    power = np.zeros((len(features.FEATURES), 100))
    rows = [features.FEATURES.index(f"{area} alpha") for area in features.AREAS]
    power[rows, at], power[rows, at + 50] = 1.0, -1.0
    return power


def test_the_network_learns_a_line_from_other_subjects():
    x, y = series(np.random.default_rng(3), n_subjects=8, n_volumes=300)
    network = power_map.SmallNetwork(Settings(penalty=0.01)).fit([one.T for one in x[:-1]], [one.T for one in y[:-1]])
    r = power_map._over_time(network.predict(x[-1].T), y[-1].T).mean()
    gram, products = sums_of(x, y)
    weights = power_map.fit_ridge(gram[:-1], products[:-1], (0.01,))
    linear = power_map._correlation(weights, gram[-1], products[-1]).mean()
    assert linear > 0.5
    assert r > 0.8 * linear


# --- studies and cells -----------------------------------------------------------------------------------------------


def test_who_teaches_is_not_tested_and_all_methods_get_the_same_studies(pool):
    cell = Cell(pool, "ridge", 1.0, 4, 3.0, 5)
    drawn = power_map.studies_of(cell)
    assert len(drawn) == 5
    for teach, test in drawn:
        assert len(teach) == len(test) == 2
        assert len({*teach, *test}) == 4
    first = np.concatenate([np.concatenate(parts) for parts in drawn[:2]])
    assert len(set(first.tolist())) == 8, "as many as there is room for share nobody"
    for other in (replace(cell, family="network"), replace(cell, coupling=0.0)):
        for one, two in zip(drawn, power_map.studies_of(other), strict=True):
            np.testing.assert_array_equal(np.concatenate(one), np.concatenate(two))


def test_impossible_cells_are_refused(pool):
    with pytest.raises(RequestError, match="There is no family 'x'"):
        Cell(pool, "x", 1.0, 4, 3.0, 1)
    with pytest.raises(RequestError, match="cannot be drawn from a pool"):
        Cell(pool, "ridge", 1.0, 12, 3.0, 1)
    with pytest.raises(RequestError, match="cannot be drawn from a pool"):
        Cell(pool, "ridge", 1.0, 4, 30.0, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"family": "alpha"}, {"coupling": 0.5}, {"n_subjects": 6}, {"minutes": 2.0}, {"n_studies": 3}, {"seed": 1},
        {"settings": Settings(n_lags=2)}, {"pool": replace(SMALL, seed=8)}, {"pool": replace(SMALL, preset="weak")},
        {"pool": replace(SMALL, minutes=4.0)}, {"pool": replace(SMALL, n_subjects=11)},
        {"pool": replace(SMALL, measurement=features.Measurement(power_spread=0.2))},
    ],
    ids=str,
)  # fmt: skip
def test_the_key_of_a_cell_names_everything_that_can_change_it(change):
    cell = Cell(SMALL, "ridge", 1.0, 4, 3.0, 2)
    assert replace(cell, **change).path != cell.path


def test_an_interrupted_map_goes_on_where_it_was(pool, monkeypatch):
    cells = [Cell(pool, "ridge", coupling, 4, 3.0, 2, seed=50) for coupling in (0.0, 0.5, 1.0)]
    honest, computed = power_map._study_linear, []

    def failing(cell):
        if cell.coupling == 0.5:
            raise EegFmriError("interrupted")
        computed.append(cell.coupling)
        return honest(cell)

    monkeypatch.setattr(power_map, "_study_linear", failing)
    with pytest.raises(EegFmriError, match="interrupted"):
        power_map.compute_map(cells)
    assert computed == [0.0, 1.0], "others go on when one fails"

    def counted(cell):
        computed.append(cell.coupling)
        return honest(cell)

    monkeypatch.setattr(power_map, "_study_linear", counted)
    found = power_map.compute_map(cells)
    assert computed == [0.0, 1.0, 0.5], "only what was lacking is computed"
    assert [one.cell.coupling for one in found] == [0.0, 0.5, 1.0]
    cells[0].path.write_text("{}")
    power_map.compute_map(cells)
    assert computed[3:] == [0.0], "what is damaged is computed anew"


def test_processes_compute_what_one_process_does(pool):
    cells = [Cell(pool, "alpha", coupling, 4, 3.0, 2, seed=51) for coupling in (0.0, 1.0)]
    alone = power_map.compute_map(cells)
    for cell in cells:
        cell.path.unlink()
    for one, two in zip(alone, power_map.compute_map(cells, n_jobs=2), strict=True):
        for target in power_map.TARGETS:
            np.testing.assert_array_equal(one.scores[target], two.scores[target])


def test_a_pool_is_drawn_once_and_a_larger_one_begins_with_it(pool, monkeypatch):
    monkeypatch.setattr(power_map, "draw_subject", lambda *args: pytest.fail("drawn again"))
    power_map.draw_pool(pool)
    assert all(cache.is_whole(path) for path in pool.parts())


def test_what_is_strongly_coupled_is_found_and_what_is_not_is_not(pool):
    strong, none = power_map.compute_map([Cell(pool, "ridge", c, 10, 3.0, 4, seed=52) for c in (5.0, 0.0)])
    assert strong.score("regions").value > 0.08
    assert strong.score("global").value > none.score("global").value + 0.1
    # Scores at 0 scatter around zero: of 20 tested subjects with 83 volumes, by less than 0.1.
    assert abs(none.score("regions").value) < 0.05
    table = power_map.table_of([strong, none])
    assert table["power"].between(0, 1).all()
    assert (table["power_low"] <= table["power"]).all()


def of_random(family, n_studies=2000, n_tested=6):
    z = np.random.default_rng(4).normal(0, 0.2, size=(n_studies, n_tested))
    return Found(Cell(SMALL, family, 0.0, 4, 3.0, n_studies), {"regions": np.tanh(z)})


@pytest.mark.parametrize("family", ["ridge", "alpha_fixed"])
def test_where_nothing_is_found_five_percent_find_it(family):
    found = of_random(family).power("regions")
    # 2000 studies know 5 % to within 1 point
    assert found.value == pytest.approx(0.05, abs=0.015)
    assert found.low < found.value < found.high


def test_scores_of_subjects_left_out_once_are_not_independent(pool):
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(400):
        products = rng.normal(0, 0.1, size=(16, 1, 12))
        scores = power_map.left_out(np.ones((16, 1, 1)), products, (1.0,))["regions"]
        hits.append(stats.ttest_1samp(scores, 0.0, alternative="greater").pvalue < 0.05)
    assert np.mean(hits) > 0.12, "a plain t test of them finds something where there is nothing"
    with pytest.raises(RequestError, match="nothing to find"):
        power_map.left_out_null(Cell(pool, "alpha", 1.0, 4, 3.0, 2))


def test_the_smallest_study_is_the_one_from_which_on_the_power_stays():
    def of(*power):
        return power_map.smallest_study(pd.DataFrame({"n_subjects": [4, 8, 16, 32], "power": power}))

    assert of(0.1, 0.9, 0.7, 0.9) == 32
    assert of(0.1, 0.8, 0.9, 0.95) == 8
    assert of(0.9, 0.9, 0.9, 0.9) == 4
    assert of(0.9, 0.9, 0.9, 0.7) is None


# --- in closed form --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "deviation", "n"), [(0.15, 0.1, 5), (-0.1, 0.15, 12), (0.0, 0.1, 8)])
def test_the_power_of_a_t_test_is_what_samples_show(mean, deviation, n):
    samples = np.random.default_rng(6).normal(mean, deviation, size=(8000, n))
    share = np.mean(stats.ttest_1samp(samples, 0.0, axis=1).pvalue < 0.05)
    # of 8000 samples a share is known to within 1 point
    assert power_map.t_test_power(mean, deviation, n) == pytest.approx(share, abs=0.017)


def test_the_number_needed_is_the_smallest_that_suffices():
    n = power_map.subjects_needed(0.15, 0.1)
    assert power_map.t_test_power(0.15, 0.1, n) >= 0.8 > power_map.t_test_power(0.15, 0.1, n - 1)
    assert power_map.t_test_power(0.3, 0.18, 200) == pytest.approx(1.0), "far out, too"
    assert power_map.subjects_needed(0.0, 0.1) is None
    assert power_map.subjects_needed(0.0001, 0.5) is None


def test_shorter_recordings_scatter_more_by_chance_alone():
    rng = np.random.default_rng(7)
    true, sampling = rng.normal(0, 0.08, 200_000), 0.5
    long, short = (true + rng.normal(0, sampling / np.sqrt(m), true.size) for m in (77.0, 10.0))
    assert power_map.shorter(long.std(), sampling, 10.0, 77.0) == pytest.approx(short.std(), rel=0.01)
    assert power_map.shorter(0.01, sampling, 77.0, 77.0) == pytest.approx(sampling / np.sqrt(77.0))
