"""Devices: which one is meant, that every tensor of every network follows, and that results of one are not taken for those of another.

No accelerator is needed: torch's ``meta`` device holds shapes without numbers, and refuses as an accelerator does to be mixed with the
processor.
"""

import json

import numpy as np
import pytest
import torch
from torch import nn

from book_project import eegfmri, make_project
from eegfmri import bench, device
from eegfmri.bench import windows as bench_windows
from eegfmri.errors import RequestError
from eegfmri.estimators.graph_fusion import GraphFusionClassifier
from eegfmri.estimators.saliency_fusion import MultiViewReconstructor, SaliencyGcnnClassifier
from eegfmri.estimators.synthesis import VolumeSynthesiser
from eegfmri.estimators.training import Batch, answer, train
from eegfmri.estimators.transformer_cnn import AutoencoderReconstruction, TransformerCnnRegressor, UNetRegressor
from eegfmri.evaluation.folds import parameter_text
from eegfmri.models import graph_fusion as gf
from eegfmri.models import saliency_fusion as sf
from eegfmri.models import synthesis
from eegfmri.models import transformer_cnn as tc
from eegfmri.runner import chapters, execution

HERE = [kind for kind in ("cuda", "mps") if {"cuda": torch.cuda, "mps": torch.backends.mps}[kind].is_available()]
ABSENT = [kind for kind in ("cuda", "mps") if kind not in HERE]


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.delenv(device.VARIABLE, raising=False)


def pretend(monkeypatch, *kinds):
    """Let torch say that these devices are there, and no others."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in kinds)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in kinds)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "A Card")


# --- which device is meant -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "meant"), [((), "cpu"), (("mps",), "mps"), (("cuda",), "cuda"), (("cuda", "mps"), "cuda")]
)
def test_auto_is_the_first_that_is_there(monkeypatch, there, meant):
    pretend(monkeypatch, *there)
    assert device.resolve("auto") == meant
    assert device.resolve("cpu") == "cpu"
    assert device.resolve() == "cpu", "nobody has asked for an accelerator"
    monkeypatch.setenv(device.VARIABLE, "auto")
    assert device.resolve() == meant
    assert device.resolve("cpu") == "cpu", "what is asked for goes before what the environment says"


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_in_one_sentence(monkeypatch, kind):
    pretend(monkeypatch)
    with pytest.raises(RequestError, match=f"^device: torch finds no {kind} device on this machine: ask for cpu"):
        device.resolve(kind)
    monkeypatch.setenv(device.VARIABLE, kind)
    with pytest.raises(RequestError, match=f"^{device.VARIABLE}: torch finds no {kind}"):
        device.resolve()
    monkeypatch.setenv(device.VARIABLE, "gpu")
    with pytest.raises(RequestError, match=f"^{device.VARIABLE} must be one of auto, cpu, cuda, mps, not 'gpu'"):
        device.resolve()


def test_the_card_is_named(monkeypatch):
    pretend(monkeypatch, "cuda")
    assert [device.described(kind) for kind in ("cpu", "mps", "cuda")] == ["cpu", "mps", "cuda (A Card)"]


def test_a_default_holds_in_its_block_only(monkeypatch):
    pretend(monkeypatch, "mps")
    with device.by_default("mps"):
        assert device.resolve() == "mps"
    assert device.resolve() == "cpu"


# --- every tensor follows --------------------------------------------------------------------------------------------


def on_meta(module: nn.Module, *given, by=lambda module: module, **named):
    """Build on the processor, move to ``meta`` and run in training and in evaluation; return what is said in evaluation."""
    module = module.to("meta")
    given, named = [device.moved(value, "meta") for value in given], device.moved(named, "meta")
    for training in (True, False):
        said = by(module.train(training))(*given, **named)
        parts = said.values() if isinstance(said, dict) else said if isinstance(said, tuple) else [said]
        assert all(part.device.type == "meta" for part in parts)
    return said


def test_meta_is_not_mixed_with_the_processor():
    with pytest.raises(RuntimeError):
        torch.ones(3, device="meta") + torch.ones(3)
    with pytest.raises(RuntimeError):
        nn.Linear(3, 2).to("meta")(torch.ones(1, 3))


def graph(n: int) -> torch.Tensor:
    weights = torch.rand(n, n, generator=torch.Generator().manual_seed(0))
    return (weights + weights.T) * (1 - torch.eye(n))


@pytest.mark.parametrize("adjacency", ["hybrid", "fixed", "learned"])
@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("modality", ["both", "eeg", "bold"])
def test_graph_fusion_follows(modality, adjacency, recurrent):
    eeg = gf.EegEncoder(graph(5), gf.EegConfig(kernel=20, adjacency=adjacency, recurrent=recurrent))
    bold = gf.BoldEncoder(graph(6), gf.BoldConfig(shared=recurrent))
    chosen = {"eeg": eeg, "bold": bold} if modality == "both" else {modality: {"eeg": eeg, "bold": bold}[modality]}
    given = {"eeg": torch.rand(4, 3, 5, 20), "bold": torch.rand(4, 6, 14)}
    model = gf.GraphFusion(3, **chosen)
    assert on_meta(model, **{name: given[name] for name in chosen}).shape == (4, 3)
    on_meta(model, **{name: given[name] for name in chosen}, by=lambda module: module.embed)
    for name in chosen if modality == "both" else ():
        on_meta(model, **{name: given[name]}, by=lambda module: module.embed)


def fronts(n_nodes=6):
    bands = [(1.0, 10.0), (10.0, 30.0)]
    frequencies = torch.arange(1, 40, dtype=torch.float64)
    return {
        "spectral": (sf.SpectralScales(frequencies, 100.0, bands, (25, 13), 3), torch.rand(4, n_nodes, 39)),
        "temporal": (sf.TemporalScales(n_nodes, (3, 5), 3), torch.rand(4, n_nodes, 12)),
        "temporal, shared": (sf.TemporalScales(n_nodes, (3, 5), 3, shared=True), torch.rand(4, n_nodes, 12)),
    }


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("reading", ["as_meant", "as_printed"])
@pytest.mark.parametrize("kind", fronts())
def test_the_graph_networks_of_saliency_fusion_follow(kind, reading, learned):
    front, given = fronts()[kind]
    config = sf.GcnnConfig(learned_graph=learned, eq7_scaling=reading, eq10_terms=reading, laplacian="normalised")
    model = sf.MultiScaleGCNN(front, graph(6), 3, config)
    assert on_meta(model, given).shape == (4, 3)
    on_meta(model, given, by=lambda module: lambda x: module.activation(module.nodes(x)))
    on_meta(model, by=lambda module: lambda: module.scaled_laplacian(module.graph()))
    if kind == "spectral":
        on_meta(front, torch.rand(2, 6, 100), by=lambda module: module.of_signal)


@pytest.mark.parametrize("reading", ["as_meant", "as_printed"])
@pytest.mark.parametrize("edges", [True, False])
@pytest.mark.parametrize("kind", ["fused", "single", "concatenated"])
def test_the_fusion_of_views_follows(kind, edges, reading):
    config = sf.FusionConfig(kind, 8, 2, eq14=reading, eq18=reading, eq19=reading, eq21=reading, eq22=reading)
    given = torch.rand(4, 3, 5, 7), graph(5) > 0.5 if edges else None
    assert on_meta(sf.MultiViewFusion(3, 5, 7, config), *given).shape == (4, 3, 5, 5)
    on_meta(sf.MultiViewFusion(3, 5, 7, config), *given, by=lambda module: module.embed)


def test_both_networks_and_the_fusion_follow_as_one():
    networks = [sf.MultiScaleGCNN(*(front, graph(6), 3)) for front, _ in list(fronts().values())[:2]]
    inputs = [given for _, given in list(fronts().values())[:2]]
    nodes = torch.tensor([0, 2, 5])
    model = sf.EndToEnd(*networks, sf.MultiViewFusion(3, 3, 8), nodes, torch.eye(3, dtype=torch.bool))
    found = on_meta(model, *inputs)
    for detached in (True, False):
        loss = sf.end_to_end_loss(found, torch.zeros(4, dtype=torch.long, device="meta"), 1.0, detached)
        assert loss.device.type == "meta"


MASK = torch.ones(5, 6, 4, dtype=torch.bool)
MASK[0, 0] = False


@pytest.mark.parametrize("name", synthesis.MODELS)
def test_the_networks_of_synthesis_follow(name):
    eeg, volume = torch.rand(2, 3, 3000), torch.rand(2, int(MASK.sum()))
    model = synthesis.Augmented(synthesis.build(name, 3, 3000, 250.0, MASK), shift=0.1, noise=0.1)
    volumes = {"volume": volume} if name.startswith("transformer") else {}
    assert on_meta(model, eeg, **volumes).shape == volume.shape
    if not volumes:
        return
    for cached in (True, False):
        on_meta(model.network, eeg, by=lambda module, cached=cached: lambda x: module.generate(x, cached))
    on_meta(model.network, eeg, volume, by=lambda module: module.teacher_forced)
    for share in (0.5, 1.0):
        config = synthesis.TransformerConfig(slice_dropout=share, embedding=synthesis.ConvolutionalConfig(bin=0.5))
        on_meta(synthesis.build(name, 3, 3000, 250.0, MASK, config), eeg, volume)


def test_convolutions_on_covariances_follow():
    config = synthesis.ConvolutionalConfig(pool=1, bin=0.5)
    model = synthesis.build("convolutional", 3, 750, 62.5, MASK, config)
    kernel, stride, size = config.steps(62.5)
    covariances = synthesis.bin_covariances(torch.rand(2 * 3, 750, device="meta"), kernel, stride, size)
    assert covariances.device.type == "meta"
    given = covariances.unflatten(0, (2, 3)).transpose(1, 2)
    assert on_meta(model, covariances=given).shape == (2, int(MASK.sum()))


def test_the_auto_encoder_and_the_u_net_follow():
    volumes = torch.rand(3, int(MASK.sum()))
    assert on_meta(tc.Autoencoder(MASK, tc.AutoencoderConfig((4, 8), 6)), volumes).shape == volumes.shape
    assert on_meta(tc.UNet(MASK, 3, 2, 4, tc.UNetConfig(4, (4, 8))), torch.rand(3, 3, 2, 4)).shape == volumes.shape


@pytest.mark.parametrize("n_past", [2, None])
@pytest.mark.parametrize("eeg_tokens", ["segments", "channels"])
def test_the_transformer_of_transformer_cnn_follows(eeg_tokens, n_past):
    config = tc.TransformerConfig(8, 2, 1, 1, 8, n_past=n_past, eeg_tokens=eeg_tokens)
    autoencoder = tc.Autoencoder(MASK, tc.AutoencoderConfig((4, 8), 6))
    model = tc.TransformerCnn(autoencoder, 3, 2, 4, config, scheduled_sampling=0.5)
    eeg, position = torch.rand(2, 5, 3, 2, 4), torch.arange(5).expand(2, -1)
    tokens, volumes = torch.rand(2, 5, 6), torch.rand(2, 5, int(MASK.sum()))
    on_meta(model, eeg, position)
    on_meta(model, eeg, position, tokens, rendered=torch.tensor([0, 3, 7]))
    on_meta(model, eeg, position, volumes=volumes)
    on_meta(model, eeg, position, tokens, by=lambda module: module.force)
    on_meta(model, eeg, position, by=lambda module: module.generate)
    on_meta(model, eeg, position, by=lambda module: module.generate_naively)


@pytest.mark.parametrize("kind", ["graph", "views", "shape"])
def test_what_is_built_from_tensors_lies_where_they_lie(kind):
    adjacency = graph(5).to("meta")
    modules = {
        "graph": lambda: gf.EegEncoder(adjacency, gf.EegConfig(kernel=20)).adjacency,
        "views": lambda: sf.LearnableAdjacency(adjacency),
        "shape": lambda: gf.BoldEncoder(adjacency),
    }
    buffers = dict(modules[kind]().named_buffers())
    own = {name: buffer for name, buffer in buffers.items() if not name.startswith("scale")}
    assert {buffer.device.type for buffer in own.values()} == {"meta"}


# --- training and asking ---------------------------------------------------------------------------------------------


class Spy(nn.Linear):
    """Notes where its weights have been moved to."""

    def _apply(self, move, *rest):
        self.before = self.weight.detach().clone()
        return super()._apply(move, *rest)


def test_weights_are_drawn_on_the_processor_and_everything_is_moved_in_training(monkeypatch):
    moves, original = [], device.moved

    def noted(value, to):
        if isinstance(value, dict):
            moves.append((sorted(value), to))
        return original(value, to)

    monkeypatch.setattr(device, "moved", noted)
    inputs, targets = torch.rand(8, 3), torch.rand(8, 2)

    def read(batch):
        rows = [row for row, _ in batch]
        return Batch({"input": inputs[rows]}, len(rows)), targets[rows]

    settings = {
        "criterion": nn.MSELoss,
        "n_training_epochs": 1,
        "patience": None,
        "batch_size": 4,
        "learning_rate": 0.1,
    }
    made = train(lambda: Spy(3, 2), read, np.arange(6), np.arange(6, 8), **settings, device="cpu").module
    assert moves == [(["input"], "cpu")] * 3, "two training batches and one for validation"
    torch.manual_seed(0)
    torch.testing.assert_close(made.before, nn.Linear(3, 2).weight.detach(), rtol=0, atol=0)


def test_an_answer_comes_back_to_the_processor():
    module = nn.Linear(3, 2).eval()
    given = torch.rand(4, 3)
    expected = module(given).detach().numpy()
    np.testing.assert_array_equal(answer(module, given).numpy(), expected)
    np.testing.assert_array_equal(answer(module, by=lambda x: {"a": module(x)}, x=given)["a"].numpy(), expected)
    with pytest.raises(NotImplementedError, match="meta"):
        answer(module.to("meta"), given)  # it was asked there; only that nothing can be brought back from meta


@pytest.mark.parametrize("kind", ABSENT)
@pytest.mark.parametrize(
    "made",
    [
        GraphFusionClassifier, SaliencyGcnnClassifier, MultiViewReconstructor, VolumeSynthesiser, TransformerCnnRegressor,
        UNetRegressor, AutoencoderReconstruction,
    ],
)  # fmt: skip
def test_a_fold_knows_its_device_but_not_how_it_was_asked_for(monkeypatch, made, kind):
    plain = parameter_text(made())
    assert "device" not in plain
    assert parameter_text(made(device="cpu")) == parameter_text(made(device="auto")) == plain or HERE
    with pytest.raises(RequestError, match=f"no {kind} device"):
        parameter_text(made(device=kind))
    pretend(monkeypatch, kind)
    elsewhere = parameter_text(made(device=kind))
    assert elsewhere == parameter_text(made(device="auto")) != plain
    monkeypatch.setenv(device.VARIABLE, kind)
    assert parameter_text(made()) == elsewhere
    assert parameter_text(made(device="cpu")) == plain


# --- chapters and commands -------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = make_project(tmp_path / "project")
    monkeypatch.setenv("EEGFMRI_ROOT", str(folder))
    return folder


def test_an_accelerator_is_part_of_a_chapters_key_and_the_processor_is_not(project, monkeypatch):
    chapter = chapters.find("fixtures/first")

    def prepared(asked=None):
        return execution.prepare(chapter, chapter.defaults, device=asked)

    pretend(monkeypatch)
    plain = prepared()
    assert plain.device == "cpu"
    assert prepared("cpu") == prepared("auto") == plain
    assert "--device" not in plain.command
    pretend(monkeypatch, "cuda")
    assert prepared() == plain
    other = prepared("auto")
    assert (other.device, other == prepared("cuda"), other.key == plain.key) == ("cuda", True, False)
    assert other.command.endswith("--device cuda")
    monkeypatch.setenv(device.VARIABLE, "cuda")
    assert prepared() == other, "a build or a sweep is told by the environment"
    assert execution.environment(1, "cuda")["device"] == "cuda (A Card)"


def test_a_run_tells_the_chapter_and_the_results_where(project):
    path = project / "book" / "fixtures" / "first.md"
    shown = "\n```{code-cell} python\nimport os\nprint('computed on', os.environ['EEGFMRI_DEVICE'])\n```\n"
    path.write_text(path.read_text(encoding="utf-8") + shown, encoding="utf-8")
    done = eegfmri(project, "run", "fixtures/first", "--device", "cpu", "--out", "runs/one")
    assert done.returncode == 0, done.stderr
    assert json.loads((project / "runs/one/results.json").read_text())["environment"]["device"] == "cpu"
    assert "computed on cpu" in (project / "runs/one/fixtures-first.ipynb").read_text()
    if HERE:
        return
    again = eegfmri(project, "run", "fixtures/first", "--device", "auto", "--out", "runs/two")
    assert again.returncode == 0, again.stderr
    assert "cached" in again.stdout


@pytest.mark.parametrize(
    "words", [("run", "fixtures/first"), ("run", "fixtures/first", "--dry-run"), ("bench", "graphs")]
)
def test_a_device_that_is_unknown_or_absent_is_refused_at_once(project, words):
    done = eegfmri(project, *words, "--device", "coda")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--device must be one of auto, cpu, cuda, mps, not 'coda': did you mean 'cuda'?" in done.stderr
    for kind in ABSENT[:1]:
        done = eegfmri(project, *words, "--device", kind)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert f"--device: torch finds no {kind} device on this machine: ask for cpu" in done.stderr
    assert not (project / "book" / "_build").exists()


def test_a_benchmark_is_told_its_device(monkeypatch):
    seen = []
    monkeypatch.setattr(bench, "names", lambda: ["windows"])
    monkeypatch.setattr(bench_windows, "windows", lambda: seen.append(device.resolve()) or [])
    pretend(monkeypatch, "mps")
    for asked in (None, "cpu", "auto"):
        bench.run("windows", asked)
    assert seen == ["cpu", "cpu", "mps"]
    assert bench.machine()["device"] == "cpu"
    with pytest.raises(RequestError, match="no cuda device"):
        bench.run("windows", "cuda")
