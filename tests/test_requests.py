"""Requests: types are read and never run, values outside their range are refused in a sentence, whatever bytes they are made of."""

import ast
import json
import os
import string
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from book_project import eegfmri, environment, make_project
from eegfmri import errors, text
from eegfmri.errors import DataError, EegFmriError, RequestError
from eegfmri.runner import chapters, execution
from eegfmri.runner.parameters import Parameter, Range, read_parameters, source_of

BOOK = chapters.discover()

NUMBERS = [
    (name, parameter)
    for name, chapter in BOOK.items()
    for parameter in chapter.parameters.values()
    if {"int", "float", "list"}
    & {part.id for part in ast.walk(ast.parse(parameter.annotation)) if isinstance(part, ast.Name)}
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = make_project(tmp_path / "project")
    monkeypatch.setenv("EEGFMRI_ROOT", str(folder))
    return folder


# --- ranges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameter"), NUMBERS, ids=[f"{name}-{p.name}" for name, p in NUMBERS])
def test_every_number_and_list_of_the_book_has_a_range_and_what_lies_outside_is_refused(name, parameter):
    bounds = parameter.range
    assert bounds is not None, f"{name}: {parameter.name} has no range"
    outside = [float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), "x", b"x", object()]
    if bounds.fewest is None:
        outside += [bounds.low - 1, bounds.high + 1, float(bounds.low) - 0.5, True]
        inside = [value for value in (bounds.low, bounds.high) if not (bounds.above or bounds.below)]
        if bounds.parity is None and "int" in parameter.annotation:
            for value in inside:
                assert parameter.validate(value) == value
    else:
        outside += [[parameter.default[0]] * (bounds.most + 1)] if parameter.default else []
        outside += [[]] if bounds.fewest else []
        if bounds.different and parameter.default:
            outside.append([parameter.default[0]] * 2)
    for value in outside:
        with pytest.raises(ValueError):
            parameter.validate(value)


@pytest.mark.parametrize(
    ("chapter", "assignment"),
    [
        ("recordings/recording", "n_subjects=-3"),
        ("recordings/recording", "n_subjects=0"),
        ("recordings/evaluation", "gap=-5"),
        ("recordings/evaluation", "lag=500"),
        ("recordings/evaluation", "lag=nan"),
        ("recordings/evaluation", "classes=['W']"),
        ("recordings/evaluation", "classes=[]"),
        ("recordings/evaluation", "classes=['W', 'W']"),
        ("recordings/evaluation", "classes=['W', 'N9']"),
        ("recordings/evaluation", "eeg_epochs=2"),
        ("fusion/graph_fusion", "sfreq=1e400"),
        ("fusion/graph_fusion", "density=0"),
        ("fusion/saliency_fusion", "noise_levels=[1.0, 1.0]"),
        ("synthesis/synthesis", "models=[]"),
        ("synthesis/transformer_cnn", "dropout=1.0"),
        ("synthesis/transformer_cnn", "seed=" + "9" * 5000),
    ],
)
def test_a_value_outside_its_range_is_refused_with_the_range(chapter, assignment):
    name = assignment.partition("=")[0]
    with pytest.raises(RequestError) as caught:
        chapters.resolve_parameters(BOOK[chapter], None, [assignment])
    said = str(caught.value)
    assert BOOK[chapter].parameters[name].range.text in said
    assert len(said) < 500


@pytest.mark.parametrize(
    ("chapter", "assignments", "said"),
    [
        ("recordings/preprocessing_eeg", ["l_freq=45", "h_freq=10"], "must rise"),
        ("fusion/saliency_fusion", ["first_lag=5", "last_lag=5"], "must rise"),
        ("synthesis/transformer_cnn", ["width=10", "n_heads=4"], "must be a multiple"),
    ],
)
def test_values_that_do_not_go_together_are_refused(chapter, assignments, said):
    with pytest.raises(RequestError, match=said):
        chapters.resolve_parameters(BOOK[chapter], None, assignments)


def test_ranges_are_shown_by_chapters_and_in_its_json(project):
    path = project / "book" / "fixtures" / "first.md"
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace("# rate in Hz", "# rate in Hz [above 0 to 100]"), encoding="utf-8")
    done = eegfmri(project, "chapters", "--json", "c.json")
    assert "rate in Hz [above 0 to 100]" in done.stdout
    rows = json.loads((project / "c.json").read_text(encoding="utf-8"))["chapters"][0]["parameters"]
    assert {row["name"]: row["range"] for row in rows}["rate"] == "above 0 to 100"
    assert {row["name"]: row["help"] for row in rows}["rate"] == "rate in Hz"


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_every_command_refuses_with_the_range_before_anything_runs(project, command):
    path = project / "book" / "fixtures" / "first.md"
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace("# use only the first so many subjects", "# subjects [1 to 9]"), encoding="utf-8")
    values = "n_subjects=-3" if command == "run" else "n_subjects=1,2,-3"
    done = eegfmri(project, command, "fixtures/first", "-p", values)
    assert done.returncode == 2
    assert "must be int | None, 1 to 9, and '-3' is not" in done.stderr
    assert not (project / "book" / "_build").exists()


def test_a_profile_goes_through_the_same_check(project):
    (project / "book" / "profiles.yml").write_text("bad: {'*': {rate: .inf}}\n")
    done = eegfmri(project, "run", "fixtures/first", "--profile", "bad")
    assert done.returncode == 2
    assert "sets rate of fixtures/first to inf, which is not float" in done.stderr


@pytest.mark.parametrize(
    "text",
    ["5 to 1", "1 too 5", "see below", "1", "1 to", "a to b", "odd 1 to 3", "2 to 3 things", "1 to 9, each 1 to 2", ""],
)
def test_what_looks_like_a_range_and_is_none_is_refused_with_its_line(text):
    if text in ("1", ""):  # an example, no range
        assert read_parameters(f"n: int = 1  # help [{text}]")["n"].range is None
        return
    with pytest.raises(EegFmriError, match=r"the parameters cell:2: the range"):
        read_parameters(f"\nn: int = 1  # help [{text}]")


@pytest.mark.parametrize(
    "source", ["n: str = 'a'  # x [1 to 2]", "n: int = 1  # x [1 to 2 different]", "n: bool = True  # [0 to 1]"]
)
def test_a_range_that_does_not_fit_its_type_is_refused(source):
    with pytest.raises(EegFmriError, match="does not fit its type"):
        read_parameters(source)


@given(
    st.integers(-50, 50),
    st.integers(0, 50),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "odd, ", "even, "]),
    st.integers(-120, 120),
)
def test_a_range_holds_what_a_plain_comparison_holds(low, more, above, below, parity, value):
    high = low + more
    bounds = Range.read(f"{parity}{'above ' * above}{low} to {'below ' * below}{high}")
    expected = (value > low if above else value >= low) and (value < high if below else value <= high)
    expected = expected and (not parity or value % 2 == (parity == "odd, "))
    parameter = Parameter("n", "int", value, "", bounds)
    try:
        assert parameter.validate(value) == value
        found = True
    except ValueError:
        found = False
    assert found == expected


# --- types are read, not run -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "annotation",
    [
        "[c for c in ().__class__.__base__.__subclasses__()][0]",
        "().__class__.__mro__[1].__subclasses__()",
        "__import__('os').system('touch F')",
        "exec('1')",
        "print",
        "int.__class__",
        "9**9**9**9",
        "9**9**9",
        "'int'",
        "1",
        "int + int",
        "lambda: int",
        "list",
        "list[int, int]",
        "list[9**9**9]",
        "Literal[9**9**9]",
        "Literal[int]",
        "Literal[f'{1}']",
        "Literal[1.5]",
        "dict[str]",
        "tuple[()]",
        "(int, str)",
        "[int]",
        "int if True else str",
        "(x := int)",
        "Annotated[int, print('x')]",
        "await x",
        "int | 'str'",
        "Callable[[int], int]",
        "object",
        "bytes",
        " | ".join(["int"] * 3000),
    ],
)
def test_a_type_that_is_no_type_is_refused_with_its_line_and_runs_nothing(annotation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = f"from typing import *\nx: {annotation} = 1"
    with pytest.raises(EegFmriError, match=r"the parameters cell:[12]: "):
        read_parameters(source)
    assert list(tmp_path.iterdir()) == []


def test_chapters_creates_nothing_and_names_chapter_and_line(project):
    path = project / "book" / "fixtures" / "first.md"
    source = path.read_text(encoding="utf-8")
    hostile = (
        "seed: [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'][0](['touch', 'F']) = 0"
    )
    path.write_text(source.replace("seed: int = 0", hostile), encoding="utf-8")
    done = eegfmri(project, "chapters")
    assert done.returncode == 1
    assert "first.md:23: the type of parameter seed is not understood: a call stands in it" in done.stderr
    assert not (project / "F").exists()
    assert len(done.stderr.strip().split("\n")) == 1


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        ("int", "1"),
        ("float", "1"),
        ("bool", "True"),
        ("None", "None"),
        ("str | None", "None"),
        ("Optional[int]", "None"),
        ("Union[int, str]", "'a'"),
        ("Literal['a', 1, -1, None, True]", "-1"),
        ("list[list[int]]", "[[1], []]"),
        ("tuple[int, ...]", "(1, 2)"),
        ("tuple[int, str]", "(1, 'a')"),
        ("dict[str, float]", "{'a': 1.0}"),
        ("list[Literal['a', 'b']] | None", "['b']"),
    ],
)
def test_types_of_the_list_are_understood(annotation, default):
    parameter = read_parameters(f"from typing import Literal, Optional, Union\nx: {annotation} = {default}")["x"]
    assert parameter.default == ast.literal_eval(default)


@pytest.mark.parametrize(
    "source", ["x: int = (", "x: int = 1\n  y = 2", "x: int = '\0'", "x: int = " + "(" * 5000, "'''"]
)
def test_a_parameters_cell_that_is_no_python_is_a_sentence(source):
    with pytest.raises(EegFmriError, match=r"the parameters cell:\d+: the parameters cell is not valid Python"):
        read_parameters(source)


# --- values reach a kernel as data -----------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(PLAIN)
@settings(max_examples=300)
def test_a_plain_value_comes_out_of_its_source_as_it_went_in(value):
    source = source_of(value)
    assert ast.literal_eval(source) == value
    assert "\n" not in source


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"x", print, [print], 1j])
def test_what_is_no_plain_value_is_refused(value):
    with pytest.raises(TypeError, match="cannot be passed"):
        source_of(value)


def test_the_injected_cell_holds_literals_whatever_a_value_says(project):
    import jupytext

    path = project / "book" / "fixtures" / "first.md"
    source = path.read_text(encoding="utf-8").replace(
        'names: list[str] = ["a", "b"]', 'names: tuple[str, ...] = ("a",)'
    )
    path.write_text(source, encoding="utf-8")
    chapter = chapters.find("fixtures/first")
    hostile = "'\"); import os; os.system('touch F'); (\""
    values = chapters.resolve_parameters(chapter, None, [f"names=({hostile!r},)"])
    request = execution.prepare(chapter, values)
    notebook = execution.with_parameters(jupytext.reads(source, fmt="md:myst"), request)
    [cell] = [cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    body = ast.parse(cell.source).body
    assert all(isinstance(node, ast.Assign) for node in body)
    assert {node.targets[0].id: ast.literal_eval(node.value) for node in body} == {"names": (hostile,), "data": None}


# --- odd texts, paths, YAML ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "a\0b",
        "~nobody-of-that-name/x",
        "/" + "a" * 5000,
        "a/" * 3000 + "b",
        "\udcff",
        "x\x1b[2J",
        "a\nb",
        "",
        "/dev/null",
        "/proc/self/mem/x",
    ],
    ids=range(10),
)
@pytest.mark.parametrize("name", ["eeg_file", "labels_dir"])
def test_a_path_that_is_none_is_refused_in_a_sentence(name, value):
    chapter = BOOK["recordings/simulator"]
    with pytest.raises(RequestError) as caught:
        chapters.resolve_parameters(chapter, None, [f"{name}={value}"])
    said = str(caught.value)
    assert name in said
    assert said.encode() and errors.is_printable(said)
    assert len(said) < 20_000


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_any_text_is_taken_or_refused_in_a_sentence(value):
    chapter = BOOK["recordings/preprocessing_eeg"]
    try:
        taken = chapters.resolve_parameters(chapter, None, [f"reference={value}"])["reference"]
    except RequestError as error:
        assert errors.is_printable(str(error))
    else:
        assert errors.is_printable(taken)


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_a_file_whose_name_is_no_utf8_is_refused_in_a_sentence(project):
    name = os.fsdecode(b"caf\xe9.set")
    (project / name).write_bytes(b"x")
    path = project / "book" / "fixtures" / "second.md"
    path.write_text(path.read_text(encoding="utf-8").replace("labels_dir: str", "eeg_file: str"), encoding="utf-8")
    done = eegfmri(project, "run", "fixtures/second", "-p", f"eeg_file={name}")
    assert done.returncode == 2
    assert "bytes that are no text" in done.stderr
    assert len(done.stderr.strip().split("\n")) == 1
    done = eegfmri(project, "run", "fixtures/first", "--out", name)
    assert done.returncode == 2
    assert "bytes that are no text" in done.stderr


BAD_YAML = [
    "a: [",
    "a: b: c",
    "\t- a",
    "a: *unknown",
    "a: &a [*a]",
    "? [1]\n: 2\n? {a: b}\n: 3",
    "a: !!python/object/apply:os.system ['touch F']",
    "a: !!timestamp 2020-99-99",
    "[" * 3000,
    "a: 1\n--- \nb: 2",
    "\x00",
    "- 1",
    "just text",
    "full: 3",
    "full: {'*': [1]}",
    "full: {fixtures/first: 7}",
    "full: {1: {seed: 2}}",
    "full: {fixtures/first: {seed: 2020-01-01}}",
    "full: {fixtures/first: {names: &a [*a]}}",
    "full: {fixtures/first: {seed: [[[[1]]]]}}",
    "\n".join(
        ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    ),
    "m0: &m0 {k: 1}\n"
    + "\n".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}], k{i}: 1}}" for i in range(1, 9)),
]


@pytest.mark.parametrize("content", BAD_YAML, ids=range(len(BAD_YAML)))
@pytest.mark.parametrize("where", ["profiles.yml", "_toc.yml", "front matter", "tags"])
def test_bad_yaml_is_a_sentence_wherever_it_stands(project, where, content):
    book = project / "book"
    page = book / "fixtures" / "first.md"
    source = page.read_text(encoding="utf-8")
    if where == "front matter":
        indented = textwrap.indent(content, "  ")
        page.write_text(
            source.replace("eegfmri:\n", f"eegfmri:\n{indented}\n").replace("  title", "  # "), encoding="utf-8"
        )
    elif where == "tags":
        page.write_text(
            source.replace(":tags: [parameters]", f":tags: {content}".replace("\n", "\n:")), encoding="utf-8"
        )
    else:
        (book / where).write_text(content, encoding="utf-8")
    try:
        chapters.resolve_parameters(chapters.find("fixtures/first"), "full")
    except EegFmriError as error:
        assert len(str(error)) < 3000
    else:
        assert where in ("front matter", "tags"), "nothing of a damaged file was missed"
    assert not (project / "F").exists()


def test_aliases_are_counted_as_often_as_they_stand_there():
    assert text.load_yaml("a: &a [1, 2]\nb: [*a, *a]", "x") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]
    with pytest.raises(DataError, match="aliases are written out"):
        text.load_yaml("\n".join(levels), "x")


@pytest.mark.parametrize(
    "page", ["../../etc/passwd", "/etc/passwd", "a/../../b", "a\\b", "", "x\x1b[2J", 3, [1], "..", "a/./b"]
)
def test_a_page_outside_the_book_is_refused(project, page):
    import yaml

    (project / "book" / "_toc.yml").write_text(yaml.safe_dump({"root": "intro", "chapters": [{"file": page}]}))
    with pytest.raises(EegFmriError, match=r"_toc.yml"):
        chapters.discover()


# --- terminals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_chapters_speaks_on_any_terminal(project, encoding):
    page = project / "book" / "fixtures" / "first.md"
    source = page.read_text(encoding="utf-8")
    page.write_text(source.replace("# rate in Hz", "# Δt − 1 ≤ µ “rate” 脳 "), encoding="utf-8")
    variables = environment(project) | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
    for words in (["chapters"], ["run", "fixtures/first", "-p", "rate=Δ"], ["data", "list"]):
        command = [sys.executable, "-m", "eegfmri", *words]
        done = subprocess.run(command, cwd=project, env=variables, capture_output=True)
        assert done.returncode == (2 if words[0] == "run" else 0), done.stderr
        assert b"UnicodeEncodeError" not in done.stderr + done.stdout


CONTROLS = [chr(number) for number in [*range(32), 127, *range(128, 160)] if chr(number) not in "\n\t"]


@given(st.text(alphabet=st.sampled_from([*CONTROLS, "\udcff", "\u202e", *string.printable, "ä", "脳"]), max_size=60))
def test_what_is_shown_never_steers_a_terminal(value):
    shown = errors.escaped(value)
    assert not any(character in shown for character in CONTROLS)
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert errors.escaped(shown) == shown


def test_strict_json_holds_no_infinity():
    value = {"a": [float("inf"), float("nan"), 1.5, (True, None)], "b\udcff": "\udcff"}
    written = json.dumps(text.jsonable(value), allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert json.loads(written) == {"a": [None, None, 1.5, [True, None]], "b\\udcff": "\\udcff"}


# --- single files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chapter", "name"),
    [
        ("recordings/preprocessing_eeg", "eeg_file"),
        ("recordings/preprocessing_fmri", "bold_file"),
        ("recordings/datasets", "labels_dir"),
    ],
)
def test_with_a_file_of_one_s_own_no_dataset_is_needed(chapter, name, tmp_path):
    assert BOOK[chapter].needs(BOOK[chapter].defaults)
    values = BOOK[chapter].defaults | {name: str(tmp_path)}
    assert BOOK[chapter].needs(values) == ()
    assert execution.prepare(BOOK[chapter], values).simulated == ()


def test_where_several_take_the_place_of_a_dataset_all_of_them_must_be_given(tmp_path):
    chapter, names = BOOK["recordings/coupling"], ("coupling_file", "alertness_dir", "rshrf_dir")
    for count in range(3):
        values = chapter.defaults | dict.fromkeys(names[:count], str(tmp_path))
        assert chapter.needs(values) == ("rest", "oddball")
    assert chapter.needs(chapter.defaults | dict.fromkeys(names, str(tmp_path))) == ()


def test_a_chapter_that_reads_a_file_beside_its_datasets_needs_them_still():
    values = BOOK["recordings/simulator"].defaults | {"eeg_file": "x"}
    assert BOOK["recordings/simulator"].needs(values) == ("sleep", "oddball", "rest")
