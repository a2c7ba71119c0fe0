"""What a command starts ends with it, however it ends; and what it leaves in temporary folders goes at the next start."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from book_project import FIXTURES, environment, make_project
from eegfmri import cache, machine, project

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of Unix")

#: An environment variable of these tests: whoever has inherited its value was started, by however many steps, by one command.
FAMILY = "EEGFMRI_TEST_FAMILY"

#: Seconds that a busy machine may take; what is waited for comes within three.
PATIENCE = 60


def family(name: str) -> list[psutil.Process]:
    """Return the living processes that have inherited a family's name."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(FAMILY) == name and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture
def name():
    """A family's name; whoever of it is left when a test has failed is ended."""
    name = secrets.token_hex(8)
    yield name
    for process in family(name):
        process.kill()


def wait_for(condition, why: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


#: A chapter with a child that has left the kernel's session, workers of joblib in C code, and a kernel that holds Python's lock.
BUSY = """
import os, subprocess, sys
from pathlib import Path
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
import joblib
running = joblib.Parallel(n_jobs=2, return_as="generator_unordered")(joblib.delayed(sum)(range(10**12)) for _ in range(2))
import time
import psutil
while len(psutil.Process().children()) < 3:
    time.sleep(0.05)
time.sleep(0.5)
Path(os.environ["EEGFMRI_TEST_BUSY"]).touch()
sum(range(10**12))
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_kernels_workers_and_children_of_cells_end_with_the_command(tmp_path, name, way):
    folder = make_project(tmp_path / "project", chapters=("fixtures/busy",))
    head = (FIXTURES / "fixtures" / "second.md").read_text(encoding="utf-8").partition("\n# ")[0]
    (folder / "book" / "fixtures" / "busy.md").write_text(
        f"{head}\n# Busy\n\n```{{code-cell}} python\n{BUSY}\n```\n", encoding="utf-8"
    )
    busy, temporary = tmp_path / "busy", tmp_path / "tmp"
    temporary.mkdir()
    command = subprocess.Popen(
        [sys.executable, "-m", "eegfmri", "run", "fixtures/busy"],
        cwd=folder,
        env={
            **environment(folder), FAMILY: name, "EEGFMRI_TEST_BUSY": str(busy), "TMPDIR": str(temporary),
            # Inside a runner, its own guard would be another one's.
            machine.TETHERS: "",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    wait_for(lambda: busy.exists() or command.poll() is not None, "the chapter never became busy")
    assert command.poll() is None, command.communicate()[1]
    # The command, its guard, the kernel, the child of a cell, two workers.
    assert len(family(name)) >= 6
    assert list(temporary.glob("eegfmri-kernel-*/kernel.json"))
    command.send_signal(way)
    said = command.communicate(timeout=PATIENCE)[1]
    wait_for(lambda: not family(name), f"{[process.cmdline() for process in family(name)]} outlived the command")
    if way == signal.SIGKILL:
        assert (command.returncode, said) == (-signal.SIGKILL, "")
    else:
        begin = {signal.SIGTERM: "Ended by the signal SIGTERM: ", signal.SIGINT: "Interrupted: "}[way]
        assert (command.returncode, len(said.strip().split("\n"))) == (1, 1)
        assert said.startswith(begin)
    listed = subprocess.run(
        [sys.executable, "-m", "eegfmri", "chapters"],
        cwd=folder,
        env={**environment(folder), "TMPDIR": str(temporary)},
        capture_output=True,
        check=True,
    )
    assert b"fixtures/busy" in listed.stdout
    assert not list(temporary.glob("eegfmri-*")), "the next start leaves nothing"


@pytest.mark.slow
def test_a_page_that_was_being_rendered_is_removed_at_the_next_start(tmp_path, name):
    folder = make_project(tmp_path / "project", chapters=("fixtures/second",))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = subprocess.Popen(
        [sys.executable, "-m", "eegfmri", "run", "fixtures/second"],
        cwd=folder,
        env={**environment(folder), FAMILY: name, "TMPDIR": str(temporary), machine.TETHERS: ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(
        lambda: list(temporary.glob("eegfmri-page-*/stage/_build")) or command.poll() is not None, "nothing is rendered"
    )
    assert command.poll() is None
    command.kill()
    command.wait()
    wait_for(lambda: not family(name), "the renderer outlived the command")
    assert list(temporary.glob("eegfmri-page-*/stage"))
    again = subprocess.run(
        [sys.executable, "-m", "eegfmri", "run", "fixtures/second"],
        cwd=folder,
        env={**environment(folder), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stderr
    assert not list(temporary.glob("eegfmri-*"))
    assert not list(folder.rglob(".part-*"))


WORKERS = """
import os, sys, time
from pathlib import Path
import joblib
from eegfmri import machine
place = Path(sys.argv[1])
def work():
    (place / str(os.getpid())).touch()
    sum(range(10**12))
with machine.tethered():
    running = joblib.Parallel(n_jobs=2, return_as="generator_unordered")(joblib.delayed(work)() for _ in range(2))
while len(list(place.iterdir())) < 2:
    time.sleep(0.05)
time.sleep(0.5)
print(machine.TETHERS in __import__("os").environ, flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.mark.parametrize("way", ["kill", "leave"])
def test_workers_end_with_a_script_that_is_killed_and_with_one_that_leaves(tmp_path, name, way):
    process = subprocess.Popen(
        [sys.executable, "-c", WORKERS, str(tmp_path)],
        env={**os.environ, FAMILY: name, machine.TETHERS: ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    # What stood in the environment before stands there again: other children of the script are its own affair.
    assert process.stdout.readline() == "True\n"
    # The script, its guard, two workers.
    wait_for(lambda: len(family(name)) >= 4, "no workers were started")
    if way == "kill":
        process.kill()
    else:
        process.stdin.close()
    wait_for(lambda: not family(name), "a worker outlived the script")
    process.wait()


def test_a_child_of_a_fork_does_not_keep_the_guard_waiting(name):
    code = (
        "import os, subprocess, sys, time\n"
        "from eegfmri import machine\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], env={**os.environ, **machine.tether()})\n"
        "if os.fork() == 0:\n"
        "    os.environ.pop('EEGFMRI_TETHERS', None)\n"
        "    time.sleep(600)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, FAMILY: name}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.kill()
    # The forked one was started before anything was tethered, and is not ours to end.
    wait_for(lambda: len(family(name)) == 1, "the guard still waits for the fork")
    process.wait()
    process.stdout.close()


HOLD = """
import sys
from pathlib import Path
from eegfmri import cache, project
with project.temporary_folder("page") as folder, cache.written_whole(Path(sys.argv[1]) / "x.npy") as part:
    (folder / "stage").mkdir()
    part.write_bytes(b"half")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path, monkeypatch):
    temporary, written = tmp_path / "tmp", tmp_path / "cache"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    held = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(written)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    dead, living = (Path(process.stdout.readline().strip()) for process in held)
    held[0].kill()
    held[0].wait()
    old, other = temporary / "eegfmri-page-old", temporary / "eegfmri-page-new"
    for folder in (old, other):
        folder.mkdir()
    os.utime(old, (0, 0))
    elsewhere = temporary / "somebody-else"
    elsewhere.mkdir()

    assert len(list(written.glob(".part-*"))) == 2
    project.remove_leftovers()
    cache._remove_unfinished.cache_clear()  # as in a new process
    cache.write_json(written / "y.json", 1)
    assert not dead.exists() and not old.exists()
    assert living.is_dir() and other.is_dir() and elsewhere.is_dir()
    assert len(list(written.glob(".part-*"))) == 1

    held[1].communicate("")
    assert held[1].returncode == 0
    assert not living.exists()
    assert {path.name for path in temporary.iterdir()} == {"eegfmri-page-new", "somebody-else"}
    assert {path.name for path in written.iterdir()} == {"x.npy", "y.json"}
