"""The command line: what to run, said in one sentence when it cannot be done.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong. Everything heavy is imported by the command that needs
it, so that help appears at once.
"""

import contextlib
import errno
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Annotated

import typer

from eegfmri.errors import DEBUG, CannotWrite, EegFmriError, RequestError, escaped, looking_up
from eegfmri.text import jsonable

app = typer.Typer(
    name="eegfmri",
    help="Simultaneous EEG and fMRI: re-execute the book's chapters, check data, verify published numbers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Look at recordings, check them, simulate them.", no_args_is_help=True)
app.add_typer(data_app, name="data")

DataOption = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Folder of real recordings; simulated ones if left out.")
]


def _writable_file(path: Path | None, option: str = "--json") -> Path | None:
    """Refuse a file that cannot be written before anything is computed for it."""
    if path is None:
        return None
    from eegfmri.runner.preflight import unwritable

    with looking_up(path, "give that of a file", option):
        folder, wrong = path.parent, path.is_dir()
    problem = f"{path} is a folder: name a file." if wrong else unwritable(folder)
    if problem:
        raise RequestError(f"{option}: {problem}")
    return path


def _writable_json(path: Path | None) -> Path | None:
    return _writable_file(path, "--json")


def _writable_page(path: Path | None) -> Path | None:
    return _writable_file(path, "--page")


JsonOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the result as JSON.", callback=_writable_json),
]
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Profile of parameters: quick (default), standard or full."),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="Address of a Dask scheduler whose workers do the work."),
]


def _device(given: str | None) -> str | None:
    """Refuse a device that there is not, or not here, before anything is done for it."""
    if given is None:
        return None
    from eegfmri.device import DEVICES, resolve

    _choice("--device", given, DEVICES)
    return resolve(given, "--device")


DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where networks are computed: auto, cpu, cuda or mps; cpu, or what EEGFMRI_DEVICE says, if left out.",
        callback=_device,
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Execute although the results are there already.")]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Take the options that stand before the command; `main` has read them already."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code; an error is one sentence, unless ``--debug`` is given."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    if debug:
        os.environ[DEBUG] = "1"
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has not the letter, or a name that is no text, is no reason to stop: it is shown as an escape.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # Accepted anywhere on the line.
    arguments = [word for word in arguments if word != "--debug"]
    # Where an output was closed before the command began (`>&-`), there is nobody to tell, and no reason to fail.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    try:
        from eegfmri import project

        project.check_environment()
        project.remove_leftovers()
        code = app(args=arguments, standalone_mode=False, prog_name="eegfmri") or 0
        # What is still to be written is written here, where an error of it can be told.
        sys.stdout.flush()
    except EegFmriError as error:
        _leave(_sentence(error), error.exit_code, debug)
    except (BrokenPipeError, SystemExit) as end:
        # Click and rich take a closed output for a failure, and end with 1; nothing else here ends so.
        if isinstance(end, SystemExit) and end.code != 1:
            raise
        # Whoever read the output has had enough: `eegfmri chapters | head`.
        os._exit(0)
    except OSError as error:
        if error.errno in CannotWrite.NUMBERS | {errno.EBADF}:
            _leave(_sentence(CannotWrite.of(error, error.filename or "The output")), 1, debug)
        if error.filename and error.strerror:
            said = f"{error.filename}: {error.strerror}; see that it is there and open to you (--debug shows where.)"
            _leave(said, 1, debug)
        _leave(f"{type(error).__name__}: {_sentence(error)} (--debug shows where.)", 1, debug)
    # Whatever goes wrong becomes one sentence.
    except Exception as error:  # noqa: BLE001
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):
            context = getattr(error, "ctx", None)
            hint = f" See `{context.command_path} --help`." if context is not None else ""
            _leave(_sentence(error.format_message()) + hint, 2, debug)
        if type(error).__name__ == "Abort":
            _leave(_ended, 1)
        _leave(f"{type(error).__name__}: {_sentence(error)} (--debug shows where.)", 1, debug)
    # Typer turns Ctrl-C into this code.
    if code == 130:
        _leave(_ended, 1)
    sys.exit(code)


INTERRUPTED = "Interrupted: what was finished is kept, and the same command goes on from there."
TERMINATED = "Ended by the signal SIGTERM: what was finished is kept, and the same command goes on from there."

#: What is said when a command is ended from outside.
_ended = INTERRUPTED


def _terminated(number: int, _frame: object) -> None:
    """End as Ctrl-C does: files that are being written are put away; a second signal ends at once."""
    global _ended
    _ended = TERMINATED
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def _sentence(error: object) -> str:
    text = escaped(" ".join(str(error).split()))
    return text if text.endswith((".", "?", "!", ")")) else f"{text}."


def _leave(sentence: str, code: int, debug: bool = False) -> None:
    # An output that is closed or full takes nothing more; the exit code says what there is to say.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        if debug:
            traceback.print_exc()
        typer.echo(sentence, err=True)
    # Chapters may still be running in threads; their kernels end with this process.
    os._exit(code)


def _say(text: object, err: bool = False) -> None:
    """Print a line: what a file, a folder or a chapter is called must not steer the terminal."""
    typer.echo(escaped(str(text)), err=err)


def _console():
    """Return what prints tables and progress: every text as it is, without markup and without steering the terminal."""
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **options):
            return super().render_str(escaped(text), **options)

    # Into a file or a pipe, a row of a table stays one line.
    width = None if sys.stdout.isatty() else 200
    return Plain(highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)


def _write(path: Path | None, document: object) -> None:
    if path is None:
        return
    from eegfmri.cache import write_json

    try:
        write_json(path, jsonable(document))
    except OSError as error:
        raise RequestError(f"--json: cannot write {path}: {error.strerror}.") from None


# --- data ------------------------------------------------------------------------------------------------------------


@data_app.command("list")
def data_list(data: DataOption = None) -> None:
    """List the three datasets, where they are, how large they are and under which licence they stand."""
    if data is not None and not Path(data).is_dir():
        raise RequestError(f"--data: there is no folder {data}.")
    from eegfmri import project
    from eegfmri.datasets import roots as dataset_roots
    from eegfmri.recordings import DATASETS

    console = _console()
    places = [Path(data)] if data is not None else [project.data_dir(), project.data_dir() / "simulated"]
    found: dict[str, list[Path]] = {name: [] for name in DATASETS}
    for place in places:
        if place.is_dir():
            for name, root in dataset_roots.recognise(place):
                if root not in found[name]:
                    found[name].append(root)
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("dataset", "where", "size", "licence", "source"):
        table.add_column(column, overflow="fold")
    for name in DATASETS:
        source, licence = TERMS[name]
        for root in found[name] or [None]:
            where = "not here; simulated when needed" if root is None else _short(root)
            size = "" if root is None else _size(root)
            simulated = root is not None and (root / "simulated.json").is_file()
            terms = "simulated" if simulated else licence
            table.add_row(name, where, size, terms, source)
    console.print(table)


#: Source and licence of each dataset, and of the measured series that can be fetched, as their own pages state them.
TERMS = {
    "sleep": ("OpenNeuro ds003768", "CC0"),
    "oddball": ("OpenfMRI ds000116", "see its page"),
    "rest": ("NODDI, OSF 94c5t", "see its page"),
    "alertness": ("github.com/neurdylab/fMRIAlertnessDetection", "none stated"),
    "rshrf": ("github.com/compneuro-da/rsHRF", "BSD-3-Clause"),
}


def _short(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _size(root: Path) -> str:
    total = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    for unit in ("B", "kB", "MB", "GB"):
        if total < 1000 or unit == "GB":
            return f"{total:.0f} {unit}" if unit != "GB" else f"{total:.1f} {unit}"
        total /= 1000
    raise AssertionError


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset's folder, or a folder of one dataset.")],
    json_file: JsonOption = None,
) -> None:
    """Report per recording what is there, missing, truncated or misaligned, and what would be used."""
    if not folder.is_dir():
        raise RequestError(f"There is no folder {folder}.")
    from eegfmri.datasets.roots import resolve
    from eegfmri.opening import open_recordings

    roots = resolve(folder)
    documents = [open_recordings(root, name).check() for name, root in roots.items()]
    from rich.table import Table

    console = _console()
    for document in documents:
        console.print(f"{document['dataset']}{', simulated' if document.get('simulated') else ''}: {folder}")
        for note in document.get("notes", ()):
            console.print(f"  note: {note}")
        # Scored epochs where there are any, events of a task elsewhere.
        scored = any(row["epochs"] for row in document["recordings"])
        counted = "stages" if scored else "events"
        kinds = list(dict.fromkeys(kind for row in document["recordings"] for kind in row[counted]))
        columns = (*kinds, "used") if scored else (*kinds, "volumes")
        table = Table(box=None, pad_edge=False)
        for column in ("recording", "status", *columns):
            table.add_column(column, justify="right" if column in columns else "left", no_wrap=True)
        for row in document["recordings"]:
            cells = (str(row[counted].get(kind, "")) for kind in kinds)
            last = row["epochs_used"] if scored else row["n_volumes"]
            table.add_row(
                f"sub-{row['subject']} {row['run']}", row["status"], *cells, "" if last is None else str(last)
            )
        console.print(table)
        _remarks(console, document["recordings"])
        counts: dict[str, int] = {}
        for row in document["recordings"]:
            counts[row["status"]] = counts.get(row["status"], 0) + 1
        totals = {kind: sum(row[counted].get(kind, 0) for row in document["recordings"]) for kind in kinds}
        console.print(
            f"{len(document['recordings'])} recordings: "
            + ", ".join(f"{number} {status}" for status, number in counts.items())
            + (f"; {'epochs' if scored else 'events'}: " if totals else "")
            + ", ".join(f"{number} {kind}" for kind, number in totals.items())
        )
        if document["dataset"] in BY_SIZE and any(row["eeg_seconds"] for row in document["recordings"]):
            published = "" if document.get("simulated") else BY_SIZE[document["dataset"]]
            console.print(
                f"The EEG's signal files were compared with their headers by size only: BrainVision has no checksums.{published}"
            )
    _write(json_file, documents[0] if len(documents) == 1 else {"schema": 1, "datasets": documents})


def _remarks(console, recordings: list[dict]) -> None:
    """Print what was repaired, is wrong or is noted, a sentence of many recordings once."""
    about: dict[tuple[str, str], list[str]] = {}
    for row in recordings:
        for kind in ("repaired", "problems", "notes"):
            for sentence in row[kind]:
                about.setdefault((kind, sentence), []).append(f"sub-{row['subject']} {row['run']}")
    shown: dict[str, int] = {}
    for (kind, sentence), names in about.items():
        shown[kind] = shown.get(kind, 0) + 1
        if shown[kind] <= SHOWN or kind != "problems":
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            console.print(f"{'note' if kind == 'notes' else kind}: {names[0]}{more}: {sentence}")
    if shown.get("problems", 0) > SHOWN:
        console.print(f"problems: and {shown['problems'] - SHOWN} more; --json FILE writes all.")


#: Problems shown on the terminal.
SHOWN = 10

#: Datasets whose EEG is judged by the size of its files, and how its content can be compared all the same.
BY_SIZE = {
    "sleep": " `eegfmri data get sleep --verify` compares the published ones.",
    "rest": "",
}


#: A download larger than this (bytes) is confirmed first.
LARGE = 1e9


@data_app.command("get")
def data_get(
    dataset: Annotated[str, typer.Argument(help="sleep, oddball or rest; or the series alertness or rshrf.")],
    subjects: Annotated[
        list[str] | None, typer.Option("--subjects", metavar="NAMES", help="Only these subjects: 01,02; repeatable.")
    ] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option("--runs", metavar="NAMES", help="Only runs that begin so: task-sleep,task-rest_run-1 (sleep)."),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Label tables and sidecars only, no signals (sleep).")
    ] = False,
    extras: Annotated[
        bool, typer.Option("--extras", help="Also eye tracking, field maps and processed images (sleep).")
    ] = False,
    dest: Annotated[
        Path | None, typer.Option("--dest", metavar="DIR", help="Where datasets lie side by side; data if left out.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="Files fetched at once.")] = 4,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare checksums of files that are there already.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a large download.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be fetched, and what it is for.")
    ] = False,
) -> None:
    """Fetch a dataset, or a useful part of it, resumably; what is there already is not fetched again."""
    from eegfmri.datasets import download

    _choice("dataset", dataset, tuple(download.SOURCES))
    if jobs < 1:
        raise RequestError(f"--jobs must be 1 or more, not {jobs}.")
    if dest is not None and dest.exists() and not dest.is_dir():
        raise RequestError(f"--dest: {dest} is not a folder.")

    console = _console()
    plan = download.make_plan(
        dataset, dest, subjects=_words(subjects), runs=_words(runs), labels=labels, extras=extras, verify=verify
    )
    size = download.size_text(plan.n_bytes)
    console.print(
        f"{TERMS[dataset][0]} ({TERMS[dataset][1]}): {len(plan.files)} files asked for, {len(plan.files) - len(plan.missing)} are there, "
        f"{len(plan.missing)} to fetch ({size}) into {_short(plan.root)}"
    )
    if plan.by_size:
        console.print(
            f"{len(plan.by_size)} of those that are there were compared by size only; --verify compares their checksums, once for all."
        )
    if dry_run:
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for column in ("enough for", "files", "size", "command"):
            table.add_column(column, justify="right" if column in ("files", "size") else "left", overflow="fold")
        from eegfmri.ledger import claims

        for part in download.subsets(dataset, claims.subjects_needed(dataset)):
            known = "" if part.n_bytes is None else download.size_text(part.n_bytes)
            table.add_row(part.purpose, str(part.n_files), known, part.command)
        console.print(table)
        return
    if not plan.missing:
        return
    download.require_space(plan)
    if not yes and (plan.n_bytes is None or plan.n_bytes > LARGE):
        if not sys.stdin.isatty():
            raise RequestError(
                f"This would fetch {size}: say --yes, or see with --dry-run what smaller parts there are."
            )
        typer.confirm("Fetch it?", abort=True)
    report = _download(console, download, plan, jobs)
    speed = report["bytes"] / max(report["seconds"], 1e-9) / 1e6
    console.print(
        f"{report['files']} files, {download.size_text(report['bytes'])}, {report['seconds']:.0f} s, {speed:.1f} MB/s"
    )
    if report["faults"]:
        console.print(
            "mended on the way: " + ", ".join(f"{number} {kind}" for kind, number in report["faults"].items())
        )
    if report["recorded"]:
        console.print(
            f"No checksum is published for {', '.join(report['recorded'])}: the first one is recorded in {download.RECORD} there."
        )
    if report["absent"]:
        console.print(f"Not to be had, and needed by nothing here: {', '.join(report['absent'])}")
    if dataset in download.SERIES:
        console.print(f"Use it: eegfmri run recordings/coupling -p {dataset}_dir={_short(plan.root)}")
    else:
        console.print(f"See what is there: eegfmri data check {_short(plan.root)}")


def _words(options: list[str] | None) -> list[str] | None:
    """Split options given as ``a,b`` or repeated."""
    return [word for option in options for word in option.split(",") if word] if options else None


def _download(console, download, plan, jobs: int) -> dict:
    """Fetch under a bar for the whole and one for each file under way; off a terminal, a line per file that is done."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        whole = progress.add_task(f"{len(plan.missing)} files", total=plan.n_bytes)
        bars: dict[str, int] = {}
        arrived = []

        def listen(event, file, value):
            if event == "start":
                bars[file.name] = progress.add_task(
                    escaped(file.name.rpartition("/")[2]), total=file.n_bytes, completed=value
                )
            elif event == "bytes":
                progress.advance(bars[file.name], value)
                progress.advance(whole, value)
            elif event in ("done", "failed") and file.name in bars:
                progress.remove_task(bars.pop(file.name))
            if event == "done":
                arrived.append(file.name)
                progress.update(whole, description=f"{len(arrived)} of {len(plan.missing)} files")
            if event == "done" and not console.is_terminal:
                console.print(f"{file.name} ({value / 1e6:.1f} MB)")
            elif event == "retry":
                progress.console.print(f"{file.name}: {value}; again")

        return download.fetch(plan, jobs, download.Transfer(listen=listen))


@data_app.command("simulate")
def data_simulate(
    dataset: Annotated[str, typer.Argument(help="sleep, oddball or rest.")] = "sleep",
    scale: Annotated[
        str, typer.Option(help="small, medium (as many subjects as the papers had), or full for the real numbers.")
    ] = "small",
    preset: Annotated[str, typer.Option(help="realistic, uncoupled, weak or strong.")] = "realistic",
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 0,
    n_subjects: Annotated[int | None, typer.Option(help="Number of subjects; the scale's own if left out.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write; data/simulated if left out.")
    ] = None,
) -> None:
    """Write simulated recordings in the layout of a real dataset."""
    from eegfmri.recordings import DATASETS
    from eegfmri.simulation.parameters import PRESETS

    _choice("dataset", dataset, DATASETS)
    _choice("--scale", scale, ("small", "medium", "full"))
    _choice("--preset", preset, tuple(PRESETS))
    if n_subjects is not None and n_subjects < 1:
        raise RequestError(f"--n-subjects must be 1 or more, not {n_subjects}.")
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"--out: {out} is not an empty folder.")
    from eegfmri.simulation import simulate

    recipe = {"scale": scale, "preset": preset, "seed": seed, "n_subjects": n_subjects}
    root = simulate.ensure(dataset, **recipe) if out is None else simulate.simulate(dataset, out, **recipe)
    _console().print(f"Simulated {dataset} recordings: {_short(Path(root))}")


def _choice(name: str, value: str, allowed) -> None:
    if value not in allowed:
        import difflib

        near = difflib.get_close_matches(value, allowed, n=1, cutoff=0.0)[0]
        raise RequestError(f"{name} must be one of {', '.join(allowed)}, not {value!r}: did you mean {near!r}?")


# --- chapters --------------------------------------------------------------------------------------------------------


#: Longer declarations of a parameter have their help on the next line.
WIDE = 60


@app.command("chapters")
def chapters_command(json_file: JsonOption = None) -> None:
    """List the chapters, one line each, with their parameters, types, defaults and help."""
    from eegfmri.runner import chapters, record

    rows = chapters.listing()
    recorded: dict[str, list[dict]] = {row["chapter"]: [] for row in rows}
    for run in record.listing():
        recorded.setdefault(run["chapter"], []).append(run)
    width = max((len(row["chapter"]) for row in rows), default=0)
    for row in rows:
        minutes = f" ({row['minutes']} min)" if row["minutes"] else ""
        _say(f"{row['chapter']:<{width}}  {row['summary']}{minutes}")
        names = [f"{p['name']}: {p['type']} = {p['default']!r}" for p in row["parameters"]]
        column = max((len(name) for name in names if len(name) <= WIDE), default=0)
        for name, parameter in zip(names, row["parameters"], strict=True):
            # Help stands in a column of its own; after a very long type it takes the next line.
            break_line = f"\n{'':<{column + 8}}" if len(name) > WIDE else ""
            bounds = f" [{parameter['range']}]" if parameter["range"] else ""
            _say(f"    -p {name:<{column}}{break_line}  {parameter['help']}{bounds}".rstrip())
        row["recorded"] = recorded.pop(row["chapter"])
        for run in row["recorded"]:
            _say(f"    {_recorded(run)}")
    for name, left in recorded.items():
        _say(f"{name}  (no longer in the book)")
        for run in left:
            _say(f"    {_recorded(run)}")
    _write(json_file, {"schema": 1, "chapters": rows})


def _recorded(run: dict) -> str:
    """Say in one line what a recorded run is."""
    from eegfmri.runner.preflight import duration

    assigned = "".join(f", {name}={value!r}" for name, value in run["assigned"].items())
    since = f"; changed since: {', '.join(run['changed'])}" if run["changed"] else ""
    return f"recorded {run['date']}: {run['profile']}, {run['preset']}{assigned}, {duration(run['seconds'])}, key {run['key']}{since}"


#: Seconds between two lines about a chapter that is running, where the output is not a terminal.
SELDOM = 60.0


class _Reporter:
    """Progress on the terminal: a line when a chapter begins and ends, and on a real terminal the running cells and what they do.

    Elsewhere a chapter that runs long says how far it is once a minute.
    """

    def __init__(self, console):
        self.console = console
        self.running: dict[str, str] = {}
        self.cells: dict[str, str] = {}
        self.said: dict[str, float] = {}
        self.status = console.status("") if console.is_terminal else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is not None:
            self.status.stop()

    def __call__(self, event: str, **about) -> None:
        if event == "start":
            self.running[about["request"].chapter.name] = "starting"
            self.said[about["request"].chapter.name] = time.monotonic()
            if self.status is None:
                self.console.print(f"executing {about['request'].chapter.name}")
        elif event == "cell":
            cell = f"cell {about['done'] + 1}/{about['total']}"
            self.cells[about["request"].chapter.name] = self.running[about["request"].chapter.name] = cell
        elif event == "progress":
            name, state = about["request"].chapter.name, about["state"]
            cell = self.cells.get(name, "")
            self.running[name] = cell if state is None else f"{cell}, {state.sentence}"
            if self.status is None and state is not None and time.monotonic() > self.said.get(name, 0.0) + SELDOM:
                self.said[name] = time.monotonic()
                self.console.print(f"executing {name}: {state.sentence}")
        elif event == "data":
            self.console.print(
                f"simulated recordings: {about['dataset']} ({about['preset']}, {about['scale']}, seed {about['seed']})"
            )
        elif event == "recorded":
            self.console.print(f"recorded: {_short(about['path'])}")
        elif event == "wait":
            self.console.print("waiting for another build to finish")
        elif event == "render":
            self.running = {}
            self.console.print("rendering")
        elif event == "end":
            outcome = about["outcome"]
            self.running.pop(outcome.request.chapter.name, None)
            from rich.text import Text

            style = {"executed": "green", "cached": "dim", "failed": "red"}[outcome.status]
            name = escaped(outcome.request.chapter.name)
            self.console.print(
                Text.assemble((f"{outcome.status:<8}", style), f" {name} ", (f"({outcome.seconds:.1f} s)", "dim"))
            )
        if self.status is not None:
            from rich.text import Text

            shown = " · ".join(f"{name}: {what}" for name, what in self.running.items())
            self.status.update(Text(escaped(shown)))
            (self.status.start if self.running else self.status.stop)()


@app.command("run")
def run_command(
    chapter: Annotated[str, typer.Argument(help="Name as `eegfmri chapters` lists it.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="Set a parameter; repeatable.")
    ] = None,
    profile: ProfileOption = None,
    data: DataOption = None,
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="Folder for the results.")] = None,
    device: DeviceOption = None,
    force: ForceOption = False,
    scheduler: SchedulerOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it needs, what is missing and what it would cost.")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Also keep the results under data/recorded, once and for all.")
    ] = False,
) -> int:
    """Execute one chapter: notebook, stand-alone page and results.json."""
    from eegfmri.runner import build as runner

    if dry_run:
        request, found = runner.forecast(chapter, parameter or [], profile, data, out, device)
        if record:
            from eegfmri.runner import record as recording

            recording.place(request, profile)
        _say(f"{request.chapter.name}{f', profile {profile}' if profile else ''}")
        for what, text in found.lines:
            if text not in found.problems:
                _say(f"  {what:<11} {text}")
        for problem in dict.fromkeys(found.problems):
            _say(_sentence(problem), err=True)
        _say("It cannot be executed." if found.problems else "It can be executed.")
        return 2 if found.problems else 0
    with _Reporter(_console()) as report:
        folder = runner.run(chapter, parameter or [], profile, data, out, force, report, scheduler, device, record)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".html", ".ipynb", ".json"):
            _say(_short(path))
    return 0


@app.command("sweep")
def sweep_command(
    chapter: Annotated[str, typer.Argument(help="Name as `eegfmri chapters` lists it.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="KEY=A,B,C", help="Values of a parameter; repeatable."),
    ] = None,
    profile: ProfileOption = None,
    data: DataOption = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Combinations executed at once.")
    ] = None,
    scheduler: SchedulerOption = None,
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="Folder for table and plot.")] = None,
) -> int:
    """Execute a chapter for every combination of values: a table, the spread of each result, a plot."""
    from eegfmri import project
    from eegfmri.figures.sweep import write_page
    from eegfmri.ledger import claims
    from eegfmri.runner import sweep

    console = _console()

    def report(event: str, **about) -> None:
        if event == "combination":
            values = ", ".join(f"{name} = {value}" for name, value in about["values"].items())
            outcome = about["outcome"]
            console.print(f"{about['done']}/{about['total']} {outcome.status:<8} {values} ({outcome.seconds:.1f} s)")
        elif event == "data":
            console.print(f"simulated recordings: {about['dataset']} (seed {about['seed']})")

    done = sweep.sweep(chapter, parameter or [], profile, data, workers, out, report, scheduler)
    write_page(done)
    if done.spread:
        ledger = project.table("claims.yml")
        compared = {claim.result_key for claim in claims.load()} if ledger.is_file() else set()
        wanted = set(done.headline) or compared
        shown = [row for row in done.spread if row["key"] in wanted] or done.spread
        import pandas as pd

        _print_frame(pd.DataFrame(shown[:SHOWN_RESULTS], dtype=object))
        if len(done.spread) > len(shown[:SHOWN_RESULTS]):
            _say(f"{len(done.spread)} results in all: {_short(done.folder / 'spread.csv')}")
    for name in ("sweep.csv", "spread.csv", "sweep.html"):
        if (done.folder / name).is_file():
            _say(_short(done.folder / name))
    failed = [outcome for outcome in done.outcomes if outcome.status == "failed"]
    for outcome in failed:
        _say(_sentence(outcome.error), err=True)
    return 1 if failed else 0


#: Results of a sweep or a comparison shown on the terminal.
SHOWN_RESULTS = 25


@app.command("compare")
def compare_command(
    first: Annotated[str, typer.Argument(metavar="A", help="A run: its folder or results.json, `book` or `recorded`.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    json_file: JsonOption = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page", metavar="FILE", help="Also write one HTML page that stands alone.", callback=_writable_page
        ),
    ] = None,
) -> None:
    """Compare two runs: parameters, recordings, environment, code and results that differ."""
    from eegfmri.runner.compare import compare

    document = compare(first, second)
    for entry in document["chapters"]:
        _print_comparison(entry)
    for side in ("first", "second"):
        if document[f"only_{side}"]:
            _say(f"only in {document[side]}: {', '.join(document[f'only_{side}'])}")
    if document["identical"]:
        _say("identical")
    _write(json_file, document)
    if page is not None:
        from eegfmri.cache import written_whole
        from eegfmri.runner.render import comparison

        text = comparison(document)
        with written_whole(page) as temporary:
            temporary.write_text(text, encoding="utf-8")
        _say(_short(page))


def _print_comparison(entry: dict) -> None:
    """Print how two runs of a chapter differ: a table of settings, one of results, those farthest beyond their intervals first."""
    import pandas as pd

    results = entry["results"]
    beyond = sum(result["beyond"] is True for result in results)
    many = "1 result differs" if len(results) == 1 else f"{len(results)} results differ"
    counted = f"{many}, {beyond} of them beyond their intervals" if results else "the same results"
    _say(f"{entry['chapter']}: {'identical' if entry['identical'] else counted}")
    settings = [
        {"what": kind, "name": row["name"], "A": row["first"], "B": row["second"]}
        for kind in ("parameters", "data", "environment", "code")
        for row in entry[kind]
    ]
    if settings:
        _print_frame(pd.DataFrame(settings, dtype=object))
    if results:
        said = {True: "beyond the intervals", False: "within", None: ""}
        sides = {"first": "A", "second": "B", None: ""}
        shown = sorted(results, key=lambda result: result["beyond"] is not True)[:SHOWN_RESULTS]
        rows = [
            {
                "key": result["key"],
                "A": result["first"]["value"],
                "B": result["second"]["value"],
                "difference": result["difference"],
                "unit": result["unit"],
                "better": result["better"],
                "in favour of": sides[result["favours"]],
                "": said[result["beyond"]],
            }
            for result in shown
        ]
        _print_frame(pd.DataFrame(rows, dtype=object))
        if len(results) > len(shown):
            _say(f"and {len(results) - len(shown)} more; --json FILE writes all.")
    for side, name in (("first", "A"), ("second", "B")):
        if entry[f"only_{side}"]:
            _say(f"only in {name}: {', '.join(entry[f'only_{side}'])}")


@app.command("build")
def build_command(
    profile: ProfileOption = None,
    data: DataOption = None,
    jobs: Annotated[int | None, typer.Option("--jobs", metavar="N", help="Chapters executed at once.")] = None,
    force: ForceOption = False,
    json_file: JsonOption = None,
) -> int:
    """Execute what has changed and render the book."""
    from eegfmri.runner import build as runner
    from eegfmri.runner.execution import build_dir

    try:
        with _Reporter(_console()) as report:
            document, outcomes = runner.build(profile, data, jobs, force, report)
    except runner.RenderError as error:
        _write(json_file, error.document)
        raise
    _write(json_file, document)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        if "--debug" in sys.argv and outcome.log:
            _say(outcome.log, err=True)
        _say(_sentence(outcome.error), err=True)
    if failed:
        stands = " The previous one stands." if document["html"] else ""
        names = ", ".join(outcome.request.chapter.name for outcome in failed)
        logs = _short(build_dir() / "logs")
        _say(f"The book was not rendered, for {names} failed (tracebacks in {logs}).{stands}", err=True)
        return 1
    _say(f"{'The book' if document['rendered'] else 'Nothing has changed; the book'}: {_short(Path(document['html']))}")
    return 0


@app.command("classroom")
def classroom_command(
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder to write, new or empty.")],
    chapters: Annotated[
        list[str] | None,
        typer.Option("--chapters", metavar="NAMES", help="Only these: a,b; repeatable; all if left out."),
    ] = None,
    hints: Annotated[int, typer.Option("--hints", metavar="N", help="Hints that students are given: 0, 1 or 2.")] = 1,
) -> None:
    """Write student and teacher notebooks of the chapters, zipped; answers in them check themselves."""
    from eegfmri.classroom import handouts

    folder = handouts.write(out, _words(chapters), hints)
    for name in ("README.md", *(f"{kind}.zip" for kind in handouts.KINDS)):
        _say(_short(folder / name))


# --- verify and bench ------------------------------------------------------------------------------------------------


@app.command("verify")
def verify_command(
    paper: Annotated[str | None, typer.Option("--paper", metavar="NAME", help="Only the claims of this paper.")] = None,
    data: DataOption = None,
    import_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--import", metavar="FILE", help="Add the results.json of someone with the recordings; repeatable."
        ),
    ] = None,
    json_file: JsonOption = None,
) -> int:
    """Compare the published claims with our results; with recordings, the chapters are executed in full first."""
    from eegfmri.ledger import claims, verdicts
    from eegfmri.runner import build as runner

    failed = []
    if data is not None:
        verdicts.verify([], paper=paper)  # an unknown paper is refused before anything runs
        chapters = dict.fromkeys(
            claim.chapter for claim in claims.load() if paper in (None, claim.paper) and claim.result_key
        )
        with _Reporter(_console()) as report:
            outcomes = runner.execute_for_claims(chapters, data, listen=report)
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    from eegfmri.results import damaged

    for sentence in damaged():
        _say(_sentence(f"Left out: {sentence}"), err=True)
    document = verdicts.verify(paper=paper, imported=import_files or [])
    _print_frame(verdicts.table(document))
    counts: dict[str, int] = {}
    for claim in document["claims"]:
        counts[claim["verdict"]] = counts.get(claim["verdict"], 0) + 1
    _say(f"{len(document['claims'])} claims: " + ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())))
    _write(json_file, document)
    for outcome in failed:
        _say(_sentence(outcome.error), err=True)
    return 1 if failed else 0


@app.command("bench")
def bench_command(
    name: Annotated[str | None, typer.Argument(help="Name of a benchmark; all if left out.")] = None,
    device: DeviceOption = None,
    json_file: JsonOption = None,
    record: Annotated[
        bool,
        typer.Option("--record", help="Keep each under data/recorded/bench/, for the book, as soon as it is done."),
    ] = False,
) -> None:
    """Run the benchmarks and show them as a table."""
    from eegfmri import bench

    if record:
        from eegfmri.bench import kept

        rows = []
        for one in [name] if name else bench.names():
            written = kept.write(one, device)
            _say(f"{written.label()} Kept in {written.path}.")
            rows += [{"benchmark": one, **row} for row in written.rows]
    else:
        rows = bench.run(name, device)
    import pandas as pd

    _print_frame(pd.DataFrame(rows))
    _write(json_file, {"schema": 1, "machine": bench.machine(device), "benchmarks": rows})


def _print_frame(frame) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in frame.columns:
        table.add_column(str(column), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    _console().print(table)


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
