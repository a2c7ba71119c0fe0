"""The estimators of saliency_fusion: what they learn and from whom, that they repeat, and that folds can be made again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from eegfmri.errors import RequestError
from eegfmri.estimators import saliency_fusion as sf
from eegfmri.estimators.saliency_fusion import MultiViewReconstructor, SaliencyGcnnClassifier, Views
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.leaks import fitted_digest, poisoned
from eegfmri.evaluation.splits import InnerValidation, LeaveOneSubjectOut
from eegfmri.windows import LazyArray, Windows
from windows_made import cut, informative

SMALL = {"n_training_epochs": 4, "features": 4, "n_filters": 2, "n_neighbours": 2}
KINDS = {
    "bold": {"modality": "bold"},
    "electrodes": {"modality": "eeg"},
    "atlas": {"modality": "eeg", "nodes": "atlas"},
    "learned": {"modality": "bold", "learned_graph": True},
}


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    made = cut(informative(tmp_path_factory.mktemp("runs"), n_epochs=24), bold_volumes=10)
    return sf.with_spectra(made, np.random.default_rng(0).normal(size=(4, 3)))


@pytest.fixture(scope="module")
def fold(windows):
    return next(iter(LeaveOneSubjectOut().split(windows)))


def network(kind, **settings):
    return SaliencyGcnnClassifier(**KINDS[kind], **(SMALL | settings))


def test_spectra_are_power_per_bin(windows):
    spectrum = windows.features["spectrum_electrodes"]
    frequencies = sf.spectrum_frequencies(windows.eeg.sfreq, 2.0, windows.eeg.shape[2])
    assert spectrum.shape == (len(windows), 3, len(frequencies))
    assert frequencies[0] == 1.0
    assert frequencies[-1] < 45
    # white noise: 44 of 50 Hz
    variance = windows.eeg[0].var(axis=1)
    np.testing.assert_allclose(spectrum[0].sum(axis=1), 0.88 * variance, rtol=0.1)


def test_projected_spectra_are_spectra_of_projected_signals(windows):
    projection = np.random.default_rng(0).normal(size=(4, 3))
    signal = projection @ windows.eeg[5]
    own = windows.features["spectrum_atlas"][5].sum(axis=1)
    np.testing.assert_allclose(own, 0.88 * signal.var(axis=1), rtol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_each_network_repeats_to_the_bit_and_leaves_torchs_random_state_alone(windows, fold, kind):
    train, test = windows[fold.train], windows[fold.test]
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    first, again = (network(kind).fit(train, train.y) for _ in range(2))
    torch.testing.assert_close(torch.rand(2), expected)
    assert fitted_digest(first) == fitted_digest(again)
    np.testing.assert_array_equal(first.predict_proba(test), again.predict_proba(test))
    assert fitted_digest(network(kind, seed=1).fit(train, train.y)) != fitted_digest(first)


@pytest.mark.parametrize("kind", ["bold", "electrodes", "atlas"])
def test_each_network_learns_what_is_there_and_nothing_from_shuffled_labels(windows, fold, kind):
    train, test = windows[fold.train], windows[fold.test]
    longer = {"n_training_epochs": 40, "patience": 40, "features": 8, "n_filters": 4, "n_neighbours": 2}
    fitted = SaliencyGcnnClassifier(**KINDS[kind], **longer, adaptation="none").fit(train, train.y)
    assert np.mean(fitted.predict(test) == test.y) > 0.6
    shuffled = SaliencyGcnnClassifier(**KINDS[kind], **longer, adaptation="none", shuffled_labels=True)
    assert np.mean(shuffled.fit(train, train.y).predict(train) == train.y) < 0.6


def test_shuffling_keeps_each_subjects_counts(windows):
    y = sf.shuffled_within(windows.y, windows.groups, 0)
    assert (y != windows.y).any()
    for subject in windows.subjects:
        own = windows.groups == subject
        np.testing.assert_array_equal(np.bincount(y[own]), np.bincount(windows.y[own]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fold_is_made_again_from_what_it_said(windows, kind, tmp_path):
    estimator = network(kind, n_training_epochs=2)
    evaluation = evaluate({"net": estimator}, windows, LeaveOneSubjectOut(), folder=tmp_path)
    made = sf.restore(evaluation, "net", estimator, windows)
    assert list(made) == [f"sub-{subject}" for subject in windows.subjects]
    for fold in list(LeaveOneSubjectOut().split(windows))[:2]:
        said = evaluation.predictions.query("fold == @fold.name")["predicted"].to_numpy()
        np.testing.assert_array_equal(made[fold.name].predict(windows[fold.test]), said)
        fresh = network(kind, n_training_epochs=2).fit(windows[fold.train], windows.y[fold.train])
        np.testing.assert_array_equal(
            fresh.activation(windows[fold.test]), made[fold.name].activation(windows[fold.test])
        )


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_learned_from_the_test_subject(windows, fold, kind, tmp_path):
    spoilt = poisoned(windows, windows.subjects[0], tmp_path)
    states = [fitted_digest(network(kind).fit(w[fold.train], w.y[fold.train])) for w in (windows, spoilt)]
    assert states[0] == states[1]
    exposed = np.arange(len(windows))
    noticed = fitted_digest(network(kind).fit(spoilt[exposed], spoilt.y[exposed]))
    assert noticed != fitted_digest(network(kind).fit(windows[exposed], windows.y[exposed]))


def test_a_new_subjects_scale_comes_from_what_is_allowed(windows, fold):
    train, test = windows[fold.train], windows[fold.test]
    louder = replace(test, features={name: 100 * values for name, values in test.features.items()})
    for adaptation, matters in (("transductive", False), ("calibration", False), ("none", True)):
        fitted = network("electrodes", adaptation=adaptation).fit(train, train.y)
        alike = np.allclose(fitted.predict_proba(test), fitted.predict_proba(louder), atol=1e-4)
        assert alike != matters, adaptation
    changed = {name: values.copy() for name, values in test.features.items()}
    changed["spectrum_electrodes"][15:] *= 100
    later = replace(test, features=changed)
    first = slice(0, 10)
    for adaptation, matters in (("transductive", True), ("calibration", False)):
        fitted = network("electrodes", adaptation=adaptation).fit(train, train.y)
        alike = np.allclose(fitted.predict_proba(test)[first], fitted.predict_proba(later)[first], atol=1e-4)
        assert alike != matters, adaptation


def test_connections_are_the_first_order_effect_of_an_edge(windows, fold):
    """Against a finite difference of the weighted mean logit along one entry of the Laplacian."""
    from eegfmri.models.graph_signals import chebyshev_polynomials

    train, test = windows[fold.train], windows[fold.test]
    fitted = network("bold").fit(train, train.y)
    use = fitted.connections(test)
    module, inputs = fitted.module_.double(), fitted.inputs(test).double()
    matrix = module.scaled_laplacian(module.graph())
    with torch.no_grad():
        weights = torch.softmax(module(inputs), dim=1)
        weights = weights / weights.sum(dim=0)

        def score(m, c):
            return float((weights[:, c] * module(inputs, chebyshev_polynomials(m, module.n_terms))[:, c]).sum())

        i, j = map(
            int, (matrix - torch.diag(torch.diagonal(matrix))).abs().argmax().div(4).floor().reshape(1).tolist() * 2
        )
        j = int((matrix[i].abs() * (torch.arange(4) != i)).argmax())
        for c in range(3):
            change = 0.0
            for a, b in ((i, j), (j, i)):
                up, down = matrix.clone(), matrix.clone()
                up[a, b] += 1e-5
                down[a, b] -= 1e-5
                change += float(matrix[a, b]) * (score(up, c) - score(down, c)) / 2e-5
            assert use[c, i, j] == pytest.approx(change, rel=1e-2, abs=1e-5)
    assert not np.diagonal(use, axis1=1, axis2=2).any()


def test_random_weights_keep_graph_and_scaling_and_change_what_is_said(windows, fold):
    train, test = windows[fold.train], windows[fold.test]
    fitted = network("bold").fit(train, train.y)
    random = fitted.with_random_weights(0)
    assert random.bold_mean_ is fitted.bold_mean_
    torch.testing.assert_close(random.module_.graph(), fitted.module_.graph())
    assert not np.allclose(random.activation(test), fitted.activation(test))


def test_requests_that_make_no_sense_are_refused(windows, fold):
    train = windows[fold.train]
    with pytest.raises(RequestError, match="modality"):
        SaliencyGcnnClassifier("meg").fit(train, train.y)
    with pytest.raises(RequestError, match="spectrum_atlas"):
        bare = replace(train, features={"spectrum_electrodes": train.features["spectrum_electrodes"]})
        SaliencyGcnnClassifier("eeg", "atlas").fit(bare, train.y)
    with pytest.raises(RequestError, match="neighbours"):
        SaliencyGcnnClassifier("bold").fit(train, train.y)


# --- views -------------------------------------------------------------------------------------------------------------


def made_views(n_windows=60, noise=0.3, seed=0):
    """Six views of five nodes: each window has its own two groups of like nodes, seen in all views."""
    rng = np.random.default_rng(seed)
    side = rng.integers(0, 2, (n_windows, 1, 5, 1)) * 2 - 1
    direction = rng.normal(size=(1, 6, 1, 8))
    features = side * direction + noise * rng.normal(size=(n_windows, 6, 5, 8))
    ring = np.eye(5, dtype=bool) | np.roll(np.eye(5, dtype=bool), 1, axis=1)
    return Views(features.astype(np.float32), of_four(n_windows), np.arange(5), ring)


def of_four(n_windows):
    """As many windows of four subjects, a to d; of their signals nothing is used."""
    table = pd.DataFrame({"subject": np.repeat(["a", "b", "c", "d"], n_windows // 4), "run": "run-1"})
    at = np.arange(n_windows) % (n_windows // 4)
    table = table.assign(onset=30.0 * at, order=at, start=30.0 * at, stop=30.0 * at + 30)
    nothing = LazyArray((), np.zeros(n_windows), np.zeros(n_windows), 0)
    return Windows(table, nothing, nothing, np.arange(n_windows) % 3, ("W", "N1", "N2"))


LONGER = {"n_training_epochs": 30, "patience": 30, "learning_rate": 1e-2}


@pytest.mark.parametrize("kind", ["fused", "single", "concatenated"])
def test_reconstruction_beats_the_mean_on_subjects_held_out(kind):
    views = made_views(240)
    train, test = views[views.groups != "d"], views[views.groups == "d"]
    fitted = MultiViewReconstructor(kind, **LONGER).fit(train)
    mean = MultiViewReconstructor("mean").fit(train)
    assert fitted.errors(test).mean() < 0.6 * mean.errors(test).mean()


def test_a_reconstruction_repeats_to_the_bit():
    views = made_views(40)
    first, again = (MultiViewReconstructor(n_training_epochs=2).fit(views) for _ in range(2))
    assert fitted_digest(first) == fitted_digest(again)
    np.testing.assert_array_equal(first.predict(views), again.predict(views))


def test_noise_is_added_to_one_view_only():
    views = made_views(40)
    spoilt = views.with_noise(2, 5.0)
    np.testing.assert_array_equal(np.delete(spoilt.features, 2, 1), np.delete(views.features, 2, 1))
    added = spoilt.features[:, 2] - views.features[:, 2]
    assert added.std() == pytest.approx(5 * views.features[:, 2].std(), rel=0.1)


@pytest.mark.slow
def test_a_view_that_is_noise_gets_less_than_an_equal_share():
    """Among clean views the weights depend on the seed and on little else; a noisy one is below a sixth with every seed."""
    spoilt = made_views(240, noise=0.1).with_noise(2, 5.0)
    for seed in range(3):
        weights = MultiViewReconstructor(seed=seed, **LONGER).fit(spoilt).embed(spoilt)["weights"].mean(axis=0)
        assert weights[2] < 1 / 6
        np.testing.assert_allclose(weights.sum(), 1, rtol=1e-5)


def test_view_errors_have_a_row_per_method_subject_and_view(tmp_path):
    views = made_views(80)
    folds = list(LeaveOneSubjectOut().split(views.windows))[:2]
    held = [(views, fold) for fold in folds]
    methods = {"mean": MultiViewReconstructor("mean"), "fused": MultiViewReconstructor(n_training_epochs=2)}
    table = sf.view_errors(methods, held, folder=tmp_path)
    assert len(table) == 2 * 2 * 6
    assert set(table["view"]) == {"delta", "theta", "alpha", "beta", "gamma", "fMRI"}
    assert table.loc[table["method"] == "mean", "weight"].isna().all()
    np.testing.assert_allclose(table[table["method"] == "fused"].groupby("subject")["weight"].sum(), 1, rtol=1e-5)
    by_hand = MultiViewReconstructor(n_training_epochs=2).fit(views[folds[1].train])
    own = table.query("method == 'fused' and subject == 'b'")
    np.testing.assert_allclose(own["error"], by_hand.errors(views[folds[1].test]).mean(axis=0), rtol=1e-6)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("fold.json")}
    assert len(written) == 4
    assert sf.view_errors(methods, held, folder=tmp_path).equals(table)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("fold.json")} == written, "nothing is done twice"
    noisy = [(views.with_noise(2, 5.0), fold) for fold in folds]
    assert not sf.view_errors(methods, noisy, folder=tmp_path)["error"].equals(table["error"])


def test_validation_of_a_reconstruction_keeps_a_gap_where_there_is_one_subject():
    views = made_views(200)
    alone = views[views.groups == "a"]
    fitted = MultiViewReconstructor(n_training_epochs=2).fit(alone)
    training, validation = next(iter(InnerValidation(fitted.validation_splits).split(alone.windows)))
    onset = alone.windows.table["onset"].to_numpy()
    assert np.abs(onset[training, None] - onset[validation]).min() >= 30 + 20
    np.testing.assert_allclose(fitted.scale_, alone.features[training].std(axis=(0, 2, 3), keepdims=True) + 1e-6)


def test_views_join_both_networks_at_the_salient_regions(windows, fold):
    train = windows[fold.train]
    bold, eeg, scalp = (network(kind).fit(train, train.y) for kind in ("bold", "atlas", "electrodes"))
    nodes = sf.salient_regions(bold, train, 3)
    views = sf.join_views(eeg, bold, train, nodes, centred=False)
    assert views.features.shape == (len(train), 6, 3, 4)
    np.testing.assert_allclose(views.features[:, :5], eeg.node_features(train)[:, :, nodes])
    np.testing.assert_allclose(views.features[:, 5:], bold.node_features(train)[:, :, nodes])
    mapped = sf.join_views(scalp, bold, train, nodes, eeg_node_of=np.array([2, 0, 1, 1]), centred=False)
    np.testing.assert_allclose(mapped.features[:, :5], scalp.node_features(train)[:, :, np.array([2, 0, 1, 1])[nodes]])
    centred = sf.join_views(eeg, bold, train, nodes)
    np.testing.assert_allclose(centred.features.mean(axis=2), 0, atol=1e-5)


def test_end_to_end_changes_the_filters_and_leaves_the_given_networks(windows, fold):
    train = windows[fold.train]
    bold, eeg = (network(kind, n_training_epochs=2).fit(train, train.y) for kind in ("bold", "atlas"))
    before = fitted_digest(eeg)
    joint, history = sf.train_end_to_end(eeg, bold, train, train.y, [0, 2, 3], n_training_epochs=2)
    assert fitted_digest(eeg) == before
    assert not torch.equal(joint.eeg.front.kernels[0], eeg.module_.front.kernels[0])
    assert {"train_loss", "valid_loss", "likeness", "reconstruction"} <= set(history)
