import pandas as pd
import pytest
from conftest import tiny

from degrade.analysis.curves import (
    add_standing,
    beyond_seeds,
    choose,
    chosen_rates,
    final_errors,
    last_points,
    over_seeds,
)
from degrade.errors import SpecError


def frame(spec, errors: dict[int, float], split: str = "test") -> pd.DataFrame:
    rows = [{**spec.labels(), "iteration": i, "epoch": i / 2, "split": split, "error": e} for i, e in errors.items()]
    return pd.DataFrame(rows)


TWO_SEEDS = pd.concat([frame(tiny(seed=s), {5: 40 + s, 10: 20 + 2 * s}) for s in (0, 1)], ignore_index=True)


def test_the_last_iterate_counts_not_the_best():
    curves = frame(tiny(), {5: 1.0, 10: 7.0})
    assert last_points(curves).error.tolist() == [7.0]


def test_final_errors_are_mean_and_standard_deviation_over_seeds():
    row = final_errors(TWO_SEEDS).iloc[0]
    assert (row.test, row.seeds) == (21.0, 2)
    assert row.test_std == pytest.approx(2**0.5)


def test_one_seed_has_no_standard_deviation():
    assert pd.isna(final_errors(frame(tiny(), {5: 1.0})).test_std.iloc[0])


def test_every_net_has_its_row():
    specs = [tiny(net="plain"), tiny(), tiny(shortcut="B"), tiny(depth=14)]
    finals = final_errors(pd.concat([frame(spec, {5: 1.0}) for spec in specs]))
    assert finals[["net", "shortcut", "depth"]].values.tolist() == [
        ["plain", "none", 8],
        ["residual", "A", 8],
        ["residual", "A", 14],
        ["residual", "B", 8],
    ]


def test_seeds_become_mean_least_and_greatest():
    band = over_seeds(TWO_SEEDS)
    assert band[["iteration", "mean", "low", "high", "seeds"]].values.tolist() == [
        [5, 40.5, 40, 41, 2],
        [10, 21.0, 20, 22, 2],
    ]


def test_a_mean_is_always_over_the_same_runs():
    late = pd.concat([TWO_SEEDS, frame(tiny(seed=0), {15: 3.0})])
    assert over_seeds(late).iteration.tolist() == [5, 10]


def test_the_rate_is_chosen_on_validation_and_never_on_the_test_set():
    """Rate 0.1 is better on the test set, 0.3 on validation: 0.3 is taken, over both seeds."""
    frames, rate = [], {}
    for lr, val, test in ((0.1, 9.0, 1.0), (0.3, 8.0, 7.0)):
        for seed in (0, 1):
            spec = tiny(seed=seed, recipe={"lr": lr})
            rate[spec.run] = lr
            for split, error in (("val", val + seed), ("test", test), ("train_clean", 0.5)):
                frames += [frame(spec, {5: 0.0, 10: error}, split)]
    chosen = chosen_rates(pd.concat(frames), dict.fromkeys(rate, "residual-A-8"), rate)
    assert chosen[["rate", "val", "test"]].values.tolist() == [[0.3, 8.5, 7.0]]


def test_a_seed_that_is_ahead_goes_on_from_the_last_shared_point():
    late = pd.concat([TWO_SEEDS, frame(tiny(seed=0), {15: 3.0, 20: 2.0})])
    ahead = beyond_seeds(late)
    assert ahead[["seed", "iteration", "error"]].values.tolist() == [[0, 10, 20.0], [0, 15, 3.0], [0, 20, 2.0]]
    assert beyond_seeds(TWO_SEEDS).empty


def test_every_point_is_in_the_mean_or_beyond_it():
    alone = pd.concat([frame(tiny(seed=0), {3: 90.0}), frame(tiny(seed=1), {5: 40.0, 10: 20.0})])
    assert over_seeds(alone).empty
    assert beyond_seeds(alone).iteration.tolist() == [3, 5, 10]


def test_a_point_without_a_number_is_in_no_mean():
    broken = pd.concat([frame(tiny(seed=0), {5: 40.0}), frame(tiny(seed=1), {5: float("nan")})])
    assert over_seeds(broken).empty


def test_curves_learn_how_far_their_runs_have_to_go():
    runs = pd.DataFrame([{"run": tiny(seed=0).run, "state": "running", "iterations": 64_000.0}])
    known = add_standing(TWO_SEEDS, runs)
    assert known.groupby("seed")[["state", "iterations"]].first().values.tolist() == [
        ["running", 64_000],
        ["unknown", 10],
    ]
    assert add_standing(TWO_SEEDS, pd.DataFrame()).state.unique().tolist() == ["unknown"]


NETS = pd.concat(
    [
        frame(tiny(net=net, shortcut=o, depth=d), {5: 1.0})
        for net in ("plain", "residual")
        for o in "AB"
        for d in (8, 20)
    ]
)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ({}, ["none 20", "none 8", "A 20", "A 8", "B 20", "B 8"]),
        ({"net": ["plain"]}, ["none 20", "none 8"]),
        ({"depth": ["20"], "net": ["residual"]}, ["A 20", "B 20"]),
        ({"shortcut": ["B"], "depth": []}, ["none 20", "none 8", "B 20", "B 8"]),
        ({"shortcut": ["none"]}, ["none 20", "none 8"]),
        ({"data": ["digits"], "depth": ["8", "20"], "net": ["plain"]}, ["none 20", "none 8"]),
    ],
)
def test_runs_are_chosen_by_their_columns(wanted, kept):
    rows = choose(NETS, **wanted)
    assert set(rows.shortcut + " " + rows.depth.astype(str)) == set(kept)


def test_a_choice_that_leaves_nothing_names_what_there_is():
    with pytest.raises(SpecError, match=r"--depth=21: no run with a point has it; there is 8, 20$"):
        choose(NETS, depth=["8", "21"])
    few = NETS[(NETS.net == "plain") | (NETS.depth == 8)]
    with pytest.raises(
        SpecError, match=r"--net=residual --depth=20: no run has all of these values; leave one of them out$"
    ):
        choose(few, net=["residual"], depth=["20"])
    assert choose(NETS.iloc[:0]).empty


def test_frames_are_not_changed():
    before = TWO_SEEDS.copy()
    final_errors(TWO_SEEDS), over_seeds(TWO_SEEDS), last_points(TWO_SEEDS), beyond_seeds(TWO_SEEDS)
    add_standing(TWO_SEEDS, pd.DataFrame()), choose(TWO_SEEDS, depth=["8"])
    pd.testing.assert_frame_equal(TWO_SEEDS, before)
