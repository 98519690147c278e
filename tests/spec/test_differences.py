from dataclasses import replace

from degrade.spec import RunSpec, parse
from degrade.spec.differences import name_protocols, tell_differences


def spec(**tree: object) -> RunSpec:
    return parse({"net": "plain", "data": {"name": "digits", "content": "a" * 16}, **tree})


def test_what_the_name_does_not_say_and_is_not_the_same_in_all_runs_is_told():
    runs = [spec(recipe={"lr": lr}, depth=depth) for lr in (0.1, 0.01) for depth in (8, 14)]
    assert [*tell_differences(runs).values()] == ["recipe.lr=0.1"] * 2 + ["recipe.lr=0.01"] * 2
    assert {*tell_differences([spec(seed=0), spec(depth=8), spec(width=4)]).values()} == {""}


def test_what_changes_no_result_is_no_difference():
    assert {*tell_differences([spec(engine={"threads": 2}), spec(seed=1)]).values()} == {""}


def test_data_are_told_by_their_names_where_those_tell_them_apart():
    mine = spec(data={"name": "image_folder", "content": "b" * 16, "label": "CIFAR-10 (JPEG)"})
    assert [*tell_differences([spec(), mine]).values()] == ["data=digits", "data=CIFAR-10 (JPEG)"]
    other = replace(mine, data=replace(mine.data, content="c" * 16))
    assert [*tell_differences([mine, other]).values()] == [f"data.content={'b' * 16}", f"data.content={'c' * 16}"]


def test_a_long_list_of_values_is_cut():
    recipe = {"lr": 0.5, "batch": 7, "momentum": 0.1, "weight_decay": 0.2, "norm": "none", "iterations": 5}
    said = [*tell_differences([spec(), spec(recipe=recipe)]).values()]
    assert said[1].endswith(" and 2 more")


def test_titles_of_protocols_say_in_what_they_differ():
    runs = [spec(depth=depth, recipe={"lr": lr}) for lr in (0.1, 0.01) for depth in (8, 14)]
    assert {*name_protocols(runs, {}).values()} == {"recipe.lr=0.1", "recipe.lr=0.01"}
    assert name_protocols(runs[:2], {}) == {}
    assert [*name_protocols(runs, {runs[0].protocol: "Mine"}).values()] == ["Mine, recipe.lr=0.1", "recipe.lr=0.01"]
