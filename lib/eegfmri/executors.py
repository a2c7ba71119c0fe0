"""Where independent pieces of work are done: one after the other, in processes of this machine, or by workers of a Dask cluster.

A piece is a `Job`; `completed` gives every job to an executor and yields what became of it, in whatever order they finish. What a job
finds out it keeps on disk, under a key, and a repeated command gives only what is not there. So it does not matter to a result where it was
computed, and whoever is interrupted, by a kill, a lost worker or a lost cluster, has lost what was unfinished and nothing else.

Arrays do not travel: whoever does a job opens files by their paths, and so every worker of a cluster must see the project's folder.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import queue
import secrets
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from eegfmri import cache, device, machine, project
from eegfmri.errors import EegFmriError, RequestError, plain

#: Environment variable with the address of a Dask scheduler, to which everything goes that is not said to be done elsewhere.
SCHEDULER = "EEGFMRI_SCHEDULER"

#: Environment variable with the path of the file that progress is written to, one JSON object a line.
PROGRESS = "EEGFMRI_PROGRESS"

#: Distributions that a worker of a cluster must have in the version that is installed here.
DISTRIBUTIONS = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "scikit-image",
    "torch",
    "skorch",
    "mne",
    "nilearn",
    "dipy",
)

#: Seconds that a cluster has to answer, and to have a worker.
PATIENCE = 10.0

#: Seconds after which a cluster that has lost all its workers is not waited for any longer: Dask replaces one within a few.
PATIENCE_WITHOUT_WORKERS = 60.0


@dataclass(frozen=True, eq=False)
class Job:
    """A piece of work that needs no other.

    Attributes
    ----------
    name : str
        What is being done, as progress shows it: ``"fold 3 of 8 of ridge"``.
    call : callable
        Does it. Called again where the worker that was doing it has died, so that it must find what is finished already.
    arguments : tuple
        What ``call`` is given.
    kind : str
        Jobs of one kind are expected to take equally long.
    """

    name: str
    call: Callable[..., object]
    arguments: tuple = ()
    kind: str = ""


@dataclass(frozen=True, eq=False)
class Done:
    """What became of a job.

    Attributes
    ----------
    position : int
        Of the job among those given.
    value : object
        What its call has returned.
    error : Exception or None
        What it has raised instead.
    seconds : float
        How long it took.
    """

    position: int
    value: object = None
    error: Exception | None = None
    seconds: float = 0.0


class Executor(Protocol):
    """Does jobs: yields each as it is finished or has failed, in any order; others go on when one fails."""

    def width(self) -> int:
        """Return how many jobs are done at once."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Do all jobs."""


#: Whether a job is being done here: what it does in turn is part of it, and tells nobody of its progress.
_inside: ContextVar[bool] = ContextVar("inside", default=False)


def _do(position: int, call: Callable[..., object], arguments: tuple) -> Done:
    begun = time.perf_counter()
    token = _inside.set(True)
    try:
        return Done(position, call(*arguments), None, time.perf_counter() - begun)
    # Whatever a job raises is an answer like any other, and the other jobs go on.
    except Exception as error:  # noqa: BLE001
        return Done(position, None, error, time.perf_counter() - begun)
    finally:
        _inside.reset(token)


def _do_elsewhere(position: int, call: Callable[..., object], arguments: tuple) -> Done:
    """Do a job in another process, from which not every exception could come back."""
    done = _do(position, call, arguments)
    if done.error is None or isinstance(done.error, EegFmriError):
        return done
    return Done(position, None, EegFmriError(f"{type(done.error).__name__}: {done.error}"), done.seconds)


@dataclass(frozen=True)
class Serial:
    """One job after the other, in this process."""

    def width(self) -> int:
        """One."""
        return 1

    def run(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Do the next job when the next answer is asked for."""
        for position, job in enumerate(jobs):
            yield _do(position, job.call, job.arguments)


@dataclass(frozen=True)
class _Several:
    """What those share that do several jobs at once on this machine.

    Attributes
    ----------
    n_jobs : int
        How many at once.
    """

    n_jobs: int

    def width(self) -> int:
        """As many as were asked for."""
        return self.n_jobs


class Processes(_Several):
    """Jobs in processes of this machine, by joblib's loky.

    Attributes
    ----------
    n_jobs : int
        How many at once.
    """

    def run(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Do all jobs; the processes end with this one."""
        import joblib
        from joblib.externals.loky.process_executor import BrokenProcessPool

        with machine.tethered():
            parallel = joblib.Parallel(
                n_jobs=min(self.n_jobs, len(jobs)), backend="loky", batch_size=1, return_as="generator_unordered"
            )
            try:
                yield from parallel(
                    joblib.delayed(_do_elsewhere)(position, job.call, job.arguments)
                    for position, job in enumerate(jobs)
                )
            except BrokenProcessPool as error:
                raise EegFmriError(
                    f"One of {self.n_jobs} processes has died in the middle of its work, perhaps for lack of memory: run the command "
                    "again, with fewer processes, and it goes on from what is finished."
                ) from error


class Threads(_Several):
    """Jobs in threads of this process, for those that only wait for a process of their own.

    Attributes
    ----------
    n_jobs : int
        How many at once.
    """

    def run(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Do all jobs; whoever interrupts does not wait for those that are running."""
        pool = ThreadPoolExecutor(max_workers=self.n_jobs)
        try:
            running = {pool.submit(_do, position, job.call, job.arguments) for position, job in enumerate(jobs)}
            while running:
                # Awake every second: of an interrupt that comes just before the waiting begins, nothing is known until it ends.
                done, running = wait_for(running, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Dask:
    """Jobs on a cluster, by `distributed`: each worker process does one at a time.

    A worker that dies is replaced by its nanny, and Dask gives its job to another one, as often as the scheduler's setting
    ``distributed.scheduler.allowed-failures`` says (3 times, unless it was changed); then the job has failed. A worker that is started
    meanwhile is given jobs, too.

    Attributes
    ----------
    address : str
        Of the scheduler: ``tcp://host:8786``.
    """

    address: str
    _width: list[int] = field(default_factory=lambda: [1], repr=False, compare=False)

    def width(self) -> int:
        """As many as there are workers."""
        return self._width[0]

    def check(self) -> None:
        """See that the cluster answers, and that its workers see this project and run this very library.

        Raises
        ------
        RequestError
            If not; nothing has been computed then.
        """
        with self._client():
            pass

    def run(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Do all jobs.

        Parameters
        ----------
        jobs : sequence of Job
            They and their arguments are pickled, by cloudpickle where need be.

        Yields
        ------
        Done
            In the order in which they finish.

        Raises
        ------
        RequestError
            If the cluster does not answer, has no workers, or such as could not do the work.
        EegFmriError
            If the scheduler is lost on the way.
        """
        from distributed.protocol.pickle import dumps
        from distributed.scheduler import KilledWorker

        ready: queue.SimpleQueue = queue.SimpleQueue()
        with self._client() as client, self._lost():
            around, waiting, running = _surroundings(), list(enumerate(jobs))[::-1], {}
            alone_since = None
            while waiting or running:
                if client.status != "running":
                    raise ConnectionError(client.status)
                self._width[0] = len(client.nthreads())
                alone_since = (alone_since or time.monotonic()) if not self._width[0] else None
                if alone_since and time.monotonic() > alone_since + PATIENCE_WITHOUT_WORKERS:
                    raise EegFmriError(
                        f"The Dask scheduler at {self.address} has lost all its workers: start some, run the command again, and it "
                        "goes on from what is finished."
                    )
                # No more than there are workers: what waits in a scheduler takes its memory.
                while waiting and len(running) < max(1, self._width[0]):
                    position, job = waiting.pop()
                    # As bytes: a scheduler, which opens what it is given, is spared the import of estimators.
                    work = dumps((position, job.call, job.arguments))
                    future = client.submit(
                        _do_on_worker, work, around, key=f"eegfmri-{secrets.token_hex(8)}", pure=False
                    )
                    running[future] = position
                    future.add_done_callback(ready.put)
                try:
                    future = ready.get(timeout=1.0)
                except queue.Empty:
                    continue
                position = running[future]
                try:
                    done = future.result(timeout=PATIENCE)
                except KilledWorker as error:
                    done = EegFmriError(
                        f"{jobs[position].name}: {error.allowed_failures + 1} workers of {self.address} have died over it, perhaps for "
                        "lack of memory; give them more, and run the command again."
                    )
                except TimeoutError:
                    # Its worker has died a moment after the job was done: another one looks for what is there.
                    ready.put(future)
                    continue
                except Exception as error:
                    if future.status != "error":
                        raise
                    done = EegFmriError(f"{jobs[position].name}: {type(error).__name__}: {error}")
                del running[future]
                yield done if isinstance(done, Done) else Done(position, None, done)

    @contextlib.contextmanager
    def _lost(self) -> Iterator[None]:
        """Say in one sentence that the scheduler is gone, whichever call has noticed it."""
        from distributed.client import FutureCancelledError

        try:
            yield
        except EegFmriError:
            raise
        except (OSError, RuntimeError, FutureCancelledError) as error:
            raise EegFmriError(
                f"The Dask scheduler at {self.address} is gone: start it and its workers, run the command again, and it goes on from "
                "what is finished."
            ) from error

    @contextlib.contextmanager
    def _client(self):
        """Connect, see that the workers can do the work, and let go of everything in the end."""
        import dask
        import distributed
        from distributed.comm.addressing import get_address_host_port

        # What the library says of its connections is nothing that a reader could act upon.
        for name in (
            "distributed",
            *(name for name in logging.root.manager.loggerDict if name.startswith("distributed.")),
        ):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        # Features of windows travel with a job, and may be large.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # about versions, which are compared below
                    # A client that reaches nobody says so late, and once more when the process ends.
                    socket.create_connection(get_address_host_port(self.address), PATIENCE).close()
                    client = distributed.Client(self.address, timeout=PATIENCE, set_as_default=False)
            # An address may be wrong in many ways, each of which has an exception of its own.
            except Exception as error:
                reason = plain(str(error)).rstrip(".") or type(error).__name__
                raise RequestError(
                    f"No Dask scheduler answers at {self.address} ({reason}): start one with `dask scheduler`, or give the address that "
                    "it shows."
                ) from error
            try:
                with self._lost():
                    self._require(client)
                yield client
            finally:
                with contextlib.suppress(Exception):
                    client.close(timeout=PATIENCE)

    def _require(self, client) -> None:
        """Refuse workers that are not there, do not see the project or would compute something else."""
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise RequestError(
                f"The Dask scheduler at {self.address} has no workers: start some with `dask worker {self.address} --nworkers N "
                "--nthreads 1`, in this project's environment."
            ) from None
        try:
            client.run_on_scheduler(_library)
        except Exception as error:
            reason = plain(f"{type(error).__name__}: {error}").rstrip(".")
            raise RequestError(
                f"The Dask scheduler at {self.address} cannot use this library ({reason}): start it in this project's environment."
            ) from error
        folder, mark = project.cache_dir().resolve(), secrets.token_hex(8)
        with cache.written_whole(folder / "probe.txt") as path:
            path.write_text(mark, encoding="ascii")
            found = client.run(_probe, str(path), str(project.root()), on_error="return")
        for worker, facts in found.items():
            if isinstance(facts, BaseException):
                reason = plain(f"{type(facts).__name__}: {facts}").rstrip(".")
                raise RequestError(
                    f"The Dask worker {worker} cannot use this library ({reason}): start it in this project's environment."
                )
            if facts["mark"] != mark or not facts["root"]:
                lacking = folder if facts["root"] else project.root()
                raise RequestError(
                    f"The Dask worker {worker} does not see the folder {lacking}: start it where that lies under the same path, on a "
                    "disk that all share."
                )
            if differs := [name for name, own in _library().items() if facts["library"].get(name) != own]:
                raise RequestError(
                    f"The Dask worker {worker} has another version of {', '.join(differs)}: install the same there, and start it again."
                )
            if facts["stale"]:
                raise RequestError(f"The Dask worker {worker} is older than the library as it is now: start it again.")


def _probe(path: str, root: str) -> dict:
    """Say what a worker sees: runs there."""
    import psutil

    mark = None
    with contextlib.suppress(OSError):
        mark = Path(path).read_text(encoding="ascii")
    newest = max(file.stat().st_mtime for file in _sources())
    return {
        "mark": mark,
        "root": (Path(root) / "book" / "_toc.yml").is_file(),
        "library": _library(),
        # Modules that were imported before stay as they were.
        "stale": newest > psutil.Process().create_time() + 1,
    }


def _sources() -> list[Path]:
    return sorted(Path(__file__).parent.rglob("*.py"))


def _library() -> dict[str, str]:
    """Return what must be the same wherever a result is computed: Python, packages, and this library's files."""
    versions = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    code = hashlib.sha256(b"".join(path.read_bytes() for path in _sources())).hexdigest()
    return {"Python": platform.python_version(), **versions, cache.PACKAGE: code}


def _surroundings() -> dict[str, str]:
    """Return the environment variables by which a worker finds the project and its cache, and computes where is meant here."""
    return {
        "EEGFMRI_ROOT": str(project.root()),
        "EEGFMRI_CACHE": str(project.cache_dir().resolve()),
        device.VARIABLE: device.resolve(),
    }


#: Numerical libraries count their threads, and torch its random numbers, once for a whole process.
_one_at_a_time = threading.Lock()


def _do_on_worker(work: bytes, around: dict[str, str]) -> Done:
    """Do a job in a worker of a cluster."""
    from distributed.protocol.pickle import loads

    with _one_at_a_time:
        os.environ.update(around)
        for name in (SCHEDULER, PROGRESS):
            # A job that gave others to its own cluster would wait for itself.
            os.environ.pop(name, None)
        return _do_elsewhere(*loads(work))


def chosen(n_jobs: int) -> Executor:
    """Return the executor for work that may be done in several processes.

    Parameters
    ----------
    n_jobs : int
        Processes of this machine; 1 is this very process.

    Returns
    -------
    Executor
        The cluster that the environment variable `SCHEDULER` names, where it is set; inside a job never.
    """
    address = os.environ.get(SCHEDULER, "").strip()
    if address and not _inside.get():
        return Dask(address)
    return Serial() if n_jobs == 1 else Processes(n_jobs)


@contextlib.contextmanager
def on(address: str | None) -> Iterator[None]:
    """Have what is done in the block, and in the processes that are started there, go to a cluster; None changes nothing.

    Parameters
    ----------
    address : str or None
        Of the scheduler.

    Yields
    ------
    None

    Raises
    ------
    RequestError
        If the cluster could not do the work.
    """
    if address is None:
        yield
        return
    Dask(address).check()
    with machine.variable(SCHEDULER, address):
        yield


# --- how far the work is ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """How far the work is.

    Attributes
    ----------
    name : str
        Of the first job that is not finished.
    kind : str
        Of that job.
    done, total : int
        Jobs that are finished or have failed, and all.
    left : float or None
        Seconds until all are done, from those that are; None as long as there is none.
    """

    name: str
    kind: str
    done: int
    total: int
    left: float | None

    @property
    def sentence(self) -> str:
        """``fold 3 of 8 of ridge, about 5 min left``."""
        if self.left is None:
            return self.name
        left = f"about {self.left / 60:.0f} min" if self.left >= 60 else "under 1 min"
        return f"{self.name}, {left} left"


def completed(
    jobs: Sequence[Job], executor: Executor, listen: Callable[[Progress], None] | None = None
) -> Iterator[Done]:
    """Do all jobs, yield what became of each, and tell how far the work is.

    Parameters
    ----------
    jobs : sequence of Job
        What is to be done.
    executor : Executor
        Where.
    listen : callable or None
        Told at the beginning and whenever a job is done. None: the file that the environment variable `PROGRESS` names, or else, in a
        notebook that somebody runs by hand, a line below the cell, which goes when all is done.

    Yields
    ------
    Done
        In the order in which they finish.
    """
    if not jobs:
        return
    open_jobs = dict(enumerate(jobs))
    seconds: dict[str, list[float]] = {}

    def state() -> Progress:
        first = next(iter(open_jobs.values()))
        return Progress(first.name, first.kind, len(jobs) - len(open_jobs), len(jobs), left())

    def left() -> float | None:
        everything = [value for values in seconds.values() for value in values]
        if not everything:
            return None
        expected = {kind: sum(values) / len(values) for kind, values in seconds.items()}
        mean = sum(everything) / len(everything)
        total = sum(expected.get(job.kind, mean) for job in open_jobs.values())
        return total / max(1, min(executor.width(), len(open_jobs)))

    with contextlib.nullcontext(listen) if listen is not None else _telling() as tell:
        tell(state())
        for done in executor.run(jobs):
            job = open_jobs.pop(done.position)
            seconds.setdefault(job.kind, []).append(done.seconds)
            if open_jobs:
                tell(state())
            yield done


@contextlib.contextmanager
def _telling() -> Iterator[Callable[[Progress], None]]:
    """Give what shows progress where nobody has said who listens, and take away in the end what it has shown."""
    path = os.environ.get(PROGRESS)
    if _inside.get() or (not path and (os.environ.get("EEGFMRI_RUNNER") or not _in_notebook())):
        yield lambda progress: None
    elif path:
        yield lambda progress: _write(path, asdict(progress))
        _write(path, None)
    else:
        line = _Line()
        try:
            yield line.show
        finally:
            line.remove()


def _write(path: str, value: object) -> None:
    # Who cannot be told how far the work is can be given its results all the same.
    with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(value) + "\n")


def _in_notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


class _Line:
    """A line below the cell of a notebook."""

    #: Seconds before which nothing is shown: what is quick needs no line.
    AFTER = 1.0

    def __init__(self):
        self.sentence, self.handle, self.lock = "", None, threading.Lock()
        self.timer = threading.Timer(self.AFTER, self._appear)
        self.timer.daemon = True
        self.timer.start()

    def show(self, progress: Progress) -> None:
        """Show how far the work is, in place of what was shown before."""
        with self.lock:
            self.sentence = progress.sentence
            if self.handle is not None:
                self.handle.update({"text/plain": f"{self.sentence} …"}, raw=True)

    def remove(self) -> None:
        """Leave nothing to be seen."""
        with self.lock:
            self.timer.cancel()
            if self.handle is not None:
                self.handle.update({"text/plain": ""}, raw=True)

    def _appear(self) -> None:
        from IPython.display import display

        with self.lock:
            if not self.timer.finished.is_set():
                self.handle = display({"text/plain": f"{self.sentence} …"}, raw=True, display_id=True)
