"""Borders that code and markup must not cross: from a name, a table, a comment or a value into the terminal, a page or a file."""

import os
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from book_project import eegfmri, make_project
from eegfmri import cli
from eegfmri.runner import outputs, render

HOSTILE = [
    "<script>bad()</script>",
    "<img src=x onerror=bad()>",
    '<img src="../../../secret.png">',
    "<svg onload=bad()></svg>",
    "<svg><script>bad()</script></svg>",
    "<iframe srcdoc='<script>bad()</script>'></iframe>",
    "<a href='javascript:bad()'>x</a>",
    "<a href='java\tscript:bad()'>x</a>",
    "<a href=' data:text/html,<script>bad()</script>'>x</a>",
    "<object data=secret.svg></object><embed src=secret.svg>",
    "<base href=https://example.org/><link rel=stylesheet href=https://example.org/x.css>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "<form action=https://example.org><button formaction='javascript:bad()'>x</button></form>",
    "<style>@import url(https://example.org/x.css);</style>",
    "<p style=\"background:url('https://example.org/x.png')\">x</p>",
    "<!--><script>bad()</script>-->",
    "<math><mtext><script>bad()</script></mtext></math>",
    "<template><script>bad()</script></template>",
    "<video poster=https://example.org/x.png src=secret.mp4></video>",
    "<input autofocus onfocus=bad()>",
    "<scr<script>ipt>bad()</script>",
]


def active(html: str) -> list[str]:
    """Return what of a page runs, loads or embeds, scripts of the page's own frame left out."""
    found = []
    for element in BeautifulSoup(html, "html.parser").find_all(True):
        if element.name in ("script", "iframe", "object", "embed", "base", "link", "meta", "form", "template"):
            found.append(str(element)[:80])
        for name, value in element.attrs.items():
            value = "".join(value) if isinstance(value, list) else value
            compact = "".join(value.split()).lower()
            if name.startswith("on") or "javascript:" in compact or "data:text" in compact or "example.org" in compact:
                found.append(f"{element.name} {name}={value}"[:80])
            if name in ("src", "poster", "data") and not compact.startswith("data:image/"):
                found.append(f"{element.name} {name}={value}"[:80])
        if element.name == "style" and ("@import" in element.get_text() or "url(" in element.get_text()):
            found.append(str(element)[:80])
    return found


@pytest.mark.parametrize("html", HOSTILE)
def test_html_of_an_output_runs_loads_and_embeds_nothing(html):
    assert active(html) or "<!-->" in html or "scr<" in html, "the case is one"
    assert active(outputs.cleaned(f"<p>before {html} after</p>")) == []


@given(
    st.lists(
        st.sampled_from([*HOSTILE, "<p>", "</p>", "<", ">", '"', "'", "<!--", "-->", "text", "<table><tr>"]), max_size=8
    )
)
def test_no_mixture_of_such_html_runs_anything(parts):
    assert active(outputs.cleaned("".join(parts))) == []


def test_honest_html_is_left_as_it_is():
    html = (
        '<table class="dataframe"><tr><td style="text-align: left">1 &lt; 2</td></tr></table><a href="../a/b.html#c">x</a>'
        '<a href="https://example.com">y</a><img alt="a" src="data:image/png;base64,AAAA"/><style>td{color:red}</style>'
    )
    assert outputs.cleaned(html) == html


@pytest.mark.parametrize("html", HOSTILE)
def test_markdown_of_an_output_shows_html_as_text(html):
    from markdown_it import MarkdownIt

    for text in (f"The run is **{html}**.", html, f"# {html}", f"- {html}", f"> {html}\n\n{html}"):
        assert active(MarkdownIt("commonmark").render(outputs.plain_markdown(text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "![x](../../../etc/passwd)",
        "![x][y]\n\n[y]: ../secret.png",
        "[x](../secret.txt)",
        "[x](/etc/passwd)",
        "[y]: /etc/passwd\n\n[y]",
        "<file:///etc/passwd>",
    ],
)
def test_markdown_of_an_output_embeds_and_links_no_file(text):
    from markdown_it import MarkdownIt

    page = BeautifulSoup(MarkdownIt("commonmark").render(outputs.plain_markdown(text)), "html.parser")
    assert page.find_all(["img", "a"]) == []


def test_markdown_of_our_pages_keeps_its_meaning():
    text = "**Bold**, [a page](../verification/claims.md#x), [the web](https://example.com), `a < b`, $a<1$, 1 < 2."
    assert outputs.plain_markdown(text) == text


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def test_outputs_are_bounded_and_say_what_is_left_out():
    error = {"output_type": "error", "ename": "E", "evalue": "y" * 10**6, "traceback": ["z" * 10**6] * 999}
    shown = {"output_type": "display_data", "metadata": {}}
    cells = (
        [stream("x" * 1_000_000)],
        [stream("a")] * (outputs.MOST_OUTPUTS + 5),
        [error],
        [{**shown, "data": {"text/markdown": "x" * 10**6, "text/plain": "short"}}],
        [{**shown, "data": {"application/javascript": "bad()"}}],
    )
    notebook = {"cells": [{"cell_type": "code", "outputs": list(found)} for found in cells]}
    outputs.for_page(notebook)
    first, second, third, fourth, fifth = (cell["outputs"] for cell in notebook["cells"])
    assert len(first[0]["text"]) < 1.1 * outputs.MOST_TEXT
    assert "980000 characters are left out" in first[0]["text"]
    assert "5 more outputs are left out" in second[-1]["text"]
    assert len(second) == outputs.MOST_OUTPUTS + 1
    assert sum(map(len, third[0]["traceback"])) < 1.1 * outputs.MOST_TEXT * outputs.MOST_OUTPUTS
    assert fourth[0]["data"] == {"text/plain": "short"}
    assert "application/javascript is left out" in fifth[0]["data"]["text/plain"]


def test_values_for_the_prose_are_all_kept_and_never_called_left_out():
    value = {
        "output_type": "display_data",
        "metadata": {"scrapbook": {"name": "a"}},
        "data": {"application/papermill.record/text/plain": "1"},
    }
    found = [value] * (outputs.MOST_OUTPUTS + 3) + [stream("a")] * 2
    notebook = {"cells": [{"cell_type": "code", "outputs": list(found)}]}
    outputs.for_page(notebook)
    assert notebook["cells"][0]["outputs"] == found


def test_figures_of_ours_pass_as_they_are():
    html = "<figure class='eegfmri-live'><script>draw()</script></figure>"
    ours = {
        "output_type": "display_data",
        "metadata": {"eegfmri": {"figure": {"simulated": False}}},
        "data": {"text/html": html},
    }
    notebook = {"cells": [{"outputs": [ours, {**ours, "metadata": {}}]}]}
    outputs.for_page(notebook)
    own, others = notebook["cells"][0]["outputs"]
    assert own["data"]["text/html"] == html
    assert "draw" not in others["data"]["text/html"]


def test_a_page_embeds_no_file_from_beside_the_book(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "secret.css").write_text("secret{}")
    (tmp_path / "secret.js").write_text("secret()")
    html = tmp_path / "html"
    (html / "a").mkdir(parents=True)
    (html / "_images").mkdir()
    (html / "_images" / "own.png").write_bytes(b"own")
    (html / "_images" / "link.png").symlink_to(tmp_path / "secret.png")
    page = html / "a" / "page.html"
    page.write_text(
        "<html><head><link rel=stylesheet href=../../secret.css><style>b{}</style><script src=../../secret.js></script></head><body>"
        f"<img alt=one src=../../secret.png><img alt=two src={tmp_path}/secret.png><img alt=three src=../_images/link.png>"
        "<img alt=own src=../_images/own.png><img alt=four src=file:///etc/passwd><a href='data:text/html,x'>y</a></body></html>"
    )
    shown = render.inlined(page, "</title><script>bad()</script>", html)
    assert "c2VjcmV0" not in shown and "secret{}" not in shown and "secret()" not in shown
    assert "data:image/png;base64,b3du" in shown
    assert "data:text/html" not in shown
    assert "<script>bad()" not in shown
    for alt in ("one", "two", "three"):
        assert alt in BeautifulSoup(shown, "html.parser").get_text()


# --- a whole page ----------------------------------------------------------------------------------------------------

COMMENT = "~~~ ``` <script>bad()</script> | `x` [/x] {include}`/etc/passwd` $x$ ![](/etc/passwd)"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run a chapter whose parameters, comments and outputs hold what must not be taken for markup."""
    project = make_project(tmp_path_factory.mktemp("borders") / "project")
    path = project / "book" / "fixtures" / "first.md"
    text = path.read_text(encoding="utf-8")
    text = text.replace("# rate in Hz", f"# {COMMENT}")
    text = text.replace('names: list[str] = ["a", "b"]', 'names: list[str] = ["``` ~~~ <script>bad()</script>"]')
    (project / "secret.png").write_bytes(b"secret")
    cells = (
        "print('x' * 1_000_000)",
        "from IPython.display import HTML, Markdown, Javascript, display",
        "display(HTML(names[0] + '<img src=\"../../secret.png\" alt=one>'))",
        "display(Markdown(f'The run is **{names[-1]}**. <script>bad()</script> ![two](../../secret.png)'))",
        "display(Javascript('bad()'))",
        "print('\\x1b[2J<script>bad()</script>')",
    )
    text += "".join(f"\n```{{code-cell}} python\n{cell}\n```\n" for cell in cells)
    path.write_text(text, encoding="utf-8")
    done = eegfmri(
        project,
        "run",
        "fixtures/first",
        "-p",
        "names=['```', '<script>bad()</script>', 'it\\'s `x` | y']",
        "--out",
        "out",
    )
    assert done.returncode == 0, done.stderr
    return (project / "out" / "fixtures-first.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_nothing_of_values_comments_and_outputs_runs_in_the_page(ran):
    page = BeautifulSoup(ran, "html.parser")
    scripts = [script.get_text() for script in page.find_all("script")]
    assert not any(script.strip() == "bad()" for script in scripts)
    content = page.select_one("article") or page.body
    handlers = [name for element in content.find_all(True) for name in element.attrs if name.startswith("on")]
    assert handlers == []
    assert "c2VjcmV0" not in ran
    assert all(image["src"].startswith("data:image/") for image in page.find_all("img"))


@pytest.mark.slow
def test_the_box_shows_values_and_comments_as_they_are(ran):
    box = BeautifulSoup(ran, "html.parser").select_one(".eegfmri-reexecute")
    # Quotation marks may be typographic.
    assert "<script>bad()</script> | `x` [/x] {include}`/etc/passwd` $x$ ![](/etc/passwd)" in box.get_text()
    codes = [code.get_text() for code in box.find_all("code")]
    assert any("['```', '<script>bad()</script>', \"it's `x` | y\"]" in code for code in codes), codes
    assert box.find_all(["script", "img"]) == []
    assert "eegfmri run fixtures/first" in box.select_one("pre").get_text()


@pytest.mark.slow
def test_a_million_characters_are_rendered_as_some(ran):
    assert "980001 characters are left out here" in BeautifulSoup(ran, "html.parser").get_text()


# --- terminal --------------------------------------------------------------------------------------------------------


@pytest.fixture
def labels(tmp_path):
    """Write a label table of one run in a folder of odd name, with a stage that steers a terminal."""
    folder = tmp_path / "ds[003768][/x]" / "sourcedata"
    folder.mkdir(parents=True)
    stages = (
        ["W"] * 6 + ["1"] * 6 + ["\x1b[2J\x1b]0;bad\x07"] * 2 + ["[/red]"] * 2 + ["[link=https://example.org]x[/link]"]
    )
    rows = [f"1\ttask-rest_run-1\t{30 * i}\t{stage}" for i, stage in enumerate(stages)]
    head = "subject\tsession\tepoch_start_time_sec\t30-sec_epoch_sleep_stage"
    (folder / "sub-01-sleep-stage.tsv").write_text("\n".join([head, *rows, ""]))
    return folder.parent


def test_markup_and_escapes_in_folders_and_tables_are_shown_as_text(tmp_path, labels):
    project = make_project(tmp_path / "project[/x]")
    for words in (["data", "check", str(labels)], ["data", "list", "--data", str(labels.parent)]):
        done = eegfmri(project, *words)
        assert done.returncode in (0, 1), done.stderr
        assert "MarkupError" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert "ds[003768][/x]" in done.stdout
    shown = eegfmri(project, "data", "check", str(labels)).stdout
    assert "\\x1b[2J" in shown, "what the table says is shown"
    assert "[/red]" in shown


def test_help_and_summaries_do_not_steer_the_terminal(tmp_path):
    project = make_project(tmp_path / "project")
    path = project / "book" / "fixtures" / "first.md"
    text = path.read_text(encoding="utf-8")
    text = text.replace("# rate in Hz", "# rate \x1b[31m in [/x] Hz").replace(
        "  summary: Records", '  summary: "\\e[2J Records'
    )
    path.write_text(text.replace("two figures.", 'two figures."'), encoding="utf-8")
    done = eegfmri(project, "chapters")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "rate \\x1b[31m in [/x] Hz" in done.stdout
    assert "\\x1b[2J Records" in done.stdout


def test_an_error_of_a_cell_does_not_steer_the_terminal(tmp_path):
    project = make_project(tmp_path / "project")
    path = project / "book" / "fixtures" / "second.md"
    path.write_text(
        path.read_text(encoding="utf-8").replace("the planted failure", "\\x1b[2J[/x] planted"), encoding="utf-8"
    )
    done = eegfmri(project, "run", "fixtures/second", "-p", "fail=True")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr + done.stdout
    assert "ValueError: \\x1b[2J[/x] planted" in done.stderr


def test_tables_and_lines_of_every_command_pass_one_door(capsys):
    from rich.table import Table

    console = cli._console()
    table = Table("column [/x]")
    table.add_row("cell [/y] \x1b[2J")
    console.print(table)
    console.print("line [/z] \x1b[2J")
    cli._say("said \x1b[2J \udcff")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    for word in ("column [/x]", "cell [/y] \\x1b[2J", "line [/z] \\x1b[2J", "said \\x1b[2J \\udcff"):
        assert word in shown
    source = Path(cli.__file__).read_text(encoding="utf-8")
    assert source.count("typer.echo(") == 2, "every line is said through _say or _leave"


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_a_dataset_in_a_folder_that_is_no_utf8_is_checked(tmp_path, labels):
    project = make_project(tmp_path / "project")
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    labels.rename(odd)
    done = eegfmri(project, "data", "check", str(odd), "--json", "check.json")
    assert done.returncode == 0, done.stderr
    assert "caf\\udce9" in done.stdout
    assert (project / "check.json").read_text(encoding="utf-8")
