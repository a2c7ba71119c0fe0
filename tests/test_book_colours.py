"""Every text of every page can be read, on light ground and on dark: the colours that a browser computes, and their contrast."""

import json
import re
import shutil
import subprocess

import pytest
from bs4 import BeautifulSoup

from book_project import REPOSITORY
from page_checks import CONTRAST

HTML = REPOSITORY / "book" / "_build" / "html"
PAGES = sorted(
    path.relative_to(HTML).with_suffix("").as_posix() for path in HTML.glob("*/*.html") if path.parent.name[0] != "_"
)

#: Contrast that the guidelines for accessibility (WCAG 2.1, 1.4.3) ask of large text, the least that any text may have.
LEAST_CONTRAST = 3.0

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=4000",
    "--window-size=1400,3000",
    "--dump-dom",
]

MEASURE = (
    """
<script id="measure">
window.addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const style = document.createElement("style");
  style.textContent = "* { transition: none !important; animation: none !important }";
  document.head.append(style);
"""
    + CONTRAST
    + """
  const measure = theme => {
    document.documentElement.dataset.theme = document.documentElement.dataset.mode = theme;
    const found = [];
    for (const element of document.querySelectorAll("article *")) {
      // mathematics without its script, and what shows only under the mouse
      if (element.closest("svg, style, canvas, iframe, .math, .headerlink, .sd-d-none")) continue;
      const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join(" ").trim();
      if (!/[\\p{L}\\p{N}]/u.test(text) || !element.getClientRects().length) continue;
      found.push([contrast(getComputedStyle(element).color, element), element.tagName + "." + element.className, text.slice(0, 60)]);
    }
    return found;
  };
  const note = Object.assign(document.createElement("pre"), {id: "measured"});
  note.textContent = JSON.stringify({light: measure("light"), dark: measure("dark")});
  document.body.append(note);
});
</script>
"""
)


def measured(html: str, folder, tmp_path) -> dict[str, list[list]]:
    """Let a browser open a page of ``folder`` and return, in both themes, contrast, element and beginning of each text."""
    # figures have colours of their own, and take long to draw
    bare = re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL)
    path = tmp_path / "page.html"
    path.write_text(bare.replace("<head>", f'<head><base href="{folder.as_uri()}/">{MEASURE}', 1), encoding="utf-8")
    words = [BROWSER, *OPTIONS, f"--user-data-dir={tmp_path / 'browser'}", path.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(BeautifulSoup(done.stdout, "html.parser").find(id="measured").get_text())


pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium, which .ci/run installs")


@pytest.mark.book
@pytest.mark.parametrize("page", PAGES)
def test_every_text_stands_out_from_its_ground(page, tmp_path):
    path = HTML / f"{page}.html"
    found = measured(path.read_text(encoding="utf-8"), path.parent, tmp_path)
    assert min(map(len, found.values())) > 20
    faint = [(theme, *text) for theme, texts in found.items() for text in texts if text[0] < LEAST_CONTRAST]
    assert faint == []


def test_a_text_that_does_not_is_found(tmp_path):
    texts = "<p style='color:#222'>Dark.</p><p style='color:#eee'>Light.</p>"
    html = f"<html><head></head><body style='background:#111'><article>{texts}</article></body></html>"
    found = measured(html, tmp_path, tmp_path)
    assert [text for contrast, _, text in found["dark"] if contrast < LEAST_CONTRAST] == ["Dark."]
