"""The networks of graph_fusion as estimators: what they learn, from whom, and that they repeat."""

import numpy as np
import pytest
import torch

from eegfmri import cache
from eegfmri.errors import RequestError
from eegfmri.estimators.graph_fusion import GraphFusionClassifier, _of_epochs
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.leaks import fitted_digest
from eegfmri.evaluation.splits import LeaveOneSubjectOut
from eegfmri.models.graph_convolution import normalise
from eegfmri.preprocessing.spectra import autocorrelation
from windows_made import SomeSubjects, cut, informative

SMALL = {"conv_features": 4, "graph_features": 8, "embedding": 8, "n_training_epochs": 6}

#: For what holds however long a network was trained: two passes, so that stopping early has something to choose from.
BRIEF = SMALL | {"n_training_epochs": 2}


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return cut(informative(tmp_path_factory.mktemp("runs"), n_epochs=30), eeg_epochs=3, bold_volumes=14)


@pytest.fixture(scope="module")
def fold(windows):
    return next(iter(LeaveOneSubjectOut().split(windows)))


@pytest.mark.parametrize("modality", ["eeg", "bold", "both"])
def test_each_modality_learns_and_repeats_to_the_bit(windows, fold, modality):
    train, test = windows[fold.train], windows[fold.test]
    first, again = (GraphFusionClassifier(modality, **BRIEF).fit(train, train.y) for _ in range(2))
    assert fitted_digest(first) == fitted_digest(again)
    np.testing.assert_array_equal(first.predict_proba(test), again.predict_proba(test))
    np.testing.assert_allclose(first.predict_proba(test).sum(axis=1), 1, atol=1e-5)
    other = GraphFusionClassifier(modality, **BRIEF, seed=1).fit(train, train.y)
    assert fitted_digest(other) != fitted_digest(first)


@pytest.mark.parametrize("modality", ["eeg", "bold", "both"])
def test_each_modality_learns_what_is_there(windows, fold, modality):
    train, test = windows[fold.train], windows[fold.test]
    longer = SMALL | {"n_training_epochs": 40, "patience": 40, "learning_rate": 1e-2}
    fitted = GraphFusionClassifier(modality, adaptation="none", **longer).fit(train, train.y)
    # Stages differ by one standard deviation a step on both modalities: far above a third is within easy reach.
    assert np.mean(fitted.predict(test) == test.y) > 0.6


def test_fitting_leaves_torchs_global_random_state_alone(windows, fold):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train = windows[fold.train]
    GraphFusionClassifier("bold", **BRIEF).fit(train, train.y)
    torch.testing.assert_close(torch.rand(3), expected)


def test_a_batch_holds_what_filters_need_of_the_whitened_epochs_of_its_windows(windows, fold):
    train, test = windows[fold.train], windows[fold.test]
    fitted = GraphFusionClassifier("eeg", **BRIEF).fit(train, train.y)
    batch = fitted._batches(test)([(row, 0) for row in (4, 0, 5)])[0].inputs["eeg"]
    matrix = fitted._whitening_for(test)[test.subjects[0]]
    assert batch.shape == (3, 3, 3, 100)
    for place, row in enumerate((4, 0, 5)):
        epochs = (matrix @ test.eeg[row]).reshape(3, 3, -1).swapaxes(0, 1)
        np.testing.assert_allclose(batch[place], autocorrelation(epochs, 100), rtol=1e-3, atol=1e-3)


def test_epochs_are_read_again_only_where_something_is_another(tmp_path):
    runs = informative(tmp_path, n_subjects=2, n_epochs=20)
    windows = cut(runs, eeg_epochs=3, bold_volumes=14)
    own = windows[windows.groups == "01"]
    epochs = np.stack([own.eeg.run, own.eeg.first], axis=1)
    first = _of_epochs(own.eeg, epochs, 3000, 50, np.eye(3))
    assert _of_epochs(own.eeg, epochs, 3000, 50, np.eye(3)) is first
    assert _of_epochs(own.eeg, epochs[1:], 3000, 50, np.eye(3)) is not first
    np.testing.assert_allclose(_of_epochs(own.eeg, epochs, 3000, 50, 2 * np.eye(3)), 4 * first, rtol=1e-4, atol=1e-5)
    path = own.eeg.streams[0].path
    cache.save_array(path, 3 * np.asarray(own.eeg.streams[0].load()))
    again = cut(runs, eeg_epochs=3, bold_volumes=14)
    np.testing.assert_allclose(_of_epochs(again.eeg, epochs, 3000, 50, np.eye(3)), 9 * first, rtol=1e-4, atol=1e-5)


def test_alignment_of_a_new_subject_uses_what_it_is_declared_to_use(windows, fold):
    train, test = windows[fold.train], windows[fold.test]
    half = test[: len(test) // 2]

    options = {"transductive": {}, "calibration": {"calibration_minutes": 3.0}, "none": {}}
    fitted = {
        adaptation: GraphFusionClassifier("eeg", adaptation=adaptation, **BRIEF, **own).fit(train, train.y)
        for adaptation, own in options.items()
    }

    def matrix(adaptation, of):
        return fitted[adaptation]._whitening_for(of)[test.subjects[0]]

    assert not np.allclose(matrix("transductive", test), matrix("transductive", half))
    np.testing.assert_allclose(matrix("calibration", test), matrix("calibration", half))
    np.testing.assert_allclose(matrix("none", test), matrix("none", half))
    whitening = matrix("transductive", test)
    whitened = [whitening @ test.eeg[i][:, 3000:6000] for i in range(len(test))]
    mean = np.mean([one @ one.T / one.shape[1] for one in whitened], axis=0)
    np.testing.assert_allclose(mean, np.eye(3), atol=1e-6)


def test_poison_in_the_test_subject_reaches_nothing_that_is_fitted(windows, tmp_path):
    methods, protocol = {"fusion": GraphFusionClassifier(**BRIEF)}, SomeSubjects(subjects=("01", "02", "03"))
    clean = evaluate(methods, windows, protocol, folder=tmp_path / "a").folds.set_index("fold")["state"]
    noise = informative(tmp_path / "noise", n_epochs=30, strength=0.0, seed=99)
    runs = informative(tmp_path / "runs", n_epochs=30)
    replaced = [bad if bad.subject == "02" else good for bad, good in zip(noise, runs, strict=True)]
    poisoned = cut(replaced, eeg_epochs=3, bold_volumes=14)
    other = evaluate(methods, poisoned, protocol, folder=tmp_path / "b").folds.set_index("fold")["state"]
    assert len(clean) == len(other) == 3
    assert clean["sub-02"] == other["sub-02"]
    assert (clean.drop("sub-02") != other.drop("sub-02")).all()


def test_extras_lie_beside_the_predictions(windows, tmp_path):
    evaluation = evaluate({"fusion": GraphFusionClassifier(**BRIEF)}, windows, LeaveOneSubjectOut(), folder=tmp_path)
    probabilities = evaluation.extra("fusion", "probabilities")
    assert probabilities.shape == (len(windows), 3)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), evaluation.predictions["predicted"])
    gate = evaluation.extra("fusion", "gate")
    assert ((gate > 0) & (gate < 1)).all()
    assert evaluation.extra("fusion", "without_eeg").shape == (len(windows),)
    assert evaluation.extra("fusion", "embedding_bold").shape == (len(windows), 8)


def test_wrong_choices_are_refused_with_the_right_ones(windows, fold, tmp_path):
    train = windows[fold.train]
    with pytest.raises(RequestError, match="'both', 'eeg' or 'bold'"):
        GraphFusionClassifier("ecg").fit(train, train.y)
    with pytest.raises(RequestError, match="adaptation is"):
        GraphFusionClassifier("eeg", adaptation="procrustes", **SMALL).fit(train, train.y)


def test_edges_that_are_used_are_those_whose_loss_changes_the_score(windows, fold):
    train, test = windows[fold.train], windows[fold.test]
    fitted = GraphFusionClassifier("bold", density=1.0, **SMALL).fit(train, train.y)
    said = fitted.learned(test)
    use, connectivity = np.array(said["edge_use"]), np.array(said["connectivity"])
    np.testing.assert_allclose(use, use.T, atol=1e-6)
    assert (np.diag(use) == 0).all()
    np.testing.assert_allclose(connectivity, fitted.connectivity_, atol=1e-6)
    inputs = fitted._batches(test)([(row, 0) for row in range(len(test))])[0].inputs
    step = 1e-2
    with torch.no_grad():
        first, second = fitted.module_(**inputs).topk(2, dim=1).indices.unbind(dim=1)

        def margins(adjacency):
            embedded = fitted.module_.embed(**inputs, adjacency=normalise(adjacency))["bold"]
            logits = fitted.module_.classify(embedded)
            return (logits.gather(1, first[:, None]) - logits.gather(1, second[:, None]))[:, 0]

        given = torch.tensor(fitted.connectivity_, dtype=torch.float32)
        whole = margins(given)
        for i, j in ((0, 1), (1, 3)):
            weaker = given.clone()
            weaker[i, j] *= 1 - step
            weaker[j, i] *= 1 - step
            fall = float((whole - margins(weaker)).mean()) / step
            assert fall == pytest.approx(use[i, j], rel=0.1, abs=2e-4)


@pytest.mark.parametrize("modality", ["eeg", "bold"])
def test_without_edges_nodes_do_not_hear_of_each_other(windows, fold, modality):
    train = windows[fold.train]
    fitted = GraphFusionClassifier(modality, graph="identity", **SMALL).fit(train, train.y)
    encoder = getattr(fitted.module_, modality)
    alone = encoder.normalised if modality == "bold" else normalise(encoder.adjacency())
    torch.testing.assert_close(alone.detach(), torch.eye(len(alone)))


@pytest.mark.parametrize("fusion", ["mean", "concatenation"])
def test_embeddings_can_be_joined_without_a_gate(windows, fold, fusion):
    train, test = windows[fold.train], windows[fold.test]
    fitted = GraphFusionClassifier(fusion=fusion, **SMALL).fit(train, train.y)
    said = fitted.extras(test)
    assert "gate" not in said
    found = fitted._outputs(test)
    if fusion == "mean":
        np.testing.assert_allclose(found["fused"], (found["eeg"] + found["bold"]) / 2, rtol=1e-5)
    else:
        gated = GraphFusionClassifier(**SMALL).fit(train, train.y)
        count = [sum(p.numel() for p in net.module_.parameters()) for net in (fitted, gated)]
        assert count[0] == count[1], "as many weights as the gate has"


def test_without_validation_all_subjects_are_learned_from_to_the_end(windows, fold):
    train = windows[fold.train]
    settled = GraphFusionClassifier("eeg", **SMALL).fit(train, train.y)
    assert list(settled.history_) == ["train_loss"]
    assert len(settled.history_) == settled.n_training_epochs
    stopped = GraphFusionClassifier("eeg", validation_splits=2, **SMALL).fit(train, train.y)
    assert "valid_loss" in stopped.history_
    # A subject that would have been set aside changes what is learned.
    other = train[train.groups != train.subjects[-1]]
    fewer = GraphFusionClassifier("eeg", **SMALL).fit(other, other.y)
    assert not np.allclose(fewer.predict_proba(train), settled.predict_proba(train))


def test_several_seeds_are_one_method_whose_score_is_their_mean(windows, tmp_path):
    networks = {"fusion": GraphFusionClassifier(**BRIEF)}
    found = evaluate(networks, windows, LeaveOneSubjectOut(), seeds={"fusion": 3}, folder=tmp_path)
    assert found.methods == ("fusion",)
    alone = [
        evaluate({"fusion": GraphFusionClassifier(seed=seed, **BRIEF)}, windows, LeaveOneSubjectOut(), folder=tmp_path)
        for seed in range(3)
    ]
    scores = [one.interval("fusion").value for one in alone]
    np.testing.assert_allclose(found.by_seed("fusion"), scores)
    assert found.interval("fusion").value == pytest.approx(np.mean(scores))
    np.testing.assert_allclose(
        found.per_subject()["fusion"], np.mean([one.per_subject()["fusion"] for one in alone], axis=0)
    )
    assert len(set(scores)) > 1, "seeds differ, or this test shows nothing"
    without = found.add_method_from_extra("blind", "fusion", "without_eeg")
    assert without.methods == ("fusion", "blind")
    assert len(without.by_seed("blind")) == 3
    of_blind = [one.add_method_from_extra("blind", "fusion", "without_eeg").interval("blind").value for one in alone]
    np.testing.assert_allclose(without.by_seed("blind"), of_blind)
    with pytest.raises(RequestError, match="none of the methods"):
        evaluate(networks, windows, LeaveOneSubjectOut(), seeds={"gate": 2}, folder=tmp_path)


def test_what_folds_learned_is_kept(windows, tmp_path):
    evaluation = evaluate(
        {"eeg": GraphFusionClassifier("eeg", **BRIEF)}, windows, LeaveOneSubjectOut(), folder=tmp_path
    )
    graphs = evaluation.learned("eeg", "scalp_adjacency")
    assert graphs.shape == (6, 3, 3)
    np.testing.assert_allclose(graphs, graphs.swapaxes(1, 2), atol=1e-6)
    # Two folds whose validation subjects take each other's place train on the same subjects: not all six differ.
    assert len({graph.tobytes() for graph in graphs}) > 2


def test_training_subjects_are_aligned_alike_whatever_a_new_one_may_use(windows, fold):
    train, test = windows[fold.train], windows[fold.test]
    fitted = {
        kind: GraphFusionClassifier("eeg", adaptation=kind, **BRIEF).fit(train, train.y)
        for kind in ("transductive", "calibration")
    }
    assert fitted_digest(fitted["transductive"]) == fitted_digest(fitted["calibration"])
    calibrated = fitted["transductive"].extras(test)["calibrated"]
    np.testing.assert_array_equal(calibrated, fitted["calibration"].predict(test))
