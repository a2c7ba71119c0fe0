"""The benchmark: what is there to find is found, what is not is not, and no score rewards what it should not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from eegfmri import cache
from eegfmri.errors import RequestError
from eegfmri.estimators import regional
from eegfmri.estimators.adaptation import AdaptedEstimator
from eegfmri.estimators.classical import shrinkage_lda, with_classical_features
from eegfmri.estimators.experts import ProductOfExperts
from eegfmri.evaluation import regional as benchmark
from eegfmri.evaluation.leaks import fitted_digest
from eegfmri.evaluation.splits import BlockedTogether, LeaveOneSubjectOut, ShuffledTogether
from eegfmri.models import regional as networks
from eegfmri.recordings import Stream
from eegfmri.windows import LazyArray, Windows
from windows_made import cut, informative

N_SUBJECTS, N_VOLUMES, N_REGIONS, T_R = 4, 120, 6, 2.0


def made_windows(folder, coupling: float = 1.0, seed: int = 0, n_runs: int = 2) -> Windows:
    """Windows with random features, whose lagged alpha at electrode 1 moves the regions of the first half up and the others down."""
    rng = np.random.default_rng(seed)
    rows, streams, power, picture, movement, bold_first, bold_run, taken = [], [], [], [], [], [], [], []
    for number in range(N_SUBJECTS):
        for run in range(n_runs):
            at = len(streams)
            x = rng.normal(size=(N_VOLUMES, 3, 5, 8)).astype(np.float32)
            head = np.cumsum(rng.normal(size=(N_VOLUMES, 12)), axis=0)[:, :, None].repeat(2, axis=2)
            drive = x[:, 1, 2, :].mean(axis=1) * np.sqrt(8)
            sign = np.where(np.arange(N_REGIONS) < N_REGIONS // 2, 1.0, -1.0)
            series = coupling * drive[:, None] * sign + 0.5 * rng.normal(size=(N_VOLUMES, N_REGIONS))
            path = cache.save_array(folder / f"sub-{number}_run-{run}_bold.npy", series.T.astype(np.float32))
            streams.append(Stream(path, 1 / T_R, tuple(f"region {i}" for i in range(N_REGIONS)), start=T_R / 2))
            taken.append(
                Stream(
                    cache.save_array(folder / f"sub-{number}_run-{run}_eeg.npy", np.zeros((3, 10), np.float32)),
                    1.0,
                    ("Fz", "Cz", "Oz"),
                )
            )
            power.append(x)
            picture.append(np.stack([x[:, 1, 2]] * 16, axis=1)[:, None].repeat(5, axis=1))
            movement.append(head.astype(np.float32))
            bold_first += list(range(N_VOLUMES))
            bold_run += [at] * N_VOLUMES
            for volume in range(N_VOLUMES):
                onset = volume * T_R
                rows.append({"subject": f"{number + 1:02d}", "run": f"run-{run + 1}", "onset": onset, "order": volume + run * N_VOLUMES,
                             "start": onset - 17, "stop": onset + T_R})  # fmt: skip
    n = len(rows)
    windows = Windows(
        pd.DataFrame(rows), LazyArray(taken, bold_run, np.zeros(n), 10), LazyArray(streams, bold_run, bold_first, 1),
        np.array(bold_first), (),
        features={
            regional.POWER: np.concatenate(power), regional.SPECTROGRAM: np.concatenate(picture),
            regional.MOVEMENT: np.concatenate(movement),
        },
    )  # fmt: skip
    return benchmark.with_targets(windows)


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return made_windows(tmp_path_factory.mktemp("coupled"))


@pytest.fixture(scope="module")
def uncoupled(tmp_path_factory):
    return made_windows(tmp_path_factory.mktemp("uncoupled"), coupling=0.0)


def evaluated(methods, windows, folder, protocol=None, **options) -> benchmark.RegionalEvaluation:
    return benchmark.evaluate_regions(methods, windows, protocol or LeaveOneSubjectOut(), folder=folder, **options)


LEARNERS = {
    "ridge": regional.LaggedRidge(),
    "reduced_rank": regional.LaggedRidge(reduced=True),
    "trees": regional.BoostedTrees(),
    **{
        name: regional.RegionalNetwork(model=name, batch_size=32, n_training_epochs=30, patience=None)
        for name in networks.INPUTS
    },
}


# --- methods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_finds_a_strong_coupling_and_only_at_its_moment(name, windows, tmp_path):
    found = evaluated(
        {"training_mean": regional.TrainingMean(), name: LEARNERS[name]}, windows, tmp_path, other_time=[name]
    )
    r, other = (benchmark.mean_correlation(found, key).mean() for key in (name, f"{name}_other_time"))
    assert r > 0.5
    assert abs(other) < 0.15
    assert benchmark.skill(found, name).mean() > 0.2
    assert benchmark.skill(found, f"{name}_other_time").mean() < 0


@pytest.mark.parametrize("name", ["ridge", "trees", "convolutional"])
def test_no_learner_finds_anything_where_nothing_is(name, uncoupled, tmp_path):
    found = evaluated({"training_mean": regional.TrainingMean(), name: LEARNERS[name]}, uncoupled, tmp_path)
    assert abs(benchmark.mean_correlation(found, name).mean()) < 0.1
    assert benchmark.skill(found, name).mean() < 0.02


@pytest.mark.parametrize("name", ["ridge", "reduced_rank", "trees", "unet"])
def test_what_is_learned_does_not_depend_on_the_test_subject(name, windows):
    fold = next(iter(LeaveOneSubjectOut().split(windows)))
    spoilt = replace(windows, features={k: np.array(v) for k, v in windows.features.items()})
    rng = np.random.default_rng(0)
    for values in spoilt.features.values():
        values[fold.test] = rng.normal(size=values[fold.test].shape)
    learn = lambda w, rows: fitted_digest(clone(LEARNERS[name]).fit(w[rows], w[rows].features[benchmark.TARGETS]))  # noqa: E731
    assert learn(windows, fold.train) == learn(spoilt, fold.train)
    assert learn(windows, fold.train) != learn(spoilt, fold.test), "the digest notices what was trained on"


def test_a_method_never_meets_its_targets(windows, tmp_path):
    class Peeks(regional.TrainingMean):
        def predict(self, X):
            assert benchmark.TARGETS not in X.features
            return super().predict(X)

    evaluated({"peeks": Peeks()}, windows, tmp_path)


@pytest.mark.parametrize("penalty", [0.1, 10.0, 1e4])
@pytest.mark.parametrize("n_features", [8, 80])
def test_the_path_of_ridge_regression_is_that_of_scikit_learn(penalty, n_features):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, n_features)) + 3, rng.normal(size=(50, 4)) - 1
    path, ridge = regional._RidgePath(x, y), Ridge(penalty).fit(x, y)
    assert path.weights(penalty) == pytest.approx(ridge.coef_.T, abs=1e-8)
    assert (x - path.offset) @ path.weights(penalty) + path.mean == pytest.approx(ridge.predict(x), abs=1e-8)


def test_reduced_rank_finds_the_one_dimension_that_there_is(windows):
    fitted = regional.LaggedRidge(reduced=True).fit(windows, windows.features[benchmark.TARGETS])
    assert fitted.rank_ in regional.RANKS
    assert np.linalg.matrix_rank(fitted.weights_) <= fitted.rank_
    only = regional.LaggedRidge(reduced=True, ranks=(1,)).fit(windows, windows.features[benchmark.TARGETS])
    assert np.linalg.matrix_rank(only.weights_) == 1
    assert only.n_weights() < regional.LaggedRidge().fit(windows, windows.features[benchmark.TARGETS]).n_weights()


@pytest.mark.parametrize("name", networks.INPUTS)
def test_an_untrained_network_is_the_training_mean(name):
    import torch

    shape = {"stretches": (6, 20), "steps": (30, 8), "spectrogram": (5, 16, 8)}[networks.INPUTS[name]]
    out = networks.build(name, shape, 101)(torch.randn(3, *shape)).detach()
    assert out.shape == (3, 101)
    assert float(out.abs().max()) == 0


def test_spectra_are_made_of_the_window_alone_and_follow_the_power(tmp_path):
    sfreq, n = 100.0, 6000
    rng = np.random.default_rng(0)
    signal = 1e-6 * rng.normal(size=(3, n))
    loud = slice(3000, 3800)
    signal[1, loud] += 2e-5 * np.sin(2 * np.pi * 10 * np.arange(n)[loud] / sfreq)

    def made(values, name):
        eeg = Stream(
            cache.save_array(tmp_path / f"{name}_eeg.npy", values.astype(np.float32)), sfreq, ("Fz", "Cz", "Oz")
        )
        bold = Stream(
            cache.save_array(tmp_path / f"{name}_bold.npy", np.zeros((2, 30), np.float32)), 0.5, ("a", "b"), start=1.0
        )
        first = np.array([1300, 2100, 2160])
        table = pd.DataFrame(
            {
                "subject": "01",
                "run": "r",
                "onset": (first + 1700) / sfreq,
                "order": range(3),
                "start": first / sfreq,
                "stop": (first + 1900) / sfreq,
            }
        )
        return regional.with_spectra(
            Windows(
                table,
                LazyArray([eeg], [0, 0, 0], first, 1700),
                LazyArray([bold], [0, 0, 0], [15, 19, 20], 1),
                np.arange(3),
                (),
            )
        )

    windows = made(signal, "one")
    assert windows.features[regional.POWER].shape == (3, 3, 5, 8)
    assert windows.features[regional.SPECTROGRAM].shape[2:] == (16, 8)
    alpha = windows.features[regional.POWER][:, 1, 2]
    assert alpha[1, -4:].min() > alpha[0].max() + 3, (
        "loud from 30 s to 38 s: the last four steps before 38 s, none before 30 s"
    )
    assert windows.features[regional.POWER][1, 0, 2].max() < alpha[1, -4:].min() - 3, "at that electrode only"
    other = signal.copy()
    other[:, :1300], other[:, 3800:] = 1.0, 1.0
    outside = made(other, "other").features
    assert np.array_equal(outside[regional.POWER][0], windows.features[regional.POWER][0])
    assert np.array_equal(outside[regional.POWER][1], windows.features[regional.POWER][1])
    with pytest.raises(RequestError, match="one second longer"):
        regional.with_spectra(windows, 18)
    with pytest.raises(RequestError, match="even number"):
        regional.with_spectra(windows, 3)


def test_regressors_weigh_what_was_five_seconds_ago_most(windows):
    course = np.eye(8)
    weights = regional._through_response(windows[:8], course)[:, 0]
    assert weights.argmax() in (4, 5), "steps of 2 s before a volume whose middle is 1 s later"
    assert weights[-1] < 0.5 * weights.max()


def test_a_reading_that_is_lacking_is_asked_for(windows):
    bare = replace(windows, features={})
    with pytest.raises(RequestError, match="with_spectra"):
        regional.LaggedRidge().fit(bare, windows.features[benchmark.TARGETS])
    with pytest.raises(RequestError, match="with_movement"):
        regional.LaggedRidge("movement").fit(bare, windows.features[benchmark.TARGETS])
    with pytest.raises(RequestError, match="no network"):
        regional.RegionalNetwork(model="perceptron").fit(windows, windows.features[benchmark.TARGETS])


@pytest.mark.parametrize(
    "estimator", [*LEARNERS.values(), regional.GivenSeries("planted")], ids=lambda e: type(e).__name__
)
def test_settings_are_copied(estimator):
    assert clone(estimator).get_params() == estimator.get_params()
    assert set(vars(estimator)) == set(estimator.get_params())


@pytest.mark.parametrize("adaptation", ["transductive", "calibration", "none"])
def test_a_new_subject_is_scaled_as_asked(adaptation, windows):
    fold = next(iter(LeaveOneSubjectOut().split(windows)))
    train, test = windows[fold.train], windows[fold.test]
    louder = replace(test, features={**test.features, regional.POWER: 5 * test.features[regional.POWER] + 3})
    fitted = regional.LaggedRidge(adaptation=adaptation, calibration_minutes=1.0).fit(
        train, train.features[benchmark.TARGETS]
    )
    assert isinstance(fitted, AdaptedEstimator)
    same = np.allclose(fitted.predict(test), fitted.predict(louder), atol=1e-3)
    assert same == (adaptation != "none")


# --- scores ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trivial(windows, tmp_path_factory):
    given = windows.with_feature("given", lambda w: 3 * w.features[benchmark.TARGETS] + 1)
    methods = {
        "training_mean": regional.TrainingMean(), "run_mean": regional.SubjectMean(), "previous": regional.PreviousVolume(),
        "given": regional.GivenSeries("given"),
    }  # fmt: skip
    return evaluated(methods, given, tmp_path_factory.mktemp("folds"), every=2)


def test_bars_and_oracles_score_what_they_must(trivial):
    assert benchmark.mean_correlation(trivial, "training_mean").tolist() == [0.0] * N_SUBJECTS
    assert benchmark.skill(trivial, "training_mean").abs().max() == 0
    assert benchmark.mean_correlation(trivial, "run_mean").abs().max() < 1e-6
    assert benchmark.mean_correlation(trivial, "given").min() > 0.999999
    assert benchmark.skill(trivial, "given").min() > 0.99
    assert benchmark.global_correlation(trivial, "given").min() > 0.999999
    first = trivial.table["fold"] == "sub-01"
    rows = np.flatnonzero(first)[:N_VOLUMES]
    assert np.array_equal(trivial.predicted["previous"][rows[1:]], trivial.true[rows[:-1]])
    assert np.array_equal(trivial.predicted["previous"][rows[0]], trivial.true[rows[1]]), "none is its own prediction"


def test_targets_have_unit_variance_in_their_run_and_the_mean_behind_them(windows):
    first = windows.features[benchmark.TARGETS][:N_VOLUMES]
    assert first.shape == (N_VOLUMES, N_REGIONS + 1)
    assert first.std(axis=0) == pytest.approx(1, abs=1e-4)
    series = np.asarray(windows.bold.streams[0].load(), dtype=float)
    assert np.corrcoef(first[:, -1], series.mean(axis=0))[0, 1] == pytest.approx(1)


def test_a_region_without_signal_is_left_out(trivial):
    true = trivial.true.copy()
    true[:, 0] = 0
    holed = replace(trivial, true=true)
    assert holed.by_region("given")["region 0"].isna().all()
    assert np.isfinite(benchmark.mean_correlation(holed, "given")).all()
    assert np.isnan(benchmark.region_p_values(holed, "given", 99)[0])


def test_p_values_keep_slowness_and_notice_simultaneity(trivial):
    rng = np.random.default_rng(3)
    slow = np.cumsum(rng.normal(size=trivial.true.shape), axis=0)
    both = replace(
        trivial,
        true=slow,
        predicted={
            "same": slow + 0.1 * rng.normal(size=slow.shape),
            "other": np.cumsum(rng.normal(size=slow.shape), axis=0),
        },
    )
    assert benchmark.region_p_values(both, "same", 199).max() == pytest.approx(1 / 200)
    assert benchmark.found_regions(benchmark.region_p_values(both, "same", 199)) == N_REGIONS
    assert benchmark.region_p_values(both, "other", 199).min() > 1 / 200
    assert benchmark.found_regions(benchmark.region_p_values(both, "other", 199)) < N_REGIONS


def test_p_values_of_slow_series_that_have_nothing_to_do_with_each_other_are_uniform(trivial):
    def slow(rng):
        values = rng.normal(size=trivial.true.shape)
        for at in range(1, len(values)):
            values[at] += 0.8 * values[at - 1]
        return values

    p = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        p.append(benchmark.region_p_values(replace(trivial, true=slow(rng), predicted={"m": slow(rng)}), "m", 99, seed))
    share = np.mean(np.array(p) <= 0.05)  # of 280; four deviations of that many independent ones
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 / np.size(p))


def test_p_values_are_those_of_shifts_one_by_one(trivial):
    rng = np.random.default_rng(5)
    alone = trivial.table.assign(fold=np.where(np.arange(len(trivial.table)) < N_VOLUMES, "a", None))
    said = trivial.true + 6 * rng.normal(size=trivial.true.shape)
    one = replace(trivial, table=alone, predicted={"m": said})
    moves = np.random.default_rng(0).integers(N_VOLUMES // 10, N_VOLUMES - N_VOLUMES // 10 + 1, 99)
    rows = slice(0, N_VOLUMES)
    r = benchmark.correlation(trivial.true[rows], said[rows])
    null = np.stack([benchmark.correlation(trivial.true[rows], np.roll(said[rows], move, axis=0)) for move in moves])
    assert benchmark.region_p_values(one, "m", 99) == pytest.approx((1 + (null >= r).sum(axis=0)) / 100)


def test_what_movement_explains_is_taken_out(trivial):
    rng = np.random.default_rng(4)
    n, k = trivial.true.shape
    head = rng.normal(size=(n, 1))
    brain = rng.normal(size=(n, k))
    made = replace(
        trivial,
        true=head + 0.5 * brain,
        predicted={
            "head": np.repeat(head, k, axis=1) + 1e-3 * rng.normal(size=(n, k)),
            "brain": brain,
            "mean": np.ones((n, k)),
        },
    )
    assert benchmark.mean_correlation(made, "head").min() > 0.8
    assert benchmark.partial_correlation(made, "head", lambda rows: head[rows]).abs().max() < 0.15
    assert benchmark.partial_correlation(made, "brain", lambda rows: head[rows]).min() > 0.98
    assert benchmark.partial_correlation(made, "mean", lambda rows: head[rows]).tolist() == [0.0] * N_SUBJECTS


def test_connectivity_of_the_group_counts_for_nothing_beyond_it(trivial):
    rng = np.random.default_rng(6)
    n_regions, subjects = 30, trivial.table["subject"].to_numpy()
    common = rng.normal(size=(n_regions, 5))
    true, own_map = np.empty((len(subjects), n_regions + 1)), {}
    said = {"group": true.copy(), "own": true.copy(), "flat": np.zeros_like(true)}
    for subject in dict.fromkeys(subjects):
        rows = subjects == subject
        mixing = common + 0.7 * rng.normal(size=common.shape)
        own_map[subject] = mixing
        for values, loading in ((true, mixing), (said["group"], common), (said["own"], mixing)):
            values[rows] = rng.normal(size=(rows.sum(), 5)) @ np.vstack(
                [loading, loading.mean(axis=0)]
            ).T + 0.3 * rng.normal(size=(rows.sum(), n_regions + 1))
    made = replace(trivial, names=(*(f"r{i}" for i in range(n_regions)), benchmark.GLOBAL), true=true, predicted=said)
    group, own = (benchmark.connectivity_beyond_group(made, key) for key in ("group", "own"))
    assert group["similarity"].mean() > 0.5
    assert own["beyond"].mean() > 0.7
    assert group["beyond"].mean() < 0.4 * own["beyond"].mean()
    assert benchmark.connectivity_beyond_group(made, "flat")["beyond"].isna().all()
    assert benchmark.recognised_by_connectivity(made, "own").all()
    assert not benchmark.recognised_by_connectivity(made, "flat").any()


def test_coherence_is_high_where_the_prediction_is_right_and_chance_elsewhere(trivial):
    from scipy.signal import butter, sosfiltfilt

    rng = np.random.default_rng(7)
    true = rng.normal(size=trivial.true.shape)
    slow = sosfiltfilt(butter(4, 0.05, "low", fs=1 / T_R, output="sos"), true, axis=0)
    made = replace(trivial, true=true, predicted={"slow": slow + 0.1 * rng.normal(size=true.shape), "flat": 0 * true})
    found, chance = benchmark.coherence_by_frequency(made, "slow", T_R)
    gained = (found - chance).mean()
    assert gained["0.02–0.05 Hz"] > 0.4
    assert abs(gained["above 0.1 Hz"]) < 0.15
    assert benchmark.coherence_by_frequency(made, "flat", T_R)[0].isna().all().all()


def test_the_ratio_to_a_ceiling_draws_subjects_together():
    values = pd.Series([0.1, 0.2, 0.3], index=list("abc"))
    ratio = benchmark.ratio_to(values, 2 * values)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


# --- splits ----------------------------------------------------------------------------------------------------------


def test_stretches_are_what_one_fold_tests_of_one_run(windows, tmp_path):
    found = evaluated({"training_mean": regional.TrainingMean()}, windows, tmp_path, BlockedTogether(3, 20.0))
    lengths = [len(rows) for _, _, rows in found.stretches()]
    assert len(lengths) == 4 * N_SUBJECTS, "three blocks of two runs: the middle one lies in both"
    assert sum(lengths) == len(windows)
    assert not found.leaks


def test_a_shuffled_split_is_flagged_and_what_it_does_not_test_is_nan(windows, tmp_path):
    found = evaluated({"training_mean": regional.TrainingMean()}, windows, tmp_path, ShuffledTogether(0.25, 1, 0))
    assert found.leaks
    tested = found.table["fold"].notna().to_numpy()
    assert 0.2 < tested.mean() < 0.3
    assert np.isnan(found.predicted["training_mean"][~tested]).all()


def test_across_runs_each_run_is_tested_by_a_model_of_the_other(windows, tmp_path):
    folds = list(benchmark.AcrossRuns().split(windows))
    assert len(folds) == 2
    for fold in folds:
        assert set(windows.table["run"].to_numpy()[fold.test]).isdisjoint(windows.table["run"].to_numpy()[fold.train])
        assert set(windows.groups[fold.test]) == set(windows.groups[fold.train])
    alone = windows[np.flatnonzero((windows.table["run"] == "run-1").to_numpy())]
    with pytest.raises(RequestError, match="two runs"):
        list(benchmark.AcrossRuns().split(alone))


def test_requests_that_cannot_be_met_are_refused(windows, tmp_path):
    bare = replace(windows, features={})
    with pytest.raises(RequestError, match="with_targets"):
        evaluated({"m": regional.TrainingMean()}, bare, tmp_path)
    with pytest.raises(RequestError, match="another time"):
        evaluated({"m": regional.TrainingMean()}, windows, tmp_path, other_time=["n"])
    found = evaluated({"m": regional.TrainingMean()}, windows, tmp_path)
    with pytest.raises(RequestError, match="training_mean"):
        benchmark.skill(found, "m")


def test_finished_folds_are_not_done_again_and_costs_are_told(windows, tmp_path):
    one = evaluated({"ridge": regional.LaggedRidge()}, windows, tmp_path)
    two = evaluated({"ridge": regional.LaggedRidge()}, windows, tmp_path)
    assert one.folds.equals(two.folds), "seconds would differ"
    assert np.array_equal(one.predicted["ridge"], two.predicted["ridge"])
    assert one.costs().loc["ridge", "weights"] == 3 * 5 * 4 * (N_REGIONS + 1) + N_REGIONS + 1
    assert (one.costs() > 0).all().all()


# --- voxels and fusion -----------------------------------------------------------------------------------------------


def test_components_are_rendered_to_voxels(windows):
    targets = windows.features[benchmark.TARGETS]
    rendered = regional.RenderedComponents(regional.LaggedRidge(), n_components=1).fit(windows, targets)
    said = rendered.predict(windows)
    assert said.shape == targets.shape
    assert np.linalg.matrix_rank(said - said.mean(axis=0), tol=1e-2) == 1
    assert np.corrcoef(said[:, 0], targets[:, 0])[0, 1] > 0.5


def test_late_fusion_multiplies_probabilities(tmp_path):
    windows = with_classical_features(cut(informative(tmp_path, n_subjects=3, n_epochs=20), bold_volumes=4))
    fused = ProductOfExperts(shrinkage_lda("eeg_band_power"), shrinkage_lda("bold_mean")).fit(windows, windows.y)
    parts = [
        shrinkage_lda(name).fit(windows, windows.y).predict_proba(windows) for name in ("eeg_band_power", "bold_mean")
    ]
    product = parts[0] * parts[1]
    assert fused.predict_proba(windows) == pytest.approx(product / product.sum(axis=1, keepdims=True), abs=1e-6)
    assert np.array_equal(fused.predict(windows), product.argmax(axis=1))
