"""The runner's kernels: patient with a machine that is busy."""

import os

import nbformat
import pytest
from papermill.execute import execute_notebook

from eegfmri.runner.kernels import ENGINE, Progress, register
from eegfmri.runner.measure import PeakMemory

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
        folder=str(tmp_path), progress=progress, memory=PeakMemory(),
    )  # fmt: skip
    [cell] = [cell for cell in done.cells if cell.cell_type == "code" and cell.source == LATE]
    assert cell.outputs[0].data["text/plain"] == "'late, but there'"


WORKING = """
import os, time
from eegfmri.executors import Job, Serial, completed

if by_hand:
    del os.environ["EEGFMRI_PROGRESS"]
print("before")
for _ in completed([Job("first of two", time.sleep, (1.5,)), Job("second of two", time.sleep, (1.0,))], Serial()):
    pass
print("after")
"""


@pytest.mark.parametrize("by_hand", [False, True])
def test_progress_is_told_to_the_runner_or_shown_below_the_cell_and_leaves_nothing(tmp_path, monkeypatch, by_hand):
    monkeypatch.delenv("EEGFMRI_RUNNER", raising=False)
    register()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"by_hand = {by_hand}\n{WORKING}")])
    told = []
    progress = Progress(lambda done, total: None, told.append)
    done = execute_notebook(
        notebook, None, engine_name=ENGINE, kernel_name="python3", progress_bar=False, environment=dict(os.environ),
        folder=str(tmp_path), progress=progress, memory=PeakMemory(),
    )  # fmt: skip
    outputs = [output for cell in done.cells for output in cell.get("outputs", ())]
    texts = [output.get("text") or output["data"] for output in outputs]
    if by_hand:
        assert texts == ["before\n", {"text/plain": ""}, "after\n"] and not told
    else:
        assert "".join(texts) == "before\nafter\n"
        assert [state and state.name for state in told] == ["first of two", "second of two", None]
        assert told[1].sentence == "second of two, under 1 min left"
