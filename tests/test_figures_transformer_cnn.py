"""Figures of transformer_cnn draw what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from eegfmri.figures import transformer_cnn as draw
from eegfmri.preprocessing.spectra import FOUR_BANDS, band_means, spectrogram


def test_a_segment_becomes_three_panels():
    piece = 1e-5 * np.random.default_rng(0).normal(size=540)
    frequencies, density = spectrogram(piece, 250.0)
    power = 10 * np.log10(1e12 * band_means(frequencies, density.mean(axis=-1)))
    figure = draw.from_segment_to_bands(piece, 250.0, frequencies, density, FOUR_BANDS, power)
    assert len(figure.axes) == 3
    assert [text.get_text() for text in figure.axes[2].get_yticklabels()] == list(FOUR_BANDS)
    plt.close(figure)


def test_lost_amplitude_shows_frequencies_and_named_regions():
    hertz = np.linspace(0.01, 0.2, 5)
    figure = draw.lost_amplitude(
        hertz, {"a": np.full((3, 5), 0.5)}, {"a": np.array([0.3, 0.1, np.nan])}, ("x", "y", "z")
    )
    [dots] = [trace for trace in figure.data if trace.mode == "markers"]
    assert list(dots.text) == ["z", "y", "x"]
    assert dots.y[0] is None
    assert sum(trace.mode == "lines" for trace in figure.data) == 4


def test_what_scores_notice_has_a_line_per_scaling_in_each_panel():
    table = pd.DataFrame(
        {"amplitude": [1.0, 0.0] * 2, "scaling": ["a", "a", "b", "b"], "psnr": [9.0, 1.0, 8.0, 2.0], "ssim": 0.5}
    )
    figure = draw.what_scores_notice(table, {"psnr": "PSNR", "ssim": "SSIM"})
    assert len(figure.data) == 4
    assert tuple(figure.data[2].y) == (8.0, 2.0)


def test_ssim_is_shown_under_every_setting():
    table = pd.DataFrame(
        [
            (r, w, d, c, 0.5)
            for r in ("narrow", "wide")
            for w in ("u", "g")
            for d in (3, 2)
            for c in ("whole grid", "inside")
        ],
        columns=["range", "window", "dimensions", "counted", "ssim"],
    )
    figure = draw.ssim_by_settings(table, 0.56)
    assert len(figure.data) == 2
    assert all(len(trace.x) == 8 for trace in figure.data)
    assert set(figure.data[0].marker.symbol) == {"circle", "square"}
    assert len(figure.layout.shapes) == 1
