"""The constructed solution in one row of `degrade compare`."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from generated import EVERY, Run, ended, lay, tables

from degrade.analysis.compare import COLUMNS, compare
from degrade.analysis.constructed import lengthen
from degrade.spec import DataSpec, NetSpec, RunSpec
from degrade.spec.run import OriginSpec
from degrade.store.results import load
from degrade.views.summaries import constructions


def spec(depth: int, seed: int = 0, origin: OriginSpec | None = None, net: str = "plain") -> RunSpec:
    return RunSpec(net=NetSpec(net=net, depth=depth), data=DataSpec(name="digits"), seed=seed, origin=origin)


def copied(depth: int, seed: int, clean: tuple[float, ...], state: str = "finished") -> Run:
    """plain-`depth`, constructed from the end of plain-8; the first error is that of iteration 0."""
    source = spec(8, seed)
    begun = OriginSpec(run=source.run, group=source.group, depth=8, iteration=EVERY, weights=f"{seed:016d}")
    return Run(spec(depth, seed, begun), {"train_clean": clean, "test": tuple(e + 1 for e in clean)}, state=state)


def study(*more: Run):
    """Two seeds of plain-8 and plain-20 from random weights, and what else is given; points of copies from 0 on."""
    random = [
        ended(spec(depth, seed), error + seed, error + seed)
        for depth, error in ((8, 2.0), (20, 30.0))
        for seed in (0, 1)
    ]
    made = tables([*random, *more])
    built = made.curves.origin != ""
    made.curves.loc[built, "iteration"] -= EVERY
    return made


def test_one_row_has_where_it_begins_where_training_takes_it_and_where_random_weights_end():
    frame = compare(study(copied(20, 0, (2.0, 9.0, 1.0)), copied(20, 1, (3.0, 9.0, 2.0)))).constructed
    assert list(frame.columns) == list(COLUMNS["constructed"])
    clean, test = (frame[frame.split == split].iloc[0] for split in ("train_clean", "test"))
    assert (clean.label, clean.depth, clean.origin) == ("plain-20-from8", 20, "constructed-8")
    assert (clean.source, clean.start, clean.trained, clean.scratch) == (2.5, 2.5, 1.5, 30.5)
    assert (clean.source_runs, clean.start_runs, clean.trained_runs, clean.scratch_runs) == (2, 2, 2, 2)
    assert clean.trained_std == pytest.approx(math.sqrt(0.5))
    assert (test.start, test.trained) == (3.5, 2.5)


def test_a_net_that_was_only_constructed_is_there_and_no_run_that_is_left_out():
    found = compare(study(copied(20, 0, (2.0,), state="constructed")))
    row = found.constructed[found.constructed.split == "train_clean"].iloc[0]
    assert (row.start, row.start_runs, row.trained_runs) == (2.0, 1, 0)
    assert math.isnan(row.trained)
    assert found.left_out.empty
    (sheet, _) = constructions(found.constructed)
    assert sheet.rows == [("plain-20-from8", "2.00", "2.00", "-", "30.50 ± 0.71")]


def test_one_that_is_still_being_trained_counts_at_its_start_alone():
    found = compare(study(copied(20, 0, (2.0, 40.0), state="running"), copied(20, 1, (3.0, 1.0))))
    row = found.constructed[found.constructed.split == "train_clean"].iloc[0]
    assert (row.start, row.trained, row.trained_runs) == (2.5, 1.0, 1)
    assert len(found.left_out) == 1


def test_no_verdict_is_about_constructed_nets():
    with_, without = compare(study(copied(20, 0, (2.0, 1.0)), copied(20, 1, (3.0, 1.0)))), compare(study())
    pd.testing.assert_frame_equal(with_.verdicts, without.verdicts)
    pd.testing.assert_frame_equal(with_.interaction, without.interaction)
    assert len(without.verdicts) == 1
    assert without.constructed.empty
    assert constructions(without.constructed) == []


def test_nets_that_differ_in_more_than_depth_are_not_set_beside_a_copy():
    """Residual nets whose zeros go elsewhere share protocol, net, shortcut and width, and are others all the same."""

    def net(depth: int, pad: str, origin: OriginSpec | None = None) -> RunSpec:
        return RunSpec(net=NetSpec(depth=depth, pad=pad), data=DataSpec(name="digits"), origin=origin)

    source = net(8, "split")
    begun = OriginSpec(run=source.run, group=source.group, depth=8, iteration=EVERY, weights="0" * 16)
    runs = [
        ended(net(8, "after"), 90.0, 90.0),
        ended(source, 80.0, 80.0),
        Run(net(20, "split", begun), {"test": (80.0,)}),
    ]
    row = compare(tables(runs)).constructed.iloc[0]
    assert (row.source, row.source_runs, row.scratch_runs) == (80.0, 1, 0)


def test_the_column_copied_is_of_the_runs_that_were_copied_alone():
    for seeds, error in (((0,), 2.0), ((1,), 3.0), ((0, 1), 2.5)):
        row = compare(study(*(copied(20, seed, (2.0, 1.0)) for seed in seeds))).constructed.iloc[-1]
        assert row.split == "train_clean"
        assert (row.source, row.source_runs) == (error, len(seeds))
        assert row.scratch_runs == 2  # nets from random weights of every seed are what a copy is set beside


def test_the_column_copied_of_a_folder_holds_no_run_of_another_seed(tmp_path):
    seeds = [ended(spec(8, seed), clean, clean + 1) for seed, clean in ((0, 0.28), (1, 2.22))]
    lay([*seeds, copied(20, 0, (0.28, 0.5))], tmp_path)
    (test, clean) = compare(load(tmp_path)).constructed.to_dict("records")
    assert (clean["source"], clean["source_runs"], test["source"]) == (0.28, 1, 1.28)
    assert math.isnan(clean["source_std"])


def test_a_copied_run_counts_at_the_iteration_that_was_copied():
    made = copied(20, 0, (8.0, 1.0))
    long = Run(spec(8, 0), {"train_clean": (9.0, 8.0, 2.0), "test": (9.0, 8.0, 2.0)})
    for iteration, error in ((2 * EVERY, 8.0), (3 * EVERY, 2.0)):
        origin = replace(made.spec.origin, iteration=iteration)
        row = compare(tables([long, replace(made, spec=replace(made.spec, origin=origin))])).constructed.iloc[0]
        assert (row.source, row.source_runs) == (error, 1)


@pytest.mark.parametrize("iteration", [EVERY, EVERY + 1])
def test_a_copied_run_that_is_not_given_or_has_no_point_there_leaves_its_cell_empty(iteration):
    made = copied(20, 5, (2.0, 1.0))
    made = replace(made, spec=replace(made.spec, origin=replace(made.spec.origin, iteration=iteration)))
    others = [ended(spec(8, 5), 2.0, 2.0)] if iteration > EVERY else []
    row = compare(study(made, *others)).constructed.iloc[0]
    assert (row.source_runs, row.scratch_runs) == (0, 2)
    assert math.isnan(row.source)


def test_the_control_has_the_steps_of_both_trainings_and_differs_in_nothing_else():
    one = copied(20, 0, (2.0, 1.0)).spec
    steps = one.recipe.iterations + EVERY
    alike = [spec(20, seed) for seed in (0, 1)]
    alike = [replace(each, recipe=replace(each.recipe, iterations=steps)) for each in alike]
    slower = replace(alike[0], recipe=replace(alike[0].recipe, lr=0.01))
    longer = replace(alike[0], recipe=replace(alike[0].recipe, iterations=steps + 1))
    shallow = replace(alike[0], net=replace(alike[0].net, depth=8))
    runs = [ended(each, 40.0 + n, 50.0) for n, each in enumerate((*alike, slower, longer, shallow))]
    found = compare(study(copied(20, 0, (2.0, 1.0)), *runs)).constructed
    row = found[found.split == "train_clean"].iloc[0]
    assert (row.control, row.control_runs, row.scratch_runs) == (40.5, 2, 2)
    assert list(found.columns)[-3:] == ["control", "control_std", "control_runs"]
    (sheet, _) = constructions(found)
    assert sheet.rows[0][-1] == "40.50 ± 0.71"
    assert lengthen(one, {}) == alike[0]


def test_the_control_of_a_copy_of_a_copy_has_the_steps_of_all_three():
    first = copied(20, 0, (2.0, 1.0)).spec
    again = OriginSpec(run=first.run, group=first.group, depth=20, iteration=30, weights="0" * 16)
    third = spec(32, 0, again)
    assert lengthen(third, {first.run: first}).recipe.iterations == 64_000 + 30 + EVERY
    assert lengthen(third, {}).recipe.iterations == 64_000 + 30
