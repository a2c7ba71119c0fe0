"""Figures of the simulator: what they draw is what they were given, and planted can be told from found."""

import numpy as np
import pytest
from bs4 import BeautifulSoup

from eegfmri.figures import simulator as draw
from eegfmri.simulation.parameters import CALIBRATED, parameter_table


def test_regions_are_coloured_alike_on_both_sides_of_zero():
    centroids = np.array([[10.0, -90.0, 0.0], [-10.0, -90.0, 0.0], [0.0, -18.0, 8.0]])
    (balls,) = draw.region_map(centroids, np.array([-0.6, 0.1, 0.4]), ["a", "b", "c"], "%").data
    assert balls.marker.cmin == -balls.marker.cmax == -0.6
    np.testing.assert_allclose(np.column_stack([balls.x, balls.y, balls.z]), centroids)
    assert list(balls.text) == ["a", "b", "c"]


def test_steps_of_a_chain_share_one_axis_of_time():
    times = np.arange(20.0)
    figure = draw.chain(times, {"cause": times, "effect": -times, "last": 0 * times})
    assert [note.text for note in figure.layout.annotations] == ["cause", "effect", "last"]
    assert {figure.layout[name].matches for name in ("xaxis", "xaxis2")} == {"x3"}
    np.testing.assert_allclose(figure.data[1].y, -times)


def test_subjects_lie_on_the_diagonal_when_truth_is_found():
    values = np.array([8.0, 9.0, 11.0])
    figure = draw.planted_and_found({"peak": (values, values, ["a", "b", "c"])}, {"peak": "Hz"})
    diagonal, subjects = figure.data
    assert list(diagonal.x) == list(diagonal.y)
    assert diagonal.x[0] < subjects.x.min() <= subjects.x.max() < diagonal.x[1]
    np.testing.assert_array_equal(subjects.x, subjects.y)
    assert figure.layout.xaxis.title.text == "planted (Hz)"


def test_what_was_not_found_stands_in_brackets_and_nothing_planted_is_empty():
    planted, found = np.array([[-0.6, 0.0]]), np.array([[-0.3, 0.04]])
    above, below = draw.two_tables(
        planted, found, np.array([[True, False]]), ["occipital"], ["alpha", "beta"], "%"
    ).data
    assert list(above.text[0]) == ["-.60", ""]
    assert list(below.text[0]) == ["-.30", "(+.04)"]
    assert below.zmin == -below.zmax == pytest.approx(-0.3)


def test_intervals_show_both_ends_and_the_planted_value():
    rows = {"target": tuple(np.array(x) for x in ([0.3, 0.0], [0.2, 0.1], [0.1, -0.1], [0.25, 0.2]))}
    planted, found = draw.intervals(["parietal", "occipital"], rows, "%").data
    assert list(planted.y) == [0.3, 0.0]
    np.testing.assert_allclose(found.y - np.array(found.error_y.arrayminus), [0.1, -0.1])
    np.testing.assert_allclose(found.y + np.array(found.error_y.array), [0.25, 0.2])
    np.testing.assert_array_equal(planted.x, found.x)


def test_ratios_put_each_subject_on_the_row_of_its_statistic():
    values = np.array([[1.0, 2.0], [0.5, np.nan]])
    figure = draw.ratios(["tSNR", "autocorrelation"], {"sleep": values})
    (dots,) = figure.data
    np.testing.assert_array_equal(dots.x, values.ravel())
    np.testing.assert_array_equal(np.round(dots.y), [0, 1, 0, 1])
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.shapes[0].x0 == 1


def test_every_parameter_is_listed_with_names_instead_of_keys():
    html = draw.parameter_list("realistic")
    rows = parameter_table("realistic")
    assert html.count("<tr>") == len(rows) + 1
    for row in rows:
        assert f"<code>{row['name']}</code>" in html
        assert not any(key in html for key in row["sources"])
    assert "Goldman et al. 2002" in html
    assert "alpha: occipital -0.6" in html


def test_sources_are_labelled_by_first_author_and_year():
    labels = draw.source_labels()
    assert labels["berger1929"] == "Berger 1929"
    cited = {key for row in parameter_table() for key in row["sources"]}
    assert not any("\\" in labels[key] for key in cited), "letters, no commands of TeX"
    assert {key for row in parameter_table() for key in row["sources"]} <= set(labels)


def test_the_log_of_calibration_holds_every_change_with_both_values():
    html = draw.calibration_list()
    table = BeautifulSoup(html, "html.parser")
    assert [cell.get_text() for cell in table.select("th")] == ["parameter", "first edition", "now", "because"]
    rows = {row.td.get_text(): [cell.get_text() for cell in row.select("td")] for row in table.select("tbody tr")}
    assert set(rows) == set(CALIBRATED)
    assert all(before != after for _, before, after, _ in rows.values())
    assert all(because.strip() for *_, because in rows.values())
    calibrated = [because.startswith("Calibrated") for *_, because in rows.values()]
    assert calibrated == sorted(calibrated, reverse=True), "what was calibrated stands first"
