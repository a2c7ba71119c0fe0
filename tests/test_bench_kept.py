"""Benchmarks that are kept with the book: written once, with what went on beside them, and never mistaken for runs."""

import json

import pytest
from typer.testing import CliRunner

from eegfmri import bench, cache, cli, costs, recorded
from eegfmri.bench import kept
from eegfmri.errors import DataError, RequestError

ROWS = [{"benchmark": "windows", "case": "a case", "measure": "time", "value": 1.5, "unit": "s"}]


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Give an empty shelf, and a benchmark that takes no time."""
    monkeypatch.setattr("eegfmri.project.data_dir", lambda: tmp_path)
    monkeypatch.setattr(bench, "run", lambda name, device=None: [dict(row) for row in ROWS])
    return tmp_path / "recorded" / "bench"


def test_a_benchmark_is_kept_whole_and_read_again(shelf):
    written = kept.write("windows")
    (path,) = shelf.iterdir()
    assert path == written.path and path.name.startswith(f"{written.date}-windows-")
    again = costs.latest("windows")
    assert again.document == written.document and not again.changed
    assert again.value("a case", "time") == 1.5 and again.value("another", "time") is None
    assert costs.latest("graphs") is None
    assert again.document["machine"]["cores"] >= 1 and "eegfmri.bench.windows" in again.document["modules"]


def test_recorded_runs_are_not_looked_for_among_benchmarks(shelf):
    kept.write("windows")
    assert recorded.runs() == []


def test_a_changed_file_is_refused(shelf):
    path = kept.write("windows").path
    document = json.loads(path.read_text())
    document["rows"][0]["value"] = 0.1
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="changed after it was recorded"):
        costs.latest("windows")
    path.write_text("[]")
    with pytest.raises(DataError, match="no recorded benchmark"):
        costs.read(path)


def test_work_beside_it_is_measured_and_said(shelf):
    written = kept.write("windows")
    document = written.document | {"others": 0.8}
    assert "beside other work, which took 0.8 cores" in costs.Benchmark(written.path, document).label()
    quiet = costs.Benchmark(written.path, document | {"others": 0.01, "code": "0"})
    assert "alone on the machine" in quiet.label() and quiet.label().endswith("the code has changed since.")


def test_work_of_others_is_told_from_ones_own(monkeypatch):
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(kept.time, "perf_counter", lambda: next(clock))
    busy, own = iter([100.0, 118.0]), iter([5.0, 14.0])
    monkeypatch.setattr(kept, "_busy", lambda: next(busy))
    monkeypatch.setattr(kept, "_own", lambda: next(own))
    with kept._watched() as watch:
        pass
    assert watch["others"] == pytest.approx(0.9)
    assert watch["seconds"] == 10.0


def test_of_one_day_the_quietest_counts(shelf):
    written = kept.write("windows")
    for others, value in ((0.9, 3.0), (0.0, 1.0), (0.4, 2.0)):
        document = written.document | {"others": others, "rows": [{**ROWS[0], "value": value}]}
        document["digest"] = cache.digest({key: item for key, item in document.items() if key != "digest"})
        cache.write_json(shelf / f"{document['date']}-windows-{document['digest']}.json", document)
    written.path.unlink()
    assert costs.latest("windows").rows[0]["value"] == 1.0


def test_an_unknown_benchmark_is_refused_before_anything_runs(shelf):
    with pytest.raises(RequestError, match="no benchmark 'speed'"):
        kept.write("speed")
    assert not shelf.exists()


def test_the_command_keeps_each_benchmark_as_soon_as_it_is_done(shelf, monkeypatch):
    monkeypatch.setattr(bench, "names", lambda: ["graphs", "windows"])

    def run(name, device=None):
        if name == "windows":
            raise RequestError("It broke.")
        return [dict(row) for row in ROWS]

    monkeypatch.setattr(bench, "run", run)
    done = CliRunner().invoke(cli.app, ["bench", "--record"])
    assert done.exit_code != 0
    assert [path.name.split("-")[3] for path in shelf.iterdir()] == ["graphs"]
