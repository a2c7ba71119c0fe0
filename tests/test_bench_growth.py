"""How costs grow: the fit, and that the benchmark measures what it says."""

import pytest

from eegfmri.bench import growth


def test_a_power_law_is_found_and_carried_on():
    sizes = [2, 4, 8, 16, 32]
    power, low, high, at = growth.power_of(sizes, [3 * n**1.5 for n in sizes], 1000)
    assert power == pytest.approx(1.5) and low == pytest.approx(1.5) == pytest.approx(high)
    assert at == pytest.approx(3 * 1000**1.5)


def test_noise_widens_the_interval_and_nothing_measured_is_no_minus_infinity():
    sizes = [2, 4, 8, 16, 32]
    _, low, high, _ = growth.power_of(sizes, [2.2, 3.7, 8.4, 15.0, 33.0], 1000)
    assert low < 1 < high and high - low > 0.01
    assert growth.power_of(sizes, [0.0, 0.0, 1.0, 2.0, 4.0], 64)[0] > 0


@pytest.mark.slow
def test_the_benchmark_measures_every_size_in_a_process_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(growth, "SUBJECTS", (2, 3, 4))
    monkeypatch.setattr("eegfmri.project.data_dir", lambda: tmp_path)
    rows = growth.growth()
    found = {(row["case"], row["measure"]): row["value"] for row in rows}
    assert found["4 subjects", "windows"] > found["2 subjects", "windows"] > 0
    assert found["4 subjects", "size on disk"] == pytest.approx(2 * found["2 subjects", "size on disk"], rel=0.01)
    assert found["growth", "size on disk: power of n"] == pytest.approx(1.0, abs=0.01)
    assert found["2 subjects", "time of one fold"] > 0
    projected = found["1000 subjects, projected", "all folds, one core"]
    assert projected == pytest.approx(found["1000 subjects, projected", "time of one fold"] * 1000 / 3600)
    assert not list(tmp_path.iterdir())
