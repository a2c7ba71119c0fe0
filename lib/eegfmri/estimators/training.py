"""Training a torch module on windows, batch by batch: what the estimators of all four methods share.

Training stops by the loss on validation windows, which are cut from the training subjects; the weights of the best training epoch
are kept. Where the number of training epochs was settled beforehand, nothing is cut off and the last weights are kept. The learning
rate rises and falls once :cite:p:`smith2019`, unless it is asked to be constant.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from torch import nn

from eegfmri import device as devices

with warnings.catch_warnings():
    # skorch loads tqdm for a progress bar that is not used here; in a notebook without widgets tqdm would complain.
    warnings.filterwarnings("ignore", message="IProgress not found")
    from skorch import NeuralNet
    from skorch.callbacks import Callback, EarlyStopping, LRScheduler
    from skorch.helper import predefined_split


@dataclass
class Batch:
    """What a module is given for some windows.

    Attributes
    ----------
    inputs : dict of str to torch.Tensor
        Arguments of the module's ``forward``; a tensor may have fewer or more rows than there are windows, since windows
        may share signal.
    n_windows : int
        Number of windows.
    """

    inputs: dict[str, torch.Tensor]
    n_windows: int

    def __len__(self) -> int:
        return self.n_windows


#: Reads a batch: takes pairs of row and class (0 where there are none), returns inputs and what the loss compares with.
ReadBatch = Callable[[list[tuple[int, int]]], tuple[Batch, torch.Tensor]]


#: Called after a training epoch with the module, in evaluation mode, and what it said of the validation batches, in their order.
Observe = Callable[[nn.Module, list], dict[str, float]]


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained module and how its training went.

    Attributes
    ----------
    module : torch.nn.Module
        With the weights of the training epoch with the lowest validation loss, or of the last one; in evaluation mode.
    history : pandas.DataFrame
        One row per training epoch: ``train_loss``, with validation windows ``valid_loss``, and whatever `train`'s ``observe`` returned.
    """

    module: nn.Module
    history: pd.DataFrame


def train(
    build: Callable[[], nn.Module],
    read: ReadBatch,
    training: np.ndarray,
    validation: np.ndarray | None,
    *,
    criterion: nn.Module,
    y: np.ndarray | None = None,
    sampler: torch.utils.data.Sampler | None = None,
    n_training_epochs: int,
    patience: int | None,
    batch_size: int,
    validation_batch_size: int | None = None,
    learning_rate: float,
    weight_decay: float = 0.0,
    schedule: bool = True,
    optimiser: type[torch.optim.Optimizer] = torch.optim.AdamW,
    observe: Observe | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Trained:
    """Train a module until the validation loss no longer falls.

    Parameters
    ----------
    build : callable
        Makes the module; called once, with torch's generator seeded.
    read : callable
        Reads a batch, see `ReadBatch`.
    training : numpy.ndarray
        Rows of the windows to learn from.
    validation : numpy.ndarray or None
        Rows of the windows to stop by. None: training goes on for ``n_training_epochs``, whatever ``patience`` says.
    criterion : torch.nn.Module
        The loss of the module's output against what ``read`` returns beside the inputs.
    y : numpy.ndarray or None
        Class index per row; None where ``read`` finds the target itself.
    sampler : torch.utils.data.Sampler or None
        Order in which positions in ``training`` are visited; None: shuffled anew in each training epoch.
    n_training_epochs : int
        Maximum number of training epochs.
    patience : int or None
        Stop after so many training epochs without a lower validation loss. None: never, and the weights of the last one are kept,
        whatever the validation loss.
    batch_size : int
        Windows per step.
    validation_batch_size : int or None
        Validation windows taken together; as many as in a step if None.
    learning_rate, weight_decay : float
        Of the optimiser.
    schedule : bool, default=True
        Let the rate rise to its value and fall to nothing within ``n_training_epochs``; else it is constant.
    optimiser : type
        A class of torch.optim that can go through all weights in one pass, as Adam and AdamW.
    observe : callable or None
        Called after each training epoch, see `Observe`; what it returns goes into the history. What the module said of the validation
        batches is handed to it, on the processor, so that it need not be asked twice.
    seed : int, default=0
        Of weights, order and dropout. Torch's global generator is left as it was.
    device : {"auto", "cpu", "cuda", "mps"} or None
        Where it is trained, see `eegfmri.device.resolve`. Weights are drawn on the processor whatever it is.

    Returns
    -------
    Trained
        The module, on the device, and its history.
    """
    device = devices.resolve(device)
    rows_of = Rows(training, y)
    stopped_by = None if validation is None else predefined_split(Rows(validation, y))
    # Dropout is drawn where the module lies, by that device's own generator.
    drawing = [torch.cuda.current_device()] if device == "cuda" else []
    with one_thread(), torch.random.fork_rng(devices=drawing):
        torch.manual_seed(seed)
        if sampler is None:
            sampler = torch.utils.data.RandomSampler(rows_of, generator=torch.Generator().manual_seed(seed))
        stops = patience is not None and validation is not None
        callbacks = [EarlyStopping(patience=patience, load_best=True)] if stops else []
        if schedule:
            n_steps = n_training_epochs * -(-len(training) // batch_size)
            one_cycle = torch.optim.lr_scheduler.OneCycleLR
            callbacks.insert(0, LRScheduler(one_cycle, max_lr=learning_rate, total_steps=n_steps, step_every="batch"))
        observed: list[dict[str, float]] = []
        if observe is not None:
            callbacks.append(_Observe(observe, observed))
        net = _Net(
            build,
            criterion=criterion,
            optimizer=optimiser,
            optimizer__lr=learning_rate,
            optimizer__weight_decay=weight_decay,
            optimizer__fused=True,  # one pass over the weights: heads of volumes have millions, and the plain one reads them seven times
            max_epochs=n_training_epochs,
            batch_size=batch_size,
            train_split=stopped_by,
            iterator_train__sampler=sampler,
            iterator_train__collate_fn=read,
            iterator_valid__collate_fn=read,
            iterator_valid__batch_size=batch_size if validation_batch_size is None else validation_batch_size,
            callbacks=callbacks,
            verbose=0,
            device=device,
        )
        net.fit(rows_of, None)
    names = ("train_loss",) if validation is None else ("train_loss", "valid_loss")
    losses = pd.DataFrame({name: net.history[:, name] for name in names})
    return Trained(net.module_.eval(), losses.join(pd.DataFrame(observed)))


@dataclass(eq=False, repr=False)
class TrainedEstimator(BaseEstimator):
    """An estimator whose module is trained by `train`: the settings that all of them share.

    Attributes
    ----------
    n_training_epochs : int
        Maximum number of training epochs.
    patience : int or None
        Stop after so many training epochs without a lower validation loss, and keep the best weights. None: never.
    batch_size : int
        Windows per step.
    learning_rate, weight_decay : float
        Of the optimiser.
    schedule : bool, default=True
        Let the learning rate rise to its value and fall to nothing within ``n_training_epochs`` :cite:p:`smith2019`; else it is constant.
    validation_splits : int or None
        One of so many parts of the training windows is for validation. None: none is, and all are learned from for ``n_training_epochs``.
    seed : int, default=0
        Of weights, order and dropout, and whatever else an estimator draws.
    device : {"auto", "cpu", "cuda", "mps"} or None
        Where it is trained and predicts; None: what the environment variable ``EEGFMRI_DEVICE`` says, else the processor.
    """

    _: KW_ONLY
    n_training_epochs: int = 20
    patience: int | None = 8
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: bool = True
    validation_splits: int | None = 4
    seed: int = 0
    device: str | None = None

    def _train(
        self,
        build: Callable[[], nn.Module],
        read: ReadBatch,
        training: np.ndarray,
        validation: np.ndarray | None,
        *,
        criterion: nn.Module,
        **settings,
    ) -> None:
        """Train a module with these settings, some of which may differ, and keep it with its history."""
        names = (
            "n_training_epochs", "patience", "batch_size", "learning_rate", "weight_decay", "schedule", "seed", "device",
        )  # fmt: skip
        own = {name: getattr(self, name) for name in names}
        trained = train(build, read, training, validation, criterion=criterion, **(own | settings))
        self.module_, self.history_ = trained.module, trained.history


@torch.no_grad()
def answer(module: nn.Module, *given, by: Callable | None = None, **named):
    """Ask a module on the device where it lies.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    *given, **named : torch.Tensor or None
        What it is asked, wherever that lies.
    by : callable or None
        A method of the module, or what is made of some; None: the module itself.

    Returns
    -------
    torch.Tensor or dict of str to torch.Tensor
        What it says, on the processor.
    """
    place = devices.of(module)
    with one_thread():
        said = (by or module)(*(devices.moved(value, place) for value in given), **devices.moved(named, place))
    return devices.moved(said, "cpu")


def balancing_weights(coded: np.ndarray, n_classes: int) -> torch.Tensor:
    """Weights of classes in a loss that make all count alike, shape (n_classes,).

    Parameters
    ----------
    coded : numpy.ndarray
        Class of each training window, shape (n_windows,), from 0.
    n_classes : int
        Number of classes.

    Returns
    -------
    torch.Tensor
        Inversely proportional to the number of windows.
    """
    counts = np.bincount(coded, minlength=n_classes)
    return torch.tensor(counts.sum() / (len(counts) * np.maximum(counts, 1)), dtype=torch.float32)


class Rows(torch.utils.data.Dataset):
    """Rows and classes of some windows; what the windows hold is read batch by batch.

    Parameters
    ----------
    rows : numpy.ndarray
        Indices into the windows.
    y : numpy.ndarray or None
        Class index of every window, chosen or not.
    """

    def __init__(self, rows: np.ndarray, y: np.ndarray | None = None):
        self.rows = np.asarray(rows)
        self.y = None if y is None else np.asarray(y)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, int]:
        row = int(self.rows[index])
        return row, 0 if self.y is None else int(self.y[row])


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, so that sums come out in the same order whatever the number of workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Net(NeuralNet):
    """skorch's network for batches whose tensors may be shorter or longer than there are windows."""

    #: What was said of the validation batches since the last training epoch; None: nobody asks.
    said: list | None = None

    def validation_step(self, batch, **fit_params) -> dict:
        """Validate on a batch, and keep what was said if somebody asks for it."""
        step = super().validation_step(batch, **fit_params)
        if self.said is not None:
            self.said.append(devices.moved(step["y_pred"], "cpu"))
        return step

    def infer(self, x: Batch, **fit_params) -> torch.Tensor:
        """Return the module's output for a batch, which is moved to where the module lies; skorch moves what the loss compares it to."""
        return self.module_(**devices.moved(x.inputs, self.device))


class _Observe(Callback):
    """Note something about the module after each training epoch."""

    def __init__(self, observe: Observe, observed: list[dict[str, float]]):
        self.observe, self.observed = observe, observed

    def on_epoch_begin(self, net: NeuralNet, **kwargs) -> None:
        net.said = []

    def on_epoch_end(self, net: NeuralNet, **kwargs) -> None:
        net.module_.eval()
        said, net.said = net.said, []
        with torch.no_grad():
            self.observed.append(self.observe(net.module_, said))
