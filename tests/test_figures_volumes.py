"""Figures of predicted volumes."""

import base64
import io

import numpy as np
import pytest
from matplotlib.image import imread

from eegfmri.figures import volumes as draw
from volumes_made import made_space


@pytest.fixture(scope="module")
def space():
    return made_space()


def test_the_slider_shows_each_moment_with_left_on_the_left(space):
    left = np.where(np.argwhere(space.mask)[:, 0] < 6, 1.0, 0.0)
    true = np.stack([k * left for k in (-1, 0, 1)])
    figure = draw.slices_over_time({"measured": true, "predicted": 0 * true}, space, [0, 2, 4], 1.5, "%", slices=[60.0])
    steps = figure.layout.sliders[0].steps
    assert [step.label for step in steps] == ["0", "2", "4"]
    assert [note.text for note in figure.layout.annotations] == ["measured", "predicted"]
    shown = decoded(steps[2].args[0]["images[0].source"])
    height = space.grid.shape[1]
    assert shown.shape[:2] == (2 * height, space.grid.shape[0])
    red, blue = shown[height // 2, 2, 0], shown[height // 2, 2, 2]
    assert red > blue + 0.3, "the left half is positive, hence red"
    assert np.ptp(shown[height // 2, 8, :3]) < 0.1, "the right half is zero, hence nearly white"
    assert np.allclose(shown[height + height // 2, 2, :3], shown[height + height // 2, 8, :3], atol=0.02)


def test_every_moment_can_be_skipped(space):
    series = np.zeros((10, space.n_voxels))
    figure = draw.slices_over_time({"a": series}, space, np.arange(10.0), 1.0, "%", every=4)
    assert [step.label for step in figure.layout.sliders[0].steps] == ["0", "4", "8"]


def decoded(source):
    return imread(io.BytesIO(base64.b64decode(source.split(",")[1])))


def test_every_position_of_the_slider_shows_one_slice_of_one_map():
    rng = np.random.default_rng(0)
    maps = {"mean": rng.random((4, 5, 3)) * 1000, "deviation": rng.random((4, 5, 3))}
    figure = draw.slice_viewer(maps, (2.0, 3.0, 4.0), "a.u.")
    sliders = [figure.layout.sliders[0], *(b.args[0]["sliders"][0] for b in figure.layout.updatemenus[0].buttons)]
    for slider, name in zip(sliders, ("mean", "mean", "deviation"), strict=True):
        assert len(slider["steps"]) == 3
        for z, step in enumerate(slider["steps"]):
            shown = decoded(step["args"][0]["images[0].source"])
            assert shown.shape[:2] == (5, 4), "front upwards, left on the left"
            # grey and viridis both get brighter with the value
            expected = maps[name][:, :, z].T[::-1] / np.percentile(maps[name], 99.8)
            assert np.corrcoef(shown[..., 1].ravel(), expected.clip(0, 1).ravel())[0, 1] > 0.98
    size = figure.layout.images[0]
    assert (size.sizex, size.sizey) == (8.0, 15.0)


def test_maps_have_one_row_each_on_slices_of_the_template_and_outlines_are_named(space):
    values = np.linspace(-1, 1, space.n_voxels)
    images = {"one": space.image(values), "two": space.image(-values)}
    figure = draw.brain_slices(images, limits=(-1, 1), unit="skill", slices=[40.0, 60.0])
    assert [text.get_text() for text in figure.texts] == ["one", "two"]
    (bar,) = (axis for axis in figure.axes if axis.get_ylabel() == "skill")
    assert bar.get_ylim() == (-1, 1)
    plain = draw.brain_slices(
        {"mean": space.image(values + 2)}, outlines={"brain": space.image(np.ones(space.n_voxels))}, slices=[40.0, 60.0]
    )
    assert [text.get_text() for text in plain.legends[0].get_texts()] == ["brain"]
    assert any(axis.collections for axis in plain.axes), "the outline is drawn"


def test_the_menu_changes_all_courses_together():
    true = np.random.default_rng(0).normal(size=(6, 2))
    figure = draw.region_courses(np.arange(6.0), {"measured": true, "model": 0.5 * true}, ["a", "b"], "%", first=1)
    np.testing.assert_allclose(figure.data[0].y, true[:, 1], rtol=1e-3)
    other = figure.layout.updatemenus[0].buttons[0].args[0]["y"]
    np.testing.assert_allclose(other, [true[:, 0], 0.5 * true[:, 0]], rtol=1e-3)


def test_what_was_not_measured_draws_no_warning(space, recwarn):
    values = np.linspace(-1, 1, space.n_voxels)
    values[:9] = np.nan
    draw.brain_slices({"one": space.image(values)}, limits=(-1, 1), unit="skill", slices=[40.0])
    assert not [warning for warning in recwarn if "finite" in str(warning.message)]
