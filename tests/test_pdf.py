"""Requests to print the book that cannot be met, in one sentence each."""

from eegfmri.runner import browser, pdf


def test_without_a_book_chromium_or_the_page_the_answer_is_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(browser, "executable", lambda: None)
    monkeypatch.setattr(pdf, "html_dir", lambda: tmp_path)
    monkeypatch.setattr("sys.argv", ["pdf"])
    assert pdf.main() == 2
    assert "make book" in capsys.readouterr().err
    (tmp_path / "index.html").touch()
    (tmp_path / "intro.html").touch()
    assert pdf.main() == 1
    assert capsys.readouterr().err == (
        "No Chromium was found: install chromium or Google Chrome so that its command is on the PATH.\n"
    )
    monkeypatch.setattr("sys.argv", ["pdf", "outro"])
    assert pdf.main() == 2
    assert "no page outro: it has intro" in capsys.readouterr().err
