"""The figure of gradient norms. After a meant change `python tests/figures/test_gradients.py` writes its file anew."""

import json
import re
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from places import GOLDEN

from degrade import figures
from degrade.errors import RunError
from degrade.figures import FIGURES, NothingToDraw, View, marks
from degrade.figures.gradients import abreast, gradients, times
from degrade.figures.ticks import choose_log, limits

PANELS = GOLDEN / "gradients.json"


def run(net="plain", shortcut="none", depth=8, seed=0, *, width=16, origin="", upto=900, protocol="x-1"):
    """Probes every 100 iterations; norms fall with time, in plain nets with the layer too, and differ between seeds."""
    name = f"{net}-{shortcut}-{depth}-w{width}-{protocol}{origin}"
    labels = {"run": f"{name}-s{seed}", "group": name, "protocol": protocol, "net": net, "shortcut": shortcut}
    labels |= {"depth": depth, "width": width, "seed": seed, "data": "digits", "recipe": "tiny", "precision": "fp32"}
    rows = [
        {"iteration": i, "layer": layer, "grad_norm": (2 + seed) * 0.7 ** (layer * (net == "plain")) / (1 + i / 100)}
        for i in range(0, upto + 1, 100)
        for layer in range(1, depth + 1)
    ]
    return pd.DataFrame([{**labels, "origin": origin, **row} for row in rows])


def sweep(*runs):
    return pd.concat(runs, ignore_index=True)


def pairs(depths=(8, 20), seeds=(0,), **rest):
    kinds = (("plain", "none"), ("residual", "A"))
    return sweep(*(run(*kind, depth, seed, **rest) for kind in kinds for depth in depths for seed in seeds))


def whole():
    """Two seeds of which one is behind, a deep net that is not there, a narrow one, and one that began elsewhere."""
    begun = run("plain", "none", 32, origin="constructed-20")
    return sweep(pairs(seeds=(0, 1)), run("residual", "B", 8), run("plain", "none", 20, 2, upto=300), begun)


def golden():
    made = [asdict(panel) for panel in gradients(whole(), View())]
    tree = {"panels": made, "marks": {key: mark._asdict() for key, mark in marks.marks(marks.TIMES).items()}}
    return json.loads(json.dumps(tree, default=lambda array: np.round(array, 9).tolist()))


def test_the_panels_are_the_golden_ones():
    assert golden() == json.loads(PANELS.read_text())


def test_plain_stands_left_of_residual_and_the_shallow_nets_above_the_deep_ones():
    made = gradients(pairs(depths=(8, 14, 20)), View())
    assert [panel.title for panel in made] == ["plain-8", "residual-A-8", "plain-20", "residual-A-20"]
    assert abreast(made) == 2
    assert [panel.xlim for panel in made] == [(0, 8), (0, 8), (0, 20), (0, 20)]
    assert {panel.scale for panel in made} == {"log"}


def test_nets_of_one_depth_stand_in_one_row():
    made = gradients(sweep(pairs(depths=(8,)), run("residual", "B", 8)), View())
    assert [panel.title for panel in made] == ["plain-8", "residual-A-8", "residual-B-8"]
    assert abreast(made) == 3


def test_every_panel_has_the_same_norms_on_its_axis():
    made = gradients(pairs(), View())
    (ylim,) = {panel.ylim for panel in made}
    values = np.concatenate([line.y for panel in made for line in panel.lines])
    assert ylim[0] <= values.min() < values.max() <= ylim[1]


def test_a_panel_shows_the_first_probe_a_tenth_half_and_the_last():
    plain = gradients(pairs(), View())[0]
    assert [line.label for line in plain.lines] == ["iteration 0", "iteration 100", "iteration 500", "iteration 900"]
    assert [line.key for line in plain.lines] == list(marks.TIMES)
    assert plain.lines[0].x.tolist() == list(range(1, 9))
    assert plain.lines[0].y == pytest.approx([2 * 0.7**layer for layer in range(1, 9)])


@pytest.mark.parametrize(
    ("probed", "end", "found"),
    [
        ([0], 1000, {"t1": 0}),
        ([0, 100], 1000, {"t1": 0, "t4": 100}),
        ([0, 100, 200], 1000, {"t1": 0, "t2": 100, "t4": 200}),
        ([0, 500], 1000, {"t1": 0, "t4": 500}),
        (list(range(0, 600, 100)), 1000, {"t1": 0, "t2": 100, "t4": 500}),
        ([3, 6, 9], 12, {"t1": 3, "t3": 6, "t4": 9}),
    ],
)
def test_a_training_under_way_shows_the_times_it_has_come_to(probed, end, found):
    assert times(probed, end) == found


def test_seeds_are_a_mean_and_a_band_where_all_of_them_were_probed():
    made = gradients(sweep(run(seed=0), run(seed=1), run(seed=2, upto=300)), View())[0]
    assert made.title == "plain-8, 3 seeds"
    assert [line.label for line in made.lines] == ["iteration 0", "iteration 200", "iteration 300"]
    first = made.lines[0]
    assert (first.low[0], first.y[0], first.high[0]) == pytest.approx((1.4, 2.1, 2.8))
    assert len(first.runs) == 3
    assert made.notes[-1].startswith("band")


def test_a_depth_without_a_probe_leaves_an_empty_place_that_says_so():
    made = gradients(sweep(pairs(), run("residual", "B", 8)), View())
    assert made[-1].title == "residual-B-20: no probe"
    assert made[-1].lines == ()
    assert abreast(made) == 3


def test_nets_that_are_no_other_way_alike_have_panels_of_their_own():
    made = gradients(sweep(run(), run(width=4), run(protocol="x-2")), View())
    assert [panel.title for panel in made] == ["plain-8 w4 1", "plain-8 1", "plain-8 2"]


def test_nets_that_began_from_others_stay_out():
    assert [panel.title for panel in gradients(sweep(run(), run(depth=20, origin="constructed-8")), View())] == [
        "plain-8"
    ]
    with pytest.raises(NothingToDraw, match="no net that began from random weights"):
        gradients(run(origin="constructed-8"), View())


def test_a_gradient_that_is_0_or_no_number_has_no_place_on_the_axis():
    rows = run()
    rows.loc[0, "grad_norm"], rows.loc[1, "grad_norm"], rows.loc[2, "grad_norm"] = 0.0, np.nan, np.inf
    (panel,) = gradients(rows, View())
    assert panel.lines[0].x.tolist() == list(range(3, 9))
    assert panel.ylim == (0.01, 1.0)
    with pytest.raises(NothingToDraw, match="a gradient above 0"):
        gradients(rows.assign(grad_norm=0.0), View())


@pytest.mark.parametrize(
    ("norms", "low", "high", "marks"),
    [
        ([1.0, 3.0], 1, 5, (1, 2, 5)),
        ([1.0, 1.0], 1, 2, (1, 2)),
        ([0.03, 7.0], 0.02, 10, (0.1, 1, 10)),
        ([1e-12, 1.0], 1e-12, 1, (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1)),
        ([np.inf], 1, 2, (1, 2)),
    ],
)
def test_the_axis_ends_at_round_values(norms, low, high, marks):
    assert limits(pd.Series(norms)) == (low, high)
    assert choose_log(low, high) == pytest.approx(marks)


def test_it_is_drawn_two_by_two_and_in_three_formats(tmp_path):
    (drawn,) = figures.save({"probe": whole()}, ["gradients"], tmp_path)
    assert [path.name for path in drawn.files] == ["gradients.png", "gradients.svg", "gradients.pdf"]
    svg = drawn.files[1].read_text()
    assert len(re.findall("gradient norm", svg)) == 2  # the left panel of each of two rows
    assert svg.count(">iteration 100<") == 5


def test_without_a_probe_it_says_both_ways_to_one(tmp_path):
    tables = {"curves": run().assign(split="test"), "probe": run().iloc[:0]}
    with pytest.raises(RunError, match=r"`degrade sweep \.\.\. engine\.probe=100`, .* `degrade rerun RUN --probe 100`"):
        list(figures.save(tables, ["gradients"], tmp_path))
    assert FIGURES["gradients"].table == "probe"


if __name__ == "__main__":
    flat = re.sub(r"\[[^\[\]{}]*\]", lambda numbers: " ".join(numbers[0].split()), json.dumps(golden(), indent=1))
    PANELS.write_text(flat + "\n")  # a list is one line
