"""Folds computed one by one, in parallel, each kept on disk under a key of all that can change it: an interrupted run goes on.

What is measured in a fold, and kept of it, depends on what is evaluated: `eegfmri.evaluation.evaluate` for classes,
`eegfmri.evaluation.volumes` for volumes.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from eegfmri import cache, device, executors, project
from eegfmri.errors import DataError, EegFmriError
from eegfmri.evaluation.leaks import fitted_digest
from eegfmri.evaluation.splits import Fold

#: Distributions whose version can change what is measured in a fold.
DISTRIBUTIONS = ("numpy", "scipy", "pandas", "scikit-learn", "scikit-image", "torch", "skorch")


class Rows(Protocol):
    """What can be split into training and test data, as `eegfmri.windows.Windows`: indexed by rows, with a ``digest`` of its content."""

    digest: str

    def __getitem__(self, rows: np.ndarray) -> "Rows": ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Task:
    """One method in one fold.

    Attributes
    ----------
    method : str
        Name of the method.
    estimator : estimator
        With the method's parameters, not fitted.
    data : Windows
        Training and test data; anything like `Rows`.
    fold : Fold
        Rows of training and test data.
    folder : pathlib.Path
        Where the fold is kept; ``fold.json`` is written last and names the arrays that belong to it.
    """

    method: str
    estimator: object
    data: Rows
    fold: Fold
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether the fold is on disk, as it was written, with its arrays."""
        written = cache.kept_json(self.folder / "fold.json")
        return written is not None and all(cache.is_whole(self.folder / name) for name in written["arrays"])

    def read(self) -> dict:
        """Return ``fold.json``: ``state`` (hash of everything fitted), ``seconds``, ``n_train``, ``n_test``, and what was measured.

        Raises
        ------
        DataError
            If it is absent, or not as it was written.
        """
        written = cache.kept_json(self.folder / "fold.json")
        if written is None:
            raise DataError(
                f"{self.folder / 'fold.json'} is damaged: run the command again, and the fold is measured anew."
            )
        return written


#: Fits a fresh estimator on training data and tests it: takes the task, the estimator, training and test data; returns the
#: estimator that was fitted in the end and what is written to ``fold.json``.
Measure = Callable[[Task, object, Rows, Rows], tuple[object, dict]]


def run_folds(
    methods: Mapping[str, object],
    folds: Sequence[tuple[Rows, Fold]],
    measure: Measure,
    *,
    name: str,
    settings: Callable[[str], object] = lambda method: None,
    code: str,
    finished: Callable[[Task], bool] = lambda task: task.finished,
    n_jobs: int = 1,
    folder: str | Path | None = None,
) -> list[tuple[Task, bool]]:
    """Measure every method in every fold that is not on disk.

    Parameters
    ----------
    methods : mapping of str to estimator
        scikit-learn estimators by name; each is cloned for each fold.
    folds : sequence of (Rows, Fold)
        Data, and which of its rows are for training and for test.
    measure : callable
        Fits, tests and returns what is kept, see `Measure`.
    name : str
        What the folders' names begin with: the protocol.
    settings : callable
        What else can change the result of a method, given its name: numbers, strings, arrays.
    code : str
        Module that holds ``measure``; its source and that of the estimators enter the key.
    finished : callable
        Tells whether all that is asked of a task is on disk.
    n_jobs : int, default=1
        Folds run in this many processes; on a Dask cluster where the environment variable ``EEGFMRI_SCHEDULER`` names one
        (`eegfmri.executors`).
    folder : str, pathlib.Path or None
        Where folds are kept; None: the project's cache.

    Returns
    -------
    list of (Task, bool)
        Method by method, fold by fold; whether it was on disk before.

    Raises
    ------
    EegFmriError
        If a fold fails; the error names it. The others have been measured then, and are on disk.
    """
    folder = (Path(folder) if folder is not None else project.cache_dir() / "folds").absolute()
    digests = {id(data): data.digest for data, _ in folds}
    common = cache.digest([(digests[id(data)], fold.name, fold.train, fold.test) for data, fold in folds])
    tasks = []
    for method, estimator in methods.items():
        key = fold_key(common, method, estimator, settings(method), code)
        tasks += [
            Task(method, estimator, data, fold, folder / f"{name}-{method}-{key}" / fold.name) for data, fold in folds
        ]
    cached = [finished(task) for task in tasks]
    jobs = [
        executors.Job(
            f"fold {number % len(folds) + 1} of {len(folds)} of {task.method}",
            _run,
            (task, measure, finished),
            task.method,
        )
        for number, (task, done) in enumerate(zip(tasks, cached, strict=True))
        if not done
    ]
    executor = executors.chosen(min(n_jobs, max(1, len(jobs))))
    failures = [done.error for done in executors.completed(jobs, executor) if done.error is not None]
    if failures:
        others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise EegFmriError(f"{failures[0]}{others}") from failures[0]
    return list(zip(tasks, cached, strict=True))


def fold_key(common: str, method: str, estimator: object, settings: object, code: str) -> str:
    """Make the key that a method's folds are kept under.

    Parameters
    ----------
    common : str
        Digest of data and splits.
    method : str
        Name of the method.
    estimator : estimator
        Its class and parameters, nested ones included, and the source of the modules that define them, enter the key.
    settings : object
        Whatever else can change the result.
    code : str
        Module that measures; its source enters the key.

    Returns
    -------
    str
        Different whenever one of these, or the version of one of `DISTRIBUTIONS`, is.
    """
    return cache.digest(
        common,
        method,
        parameter_text(estimator),
        settings,
        cache.code_digest(__name__, code, *modules_of(estimator)),
        cache.versions(*DISTRIBUTIONS),
    )


def _run(task: Task, measure: Measure, finished: Callable[[Task], bool]) -> None:
    """Measure one method in one fold, unless a worker that died since has done so."""
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    if finished(task):
        return
    started = time.perf_counter()
    train, test = task.data[task.fold.train], task.data[task.fold.test]
    # One thread: sums come out in the same order whatever the number of workers, so results repeat to the last bit.
    with threadpool_limits(1):
        try:
            fitted, measured = measure(task, clone(task.estimator), train, test)
        except Exception as error:
            raise EegFmriError(
                f"Fold {task.fold.name} of {task.folder.parent.name} failed: {type(error).__name__}: {error}"
            ) from error
    facts = {
        "state": fitted_digest(fitted),
        "seconds": time.perf_counter() - started,
        "n_train": len(train),
        "n_test": len(test),
    }
    arrays = sorted(path.relative_to(task.folder).as_posix() for path in task.folder.rglob("*.npy"))
    arrays = [name for name in arrays if not Path(name).name.startswith(cache.PART)]
    cache.keep_json(task.folder / "fold.json", facts | measured | {"arrays": arrays})


def parameter_text(estimator) -> str:
    """Write an estimator's class and all its parameters, nested ones included, as text for a cache key."""
    parameters = {
        name: value if isinstance(value, (int, float, str, bool, type(None), list, tuple)) else _described(value)
        for name, value in sorted(estimator.get_params(deep=True).items())
    }
    # However the device was asked for, what counts is which one it is; the processor needs no mention.
    for name in [name for name in parameters if name.rpartition("__")[2] == "device"]:
        place = device.resolve(parameters.pop(name))
        parameters |= {} if place == "cpu" else {name: place}
    return f"{type(estimator).__qualname__}:{json.dumps(parameters, sort_keys=True, default=_described)}"


def modules_of(estimator) -> set[str]:
    """Return the modules that define an estimator and whatever its parameters hold."""
    return {
        getattr(value, "__module__", type(value).__module__) for value in (estimator, *estimator.get_params().values())
    }


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return cache.digest(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "get_params"):
        return type(value).__qualname__
    return str(value)
