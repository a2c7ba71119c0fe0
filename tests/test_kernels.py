"""The runner's kernels: patient with a machine that is busy."""

import os

import nbformat
from papermill.execute import execute_notebook

from eegfmri.runner.kernels import ENGINE, Progress, register

LATE = """
import sys, time
sys.stdout.flush_timeout = sys.stderr.flush_timeout = 0.1
get_ipython().kernel.iopub_thread.schedule(lambda: time.sleep(6))
display("late, but there")
"""


def test_outputs_that_arrive_long_after_the_cell_has_replied_are_waited_for(tmp_path):
    register()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LATE)])
    progress = Progress(lambda done, total: None)
    done = execute_notebook(
        notebook, None, engine_name=ENGINE, kernel_name="python3", progress_bar=False, environment=dict(os.environ),
        folder=str(tmp_path), progress=progress,
    )  # fmt: skip
    [cell] = [cell for cell in done.cells if cell.cell_type == "code" and cell.source == LATE]
    assert cell.outputs[0].data["text/plain"] == "'late, but there'"
