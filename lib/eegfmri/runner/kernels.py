"""The papermill engine of the runner: kernels of this very interpreter, with a working folder and environment each.

Papermill's own engine changes the process's working directory and passes no environment, so two chapters could not be
executed side by side with it. A kernel and whatever its cells have started end with the runner, however that ends.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.log import logger

from eegfmri import executors, machine, project
from eegfmri.runner.measure import PeakMemory, repeatedly

#: Name of the engine in papermill's register.
ENGINE = "eegfmri"


#: Seconds between two looks at how far the work inside a cell is.
LOOK = 0.5


class Progress:
    """Which code cell is running, counted as a reader of the chapter counts, and how far the work inside it is.

    Attributes
    ----------
    code_cell : int
        Number of the code cell begun last, from 1; the injected cell does not count.
    """

    def __init__(
        self,
        tell: Callable[[int, int], None],
        tell_inside: Callable[[executors.Progress | None], None] = lambda state: None,
    ):
        self.code_cell = 0
        self._tell = tell
        self._tell_inside = tell_inside
        self.total = 0

    def begin(self, cell, **_: object) -> None:
        """Note that a cell begins."""
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", []):
            self.code_cell += 1
            self._tell(self.code_cell - 1, self.total)

    @contextmanager
    def followed(self, path: Path) -> Iterator[None]:
        """Tell what the kernel writes into its file of progress while the block runs: the last line that is whole.

        Nothing of it passes through the notebook, whose outputs are kept and compared.
        """
        path.touch()
        rest = ""
        with path.open(encoding="utf-8") as stream:

            def read_on() -> None:
                nonlocal rest
                *lines, rest = (rest + stream.read()).split("\n")
                # Whatever else a chapter may write there is not about progress.
                with suppress(ValueError, TypeError):
                    state = json.loads(lines[-1]) if lines else {}
                    if state != {}:
                        self._tell_inside(None if state is None else executors.Progress(**state))

            with repeatedly(read_on, LOOK):
                yield


class _Kernel(AsyncKernelManager):
    """A kernel of this interpreter, whatever kernels the user has installed under the same name."""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        # Without the history file, kernels do not wait for each other's database.
        return [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            self.connection_file,
            "--HistoryManager.enabled=False",
            # What a kernel says about its connection or its end is nothing that a reader could act upon.
            "--IPKernelApp.log_level=50",
            *(extra_arguments or []),
        ]


class _Engine(NBClientEngine):
    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man,
        kernel_name,
        *,
        environment: dict,
        folder: str,
        progress: Progress,
        memory: PeakMemory,
        start_timeout: int = 60,
        **_,
    ):
        progress.total = sum(
            cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
            for cell in nb_man.nb.cells
        )
        with project.temporary_folder("kernel") as place:

            class Kernel(_Kernel):
                def __init__(self, **options):
                    # Where the next command removes it, should this one be killed.
                    super().__init__(connection_file=str(place / "kernel.json"), **options)

            client = PapermillNotebookClient(
                nb_man,
                kernel_manager_class=Kernel,
                kernel_name=kernel_name,
                log=logger,
                on_cell_start=progress.begin,
                # Never: how long a chapter may take is its own affair.
                timeout=None,
                startup_timeout=max(start_timeout, 120),
                # On a busy machine figures are still on their way when a cell has long replied; the 4 s that nbclient grants are
                # too few.
                iopub_timeout=600,
            )
            # joblib's tracker tells the terminal what it tidies up after a kernel that was ended.
            quiet = ",".join(filter(None, (environment.get("PYTHONWARNINGS"), "ignore:resource_tracker")))
            written = {"PYTHONWARNINGS": quiet, executors.PROGRESS: str(place / "progress")}

            def pid() -> int | None:
                return getattr(getattr(client.km, "provisioner", None), "pid", None)

            with progress.followed(place / "progress"), memory.watched(pid):
                return client.execute(env={**environment, **machine.tether(), **written}, cwd=folder)


def register() -> None:
    """Make the engine known to papermill, and keep papermill's own log off the terminal."""
    logger.setLevel("ERROR")
    papermill_engines.register(ENGINE, _Engine)
