"""What depth does: ladder, reached and difference draw what `degrade compare` says, and nothing else."""

import numpy as np
import pandas as pd
import pytest
from places import ROOT

from degrade import compare, figures, load
from degrade.errors import RunError
from degrade.figures import FIGURES, NothingToDraw, View
from degrade.figures.frames import collect
from degrade.figures.panels import OWN_AXES

STORED = ROOT / "results" / "quickstart3"


@pytest.fixture(scope="module")
def tables():
    return load(STORED)


@pytest.fixture(scope="module")
def frames(tables):
    return collect(tables)


def panels(name, frames, **view):
    return FIGURES[name].make(frames[FIGURES[name].table], View(**view))


def summary(*rows):
    """Rows of a summary: (line, depth, split, mean, low, high)."""
    known = {"protocol": "x-1", "statistic": "last", "origin": "", "basis": "seeds", "runs": 3, "images": 1000}
    keys = ("line", "depth", "split", "mean", "low", "high")
    return pd.DataFrame(
        [{**known, **dict(zip(keys, row, strict=True)), "names": (f"{row[0]}-{row[1]}",)} for row in rows]
    )


def both(*rows):
    return summary(*((line, depth, split, *rest) for line, depth, *rest in rows for split in ("train_clean", "test")))


def test_the_ladder_is_the_final_error_over_depth_of_every_net_with_its_interval(tables, frames):
    told = compare(tables).summary
    told = told[(told.statistic == "last") & (told.origin == "")]
    made = panels("ladder", frames)
    assert [panel.title for panel in made] == ["clean training error", "test error"]
    for panel, split in zip(made, ("train_clean", "test"), strict=True):
        assert [line.label for line in panel.lines] == ["plain, 3 seeds", "residual-A, 3 seeds"]
        for line in panel.lines:
            own = told[(told.split == split) & (told.line == line.net)].sort_values("depth")
            assert line.x.tolist() == own.depth.tolist() == [8, 20, 32, 56]
            assert line.y == pytest.approx(own["mean"].to_numpy())
            assert line.high == pytest.approx(own.high.to_numpy())
            assert line.low == pytest.approx(own.low.clip(lower=panel.ylim[0]).to_numpy())
            assert (line.spread, line.split, len(line.runs)) == ("bars", split, 12)


def test_the_ladder_is_logarithmic_where_nets_that_fail_would_hide_the_others():
    near = both(("plain", 8, 4.0, 3.0, 5.0), ("plain", 20, 9.0, 8.0, 11.0))
    far = both(("plain", 8, 0.4, 0.1, 0.5), ("plain", 20, 80.0, 70.0, 90.0))
    assert {(panel.scale, panel.ylim) for panel in panels("ladder", {"summary": near})} == {("linear", (0, 15))}
    logarithmic = panels("ladder", {"summary": far})
    assert {panel.scale for panel in logarithmic} == {"log"}
    assert len({panel.ylim for panel in logarithmic}) == 1
    low, high = logarithmic[0].ylim
    assert low <= 0.4 < 90 <= high
    assert {panel.scale for panel in panels("ladder", {"summary": far}, top=100.0)} == {"linear"}


def test_no_mistake_is_drawn_at_the_resolution_and_said_to_be():
    rows = both(("plain", 8, 0.0, 0.0, 0.2), ("plain", 20, 40.0, 30.0, 50.0))
    made = panels("ladder", {"summary": rows})
    (line,) = made[0].lines
    assert line.beyond == (-1, 0)
    assert line.y[0] == pytest.approx(100 / (1000 * 3))  # one mistake in the images of three runs
    assert "caret down: no mistake, drawn at one mistake in all images" in made[0].notes
    axes = figures.draw(made).axes[0]
    carets = [drawn for drawn in axes.lines if drawn.get_marker() == figures.style.BEYOND[-1]]
    assert [drawn.get_xdata().tolist() for drawn in carets] == [[8]]


def test_the_interval_of_a_single_run_is_said_to_be_over_images():
    rows = both(("plain", 8, 4.0, 3.0, 5.0), ("plain", 20, 9.0, 8.0, 11.0))
    assert panels("ladder", {"summary": rows})[0].notes == ("bars: 95 % interval of the mean",)
    alone = panels("ladder", {"summary": rows.assign(basis="images", runs=1)})[0]
    assert alone.notes == ("bars: 95 % interval of the mean; of a single run, over images",)
    assert alone.lines[0].label == "plain"


def test_iterations_to_an_error_are_those_of_compare_and_a_net_that_never_came_there_is_a_caret(tables, frames):
    told = compare(tables).reached
    told = told[told.origin == ""]
    made = panels("reached", frames)
    assert [panel.title for panel in made] == [f"to {error} % training error" for error in (50, 20, 10, 5)]
    for panel, error in zip(made, (50, 20, 10, 5), strict=True):
        for line in panel.lines:
            own = told[(told.error == error) & (told.line == line.net)].sort_values("depth").iterations.to_numpy()
            there = ~np.isnan(own)
            assert line.y[there].tolist() == own[there].tolist()
            assert line.beyond == tuple((~there).astype(int))
            assert set(line.y[~there]) <= {panel.ylim[1]}
    plain = made[0].lines[0]
    assert plain.beyond == (0, 0, 0, 1)  # plain-56 never trains on digits
    drawn = figures.draw(made).axes[0].lines[0]
    assert np.isnan(drawn.get_ydata()).tolist() == [False, False, False, True]  # no line leads there


def test_a_difference_is_that_of_the_verdicts_with_interval_and_margin(tables, frames):
    told = compare(tables).verdicts
    made = panels("difference", frames)
    assert [panel.title for panel in made] == ["plain, minus 8 layers", "residual-A, minus 8 layers"]
    for panel in made:
        train, test = panel.lines
        own = told[(told.line == train.net) & (told.than == 8)].sort_values("depth")
        for line, columns in (
            (train, ("difference", "low", "high")),
            (test, ("test_difference", "test_low", "test_high")),
        ):
            assert line.x.tolist() == own.depth.tolist() == [20, 32, 56]
            for drawn, column in zip((line.y, line.low, line.high), columns, strict=True):
                assert drawn == pytest.approx(own[column].to_numpy())
        assert (train.training, test.training, train.colour) == (True, False, test.colour)
        assert panel.shade == (-0.5, 0.5)
        assert panel.ylim[0] < min(train.low.min(), test.low.min(), -0.5)
        assert panel.ylim[1] > max(train.high.max(), test.high.max(), 0.5)
        assert OWN_AXES in panel.notes  # plain nets differ by 77 points, residual nets by 0.4
    axes = figures.draw(made).axes[0]
    assert len(axes.patches) == 1


def test_differences_of_one_size_share_an_axis(frames):
    alike = frames["verdicts"][frames["verdicts"].line == "plain"]
    points = ["difference", "low", "high", "test_difference", "test_low", "test_high"]
    other = alike.assign(line="other", **{column: 0.8 * alike[column] for column in points})
    made = panels("difference", {"verdicts": pd.concat([alike, other])})
    assert len({panel.ylim for panel in made}) == 1
    assert not any(OWN_AXES in panel.notes for panel in made)


def test_constructed_nets_and_runs_under_way_are_not_in_them(tables, frames):
    built = set(tables.runs.run[tables.runs.run.str.contains("from")])
    assert built
    for name in ("ladder", "reached", "difference"):
        drawn = {run for panel in panels(name, frames) for line in panel.lines for run in line.runs}
        assert len(drawn) == 24
        assert not drawn & built
    running = tables._replace(runs=tables.runs.assign(state="running"))
    with pytest.raises(RunError, match="no run is over"):
        list(figures.save(collect(running), ["ladder"], ROOT / "nowhere"))


@pytest.mark.parametrize("name", ["ladder", "reached", "difference"])
def test_one_depth_is_nothing_to_draw(name, tables):
    frames = collect(tables, {"depth": ["20"]})
    with pytest.raises(NothingToDraw, match=f"{name}: needs a net of two depths"):
        panels(name, frames)


def test_all_of_them_are_drawn_by_the_command_with_their_runs_in_the_metadata(degrade_plot):
    for name in ("ladder", "reached", "difference"):
        svg = degrade_plot(name)
        assert "protocols: digits-95bd47f7; runs: " in svg
        assert "plain-56-s2-" in svg


@pytest.fixture
def degrade_plot(tmp_path):
    from typer.testing import CliRunner

    from degrade import cli

    def plot(name):
        done = CliRunner().invoke(cli.app, ["plot", str(STORED), "--figure", name, "--out", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return next(tmp_path.glob(f"*/{name}.svg")).read_text()

    return plot
