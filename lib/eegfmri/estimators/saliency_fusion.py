"""The networks of saliency_fusion as estimators: one that classifies and shows which nodes decided, one that joins the views.

Fitted on training windows only: the graph of regions, the scaling of BOLD, the weights, and the salient nodes. Training of a network
that classifies goes on for a number of training epochs that was settled beforehand, on all training subjects; with
``validation_splits``, and in the fusion always, it is stopped by the loss on validation subjects cut from them.

Transductive, and only where ``adaptation="transductive"``: the EEG of a subject that was not trained on is divided by the mean
power of its own unlabelled windows (`eegfmri.estimators.adaptation`).
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from sklearn.base import ClassifierMixin
from torch import nn

from eegfmri import cache, saliency
from eegfmri import device as devices
from eegfmri.errors import RequestError
from eegfmri.estimators.adaptation import AdaptedEstimator
from eegfmri.estimators.training import Batch, TrainedEstimator, answer, balancing_weights, one_thread, train
from eegfmri.evaluation.evaluate import Evaluation
from eegfmri.evaluation.folds import Task, run_folds
from eegfmri.evaluation.splits import Fold, InnerValidation
from eegfmri.models import graphs
from eegfmri.models.graph_signals import chebyshev_polynomials
from eegfmri.models.saliency_fusion import (
    EndToEnd,
    FusionConfig,
    GcnnConfig,
    MultiScaleGCNN,
    MultiViewFusion,
    Reading,
    SpectralScales,
    TemporalScales,
    end_to_end_loss,
    kernel_lengths,
    node_correlations,
    reconstruction_loss,
)
from eegfmri.preprocessing.eeg import BANDS
from eegfmri.preprocessing.sources import electrode_positions
from eegfmri.preprocessing.spectra import power_spectrum
from eegfmri.windows import Windows

#: The six views in order: five bands of EEG, then fMRI.
VIEWS = (*BANDS, "fMRI")

Nodes = Literal["electrodes", "atlas"]


# --- what the networks read --------------------------------------------------------------------------------------------


def with_spectra(windows: Windows, projection: np.ndarray | None = None, seconds: float = 2.0) -> Windows:
    """Attach power spectra of each window's EEG: ``spectrum_electrodes`` and, with a projection, ``spectrum_atlas``.

    Parameters
    ----------
    windows : Windows
        EEG in V.
    projection : numpy.ndarray or None
        From electrodes to regions, shape (n_regions, n_channels); see `eegfmri.preprocessing.sources.inverse_operator`.
    seconds : float, default=2.0
        Length of Welch's segments in s, half overlapping; at most the window's length.

    Returns
    -------
    Windows
        Features of shape (n_windows, n_nodes, n_bins): power per bin from 1 to 45 Hz, 1 / ``seconds`` apart.
    """
    seconds = min(seconds, windows.eeg.shape[2] / windows.eeg.sfreq)
    windows = windows.with_feature("spectrum_electrodes", lambda run: _spectra(run, seconds, None))
    if projection is None:
        return windows
    return windows.with_feature("spectrum_atlas", lambda run: _spectra(run, seconds, projection))


def spectrum_frequencies(sfreq: float, seconds: float, n_times: int) -> np.ndarray:
    """Frequencies of `with_spectra`'s bins in Hz, for windows of ``n_times`` samples, shape (n_bins,)."""
    length = min(round(seconds * sfreq), n_times)
    frequencies = np.fft.rfftfreq(length, 1 / sfreq)
    return frequencies[_kept(frequencies)]


def _kept(frequencies: np.ndarray) -> np.ndarray:
    low, high = min(low for low, _ in BANDS.values()), max(high for _, high in BANDS.values())
    return (frequencies >= low) & (frequencies < high)


def _spectra(windows: Windows, seconds: float, projection: np.ndarray | None) -> np.ndarray:
    eeg, sfreq = windows.eeg[:], windows.eeg.sfreq
    if projection is not None:
        eeg = np.einsum("rc,wct->wrt", projection.astype(np.float32), eeg, optimize=True)
    frequencies, density = power_spectrum(eeg, sfreq, seconds)
    return (density[..., _kept(frequencies)] * frequencies[1]).astype(np.float32)


# --- phase one ---------------------------------------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class SaliencyGcnnClassifier(ClassifierMixin, AdaptedEstimator, TrainedEstimator):
    """Classes from one modality by the multi-scale graph network, and the nodes that speak for them.

    The mean power of a subject's EEG is what is adapted to. Optimised by AdamW.

    Attributes
    ----------
    modality : {"eeg", "bold"}, default="eeg"
        What the network sees.
    nodes : {"electrodes", "atlas"}, default="electrodes"
        Nodes of the EEG's graph: electrodes joined by a Gaussian of their distance, or regions joined as those of BOLD are.
    n_neighbours : int, default=8
        Of a region, by connectivity of the training subjects' BOLD.
    signs : {"keep", "fold", "drop"}, default="keep"
        What becomes of negative correlations.
    order, features, n_layers, learned_graph, laplacian, eq7_scaling, eq10_terms, dropout
        See `eegfmri.models.saliency_fusion.GcnnConfig`.
    n_filters : int, default=4
        Temporal filters per scale.
    eeg_kernels, bold_kernels : tuple of float
        Lengths of the scales in s; the sampling rate makes samples of them.
    shared : bool, default=False
        Regions share the temporal filters of BOLD.
    shuffled_labels : bool, default=False
        Train on labels permuted among each training subject's windows: a check of what saliency shows of nothing.
    adaptation, calibration_minutes
        See `eegfmri.estimators.adaptation.AdaptedEstimator`.
    n_training_epochs, patience, batch_size, learning_rate, weight_decay, schedule, validation_splits, seed, device
        See `eegfmri.estimators.training.TrainedEstimator`.
    """

    modality: Literal["eeg", "bold"] = "eeg"
    nodes: Nodes = "electrodes"
    _: KW_ONLY
    n_neighbours: int = 8
    signs: graphs.Signs = "keep"
    order: int = 3
    features: int = 8
    n_layers: int = 2
    learned_graph: bool = False
    laplacian: str = "normalised"
    eq7_scaling: Reading = "as_meant"
    eq10_terms: Reading = "as_meant"
    dropout: float = 0.1
    n_filters: int = 4
    eeg_kernels: tuple[float, ...] = (0.5, 0.25, 0.125)
    bold_kernels: tuple[float, ...] = (6.0, 12.0, 20.0)
    shared: bool = False
    learning_rate: float = 1e-2
    weight_decay: float = 1e-3
    validation_splits: int | None = None
    shuffled_labels: bool = False

    # --- learning ---

    def fit(self, X: Windows, y: np.ndarray) -> "SaliencyGcnnClassifier":
        """Learn graph, scaling and weights from the training windows.

        Parameters
        ----------
        X : Windows
            Training windows, with the features of `with_spectra` for EEG.
        y : numpy.ndarray
            Class indices, shape (n_windows,).

        Returns
        -------
        SaliencyGcnnClassifier
            Itself.
        """
        if self.modality not in ("eeg", "bold") or self.nodes not in ("electrodes", "atlas"):
            raise RequestError(
                f"modality {self.modality!r} and nodes {self.nodes!r}: choose 'eeg' or 'bold', 'electrodes' or 'atlas'."
            )
        self.check_adaptation()
        y = np.asarray(y)
        self.classes_ = np.unique(y)
        if self.shuffled_labels:
            y = shuffled_within(y, X.groups, self.seed)
        self._learn_scale(X)
        adjacency = torch.tensor(self.build_graph(X), dtype=torch.float32)
        training, validation = np.arange(len(X)), None
        if self.validation_splits is not None:
            training, validation = next(iter(InnerValidation(self.validation_splits).split(X)))
        coded = np.searchsorted(self.classes_, y)
        inputs, targets = self.inputs(X), torch.from_numpy(coded)

        def read(batch: list[tuple[int, int]]) -> tuple[Batch, torch.Tensor]:
            rows = [row for row, _ in batch]
            return Batch({"x": inputs[rows]}, len(rows)), targets[rows]

        self._train(
            partial(self._build, X.eeg.sfreq, X.bold.sfreq, self._length_of(X), adjacency),
            read,
            training,
            validation,
            criterion=nn.CrossEntropyLoss(balancing_weights(coded[training], len(self.classes_))),
        )
        return self

    def _learn_scale(self, X: Windows) -> None:
        if self.modality == "eeg":
            self.subject_scale_ = {subject: self._scale_of(X[subject == X.groups]) for subject in X.subjects}
            return
        self.bold_mean_, self.bold_scale_ = X.bold.moments()

    def build_graph(self, X: Windows) -> np.ndarray:
        """Return the graph that training windows give, shape (n_nodes, n_nodes)."""
        if self.modality == "eeg" and self.nodes == "electrodes":
            return graphs.scalp_adjacency(electrode_positions(X.eeg.names))
        connectivity = graphs.functional_connectivity(X.bold[i] for i in range(len(X)))
        connectivity = graphs.sparsify(connectivity, density=1.0, signs=self.signs)
        return graphs.nearest_neighbours(connectivity, self.n_neighbours)

    def _build(self, eeg_sfreq: float, bold_sfreq: float, n_times: int, adjacency: torch.Tensor) -> MultiScaleGCNN:
        if self.modality == "eeg":
            frequencies = torch.tensor(
                spectrum_frequencies(eeg_sfreq, self.segment_seconds_, n_times), dtype=torch.float64
            )
            lengths = kernel_lengths(self.eeg_kernels, eeg_sfreq)
            front = SpectralScales(frequencies, eeg_sfreq, list(BANDS.values()), lengths, self.n_filters)
        else:
            lengths = kernel_lengths(self.bold_kernels, bold_sfreq)
            front = TemporalScales(len(adjacency), lengths, self.n_filters, self.shared)
        config = GcnnConfig(
            order=self.order,
            features=self.features,
            n_layers=self.n_layers,
            learned_graph=self.learned_graph,
            laplacian=self.laplacian,
            eq7_scaling=self.eq7_scaling,
            eq10_terms=self.eq10_terms,
            dropout=self.dropout,
        )
        return MultiScaleGCNN(front, adjacency, len(self.classes_), config)

    def _length_of(self, X: Windows) -> int:
        if self.modality == "eeg":
            n_times, n_bins = X.eeg.shape[2], self._spectrum(X).shape[2]
            # The segments' length follows from the number of bins between 1 and 45 Hz.
            span = max(high for _, high in BANDS.values()) - min(low for low, _ in BANDS.values())
            self.segment_seconds_ = n_bins / span
            return n_times
        return 0

    def _spectrum(self, X: Windows) -> np.ndarray:
        name = f"spectrum_{self.nodes}"
        if name not in X.features:
            raise RequestError(f"The windows have no feature {name!r}: attach it by with_spectra(windows, projection).")
        # in one order in memory, so that sums come out alike however the windows were made
        return np.ascontiguousarray(X.features[name], dtype=np.float32)

    def _scale_of(self, own: Windows) -> float:
        return float(self._spectrum(own).sum(axis=2).mean())

    def inputs(self, X: Windows) -> torch.Tensor:
        """Return what the network takes of windows: scaled spectra (n, n_nodes, n_bins) or BOLD (n, n_regions, n_volumes)."""
        if self.modality == "bold":
            bold = (X.bold[:] - self.bold_mean_[:, None]) / self.bold_scale_[:, None]
            return torch.from_numpy(bold.astype(np.float32))
        scales = self.adapted(X, self.subject_scale_, self._scale_of)
        scale = np.array([scales[subject] for subject in X.groups], dtype=np.float32)
        return torch.from_numpy(self._spectrum(X) / scale[:, None, None])

    # --- predicting ---

    def predict(self, X: Windows) -> np.ndarray:
        """Return class indices, shape (n_windows,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: Windows) -> np.ndarray:
        """Return probabilities of `classes_`, shape (n_windows, n_classes)."""
        return torch.softmax(torch.from_numpy(self.decision_function(X)), dim=1).numpy()

    def decision_function(self, X: Windows) -> np.ndarray:
        """Return logits, shape (n_windows, n_classes)."""
        return answer(self.module_, self.inputs(X)).numpy()

    def node_features(self, X: Windows) -> np.ndarray:
        """Return features of nodes after the last graph convolution, shape (n_windows, n_views, n_nodes, n_features)."""
        return answer(self.module_, self.inputs(X), by=self.module_.nodes).numpy()

    def activation(self, X: Windows) -> np.ndarray:
        """Return class-activation maps, shape (n_windows, n_classes, n_views, n_nodes)."""
        module = self.module_
        return answer(module, self.inputs(X), by=lambda x: module.activation(module.nodes(x))).numpy()

    def connections(self, X: Windows) -> np.ndarray:
        """Return how much each connection speaks for each class, on windows weighed by the class's probability.

        Parameters
        ----------
        X : Windows
            Labels are not used.

        Returns
        -------
        numpy.ndarray
            Shape (n_classes, n_nodes, n_nodes): entry of the scaled Laplacian times the slope of the class's logit along it, both
            directions together: to first order what the logit would lose if the edge were cut.
        """
        module = self.module_
        inputs = devices.moved(self.inputs(X), devices.of(module))
        found = []
        with one_thread():
            matrix = module.scaled_laplacian(module.graph().detach())
            with torch.no_grad():
                probabilities = torch.softmax(module(inputs), dim=1)
            weights = probabilities / probabilities.sum(dim=0).clamp_min(1e-12)
            for c in range(len(self.classes_)):
                free = matrix.clone().requires_grad_()
                logits = module(inputs, chebyshev_polynomials(free, module.n_terms))[:, c]
                [slope] = torch.autograd.grad((weights[:, c] * logits).sum(), free)
                use = devices.moved(slope * matrix, "cpu").numpy()
                use = use + use.T
                np.fill_diagonal(use, 0.0)
                found.append(use)
        return np.stack(found)

    def extras(self, X: Windows) -> dict[str, list]:
        """Return further outputs for test windows: ``probabilities``."""
        return {"probabilities": np.round(self.predict_proba(X).astype(float), 6).tolist()}

    def learned(self, X: Windows) -> dict[str, object]:
        """Return what a fold has learned, so that `restored` can make it again: everything fitted, and the losses.

        Parameters
        ----------
        X : Windows
            Test windows; not used.

        Returns
        -------
        dict
            ``fitted`` (text), ``losses`` (training and validation, one row per training epoch).
        """
        return {"fitted": self._written(), "losses": np.round(self.history_.to_numpy(dtype=float), 6).tolist()}

    def _written(self) -> str:
        state = devices.moved(self.module_.state_dict(), "cpu")
        arrays = {f"module/{name}": value.numpy() for name, value in state.items()}
        arrays["classes"] = self.classes_
        if self.modality == "eeg":
            arrays["segment"] = np.array(self.segment_seconds_)
            arrays |= {f"scale/{subject}": np.array(value) for subject, value in self.subject_scale_.items()}
        else:
            arrays |= {"bold_mean": self.bold_mean_, "bold_scale": self.bold_scale_}
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        return base64.b64encode(stream.getvalue()).decode()

    def restored(self, fitted: str, X: Windows) -> "SaliencyGcnnClassifier":
        """Return a fitted copy from what `learned` returned.

        Parameters
        ----------
        fitted : str
            Of an estimator with the same parameters.
        X : Windows
            Any windows of the same kind, for sampling rates and names.

        Returns
        -------
        SaliencyGcnnClassifier
            Predicts as the one that was fitted.
        """
        made = SaliencyGcnnClassifier(**self.get_params())
        with np.load(io.BytesIO(base64.b64decode(fitted)), allow_pickle=False) as arrays:
            state = {name[7:]: torch.from_numpy(arrays[name]) for name in arrays if name.startswith("module/")}
            made.classes_ = arrays["classes"]
            if self.modality == "eeg":
                made.segment_seconds_ = float(arrays["segment"])
                made.subject_scale_ = {n[6:]: float(arrays[n]) for n in arrays if n.startswith("scale/")}
            else:
                made.bold_mean_, made.bold_scale_ = arrays["bold_mean"], arrays["bold_scale"]
        graph = state["adjacency.free"] if self.learned_graph else state["fixed"]
        with torch.random.fork_rng(devices=[]):
            module = made._build(X.eeg.sfreq, X.bold.sfreq, X.eeg.shape[2], graph)
        module.load_state_dict(state)
        made.module_ = module.eval().to(devices.resolve(self.device))
        return made

    def with_random_weights(self, seed: int = 0) -> "SaliencyGcnnClassifier":
        """Return a fitted copy whose weights are drawn anew, graph and scaling kept: a check of what saliency shows of nothing."""
        made = SaliencyGcnnClassifier(**self.get_params())
        for name, value in vars(self).items():
            if name.endswith("_") and name != "module_":
                setattr(made, name, value)
        from copy import deepcopy

        module = deepcopy(self.module_)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            for weights in module.parameters():
                spread = float(weights.std()) if weights.numel() > 1 else 1.0
                drawn = torch.randn(weights.shape).to(weights.device)  # alike on every device
                weights.copy_(drawn * spread + weights.mean())
        made.module_ = module.eval()
        return made


def shuffled_within(y: np.ndarray, groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Permute labels among the windows of each group; counts stay."""
    rng = np.random.default_rng(seed)
    y = np.array(y)
    for group in dict.fromkeys(groups.tolist()):
        own = np.flatnonzero(groups == group)
        y[own] = y[rng.permutation(own)]
    return y


def restore(
    evaluation: Evaluation, method: str, estimator: SaliencyGcnnClassifier, windows: Windows
) -> dict[str, object]:
    """Make the networks of an evaluation's folds again.

    Parameters
    ----------
    evaluation : Evaluation
        Of methods that are `SaliencyGcnnClassifier`.
    method : str
        Which.
    estimator : SaliencyGcnnClassifier
        With the parameters that the method was evaluated with.
    windows : Windows
        The windows that were evaluated.

    Returns
    -------
    dict of str to SaliencyGcnnClassifier
        Fitted, by the name of the fold.
    """
    learned = {fold: facts for (owner, fold), facts in evaluation.facts.items() if owner == method}
    return {fold: estimator.restored(facts["fitted"], windows) for fold, facts in learned.items() if "fitted" in facts}


# --- phase two ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Views:
    """Six views of the same salient nodes, window by window.

    Attributes
    ----------
    features : numpy.ndarray
        Shape (n_windows, n_views, n_nodes, n_features), float32.
    windows : Windows
        Which windows.
    nodes : numpy.ndarray
        Which nodes, shape (n_nodes,): regions.
    edges : numpy.ndarray of bool or None
        Which nodes may look at which in graph attention, shape (n_nodes, n_nodes); None: all at all.
    """

    features: np.ndarray
    windows: Windows
    nodes: np.ndarray
    edges: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def groups(self) -> np.ndarray:
        """Subject of each window, shape (n_windows,)."""
        return self.windows.groups

    @property
    def digest(self) -> str:
        """Identify windows, nodes, edges and features."""
        return cache.digest(self.windows.digest, self.features, self.nodes, self.edges)

    @property
    def correlations(self) -> np.ndarray:
        """Cosine similarities of the nodes in each view, eq. 11, shape (n_windows, n_views, n_nodes, n_nodes)."""
        return node_correlations(torch.from_numpy(self.features)).numpy()

    def __getitem__(self, rows) -> "Views":
        return replace(self, features=self.features[rows], windows=self.windows[rows])

    def with_noise(self, view: int, level: float, seed: int = 0) -> "Views":
        """Add noise to one view's features, ``level`` times as large as their spread."""
        features = self.features.copy()
        noise = np.random.default_rng(seed).standard_normal(features[:, view].shape)
        features[:, view] += level * features[:, view].std() * noise.astype(np.float32)
        return replace(self, features=features)


def join_views(
    eeg: SaliencyGcnnClassifier,
    bold: SaliencyGcnnClassifier,
    windows: Windows,
    nodes: np.ndarray,
    eeg_node_of: np.ndarray | None = None,
    centred: bool = True,
    edges: Literal["graph", "complete"] = "graph",
) -> Views:
    """Take the node features of both networks at the salient nodes.

    Parameters
    ----------
    eeg, bold : SaliencyGcnnClassifier
        Fitted on the same fold.
    windows : Windows
        Training windows, test windows, or both.
    nodes : numpy.ndarray
        Salient regions, shape (n_nodes,).
    eeg_node_of : numpy.ndarray or None
        Node of the EEG's graph that stands for each region, shape (n_regions,), where its nodes are electrodes; None: the region.
    centred : bool, default=True
        Subtract the mean over nodes of each feature, so that a cosine is a correlation of deviations and may be negative: what
        follows a ReLU has none otherwise.
    edges : {"graph", "complete"}, default="graph"
        In graph attention a node looks at itself and its neighbours in the graph of regions, or at all salient nodes.

    Returns
    -------
    Views
        Five views of EEG and one of fMRI.
    """
    of_eeg = nodes if eeg_node_of is None else np.asarray(eeg_node_of)[nodes]
    features = np.concatenate(
        [eeg.node_features(windows)[:, :, of_eeg], bold.node_features(windows)[:, :, nodes]], axis=1
    )
    if centred:
        features = features - features.mean(axis=2, keepdims=True)
    near = None
    if edges == "graph":
        graph = answer(bold.module_, by=bold.module_.graph).numpy()
        near = (graph[np.ix_(nodes, nodes)] != 0) | np.eye(len(nodes), dtype=bool)
    return Views(features.astype(np.float32), replace(windows, features={}), np.asarray(nodes), near)


@dataclass(eq=False, repr=False)
class MultiViewReconstructor(TrainedEstimator):
    """Learn embeddings of nodes from several views, by reconstructing each view's correlations. Optimised by AdamW.

    Attributes
    ----------
    kind : {"fused", "single", "concatenated", "mean"}, default="fused"
        See `eegfmri.models.saliency_fusion.FusionConfig`; ``"mean"`` predicts the training windows' mean correlations.
    embedding, n_heads, rho, eq14, eq18, eq19, eq21, eq22, layers
        See there.
    n_training_epochs, patience, batch_size, learning_rate, weight_decay, schedule, validation_splits, seed, device
        See `eegfmri.estimators.training.TrainedEstimator`.
    """

    kind: str = "fused"
    _: KW_ONLY
    embedding: int = 16
    n_heads: int = 2
    rho: float = 0.5
    eq14: Reading = "as_meant"
    eq18: Reading = "as_meant"
    eq19: Reading = "as_meant"
    eq21: Reading = "as_meant"
    eq22: Reading = "as_meant"
    layers: str = "dense"
    n_training_epochs: int = 30
    learning_rate: float = 1e-2
    weight_decay: float = 1e-4

    def fit(self, X: Views, y=None) -> "MultiViewReconstructor":
        """Learn from training windows."""
        correlations = X.correlations
        self.mean_ = correlations.mean(axis=0)
        if self.kind == "mean":
            return self
        training, validation = next(iter(InnerValidation(self.validation_splits).split(X.windows)))
        features = torch.from_numpy(X.features)
        # Features of one scale, learned from training windows: otherwise the largest view would set the learning rate.
        self.scale_ = X.features[training].std(axis=(0, 2, 3), keepdims=True) + 1e-6
        inputs, targets = features / torch.from_numpy(self.scale_), torch.from_numpy(correlations)

        def read(batch: list[tuple[int, int]]) -> tuple[Batch, torch.Tensor]:
            rows = [row for row, _ in batch]
            return Batch({"features": inputs[rows], "edges": edges}, len(rows)), targets[rows]

        edges = None if X.edges is None else torch.from_numpy(X.edges)
        config = {name: getattr(self, name) for name in FusionConfig.__dataclass_fields__}
        _, n_views, n_nodes, n_features = X.features.shape
        self._train(
            partial(MultiViewFusion, n_views, n_nodes, n_features, FusionConfig(**config)),
            read,
            training,
            validation,
            criterion=_Reconstruction(),
        )
        return self

    def predict(self, X: Views) -> np.ndarray:
        """Return reconstructed correlations, shape (n_windows, n_views, n_nodes, n_nodes)."""
        if self.kind == "mean":
            return np.broadcast_to(self.mean_, (len(X.groups), *self.mean_.shape))
        embedding = self.embed(X)["embedding"]
        return embedding @ embedding.swapaxes(-1, -2)

    def embed(self, X: Views) -> dict[str, np.ndarray]:
        """Return embeddings, attention and weights, as `eegfmri.models.saliency_fusion.MultiViewFusion.embed` names them."""
        edges = None if X.edges is None else torch.from_numpy(X.edges)
        found = answer(self.module_, torch.from_numpy(X.features / self.scale_), edges, by=self.module_.embed)
        return {name: values.numpy() for name, values in found.items()}

    def errors(self, X: Views) -> np.ndarray:
        """Mean squared error of each view over pairs of different nodes, shape (n_windows, n_views)."""
        squared = (self.predict(X) - X.correlations) ** 2
        n_nodes = squared.shape[-1]
        off = ~np.eye(n_nodes, dtype=bool)
        return squared[..., off].mean(axis=-1)


class _Reconstruction(nn.Module):
    def forward(self, predicted: torch.Tensor, correlations: torch.Tensor) -> torch.Tensor:
        return reconstruction_loss(predicted, correlations) / predicted.shape[-1] ** 2


def view_errors(
    methods: Mapping[str, MultiViewReconstructor],
    folds: Sequence[tuple[Views, Fold]],
    n_jobs: int = 1,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Train every method on each fold's training windows, and score the reconstruction of its test windows.

    Parameters
    ----------
    methods : mapping of str to MultiViewReconstructor
        By name.
    folds : sequence of (Views, Fold)
        Views of all windows, made by the networks of the fold, and its split.
    n_jobs : int, default=1
        Folds run in this many processes.
    folder : str, pathlib.Path or None
        Where finished folds are kept; None: the project's cache.

    Returns
    -------
    pandas.DataFrame
        One row per method, test subject and view: ``method``, ``subject``, ``view``, ``error`` and, for methods that have it,
        ``weight`` (mean over windows).
    """
    done = run_folds(methods, folds, _measure_views, name="views", code=__name__, n_jobs=n_jobs, folder=folder)
    return pd.concat(
        [pd.DataFrame(task.read()["views"]).assign(method=task.method) for task, _ in done], ignore_index=True
    ).astype({"weight": float})[["method", "subject", "view", "error", "weight"]]


def _measure_views(
    task: Task, estimator: MultiViewReconstructor, train: Views, test: Views
) -> tuple[MultiViewReconstructor, dict]:
    fitted = estimator.fit(train)
    errors = fitted.errors(test)
    weights = fitted.embed(test).get("weights") if fitted.kind == "fused" else None
    rows = [
        {
            "subject": subject,
            "view": VIEWS[view],
            "error": float(errors[own, view].mean()),
            "weight": None if weights is None else float(weights[own, view].mean()),
        }
        for subject in test.windows.subjects
        for own in [test.groups == subject]
        for view in range(errors.shape[1])
    ]
    return fitted, {"views": rows}


def salient_regions(
    bold: SaliencyGcnnClassifier, windows: Windows, n_salient: int | None = None, argmax: Reading = "as_meant"
) -> np.ndarray:
    """Choose the salient regions of a fold from its training windows: those most often maximal for the class that was chosen.

    Parameters
    ----------
    bold : SaliencyGcnnClassifier
        Fitted on these windows. An EEG network does as well; its views are added up.
    windows : Windows
        The training windows; labels are not used.
    n_salient, argmax
        See `eegfmri.saliency.salient_nodes`.

    Returns
    -------
    numpy.ndarray
        Indices of nodes, the most salient first.
    """
    activation = bold.activation(windows).sum(axis=2)  # (n_windows, n_classes, n_nodes)
    chosen = bold.decision_function(windows).argmax(axis=1)
    return saliency.salient_nodes(activation[np.arange(len(chosen)), chosen], n_salient, argmax)


def train_end_to_end(
    eeg: SaliencyGcnnClassifier,
    bold: SaliencyGcnnClassifier,
    windows: Windows,
    y: np.ndarray,
    nodes: Sequence[int],
    config: FusionConfig | None = None,
    *,
    share: float = 1.0,
    detached: bool = True,
    n_training_epochs: int = 6,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> tuple[EndToEnd, pd.DataFrame]:
    """Go on training both networks together with the fusion, so that gradients of eq. 24 reach the temporal filters.

    Parameters
    ----------
    eeg, bold : SaliencyGcnnClassifier
        Fitted on the same windows, on the same nodes; they are left as they are. Trained where the first one is.
    windows : Windows
        Training windows.
    y : numpy.ndarray
        Class indices.
    nodes : sequence of int
        Salient regions.
    config : FusionConfig or None
        Of the fusion.
    share, detached
        See `eegfmri.models.saliency_fusion.end_to_end_loss`.
    n_training_epochs, batch_size, learning_rate, seed
        Of the training.

    Returns
    -------
    network : EndToEnd
        With the weights that had the lowest validation loss.
    history : pandas.DataFrame
        One row per training epoch: losses, and ``likeness``: mean cosine between different nodes in the validation windows, which
        tends to one or zero where the networks make the reconstruction easy for themselves.
    """
    from copy import deepcopy

    spectrum, volumes = eeg.inputs(windows), bold.inputs(windows)
    coded = torch.from_numpy(np.searchsorted(eeg.classes_, y))
    training, validation = next(iter(InnerValidation(4).split(windows)))
    chosen = torch.tensor(np.array(nodes), dtype=torch.long)
    n_views = eeg.module_.front.n_views + 1
    graph = answer(bold.module_, by=bold.module_.graph)[chosen][:, chosen]
    edges = (graph != 0) | torch.eye(len(chosen), dtype=torch.bool)

    def read(batch: list[tuple[int, int]]) -> tuple[Batch, torch.Tensor]:
        rows = [row for row, _ in batch]
        return Batch({"spectrum": spectrum[rows], "bold": volumes[rows]}, len(rows)), coded[rows]

    def build() -> EndToEnd:
        fusion = MultiViewFusion(n_views, len(chosen), eeg.features, config or FusionConfig())
        return EndToEnd(deepcopy(eeg.module_), deepcopy(bold.module_), fusion, chosen, edges)

    def observe(module: EndToEnd, said: list[dict]) -> dict[str, float]:
        found = {name: torch.cat([part[name] for part in said]) for name in ("correlations", "reconstructed")}
        off = ~torch.eye(len(chosen), dtype=torch.bool)
        return {
            "likeness": float(found["correlations"][..., off].abs().mean()),
            "reconstruction": float((found["correlations"] - found["reconstructed"])[..., off].square().mean()),
        }

    trained = train(
        build,
        read,
        training,
        validation,
        criterion=_EndToEndLoss(share, detached),
        n_training_epochs=n_training_epochs,
        patience=n_training_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        observe=observe,
        seed=seed,
        device=eeg.device,
    )
    return trained.module, trained.history


class _EndToEndLoss(nn.Module):
    def __init__(self, share: float, detached: bool):
        super().__init__()
        self.share, self.detached = share, detached

    def forward(self, found: dict[str, torch.Tensor], y: torch.Tensor) -> torch.Tensor:
        return end_to_end_loss(found, y, self.share, self.detached)
