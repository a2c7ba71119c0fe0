"""Exercises as a chapter states them: question, starter code, hints, solution, and what answer is expected.

In a chapter's source an exercise begins with how hard it is and how long it takes, ``*Apply, 10 minutes.*``; a fenced
block of Python in it is the starter code, in which three dots stand for what is asked, and admonitions of the class
``hint`` are its hints, the gentle one first. A comment in its solution, which the book does not show, says what is
expected::

    % answer: {of: overlapping, record: evaluation/exercises/gap/overlapping, near: 2}

``of`` is what is judged, an expression of the names in starter code and solution; ``record`` is the key of a result,
``value`` a number, see `eegfmri.classroom.checks.sealed` for these and the others.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from eegfmri.errors import EegFmriError
from eegfmri.runner.notebooks import Directive, Verbatim, blocks
from eegfmri.text import load_yaml

#: How hard an exercise is, the easiest first.
GRADES = ("recall", "apply", "explore", "research")

_GRADE = re.compile(rf"\*({'|'.join(grade.capitalize() for grade in GRADES)}), (\d+) minutes\.\*\s*")
_ANSWER = re.compile(r"^% answer: *(.*(?:\n% {2,}.*)*)$", re.MULTILINE)

#: What an expected answer may state.
_STATED = {"of", "value", "record", "words", "has", "right", "near", "wrong"}


@dataclass
class Exercise:
    """One exercise of a chapter.

    Attributes
    ----------
    label, title : str
        What it goes by.
    grade : str or None
        One of `GRADES`; None where the chapter does not say.
    minutes : int or None
        How long it takes.
    question : str
        MyST.
    starter : str
        Code with three dots where the student's belongs; empty where there is none.
    hints : list of str
        MyST, the gentle one first.
    solution : list
        Texts (MyST) and code cells.
    answer : dict
        What is expected, as the comment in the solution states it; empty where nothing is.
    """

    label: str
    title: str
    grade: str | None = None
    minutes: int | None = None
    question: str = ""
    starter: str = ""
    hints: list[str] = field(default_factory=list)
    solution: list = field(default_factory=list)
    answer: dict = field(default_factory=dict)

    @property
    def solution_code(self) -> str:
        """The code of its solution, all cells together."""
        return "\n".join(part.source for part in self.solution if not isinstance(part, str))

    def expected(self, numbers: Mapping[str, object]) -> dict:
        """Return the answer with the number that a build has recorded in the place of its key; without, if there is none."""
        answer = {name: value for name, value in self.answer.items() if name != "of"}
        key = answer.pop("record", None)
        return answer if key is None else {**answer, "value": numbers.get(key)}


def outline(notebook, chapter: str) -> list:
    """Divide a chapter's notebook into texts, code cells and exercises.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The chapter as jupytext reads it.
    chapter : str
        Its name, for messages.

    Returns
    -------
    list of str, nbformat.NotebookNode or Exercise
        In their order; what a solution consists of stands in its exercise.

    Raises
    ------
    EegFmriError
        If a solution belongs to no exercise before it, or what is expected is not understood.
    """
    parts: list = []
    exercises: dict[str, Exercise] = {}
    question: tuple[Exercise, list] | None = None
    solution: Exercise | None = None

    def of(label: str) -> Exercise:
        if label not in exercises:
            raise EegFmriError(f"{chapter} has a solution of {label!r}, and no exercise of that label before it.")
        return exercises[label]

    def add(part) -> None:
        into = parts if solution is None else solution.solution
        if isinstance(part, str) and into and isinstance(into[-1], str):
            into[-1] = f"{into[-1]}\n\n{part}"
        else:
            into.append(part)

    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            if question is not None:
                raise EegFmriError(
                    f"{chapter}: the exercise {question[0].label} holds a code cell: fence it as Python."
                )
            add(cell)
            continue
        # What stands in a later cell is a text of its own.
        here = parts if solution is None else solution.solution
        if here and isinstance(here[-1], str):
            here.append("")
        for block in blocks(cell.source):
            name = block.name if isinstance(block, Directive) else ""
            if name in ("exercise", "exercise-start"):
                exercise = Exercise(block.options.get("label", ""), block.argument)
                exercises[exercise.label] = exercise
                parts.append(exercise)
                if name == "exercise":
                    _read_question(exercise, blocks(block.body))
                else:
                    question = exercise, []
            elif name == "exercise-end" and question is not None:
                _read_question(*question)
                question = None
            elif question is not None:
                question[1].append(block)
            elif name == "solution":
                of(block.argument).solution.append(block.body)
            elif name == "solution-start":
                solution = of(block.argument)
            elif name == "solution-end":
                solution = None
            else:
                add(block if isinstance(block, str) else block.source)
    for exercise in exercises.values():
        _read_answer(exercise, chapter)
        exercise.solution = [part for part in exercise.solution if part]
    return [part for part in parts if part]


def _read_question(exercise: Exercise, found: Iterable) -> None:
    texts = []
    for block in found:
        if isinstance(block, Verbatim) and block.language.startswith("python") and not exercise.starter:
            exercise.starter = block.text
        elif isinstance(block, Directive) and "hint" in block.options.get("class", "").split():
            exercise.hints.append(block.body)
        else:
            texts.append(block if isinstance(block, str) else block.source)
    text = "\n\n".join(texts)
    if graded := _GRADE.match(text):
        exercise.grade, exercise.minutes = graded[1].lower(), int(graded[2])
        text = text[graded.end() :]
    exercise.question = text


def _read_answer(exercise: Exercise, chapter: str) -> None:
    where = f"{chapter}: the expected answer of {exercise.label}"
    for at, part in enumerate(exercise.solution):
        if not isinstance(part, str):
            continue
        for match in _ANSWER.finditer(part):
            if exercise.answer:
                raise EegFmriError(f"{where} is stated twice: leave one of the two.")
            answer = load_yaml(re.sub(r"\n% *", " ", match[1]), where)
            if not isinstance(answer, dict) or set(answer) - _STATED or "of" not in answer:
                raise EegFmriError(f"{where} must name `of`, and besides only {', '.join(sorted(_STATED - {'of'}))}.")
            exercise.answer = answer
        exercise.solution[at] = _ANSWER.sub("", part).strip("\n")
