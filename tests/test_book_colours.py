"""Every text of every page can be read, on light ground and on dark: the colours that a browser computes, and their contrast."""

import json
import re
import shutil
import subprocess

import pytest
from bs4 import BeautifulSoup

from book_project import REPOSITORY

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

# Colours are taken through a canvas, which knows every way to write one.
MEASURE = """
<script id="measure">
window.addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const style = document.createElement("style");
  style.textContent = "* { transition: none !important; animation: none !important }";
  document.head.append(style);
  const pen = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const layer = rgba(getComputedStyle(e).backgroundColor);
      layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const luminance = c => c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const measure = theme => {
    document.documentElement.dataset.theme = document.documentElement.dataset.mode = theme;
    const found = [];
    for (const element of document.querySelectorAll("article *")) {
      // mathematics without its script, and what shows only under the mouse
      if (element.closest("svg, style, canvas, iframe, .math, .headerlink, .sd-d-none")) continue;
      const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join(" ").trim();
      if (!/[\\p{L}\\p{N}]/u.test(text) || !element.getClientRects().length) continue;
      const below = ground(element), colour = over(rgba(getComputedStyle(element).color), below);
      const [low, high] = [luminance(below), luminance(colour)].sort((a, b) => a - b);
      found.push([(high + 0.05) / (low + 0.05), element.tagName + "." + element.className, text.slice(0, 60)]);
    }
    return found;
  };
  const note = Object.assign(document.createElement("pre"), {id: "measured"});
  note.textContent = JSON.stringify({light: measure("light"), dark: measure("dark")});
  document.body.append(note);
});
</script>
"""


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
