"""The networks of graph_fusion as scikit-learn estimators, trained by skorch on `eegfmri.windows.Windows`.

Fitted on training windows only: the graph of functional connectivity, the scaling of BOLD, the whitening of each training
subject's EEG, and the weights. Training goes on for a number of training epochs that was settled beforehand, on all training subjects;
or, with ``validation_splits``, until the loss on validation subjects cut from them no longer falls.

Transductive, and only where ``adaptation="transductive"``: the EEG of a subject that was not trained on is whitened by the
covariance of its own unlabelled windows (`eegfmri.estimators.adaptation`).
"""

from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from torch import nn

from eegfmri import cache
from eegfmri import device as devices
from eegfmri.errors import RequestError
from eegfmri.estimators import training
from eegfmri.estimators.adaptation import Adaptation, AdaptedEstimator
from eegfmri.estimators.training import Batch, TrainedEstimator, answer, one_thread
from eegfmri.evaluation.splits import InnerValidation
from eegfmri.models import graphs
from eegfmri.models.graph_convolution import normalise
from eegfmri.models.graph_fusion import BoldConfig, BoldEncoder, EegConfig, EegEncoder, GraphFusion, filter_length
from eegfmri.preprocessing.eeg import whitening
from eegfmri.preprocessing.sources import electrode_positions
from eegfmri.preprocessing.spectra import autocorrelation
from eegfmri.recordings import EPOCH_SECONDS
from eegfmri.windows import LazyArray, Windows


@dataclass(eq=False, repr=False)
class GraphFusionClassifier(ClassifierMixin, AdaptedEstimator, TrainedEstimator):
    """Sleep stages from EEG, from BOLD, or from both through a gate.

    Euclidean alignment of the EEG :cite:p:`he2020` is what is adapted. Optimised by AdamW. Whitened EEG is read once per
    training, for its autocorrelation, which is all that the network needs of it; training reads from memory.

    Attributes
    ----------
    modality : {"both", "eeg", "bold"}, default="both"
        What the network sees.
    adjacency : {"hybrid", "fixed", "learned"}, default="hybrid"
        The electrodes' graph.
    graph : {"given", "identity", "permuted", "rewired"}, default="given"
        Controls for both graphs, see `eegfmri.models.graphs.control_graph`. Without edges (``identity``) nothing is learned of the
        electrodes' graph either.
    fusion : {"gate", "mean", "concatenation"}, default="gate"
        How embeddings are joined, see `eegfmri.models.graph_fusion.FUSIONS`.
    recurrent : bool, default=True
        LSTM over the epochs of context.
    modality_dropout : float, default=0.5
        Probability of dropping the EEG embedding in training.
    density : float, default=0.2
        Share of edges kept in the graph of functional connectivity.
    signs : {"keep", "fold", "drop"}, default="keep"
        What becomes of negative correlations.
    shared : bool, default=False
        Regions share the weights of their temporal convolutions.
    n_filters : int
        Temporal filters of the EEG.
    kernel_seconds : float
        Their length.
    conv_features : int
        Temporal features of a region.
    graph_features, embedding : int
        Sizes, alike for both encoders.
    adaptation, calibration_minutes
        See `eegfmri.estimators.adaptation.AdaptedEstimator`.
    n_training_epochs, patience, batch_size, learning_rate, weight_decay, schedule, validation_splits, seed, device
        See `eegfmri.estimators.training.TrainedEstimator`.
    """

    modality: Literal["both", "eeg", "bold"] = "both"
    _: KW_ONLY
    adjacency: Literal["hybrid", "fixed", "learned"] = "hybrid"
    graph: graphs.Control = "given"
    fusion: Literal["gate", "mean", "concatenation"] = "gate"
    recurrent: bool = True
    modality_dropout: float = 0.5
    density: float = 0.2
    signs: graphs.Signs = "keep"
    shared: bool = False
    n_filters: int = 8
    kernel_seconds: float = 1.0
    conv_features: int = 8
    graph_features: int = 16
    embedding: int = 32
    n_training_epochs: int = 24
    batch_size: int = 32
    learning_rate: float = 1e-2
    weight_decay: float = 1e-3
    validation_splits: int | None = None

    def fit(self, X: Windows, y: np.ndarray) -> "GraphFusionClassifier":
        """Learn graph, scaling, whitening and weights from the training windows.

        Parameters
        ----------
        X : Windows
            Training windows; the EEG's length is an odd number of scored epochs.
        y : numpy.ndarray
            Class indices, shape (n_windows,).

        Returns
        -------
        GraphFusionClassifier
            Itself.
        """
        if self.modality not in ("both", "eeg", "bold"):
            raise RequestError(f"modality is 'both', 'eeg' or 'bold', not {self.modality!r}.")
        y = np.asarray(y)
        self.classes_ = np.unique(y)
        self._epochs_of(X)
        train, validation = np.arange(len(X)), None
        if self.validation_splits is not None:
            train, validation = next(iter(InnerValidation(self.validation_splits).split(X)))
        if self.modality != "eeg":
            # Statistics come from all training windows, validation ones included: those are training subjects, too.
            connectivity = graphs.functional_connectivity(X.bold[i] for i in range(len(X)))
            self.connectivity_ = graphs.control_graph(
                graphs.sparsify(connectivity, density=self.density, signs=self.signs), self.graph, self.seed
            )
            self.bold_mean_, self.bold_scale_ = X.bold.moments()
        if self.modality != "bold":
            self.check_adaptation()
            learn = self._learn_scale if self.adaptation == "none" else self._learn_whitening
            self.whitening_ = {subject: learn(X[subject == X.groups]) for subject in X.subjects}
        coded = np.searchsorted(self.classes_, y)
        self._train(
            partial(self._build, X),
            self._batches(X),
            train,
            validation,
            criterion=nn.CrossEntropyLoss(training.balancing_weights(coded[train], len(self.classes_))),
            y=coded,
        )
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return class indices, shape (n_windows,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: Windows, missing: str | None = None) -> np.ndarray:
        """Return probabilities of `classes_`, shape (n_windows, n_classes).

        Parameters
        ----------
        X : Windows
            Windows of any subjects; those of a new subject together, since alignment may need them.
        missing : {"eeg", "bold"} or None
            Withhold a modality from a network that was trained on both.

        Returns
        -------
        numpy.ndarray
            Rows sum to 1.
        """
        logits = self._outputs(X, missing)["logits"]
        return torch.softmax(torch.from_numpy(logits), dim=1).numpy()

    def extras(self, X: Windows) -> dict[str, list]:
        """Return further outputs for test windows, for the record of a fold.

        Parameters
        ----------
        X : Windows
            Test windows.

        Returns
        -------
        dict of str to list
            ``probabilities`` and ``embedding_eeg`` or ``embedding_bold``; for both modalities also, if there is one, ``gate`` (mean
            over the embedding), and ``without_eeg``, ``without_bold`` (classes with one modality missing). Where new subjects are
            adapted to transductively, ``calibrated``: classes if only their first minutes were used.
        """
        found = self._outputs(X)
        outputs = {"probabilities": torch.softmax(torch.from_numpy(found["logits"]), dim=1).numpy()}
        outputs |= {f"embedding_{name}": found[name] for name in ("eeg", "bold") if name in found}
        if self.modality == "both":
            if "gate" in found:
                outputs["gate"] = found["gate"].mean(axis=1)
            for name in ("eeg", "bold"):
                outputs[f"without_{name}"] = self.classes_[self.predict_proba(X, missing=name).argmax(axis=1)]
        if self.modality != "bold" and self.adaptation == "transductive":
            outputs["calibrated"] = self.classes_[self._outputs(X, adaptation="calibration")["logits"].argmax(axis=1)]
        return _rounded(outputs)

    def learned(self, X: Windows) -> dict[str, list]:
        """Return a fold's graphs and which of their edges decide, for the record of the fold.

        Parameters
        ----------
        X : Windows
            Test windows; their stages are not used.

        Returns
        -------
        dict of str to list
            ``scalp_adjacency`` (n_channels, n_channels) as learned; ``connectivity`` (n_regions, n_regions), of the training
            subjects, and ``edge_use``, of the same shape: by how much the margin of the stage that was chosen over the next would
            fall, to first order and on average over windows, if the edge were cut and degrees were computed anew.
        """
        outputs = {}
        if self.modality != "bold":
            outputs["scalp_adjacency"] = answer(self.module_, by=self.module_.eeg.adjacency).numpy()
        if self.modality != "eeg":
            outputs |= {"connectivity": self.connectivity_, "edge_use": self._edge_use(X)}
        return _rounded(outputs)

    def _edge_use(self, X: Windows) -> np.ndarray:
        """Average a_ij ∂(score of the chosen stage − that of the next)/∂a_ij over windows; both directions of an edge together.

        The slope is that along the graph's own weights, through the degrees by which they are normalised. A score by itself would
        do for no comparison: what all stages share changes no decision.
        """
        encoder, batches = self.module_.bold, self._batches(X)
        given = torch.tensor(self.connectivity_, dtype=torch.float32, device=encoder.normalised.device)
        total = torch.zeros_like(given)
        with one_thread():
            for start in range(0, len(X), 4 * self.batch_size):
                rows = range(start, min(start + 4 * self.batch_size, len(X)))
                adjacency = given.clone().requires_grad_()
                inputs = devices.moved(batches([(row, 0) for row in rows])[0].inputs, adjacency.device)
                found = self.module_.embed(**inputs, adjacency=normalise(adjacency))
                final = found["fused"] if self.module_.fusion is not None else found["bold"]
                first, second = self.module_.classify(final).topk(2, dim=1).values.unbind(dim=1)
                [slope] = torch.autograd.grad((first - second).sum(), adjacency)
                total += slope * given
        use = devices.moved(total + total.T, "cpu").numpy() / len(X)
        np.fill_diagonal(use, 0.0)
        return use

    def _epochs_of(self, X: Windows) -> tuple[int, int]:
        """Return epochs per window and samples per epoch."""
        n_times = round(EPOCH_SECONDS * X.eeg.sfreq)
        n_epochs, rest = divmod(X.eeg.shape[2], n_times)
        if rest or n_epochs % 2 == 0:
            raise RequestError(
                f"Windows of {X.eeg.shape[2]} samples at {X.eeg.sfreq:g} Hz are no odd number of 30-s epochs: cut them with "
                "epoch_windows(eeg_epochs=1, 3, …)."
            )
        return n_epochs, n_times

    def _middle_epochs(self, X: Windows) -> np.ndarray:
        n_epochs, n_times = self._epochs_of(X)
        start = n_epochs // 2 * n_times
        return X.eeg[:, :, start : start + n_times]

    def _learn_whitening(self, own: Windows) -> np.ndarray:
        return whitening(np.asarray(self._middle_epochs(own), dtype=float))

    def _learn_scale(self, own: Windows) -> np.ndarray:
        return np.eye(own.eeg.shape[1]) / self._middle_epochs(own).std()

    def _whitening_for(self, X: Windows, adaptation: Adaptation | None = None) -> dict[str, np.ndarray]:
        return self.adapted(X, self.whitening_, self._learn_whitening, adaptation=adaptation)

    def _batches(self, X: Windows, missing: str | None = None, adaptation: Adaptation | None = None) -> "_Batches":
        eeg = self.modality != "bold" and missing != "eeg"
        bold = self.modality != "eeg" and missing != "bold"
        return _Batches(
            X,
            *self._epochs_of(X),
            self._n_lags(X),
            self._whitening_for(X, adaptation) if eeg else None,
            (self.bold_mean_, self.bold_scale_) if bold else None,
        )

    def _n_lags(self, X: Windows) -> int:
        """Return samples of a filter."""
        return filter_length(self.kernel_seconds, X.eeg.sfreq)

    def _build(self, X: Windows) -> GraphFusion:
        sizes = {"graph_features": self.graph_features, "embedding": self.embedding}
        eeg = bold = None
        if self.modality != "bold":
            scalp = graphs.control_graph(
                graphs.scalp_adjacency(electrode_positions(X.eeg.names)), self.graph, self.seed
            )
            config = EegConfig(
                n_epochs=self._epochs_of(X)[0],
                n_filters=self.n_filters,
                kernel=self._n_lags(X),
                adjacency="fixed" if self.graph == "identity" else self.adjacency,
                recurrent=self.recurrent,
                **sizes,
            )
            eeg = EegEncoder(torch.tensor(scalp, dtype=torch.float32), config)
        if self.modality != "eeg":
            connectivity = torch.tensor(self.connectivity_, dtype=torch.float32)
            bold = BoldEncoder(connectivity, BoldConfig(conv_features=self.conv_features, shared=self.shared, **sizes))
        return GraphFusion(len(self.classes_), eeg, bold, self.modality_dropout, self.fusion)

    def _outputs(
        self, X: Windows, missing: str | None = None, adaptation: Adaptation | None = None
    ) -> dict[str, np.ndarray]:
        batches = self._batches(X, missing, adaptation)
        found: dict[str, list] = {}
        for start in range(0, len(X), 4 * self.batch_size):
            rows = range(start, min(start + 4 * self.batch_size, len(X)))
            embeddings = answer(self.module_, **batches([(row, 0) for row in rows])[0].inputs, by=self.module_.embed)
            final = embeddings["fused"] if self.module_.fusion is not None else next(iter(embeddings.values()))
            embeddings["logits"] = answer(self.module_.classify, final)
            for name, values in embeddings.items():
                found.setdefault(name, []).append(values.numpy())
        return {name: np.concatenate(values) for name, values in found.items()}


def _rounded(outputs: dict[str, np.ndarray]) -> dict[str, list]:
    """Write arrays as lists of numbers with six decimals."""
    return {name: np.round(np.asarray(values, dtype=float), 6).tolist() for name, values in outputs.items()}


class _Batches:
    """Read a batch: autocorrelations of whitened EEG, and scaled BOLD. Called by the data loader with rows and classes.

    Both are made once, for all windows, and kept in memory: 12 kB for an epoch of 30 channels and 100 lags, 17 kB for 42 volumes of
    100 regions.
    """

    def __init__(
        self,
        windows: Windows,
        n_epochs: int,
        n_times: int,
        n_lags: int,
        whitening_of: dict | None,
        bold_moments: tuple | None,
    ):
        self.eeg = self.bold = None
        if whitening_of is not None:
            array, groups = windows.eeg, windows.groups
            self.place = np.empty((len(windows), n_epochs), dtype=np.intp)
            parts, n_before = [], 0
            for subject in windows.subjects:
                own = np.flatnonzero(groups == subject)
                pieces, place = array.subset(own).pieces(n_times)
                self.place[own] = n_before + place
                epochs = np.stack([pieces.run, pieces.first], axis=1)
                parts.append(_of_epochs(array, epochs, n_times, n_lags, whitening_of[subject]))
                n_before += len(epochs)
            self.eeg = torch.from_numpy(np.concatenate(parts))
        if bold_moments is not None:
            mean, scale = bold_moments
            self.bold = torch.empty(windows.bold.shape, dtype=torch.float32)
            for row in range(len(windows)):
                self.bold[row] = torch.from_numpy((windows.bold[row] - mean[:, None]) / scale[:, None])

    def __call__(self, batch: list[tuple[int, int]]) -> tuple[Batch, torch.Tensor]:
        rows, y = (np.array(values) for values in zip(*batch, strict=True))
        inputs = {}
        if self.eeg is not None:
            inputs["eeg"] = self.eeg[torch.from_numpy(self.place[rows])]
        if self.bold is not None:
            inputs["bold"] = self.bold[torch.from_numpy(rows)]
        return Batch(inputs, len(rows)), torch.from_numpy(y)


#: What `_of_epochs` made last: folds, networks and ablations ask for the same epochs again.
_RECENT = cache.Recent(256 << 20)


def _of_epochs(array: LazyArray, epochs: np.ndarray, n_times: int, n_lags: int, matrix: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of one subject's whitened epochs, shape (n_epochs, n_channels, n_lags), float32.

    ``epochs`` holds run and first sample, ``matrix`` whitens.
    """
    files = [str(cache.file_stamp(array.streams[run].path)) for run in np.unique(epochs[:, 0])]
    key = cache.digest(files, epochs, n_times, n_lags, matrix)

    def make() -> np.ndarray:
        made = np.empty((len(epochs), array.shape[1], n_lags), dtype=np.float32)
        signals = LazyArray(array.streams, *epochs.T, n_times)
        for row, out in enumerate(made):
            out[:] = autocorrelation(matrix @ signals[row], n_lags)
        return made

    return _RECENT.get(key, make)
