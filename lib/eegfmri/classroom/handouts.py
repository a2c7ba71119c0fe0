"""Notebooks of a class: for students without solutions, for teachers with them, both from the one source of each chapter."""

import json
import secrets
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from eegfmri import results
from eegfmri.classroom.checks import sealed
from eegfmri.classroom.exercises import GRADES, Exercise, outline
from eegfmri.errors import CannotWrite, RequestError
from eegfmri.runner.chapters import Chapter, discover, find
from eegfmri.runner.execution import build_dir, folder_of
from eegfmri.runner.notebooks import HOW_TO_RUN, Prose, add_text, begun, finished, numbers_of, quoted

#: Hints that an exercise has at most, and so the highest level that can be asked for.
MOST_HINTS = 2

#: For whom notebooks are made.
KINDS = ("student", "teacher")

_UNGRADED = "not graded"


def write(out: str | Path, chapters: Iterable[str] | None = None, hints: int = 1) -> Path:
    """Write the notebooks of a class: a folder for students, one for teachers, both zipped.

    Parameters
    ----------
    out : str or pathlib.Path
        A folder that is empty or not there; it appears when everything in it is written.
    chapters : iterable of str or None
        Which chapters; all if None.
    hints : int, default=1
        How many hints of each exercise students are given, 0 to `MOST_HINTS`.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    RequestError
        If the folder holds something, a chapter is not known, or there is no such level of hints.
    """
    known = discover()
    chosen = list(known.values()) if chapters is None else [find(name, known) for name in dict.fromkeys(chapters)]
    if not chosen:
        raise RequestError(
            "--chapters names none: give names as `eegfmri chapters` lists them, or leave it out for all."
        )
    if not 0 <= hints <= MOST_HINTS:
        raise RequestError(f"--hints must be 0, 1 or {MOST_HINTS}, not {hints}.")
    folder = folder_of(out, "OUT")
    _require_empty(folder)
    part = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        with CannotWrite.saying(folder):
            part.mkdir(parents=True)
            _fill(part, chosen, hints)
            _require_empty(folder)
            if folder.is_dir():
                folder.rmdir()
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _require_empty(folder: Path) -> None:
    from eegfmri.runner.preflight import unwritable

    if problem := unwritable(folder):
        raise RequestError(f"OUT: {problem}")
    if folder.is_dir() and any(folder.iterdir()):
        raise RequestError(f"OUT: {folder} is not empty: name a new folder, or empty this one.")


def _fill(part: Path, chapters: list[Chapter], hints: int) -> None:
    import jupytext
    import nbformat

    linked = [chapter.name for chapter in chapters]
    overview: dict[str, list[Exercise]] = {}
    for chapter in chapters:
        source = jupytext.reads(chapter.source, fmt="md:myst")
        document = _results_of(chapter)
        numbers = numbers_of((document or {}).get("results", ()))
        for kind in KINDS:
            parts = outline(source, chapter.name)
            overview[chapter.name] = [exercise for exercise in parts if isinstance(exercise, Exercise)]
            prose = Prose(chapter.name, numbers, frozenset(linked))
            made = begun(source, prose, document)
            _add_checks(made, overview[chapter.name], numbers)
            if kind == "teacher":
                _add(made, _table(overview[chapter.name]))
            for piece in parts:
                if isinstance(piece, str):
                    add_text(made, prose, piece)
                elif isinstance(piece, Exercise):
                    (_add_stub if kind == "student" else _add_solution)(made, prose, piece, hints)
                else:
                    made.cells.append(piece.copy())
            path = part / kind / f"{chapter.name}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(nbformat.writes(finished(made, prose)) + "\n", encoding="utf-8")
    (part / "README.md").write_text(_readme(chapters, overview, None), encoding="utf-8")
    for kind in KINDS:
        (part / kind / "README.md").write_text(_readme(chapters, overview, kind), encoding="utf-8")
        _zip(part / kind, part / f"{kind}.zip")


def _results_of(chapter: Chapter) -> dict | None:
    """Return what the last build recorded of a chapter; None where there is none."""
    path = build_dir() / "results" / f"{chapter.name}.json"
    return results.read(path) if path.is_file() else None


def _add(made, text: str) -> None:
    import nbformat

    if text:
        made.cells.append(nbformat.v4.new_markdown_cell(text))


def _add_code(made, text: str) -> None:
    import nbformat

    made.cells.append(nbformat.v4.new_code_cell(text))


def _add_checks(made, exercises: list[Exercise], numbers: dict) -> None:
    """Add the cell by which answers check themselves, if any exercise has an answer."""
    seals = {each.label: sealed(each.label, each.expected(numbers)) for each in exercises if each.answer}
    if not seals:
        return
    lines = ",\n".join(f" {json.dumps(label)}: {json.dumps(seal)}" for label, seal in seals.items())
    _add_code(
        made,
        "# Answers that check themselves: run this cell, and call check(exercise, answer) as often as you like.\n"
        f"from eegfmri.classroom import Checks\n\ncheck = Checks(r'''{{\n{lines}\n}}''')",
    )


def _heading(exercise: Exercise, prose: Prose) -> str:
    graded = f" *({exercise.grade}, {exercise.minutes} minutes)*" if exercise.grade else ""
    return f"**Exercise: {prose.plain(exercise.title)}**{graded}\n\n{prose.plain(exercise.question)}".strip()


def _check(exercise: Exercise) -> str:
    return f'check("{exercise.label}", {exercise.answer["of"]})'


def _add_stub(made, prose: Prose, exercise: Exercise, hints: int) -> None:
    """Add an exercise as a student meets it: question, hints, starter code, and the call that checks."""
    given = [
        quoted(prose.plain(hint), f"*Hint{f' {n}' if len(exercise.hints) > 1 else ''}.* ")
        for n, hint in enumerate(exercise.hints[:hints], 1)
    ]
    _add(made, "\n\n".join([_heading(exercise, prose), *given]))
    prose.missing.clear()
    if exercise.starter or exercise.answer or exercise.solution_code:
        starter = exercise.starter or (f"{exercise.answer['of']} = ..." if exercise.answer else "...")
        _add_code(made, f"{starter}\n\n{_check(exercise)}" if exercise.answer else starter)
        # What a function makes of three dots may be an error, which must not keep the rest of the notebook from running.
        made.cells[-1].metadata["tags"] = ["exercise", "raises-exception"]
    if not exercise.answer:
        _add(made, "*Your answer:*")


def _add_solution(made, prose: Prose, exercise: Exercise, _hints: int) -> None:
    """Add an exercise as a teacher needs it: all hints, what is expected, the solution, and the check of it."""
    given = [quoted(prose.plain(hint), f"*Hint {n}.* ") for n, hint in enumerate(exercise.hints, 1)]
    _add(made, "\n\n".join([_heading(exercise, prose), *given, quoted(_expected(exercise, prose))]))
    _add(made, "**Solution**")
    for piece in exercise.solution:
        if isinstance(piece, str):
            add_text(made, prose, piece)
        else:
            made.cells.append(piece.copy())
    if exercise.answer:
        _add_code(made, _check(exercise))
        made.cells[-1].metadata["tags"] = ["check"]


def _expected(exercise: Exercise, prose: Prose) -> str:
    """Say what is expected of an answer, and which wrong ones are recognised."""
    answer = exercise.expected(prose.numbers)
    if answer.get("value") is not None:
        text = f"{answer['value']:g}" if not isinstance(answer["value"], int) else str(answer["value"])
        told = ", ".join(f"{name} within {answer[name]:g}" for name in ("right", "near") if name in answer)
        said = f"**Expected:** `{exercise.answer['of']}` = {text}{f' ({told})' if told else ''}."
    elif "words" in answer:
        words = [answer["words"]] if isinstance(answer["words"], str) else answer["words"]
        said = f"**Expected:** {', or '.join(map(str, words))}."
    elif "has" in answer:
        said = f"**Expected of** `{exercise.answer['of']}`: {', '.join(f'{name} {value}' for name, value in answer['has'].items())}."
    elif exercise.answer:
        said = "**Expected:** what the solution computes; no build has recorded it, so that answers are not checked."
    else:
        said = "**Expected:** an argument; answers are not checked."
    wrong = "; ".join(f"{value:g}: {sentence}" for value, sentence in answer.get("wrong", ()))
    return f"{said}{f' **Recognised:** {wrong}' if wrong else ''}"


def _table(exercises: list[Exercise]) -> str:
    """Return the exercises of a chapter as a table, for its teacher."""
    if not exercises:
        return ""
    rows = [
        f"| {each.title} | {each.grade or _UNGRADED} | {each.minutes or ''} | {'itself' if each.answer else 'you'} |"
        for each in exercises
    ]
    total = sum(each.minutes or 0 for each in exercises)
    return "\n".join(
        [
            "**For the teacher.** This notebook holds the solutions.",
            "",
            "| exercise | grade | minutes | checked by |",
            "| --- | --- | --- | --- |",
            *rows,
            *([f"| together | | {total} | |"] if total else []),
        ]
    )


def _readme(chapters: list[Chapter], overview: dict[str, list[Exercise]], kind: str | None) -> str:
    """Return the README of a folder: that of the students says nothing of solutions."""
    lines = ["# EEG–fMRI fusion and synthesis: notebooks of a class", ""]
    if kind is None:
        lines += [
            "| place | what |",
            "| --- | --- |",
            "| `student/`, `student.zip` | notebooks without solutions: hand these out |",
            "| `teacher/`, `teacher.zip` | the same with solutions, expected answers and minutes: keep these |",
            "",
        ]
    elif kind == "teacher":
        lines += [
            "With solutions. The cells `check(…)` behind them say `Right.` when a notebook is run from the top.",
            "",
        ]
    lines += ["## How to run them", ""]
    lines += [f"{n}. {line.format(when='')}" for n, line in enumerate(HOW_TO_RUN, 1)]
    lines += [
        "",
        "A cell with three dots is yours: put your own code in their place and run it. `check(exercise, answer)` says "
        "right, near, or why not.",
        "",
        "## What is here",
        "",
        "| notebook | title | exercises | minutes |",
        "| --- | --- | --- | --- |",
    ]
    for chapter in chapters:
        exercises = overview[chapter.name]
        counts = {grade: sum(each.grade == grade for each in exercises) for grade in (*GRADES, None)}
        told = ", ".join(f"{n} {grade or _UNGRADED}" for grade, n in counts.items() if n) or "none"
        minutes = sum(each.minutes or 0 for each in exercises)
        lines.append(f"| `{chapter.name}.ipynb` | {chapter.title} | {told} | {minutes or ''} |")
    return "\n".join(lines) + "\n"


def _zip(folder: Path, target: Path) -> None:
    """Pack a folder; equal notebooks give equal archives."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes())
