"""Evaluation of predicted volumes: splits, baselines, what is kept, what leaks."""

import shutil

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from eegfmri import cache
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.estimators import volume_baselines as baselines
from eegfmri.evaluation.leaks import fitted_digest, poisoned
from eegfmri.evaluation.splits import BlockedTogether, LeaveOneSubjectOut, ShuffledTogether, SubjectFolds, shares_signal
from eegfmri.evaluation.volumes import OTHER_TIME, eeg_of_another_time, evaluate_volumes
from eegfmri.preprocessing.atlas import Atlas
from eegfmri.preprocessing.volumes import VolumeScaling
from volumes_made import cut_volumes, made_runs, made_space


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    made = cut_volumes(made_runs(tmp_path_factory.mktemp("runs"), n_subjects=6), eeg_seconds=10.0)
    return baselines.with_lagged_power(made)


@pytest.fixture(scope="module")
def atlas():
    import nibabel

    space = made_space()
    labels = np.zeros(space.grid.shape, np.int16)
    labels[:6], labels[6:] = 1, 2
    centres = np.array([[25.0, 55, 55], [85, 55, 55]])
    return Atlas("halves", nibabel.Nifti1Image(labels, space.grid.affine), ("left", "right"), centres, "made")


METHODS = {
    "training_mean": baselines.TrainingMean(),
    "ridge": baselines.BandPowerRidge(n_components=4),
    "subject_mean": baselines.SubjectMean(),
    "previous": baselines.PreviousVolume(),
    "no_change": baselines.NoChange(),
}


@pytest.fixture(scope="module")
def loso(windows, atlas, tmp_path_factory):
    return evaluate_volumes(
        METHODS,
        windows,
        LeaveOneSubjectOut(),
        atlas=atlas,
        other_time=["ridge"],
        structural_every=20,
        keep=["sub-01"],
        folder=tmp_path_factory.mktemp("folds"),
    )


def test_band_power_predicts_volumes_that_follow_it(loso):
    skill = loso.skill("ridge")
    assert skill.low > 0.3
    found = loso.regional(_correlation, "ridge")
    assert np.mean(list(found.values())) > 0.7


def _correlation(true, predicted):
    from eegfmri.metrics.volumes import temporal_correlation

    return temporal_correlation(true, predicted)


def test_eeg_from_another_time_predicts_nothing(loso):
    assert loso.skill("ridge" + OTHER_TIME).value < 0
    assert loso.compare([("ridge", "ridge" + OTHER_TIME)])["p"][0] == pytest.approx(2 / 2**6), "all six subjects agree"


def test_without_coupling_nothing_beats_the_training_mean(tmp_path):
    made = baselines.with_lagged_power(
        cut_volumes(made_runs(tmp_path / "runs", n_subjects=6, coupling=0.0), eeg_seconds=10.0)
    )
    methods = {name: METHODS[name] for name in ("training_mean", "ridge")}
    found = evaluate_volumes(methods, made, LeaveOneSubjectOut(), folder=tmp_path / "folds")
    assert not found.skill("ridge").low > 0


def test_oracles_are_told_apart_and_scored(loso):
    table = loso.per_subject()
    assert (table["subject_mean"] <= table["no_change"] + 1e-9).all(), "the mean minimises the squared error"
    assert loso.skill("training_mean").value == pytest.approx(0)
    assert all(getattr(METHODS[name], "sees_targets", False) for name in ("subject_mean", "previous", "no_change"))
    assert not any(getattr(METHODS[name], "sees_targets", False) for name in ("training_mean", "ridge"))


def test_the_scores_are_those_of_the_kept_prediction(loso):
    truth, predicted = loso.target("sub-01"), loso.prediction("ridge", "sub-01")
    own = loso.scores.query("method == 'ridge' and fold == 'sub-01'")
    np.testing.assert_allclose(own["mse"], ((truth - predicted) ** 2).mean(axis=1), rtol=1e-4)
    assert own["ssim"].notna().sum() == -(-len(own) // 20)
    assert own["psnr"].notna().sum() == own["ssim"].notna().sum()
    with pytest.raises(RequestError, match="not kept"):
        loso.prediction("ridge", "sub-02")


def test_the_previous_volume_is_that_of_the_same_run(loso, windows):
    predicted, truth = loso.prediction("previous", "sub-01"), loso.target("sub-01")
    own = windows.table[windows.groups == "01"].reset_index(drop=True)
    follows = np.flatnonzero((own["run"] == own["run"].shift()) & (own["volume"] == own["volume"].shift() + 1))
    np.testing.assert_allclose(predicted[follows], truth[follows - 1], atol=1e-5)


def test_maps_show_where_the_error_lies(loso):
    errors = loso.error_map("ridge")
    assert errors.shape == (made_space().n_voxels,)
    assert errors.mean() == pytest.approx(loso.scores.query("method == 'ridge'")["mse"].mean(), rel=1e-4)
    assert loso.skill_map("ridge").mean() > 0.3


def test_finished_folds_are_not_computed_again(windows, tmp_path):
    methods = {"training_mean": baselines.TrainingMean()}
    first = evaluate_volumes(methods, windows, LeaveOneSubjectOut(), folder=tmp_path)
    lost = first.files["training_mean", "sub-03"]
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.npy")}
    (lost / "fold.json").unlink()
    again = evaluate_volumes(methods, windows, LeaveOneSubjectOut(), folder=tmp_path, n_jobs=2)
    assert (~again.folds["cached"]).sum() == 1
    assert written == {path: path.read_bytes() for path in tmp_path.rglob("*.npy")}
    assert cache.kept_json(lost / "fold.json")["variants"]["training_mean"]["scores"]["ssim"][0] is None
    np.testing.assert_array_equal(first.scores["mse"], again.scores["mse"])
    kept = evaluate_volumes(methods, windows, LeaveOneSubjectOut(), folder=tmp_path, keep=["sub-02"])
    assert len(kept.prediction("training_mean", "sub-02")) == (windows.groups == "02").sum(), "kept on demand"
    shutil.rmtree(lost)


def test_nothing_learned_changes_when_the_test_subject_is_poisoned(windows, tmp_path):
    spoilt = poisoned(windows, "01", tmp_path)
    train = windows.groups != "01"
    for name in ("training_mean", "ridge"):
        states = []
        for given in (windows, spoilt):
            scaling = VolumeScaling().fit(given[train])
            states.append(fitted_digest(_clone(name).fit(given[train], scaling.targets(given[train]))))
        assert states[0] == states[1], name
        scaling = VolumeScaling().fit(spoilt)
        assert fitted_digest(_clone(name).fit(spoilt, scaling.targets(spoilt))) != states[0], name


def _clone(name):
    from sklearn.base import clone

    return clone(METHODS[name])


def test_another_time_moves_eeg_and_features_together(windows):
    moved = eeg_of_another_time(windows)
    own = np.flatnonzero(windows.groups == "02")
    source = np.roll(own, len(own) // 2)
    np.testing.assert_array_equal(moved.eeg[own[0]], windows.eeg[source[0]])
    np.testing.assert_array_equal(moved.features["lagged_power"][own], windows.features["lagged_power"][source])
    np.testing.assert_array_equal(moved.bold[own[0]], windows.bold[own[0]])


class Wrong(BaseEstimator):
    def fit(self, X, targets):
        return self

    def predict(self, X):
        return np.zeros((len(X), 3))


def test_a_prediction_of_another_shape_is_refused(windows, tmp_path):
    with pytest.raises(EegFmriError, match="shape"):
        evaluate_volumes({"wrong": Wrong()}, windows, LeaveOneSubjectOut(), folder=tmp_path)


# ------------------------------------------------------------------------------------------------ splits


def test_blocks_of_everyone_keep_their_gap(windows):
    gap, tested = 6.0, []
    for fold in BlockedTogether(3, gap).split(windows):
        table = windows.table
        tested.append(fold.test)
        for (subject, run), rows in table.iloc[fold.test].groupby(["subject", "run"]):
            near = table.iloc[fold.train]
            near = near[(near["subject"] == subject) & (near["run"] == run)]
            for row in rows.itertuples():
                assert ((near["stop"] + gap <= row.start + 1e-9) | (near["start"] >= row.stop + gap - 1e-9)).all()
        assert set(windows.groups[fold.test]) == set(windows.subjects), "everyone is tested in every fold"
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), np.arange(len(windows)))


def test_shuffling_everything_leaks_and_says_so(windows):
    protocol = ShuffledTogether(0.25, seed=1)
    [fold] = protocol.split(windows)
    assert shares_signal(windows, fold)
    assert len(fold.test) == pytest.approx(0.25 * len(windows), abs=1)
    assert not set(fold.train) & set(fold.test)


def test_each_subject_is_in_one_part(windows):
    folds = list(SubjectFolds(3, seed=2).split(windows))
    tested = [set(windows.groups[fold.test]) for fold in folds]
    assert sorted(subject for part in tested for subject in part) == list(windows.subjects)
    assert all(not part & set(windows.groups[fold.train]) for part, fold in zip(tested, folds, strict=True))
    assert len(list(SubjectFolds(3, n_folds=1).split(windows))) == 1
    with pytest.raises(RequestError, match="cannot be parted"):
        list(SubjectFolds(7).split(windows))
