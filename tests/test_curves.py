import pandas as pd
import pytest
from conftest import tiny

from degrade.curves import chosen_rates, final_errors, last_points, over_seeds


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


def test_frames_are_not_changed():
    before = TWO_SEEDS.copy()
    final_errors(TWO_SEEDS), over_seeds(TWO_SEEDS), last_points(TWO_SEEDS)
    pd.testing.assert_frame_equal(TWO_SEEDS, before)
