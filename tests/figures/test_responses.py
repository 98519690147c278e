"""Figures of responses and of constructed nets: their claims one by one."""

import numpy as np
import pandas as pd
import pytest
from plotted import run, sweep

from degrade.figures import FIGURES, NothingToDraw, View, draw


def net(net="plain", shortcut="none", depth=8, seed=0, *, split="test", bn="running", iteration=100, scale=1.0):
    """(responses, blocks) of one net: the std of layer i is scale * (i if odd, else 10 i)."""
    labels = {"run": f"{net}-{depth}-s{seed}", "group": f"{net}-{depth}", "protocol": "x-1", "net": net}
    labels |= {"shortcut": shortcut, "depth": depth, "width": 16, "seed": seed, "origin": ""}
    labels |= {"split": split, "bn": bn, "iteration": iteration, "n": 10}
    layers = [
        {**labels, "layer": i, "std": scale * i * (1 if i % 2 else 10), "std_channel": scale, "mean": 0.0}
        for i in range(1, depth)
    ]
    opening = {"plain": 0.0, "residual": 1.0, "highway": 0.8}[net]
    n = range(1, depth // 2)
    blocks = [{**labels, "index": i, "change": scale / i, "distance": scale, "opening": opening} for i in n]
    return pd.DataFrame(layers), pd.DataFrame(blocks)


def several(*nets, table=0):
    return pd.concat([one[table] for one in nets], ignore_index=True)


def panels(name, rows, **view):
    return FIGURES[name].make(rows, View(**view))


def test_fig7_has_the_original_order_above_and_the_sorted_one_below():
    above, below = panels("fig7", several(net()))
    assert FIGURES["fig7"].abreast == 1
    assert above.lines[0].x.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert above.lines[0].y.tolist() == [1, 20, 3, 40, 5, 60, 7]
    assert below.lines[0].y.tolist() == [60, 40, 20, 7, 5, 3, 1]
    assert (above.xlabel, below.xlabel) == ("layer index (original)", "layer index (sorted by magnitude)")
    assert (above.ylabel, below.lines[0].label) == ("std", "plain-8")


def test_fig7_over_channels_draws_the_other_column_and_says_so():
    above, _ = panels("fig7", several(net(scale=2.0)), over="channel")
    assert set(above.lines[0].y) == {2.0}
    assert above.ylabel == "std, mean over channels"


def test_seeds_are_a_mean_and_a_band_and_each_is_sorted_by_itself():
    _, below = panels("fig7", several(net(seed=0), net(seed=1, scale=3.0)))
    (line,) = below.lines
    assert line.label == "plain-8, 2 seeds"
    assert (line.y[0], line.low[0], line.high[0]) == (120, 60, 180)


def test_of_several_measurements_the_last_iteration_on_the_test_set_is_drawn():
    rows = several(net(iteration=50, scale=9.0), net(), net(split="train", scale=7.0), net(bn="batch", scale=5.0))
    above, _ = panels("fig7", rows)
    assert above.lines[0].y[0] == 1.0
    assert above.notes[:2] == ("test images", "running statistics")
    assert panels("fig7", several(net(bn="batch")))[0].notes[:2] == ("test images", "batch statistics")


def test_nets_are_told_apart_by_their_dashes():
    above, _ = panels("fig7", several(net(), net("residual", "A"), net("highway", "A")))
    assert [(line.dash) for line in above.lines] == ["dash-dotted", "dashed", "solid"]
    assert above.notes[2:] == ("dashed: plain", "solid: residual", "dash-dotted: highway")


def test_a_diverged_net_is_left_out_and_alone_is_nothing_to_draw():
    broken = net(seed=1, scale=float("nan"))
    (line,) = panels("fig7", several(net(), broken))[1].lines
    assert line.runs == ("plain-8-s0",)
    with pytest.raises(NothingToDraw, match="diverged"):
        panels("fig7", several(broken))


def test_fig7_leaves_constructed_nets_out_unless_there_are_no_others():
    layers, _ = net("plain", depth=20)
    built = layers.assign(origin="constructed-8", group="built", run="built")
    assert [line.label for line in panels("fig7", several(net(), (built, None)))[1].lines] == ["plain-8"]
    assert [line.label for line in panels("fig7", built)[1].lines] == ["plain-20 constructed-8"]


def test_blocks_shows_what_is_added_only_where_something_is_added_to():
    added, moved = panels("blocks", several(net(), net("residual", "A"), table=1))
    assert [line.label for line in added.lines] == ["residual-A-8"]
    assert [line.label for line in moved.lines] == ["plain-8", "residual-A-8"]
    (alone,) = panels("blocks", several(net(), table=1))
    assert alone.title == "distance of a block from the identity"


def test_constructed_nets_are_bold_beside_others_of_their_depth():
    """They have the colour of their depth, and the net from random weights has it too."""
    _, layers = net("plain", depth=20)
    built = layers.assign(origin="constructed-8", group="built", run="built")
    (made,) = panels("blocks", pd.concat([layers, built], ignore_index=True))
    assert {line.label: line.weight for line in made.lines} == {"plain-20": "medium", "plain-20 constructed-8": "bold"}
    assert "bold: constructed" in made.notes
    assert not any("bold" in note for note in panels("blocks", layers)[0].notes)


def test_a_linear_axis_begins_near_values_that_all_lie_far_from_0():
    layers, _ = net()
    near, _ = panels("fig7", layers.assign(std=1 + layers["std"] / 1000))
    far, _ = panels("fig7", layers.assign(std=layers["std"].clip(upper=9)))
    assert (near.scale, far.scale) == ("linear", "linear")
    assert 0.9 < near.ylim[0] < near.lines[0].low.min()
    assert far.ylim[0] == 0


def test_gates_shows_an_identity_that_is_never_closed_beside_gates():
    rows = several(net(), net("residual", "A"), net("highway", "A"), table=1)
    (made,) = panels("gates", rows)
    assert {line.label: set(line.y) for line in made.lines} == {
        "plain-8": {0.0},
        "residual-A-8": {1.0},
        "highway-A-8": {0.8},
    }
    assert made.ylim == (0, 1.03)
    with pytest.raises(NothingToDraw, match="highway"):
        panels("gates", several(net(), table=1))


def built(**options):
    """plain-20 copied from plain-8, measured before its first step too."""
    rows = run("plain", "none", 20, origin="constructed-8", **options)
    start = rows[rows.iteration == 20].assign(iteration=0, epoch=0.0, seconds=0.0)
    return pd.concat([start[start.split != "train"], rows], ignore_index=True)


def test_constructed_begins_at_iteration_0_beside_nets_of_both_depths_from_random_weights():
    curves = pd.concat([sweep(depths=(8, 14, 20)), built(end=1.0)], ignore_index=True)
    clean, test = panels("constructed", curves)
    assert (clean.title, test.title) == ("plain: clean training error", "plain: test error")
    assert [(line.label, line.dash) for line in clean.lines] == [
        ("plain-8", "dashed"),
        ("plain-20", "dashed"),
        ("plain-20 constructed-8", "solid"),
    ]
    assert (clean.lines[2].x[0], clean.lines[0].x[0]) == (0, 20)
    with pytest.raises(NothingToDraw, match="degrade construct"):
        panels("constructed", sweep())


def test_figures_of_the_paper_leave_constructed_nets_out():
    curves = pd.concat([sweep(), built()], ignore_index=True)
    for name in ("fig1", "fig4", "fig6"):
        drawn = {line.label for panel in panels(name, curves) for line in panel.lines}
        assert drawn == {line.label for panel in panels(name, sweep()) for line in panel.lines}


@pytest.mark.parametrize("name", ["fig7", "blocks", "gates"])
def test_what_is_drawn_is_what_the_panels_say(name):
    rows = several(net(), net("highway", "A"), table=int(name != "fig7"))
    made = panels(name, rows)
    figure = draw(made, "title", FIGURES[name].abreast)
    assert len(figure.axes) == len(made)
    for axes, panel in zip(figure.axes, made, strict=True):
        assert [line.get_ydata().tolist() for line in axes.lines if len(line.get_xdata()) > 2] == [
            line.y.tolist() for line in panel.lines
        ]
        assert axes.get_ylabel() in ("", panel.ylabel)
        assert np.isclose(axes.get_ylim()[1], panel.ylim[1])
