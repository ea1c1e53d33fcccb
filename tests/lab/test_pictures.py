"""Pictures of what experiments found. (That of a claim's contrasts: test_ledger.py.)"""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from course import plots, training
from course.lab import pictures


@pytest.fixture
def runs(digits):
    config = training.Config(options={"width": 8}, epochs=2, batch_size=100)
    return training.repeat(config, digits, seeds=[0, 1])


def test_bands_of_a_tidy_table_are_the_curves_of_its_runs(runs):
    figure, (one, other) = plots.panels(1, 2)
    plots.curves(one, {"plain": runs, "again": runs[:1]}, metric="accuracy")
    arms = {"plain": runs, "again": runs[:1]}
    table = pd.concat(
        run.history.assign(arm=arm, seed=run.config.seed) for arm in arms for run in arms[arm]
    )
    chosen = table.query("metric == 'accuracy' and mode == 'inference' and split == 'validation'")
    pictures.bands(
        other,
        chosen.sample(frac=1, random_state=0).sort_values("arm", ascending=False, kind="stable"),
        "arm",
    )
    for expected, line in zip(one.lines, other.lines, strict=True):
        np.testing.assert_allclose(line.get_xydata(), expected.get_xydata())
        assert line.get_label() == expected.get_label()
    for expected, band in zip(one.collections, other.collections, strict=True):
        np.testing.assert_allclose(band.get_paths()[0].vertices, expected.get_paths()[0].vertices)


def test_a_picture_tells_a_screen_reader_what_it_shows():
    figure, _ = plots.panels()
    text = pictures.svg(figure, "Less < more & so on", 'It "falls" & rises.')
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    assert said(root) == ["Less < more & so on", 'It "falls" & rises.']


def said(root):
    named = {one.get("id"): one.text for one in root}
    return [named[root.get("aria-labelledby")], named[root.get("aria-describedby")]]
