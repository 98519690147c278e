import numpy as np
import pandas as pd
import pytest
from conftest import tiny
from generated import Run, ended, tables
from scipy import stats

from degrade.analysis.compare import COLUMNS, compare
from degrade.analysis.gate import BY_MEANS, FOR_OTHERS
from degrade.analysis.judge import ALIKE, DIFFERS, OPEN, SAME
from degrade.errors import SpecError
from degrade.spec import RunSpec, parse
from degrade.spec.run import OriginSpec
from degrade.store.results import load


def spec_of(net: str = "plain", depth: int = 8, seed: int = 0, **more) -> RunSpec:
    """Of digits whose content is not looked at."""
    data = {"name": "digits", **more.pop("data", {})}
    return parse({"net": net, "depth": depth, "seed": seed, "data": data, **more})


def study(clean: dict[tuple[str, int], list[float]], test: dict[tuple[str, int], list[float]] | None = None, **more):
    """Runs by net and depth: an error for each seed; test errors are those of training where not given."""
    return [
        ended(spec_of(net, depth, seed, **more), error, (test or {}).get((net, depth), errors)[seed])
        for (net, depth), errors in clean.items()
        for seed, error in enumerate(errors)
    ]


def judged(clean, test=None, **options):
    return compare(tables(study(clean, test)), **options).verdicts.set_index(["line", "depth", "than"])


PLAIN = {("plain", 8): [1.0, 1.2, 1.1], ("plain", 20): [9.0, 9.5, 9.2], ("plain", 32): [20.0, 21.0, 20.4]}
RESIDUAL = {("residual", 8): [1.0, 1.1, 1.2], ("residual", 20): [1.1, 1.0, 1.2], ("residual", 32): [1.0, 1.2, 1.0]}


def test_plain_degrades_and_residual_does_not():
    found = compare(tables(study(PLAIN | RESIDUAL)))
    verdict = found.verdicts.set_index(["line", "depth", "than"]).verdict
    assert set(verdict["plain"]) == {"degrades"}
    assert set(verdict["residual-A"]) == {SAME}
    row = found.interaction.iloc[0]
    assert (row.base, row.line, row.shallow, row.deep, row.basis, row.runs) == (
        "plain",
        "residual-A",
        8,
        32,
        "seeds",
        3,
    )
    assert row.interaction == pytest.approx((20.4667 - 1.1) - (1.0667 - 1.1), abs=1e-3)
    assert row.low < row.interaction < row.high
    assert row.low > 15


def test_the_difference_is_welchs_with_a_gate_before_the_other_pairs():
    clean = {("plain", d): [e + 30, e + 31, e + 33] for d, e in ((8, 0), (20, 4), (32, 3))}
    rows = judged(clean)
    assert rows.index.tolist() == [("plain", 20, 8), ("plain", 32, 8)]  # 8 is the best shallower one too
    welch = stats.ttest_ind([34, 35, 37], [30, 31, 33], equal_var=False)
    row = rows.loc["plain", 20, 8]
    assert row.difference == pytest.approx(4.0)
    assert [row.low, row.high] == pytest.approx(list(welch.confidence_interval(0.95)), abs=0.05)
    one = {
        pair: stats.ttest_ind(
            *(np.array(clean["plain", d]) - (0.5 if d == pair[0] else 0) for d in pair),
            equal_var=False,
            alternative="greater",
        ).pvalue
        for pair in ((20, 8), (32, 8), (32, 20))
    }  # all pairs of the line are the family
    others = 2 * 2 * min(one[20, 8], one[32, 20])  # Holm over two pairs, each with two ways to a verdict
    assert rows.loc["plain", 32, 8].p == pytest.approx(one[32, 8] / BY_MEANS, rel=0.05)  # the primary comparison
    inherited = max(others / (FOR_OTHERS + BY_MEANS), one[32, 8] / BY_MEANS)
    assert row.p == pytest.approx(inherited, rel=0.05)


def test_each_deeper_net_is_set_against_the_shallowest_and_the_best():
    rows = judged({("plain", 8): [5.0, 5.1, 5.2], ("plain", 20): [1.0, 1.1, 1.0], ("plain", 32): [5.0, 5.1, 5.2]})
    assert rows.against.to_dict() == {
        ("plain", 20, 8): "both",
        ("plain", 32, 8): "shallowest",
        ("plain", 32, 20): "best",
    }
    assert rows.verdict.tolist() == ["gains", SAME, "degrades"]


def constant(error: float) -> list[float]:
    return [error - 0.05, error, error + 0.05]


@pytest.mark.parametrize(
    ("clean", "test", "verdict"),
    [
        ((1, 9), (2, 9), "degrades"),
        ((1, 9), (9, 2), "degrades"),
        ((1, 1), (2, 12), "overfits"),
        ((9, 1), (2, 12), "overfits"),
        ((9, 1), (9, 9), "gains"),
        ((1, 1), (12, 2), "gains"),
        ((1, 1), (9, 9), SAME),
        ((1, 1.52), (9, 9), OPEN),
        ((1.52, 1), (9, 9), OPEN),  # certainly no degradation, but perhaps a gain
    ],
)
def test_the_verdicts(clean, test, verdict):
    rows = judged(
        {("plain", d): constant(e) for d, e in zip((8, 20), clean, strict=True)},
        {("plain", d): constant(e) for d, e in zip((8, 20), test, strict=True)},
    )
    assert rows.verdict.tolist() == [verdict]
    assert rows.seeds.notna().tolist() == [verdict == OPEN]


def test_the_margin_is_the_smallest_difference_of_interest():
    pair = {("plain", 8): constant(1), ("plain", 20): constant(4)}
    assert judged(pair).verdict.item() == "degrades"
    assert judged(pair, margin=5.0).verdict.item() == SAME
    assert judged(pair, margin=3.0).verdict.item() == OPEN


def test_seeds_are_counted_for_the_width_or_for_a_decision():
    pair = {("plain", 8): [1.0, 2.0, 3.0], ("plain", 20): [3.0, 4.5, 6.0]}
    decisive, narrow = judged(pair), judged(pair, width=0.2)
    assert decisive.verdict.item() == narrow.verdict.item() == OPEN
    assert decisive.width.item() == pytest.approx(2.0)  # from 2.5 down to the margin
    assert 3 < decisive.seeds.item() < 20
    assert (narrow.width.item(), narrow.seeds.item() > 200) == (0.2, True)


def test_seeds_without_a_mistake_do_not_prove_that_nothing_differs():
    few = judged({("residual", 8): [0.0] * 2, ("residual", 20): [0.0] * 2}, margin=0.02)
    assert few.verdict.item() == OPEN
    row = judged({("residual", 8): [0.0] * 3, ("residual", 20): [0.0] * 3}).iloc[0]
    assert row.low < 0 < row.high
    assert row.p > 0.05


def test_single_seeds_have_no_verdict_and_no_p():
    found = compare(
        tables(
            study({("plain", 8): [1.0], ("plain", 20): [60.0, 61.0], ("residual", 8): [1.0], ("residual", 20): [1.0]})
        )
    )
    plain, residual = found.verdicts.iloc[0], found.verdicts.iloc[1]
    assert (plain.basis, plain.verdict, plain.runs, plain.runs_than) == ("prediction", DIFFERS, 2, 1)
    assert plain.predicted_low < 60 < 61 < plain.predicted_high
    assert (residual.basis, residual.verdict) == ("images", ALIKE)
    assert found.verdicts[["p", "test_p"]].isna().all(axis=None)
    assert found.interaction.basis.item() == "images"
    one = found.summary.query("label == 'plain-8' and split == 'train_clean' and statistic == 'last'").iloc[0]
    assert one.basis == "images"
    assert pd.isna(one["std"])
    assert one.low < 1.0 < one.high
    assert pd.isna(judged({("plain", 8): [1.0], ("plain", 20): [1.4]}).seeds.item())


def test_diverged_runs_and_those_that_never_started_count_at_their_error():
    runs = study({("plain", 8): [1.0, 1.1, 1.2], ("plain", 20): [2.0, 2.1]})
    lost = Run(spec_of("plain", 20, 2), {"train_clean": (5.0, 90.0), "test": (6.0, 90.0)}, "diverged", "diverged")
    idle = ended(spec_of("plain", 20, 3), 90.0, 90.0, outcome="not started")
    found = compare(tables([*runs, lost, idle]))
    row = found.summary.query("label == 'plain-20' and split == 'test' and statistic == 'last'").iloc[0]
    assert (row.runs, row.diverged, row.not_started, row["max"]) == (4, 1, 1, 90.0)
    assert row["mean"] == pytest.approx((2.0 + 2.1 + 90 + 90) / 4)
    tail = found.summary.query("label == 'plain-20' and split == 'test' and statistic == 'tail'").iloc[0]
    assert tail["mean"] == row["mean"]  # a diverged run stays where it is; what it had before is no help
    assert found.verdicts.runs.item() == 4
    assert found.left_out.empty


def test_unfinished_runs_are_in_no_table_and_are_named():
    runs = study({("plain", 8): [1.0, 1.1], ("plain", 20): [2.0, 2.1]})
    late = [ended(spec_of("plain", 20, 5), 99.0, 99.0, state=state) for state in ("running", "interrupted", "failed")]
    late = [Run(spec_of("plain", 20, 5 + i), run.errors, run.state) for i, run in enumerate(late)]
    bare = Run(spec_of("plain", 32), {}, "finished")
    found = compare(tables([*runs, *late, bare]))
    assert found.summary["max"].max() < 10
    assert found.verdicts.runs.tolist() == [2]
    assert sorted(found.left_out.state) == ["failed", "interrupted", "running", "without a curve"]


def test_the_tail_is_a_mean_over_the_last_evaluations_and_the_best_is_called_optimistic():
    run = Run(spec_of(), {"train_clean": (50.0, 9.0, 8.0, 7.0), "test": (50.0, 3.0, 8.0, 10.0)})
    frame = compare(tables([run]), last=3).summary
    test = frame[frame.split == "test"].set_index("statistic")
    assert test["mean"].to_dict() == {"last": 10.0, "tail": 7.0, "optimistic": 3.0}
    assert test.evaluations.tolist()[:2] == [1, 3]
    assert "optimistic" not in set(frame.statistic[frame.split == "train_clean"])


def test_a_run_that_never_gets_there_counts_as_later_than_all_others():
    falls = [(60.0, 40.0, 4.0), (60.0, 50.0, 20.0), (90.0, 90.0, 90.0)]
    runs = [Run(spec_of(seed=s), {"train_clean": falls[s], "test": falls[s]}) for s in range(3)]
    frame = compare(tables(runs)).reached.set_index("error")
    assert frame.iterations[50.0] == 20  # 20, 20, never
    assert frame.iterations[20.0] == 30  # 30, 30, never
    assert frame.seconds[20.0] == 30.0
    assert pd.isna(frame.iterations[10.0])  # 30, never, never
    assert frame.reached.tolist() == [2, 2, 1, 1]
    assert frame.runs.tolist() == [3, 3, 3, 3]


def test_protocols_are_never_mixed():
    runs = [*study({("plain", 8): [1.0, 1.1]}), *study({("plain", 20): [50.0, 51.0]}, recipe={"lr": 0.5})]
    found = compare(tables(runs))
    assert found.verdicts.empty
    assert found.interaction.empty
    both = compare(tables([*runs, *study(PLAIN | RESIDUAL, recipe={"lr": 0.3})]))
    assert both.verdicts.protocol.nunique() == 1
    assert len(both.interaction) == 1


def test_nets_of_one_line_differ_in_nothing_but_depth():
    runs = [
        *study({("residual", 8): [1.0, 1.1]}, pad="split"),
        *study({("residual", 20): [50.0, 51.0]}),
        *study({("residual", 20): [60.0, 61.0]}, width=4),
        *study({("residual", 20): [60.0, 61.0]}, shortcut="B"),
    ]
    found = compare(tables(runs))
    assert found.verdicts.empty
    assert set(found.summary.line) == {"residual-A pad=split", "residual-A", "residual-A-w4", "residual-B"}


def test_constructed_nets_are_shown_and_never_judged():
    origin = {"run": "plain-8-s0", "group": "plain-8", "depth": 8, "iteration": 9, "weights": "0" * 16}
    made = [ended(spec_of("plain", 20, seed, origin=origin), 70.0, 70.0) for seed in (0, 1)]
    assert isinstance(made[0].spec.origin, OriginSpec)
    found = compare(tables([*study(PLAIN | RESIDUAL), *made]))
    pd.testing.assert_frame_equal(found.verdicts, compare(tables(study(PLAIN | RESIDUAL))).verdicts)
    assert found.interaction.plain.item() == pytest.approx(19.3667, abs=1e-3)
    assert "constructed-8" in set(found.summary.origin)
    assert set(found.paper.origin) == {""}


def test_the_columns_are_what_is_said_of_them():
    for found in (compare(tables(study(PLAIN | RESIDUAL))), compare(tables([])), compare(load(*[]))):
        assert set(found.frames()) == set(COLUMNS)
        for name, frame in found.frames().items():
            assert list(frame.columns) == list(COLUMNS[name]), name
    assert all(frame.empty for frame in found.frames().values())


@pytest.mark.parametrize("options", [{"margin": 0}, {"margin": float("nan")}, {"width": -1}, {"last": 0}])
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(SpecError, match=f"--{next(iter(options))}="):
        compare(tables(study(PLAIN)), **options)


def test_frames_are_not_changed():
    given = tables(study(PLAIN | RESIDUAL))
    before = given.curves.copy(), given.runs.copy()
    compare(given)
    pd.testing.assert_frame_equal(given.curves, before[0])
    pd.testing.assert_frame_equal(given.runs, before[1])


def test_real_curves_go_all_the_way(tmp_path):
    """Two runs, trained; the errors are those of their last points."""
    from degrade.train.run import run

    run([tiny(depth=8), tiny(depth=14)], tmp_path)
    found = compare(load(tmp_path))
    curves = load(tmp_path).curves
    end = curves[(curves.iteration == 12) & (curves.split == "train_clean")].set_index("depth").error
    row = found.verdicts.iloc[0]
    assert (row.error, row.error_than, row.basis) == (end[14], end[8], "images")
