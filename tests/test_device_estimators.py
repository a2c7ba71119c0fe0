"""Every estimator trains and predicts on a device that is not the processor, here one that is made up: see `elsewhere`."""

import numpy as np
import pytest
import torch

from eegfmri import device
from eegfmri.estimators import saliency_fusion as sf
from eegfmri.estimators.graph_fusion import GraphFusionClassifier
from eegfmri.estimators.saliency_fusion import MultiViewReconstructor, SaliencyGcnnClassifier
from eegfmri.estimators.synthesis import VolumeSynthesiser
from eegfmri.estimators.transformer_cnn import AutoencoderReconstruction, TransformerCnnRegressor, UNetRegressor
from eegfmri.estimators.volume_baselines import with_lagged_power
from eegfmri.evaluation.leaks import fitted_digest
from eegfmri.models import saliency_fusion as models
from eegfmri.preprocessing.volumes import VolumeScaling
from elsewhere import KIND, Elsewhere
from test_saliency_estimator import made_views
from test_transformer_cnn_estimator import SMALL as SMALL_TRANSFORMER
from test_transformer_cnn_estimator import cut as cut_spectrograms
from volumes_made import cut_volumes, made_runs
from windows_made import cut, informative


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    monkeypatch.setenv("EEGFMRI_CACHE", str(tmp_path / "cache"))
    original = device.resolve
    monkeypatch.setattr(device, "resolve", lambda kind=None, where="": KIND if kind == KIND else original(kind, where))
    with Elsewhere() as place:
        yield place


@pytest.fixture(scope="module")
def epochs(tmp_path_factory):
    made = cut(informative(tmp_path_factory.mktemp("runs"), n_epochs=14), eeg_epochs=3, bold_volumes=14)
    return sf.with_spectra(made, np.random.default_rng(0).normal(size=(4, 3)))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    runs = made_runs(tmp_path_factory.mktemp("runs"), n_subjects=3, n_runs=1, n_volumes=24)
    return with_lagged_power(cut_volumes(runs, eeg_seconds=12.0))


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return cut_spectrograms(made_runs(folder, n_subjects=3, n_runs=1, n_volumes=24), folder)


def alike(here, there):
    """Compare what two devices gave; positions are written in single precision elsewhere."""
    if isinstance(here, dict):
        assert list(here) == list(there)
        for name in here:
            alike(here[name], there[name])
    else:
        here = np.asarray(here, dtype=float)
        np.testing.assert_allclose(here, np.asarray(there, dtype=float), atol=2e-3 * max(1.0, np.abs(here).max()))


def both(place, made, *given, ask, **settings):
    """Fit here and there, and compare all that is asked of the two."""
    here, there = (made(**settings, device=where).fit(*given) for where in ("cpu", KIND))
    assert all(place.holds(weights) for weights in there.module_.parameters()), "trained there, and left there"
    assert not any(place.holds(weights) for weights in here.module_.parameters())
    alike(here.__dict__.get("history_", np.zeros(1)), there.__dict__.get("history_", np.zeros(1)))
    for question in ask:
        alike(question(here), question(there))
    assert len(fitted_digest(there)) == 16
    return here, there


SMALL = {"conv_features": 4, "graph_features": 4, "embedding": 4, "n_training_epochs": 2}


@pytest.mark.parametrize("modality", ["both", "eeg", "bold"])
def test_graph_fusion(elsewhere, epochs, modality):
    ask = [lambda f: f.predict_proba(epochs), lambda f: f.extras(epochs), lambda f: f.learned(epochs)]
    adjacency = "fixed" if modality == "eeg" else "hybrid"
    both(
        elsewhere, GraphFusionClassifier, epochs, epochs.y, ask=ask, modality=modality, adjacency=adjacency,
        modality_dropout=0.0, **SMALL,
    )  # fmt: skip


@pytest.mark.parametrize("learned", [False, True])
def test_saliency_fusion_from_one_modality_to_both_trained_together(elsewhere, epochs, learned):
    settings = {"n_training_epochs": 2, "features": 4, "n_filters": 2, "n_neighbours": 2, "learned_graph": learned}
    ask = [
        lambda f: f.decision_function(epochs), lambda f: f.activation(epochs), lambda f: f.node_features(epochs),
        lambda f: f.connections(epochs), lambda f: f.restored(f.learned(epochs)["fitted"], epochs).predict_proba(epochs),
        lambda f: f.with_random_weights(1).decision_function(epochs),
    ]  # fmt: skip
    given = {"modality": "eeg", "nodes": "atlas", **settings}
    eeg = both(elsewhere, SaliencyGcnnClassifier, epochs, epochs.y, ask=ask, **given)
    bold = both(elsewhere, SaliencyGcnnClassifier, epochs, epochs.y, ask=ask, modality="bold", **settings)
    views = [sf.join_views(*pair, epochs, np.arange(3)) for pair in zip(eeg, bold, strict=True)]
    alike(views[0].features, views[1].features)
    trained = [
        sf.train_end_to_end(*pair, epochs, epochs.y, [0, 1, 3], n_training_epochs=2)
        for pair in zip(eeg, bold, strict=True)
    ]
    alike(trained[0][1], trained[1][1])
    assert all(elsewhere.holds(weights) for weights in trained[1][0].parameters())
    assert all(elsewhere.holds(weights) for weights in eeg[1].module_.parameters())


@pytest.mark.parametrize("layers", ["dense", "torch_geometric"])
@pytest.mark.parametrize("kind", ["fused", "single", "concatenated"])
def test_the_fusion_of_views(elsewhere, kind, layers):
    views = made_views(16)
    ask = [lambda f: f.predict(views), lambda f: f.embed(views), lambda f: f.errors(views)]
    both(elsewhere, MultiViewReconstructor, views, ask=ask, kind=kind, layers=layers, n_training_epochs=2)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("fully_connected", {"eeg_input": "power"}),
        ("siamese", {"shift": 0.0}),
        ("convolutional", {}),
        ("convolutional_all", {}),
        ("transformer", {}),
        ("transformer_sinusoidal", {}),
    ],
)
def test_synthesis(elsewhere, volumes, model, settings):
    targets = VolumeScaling("normalised").fit(volumes).targets(volumes)
    ask = [lambda f: f.predict(volumes)]
    ask += [lambda f: f.extras(volumes, targets)] if model.startswith("transformer") else []
    both(
        elsewhere,
        VolumeSynthesiser,
        volumes,
        targets,
        ask=ask,
        model=model,
        n_training_epochs=2,
        batch_size=16,
        **settings,
    )


@pytest.mark.parametrize("frozen", [True, False])
def test_transformer_cnn(elsewhere, spectrograms, frozen):
    targets = VolumeScaling("standardised").fit(spectrograms).targets(spectrograms)
    ask = [lambda f: f.predict(spectrograms), lambda f: f.extras(spectrograms, targets)]
    settings = SMALL_TRANSFORMER | {"validation_splits": 2}
    both(
        elsewhere,
        TransformerCnnRegressor,
        spectrograms,
        targets,
        ask=ask,
        frozen=frozen,
        watch=True,
        dropout=0.0,
        **settings,
    )


def test_the_u_net_and_the_auto_encoder(elsewhere, spectrograms):
    targets = VolumeScaling("standardised").fit(spectrograms).targets(spectrograms)
    ask = [lambda f: f.predict(spectrograms)]
    both(
        elsewhere, UNetRegressor, spectrograms, targets, ask=ask, n_bands=2, features=(4, 8), bottleneck=4,
        n_training_epochs=2, validation_splits=2,
    )  # fmt: skip
    ask = [lambda f: f.predict(spectrograms, targets)]
    settings = {"features": (4, 8), "embedding": 6, "n_pretraining_epochs": 2, "validation_splits": 2}
    both(elsewhere, AutoencoderReconstruction, spectrograms, targets, ask=ask, **settings)


def test_what_is_made_up_refuses_what_a_real_one_refuses(elsewhere):
    there = torch.ones(3).to(KIND)
    assert there.device.type == (there * 2).device.type == torch.zeros(2, device=there.device).device.type == KIND
    assert there.cpu().device.type == "cpu"
    for wrong in (lambda: there + torch.ones(3), lambda: there.numpy(), lambda: torch.ones(3)[there.long()]):
        with pytest.raises((RuntimeError, TypeError)):
            wrong()
    with pytest.raises(TypeError, match="double"):
        there.double()
    with pytest.raises(RuntimeError, match="elsewhere"):
        models.GraphAttention(3, 4, 2).to(KIND)(torch.ones(2, 5, 3))
