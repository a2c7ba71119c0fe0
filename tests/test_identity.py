"""Whose a predicted volume is, and curves over subjects."""

import numpy as np
import pytest

from eegfmri.errors import RequestError
from eegfmri.evaluation.identity import identity_probe
from eegfmri.evaluation.learning_curves import FewerSubjects
from eegfmri.evaluation.splits import LeaveOneSubjectOut
from windows_made import cut, informative

N_SUBJECTS, N_VOLUMES, N_VOXELS = 4, 40, 60


@pytest.fixture
def recorded():
    """True volumes: an anatomy for each subject, ten times as large as what happens over time."""
    rng = np.random.default_rng(0)
    subjects = np.repeat([f"{number:02d}" for number in range(N_SUBJECTS)], N_VOLUMES)
    anatomy = rng.normal(size=(N_SUBJECTS, N_VOXELS)).repeat(N_VOLUMES, axis=0)
    return anatomy, 0.1 * rng.normal(size=(len(subjects), N_VOXELS)), subjects


def test_a_prediction_of_anatomy_alone_is_recognised_and_knows_no_moment(recorded):
    anatomy, activity, subjects = recorded
    found = identity_probe(anatomy, anatomy + activity, subjects)
    assert found.recognised().value == 1
    assert (found.table["chance"] == 0.25).all()
    assert found.cost("another moment").value == pytest.approx(0, abs=1e-12)
    assert found.cost("another subject").value == pytest.approx(2, rel=0.3)  # the squared distance of two anatomies


def test_a_prediction_of_the_moment_alone_is_recognised_by_chance_and_belongs_to_nobody(recorded):
    anatomy, activity, subjects = recorded
    common = activity[:N_VOLUMES]  # everybody lives through the same
    found = identity_probe(np.tile(common, (N_SUBJECTS, 1)), anatomy + np.tile(common, (N_SUBJECTS, 1)), subjects)
    assert found.recognised().value == pytest.approx(0.25)
    assert found.cost("another moment").low > 0
    assert found.cost("another subject").value == pytest.approx(0, abs=1e-12)


def test_the_truth_costs_more_to_exchange_than_anything(recorded):
    anatomy, activity, subjects = recorded
    found = identity_probe(anatomy + activity, anatomy + activity, subjects)
    assert found.table["as predicted"].max() == 0
    assert found.cost("another moment").value == pytest.approx(2 * 0.01, rel=0.1)


def test_the_errors_are_those_of_the_definition(recorded):
    anatomy, activity, subjects = recorded
    predicted, true = anatomy + activity[::-1], anatomy + activity
    row = identity_probe(predicted, true, subjects).table.loc["02"]
    own = subjects == "02"
    shifted = np.roll(predicted[own], N_VOLUMES // 2, axis=0)
    others = [((predicted[subjects == other] - true[own]) ** 2).mean() for other in ("00", "01", "03")]
    assert row["as predicted"] == pytest.approx(((predicted[own] - true[own]) ** 2).mean())
    assert row["another moment"] == pytest.approx(((shifted - true[own]) ** 2).mean())
    assert row["another subject"] == pytest.approx(np.mean(others))


def test_subjects_may_have_different_numbers_of_volumes(recorded):
    anatomy, activity, subjects = recorded
    kept = np.r_[0:40, 40:47, 80:160]
    assert len(identity_probe(anatomy[kept], (anatomy + activity)[kept], subjects[kept]).table) == N_SUBJECTS


@pytest.mark.parametrize(
    ("n_kept", "said"), [(40, r"1 subject\(s\)"), (41, r"at least 1 volume\(s\)"), (0, r"0 subject\(s\)")]
)
def test_one_subject_or_one_volume_is_refused(recorded, n_kept, said):
    anatomy, activity, subjects = recorded
    with pytest.raises(RequestError, match=said):
        identity_probe(anatomy[:n_kept], (anatomy + activity)[:n_kept], subjects[:n_kept])


def test_fewer_subjects_train_and_the_tests_stay(tmp_path):
    windows = cut(informative(tmp_path))
    whole = list(LeaveOneSubjectOut().split(windows))
    trained = {}
    for n_subjects in range(1, len(windows.subjects)):
        folds = list(FewerSubjects(LeaveOneSubjectOut(), n_subjects, seed=3).split(windows))
        for fold, full in zip(folds, whole, strict=True):
            assert np.array_equal(fold.test, full.test)
            own = set(windows.groups[fold.train])
            assert len(own) == n_subjects
            assert np.array_equal(fold.train, full.train[np.isin(windows.groups[full.train], list(own))])
            assert own >= trained.get(fold.name, set()), "more subjects include the fewer"
            trained[fold.name] = own
    assert all(np.array_equal(fold.train, full.train) for fold, full in zip(folds, whole, strict=True))


@pytest.mark.parametrize("n_subjects", [0, 100])
def test_more_subjects_than_there_are_or_none_are_refused(tmp_path, n_subjects):
    windows = cut(informative(tmp_path))
    with pytest.raises(RequestError, match=f"{n_subjects} of them cannot be taken"):
        list(FewerSubjects(LeaveOneSubjectOut(), n_subjects).split(windows))


def test_curves_over_subjects_have_names_of_their_own():
    assert FewerSubjects(LeaveOneSubjectOut(), 3).name != FewerSubjects(LeaveOneSubjectOut(), 4).name
