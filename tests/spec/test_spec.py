import json

import pytest
from conftest import tiny

from degrade.errors import SpecError
from degrade.spec import DataSpec, NetSpec, RecipeSpec, RunSpec, parse
from degrade.spec.rules import identity_of


def test_a_spec_survives_the_way_through_plain_values():
    spec = tiny(net="plain", seed=3, recipe={"milestones": [0.25, 0.5]})
    assert parse(spec.tree()) == spec


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"depth": 21}, ["depth=21", "6n+2", "20 or 26"]),
        ({"depth": 2}, ["depth=2", "8 or 14"]),
        ({"depht": 20}, ["depht", "did you mean 'depth'?"]),
        ({"depth": "x"}, ["depth=x", "integer"]),
        ({"depth": True}, ["depth=true", "integer"]),
        ({"net": "plian"}, ["net=plian", "did you mean 'plain'?"]),
        ({"net": "residual", "shortcut": "none"}, ["shortcut=none", "A, B, C"]),
        ({"net": "plain", "shortcut": "Z"}, ["shortcut=Z"]),
        ({"net": "highway", "gate_bias": float("inf")}, ["gate_bias=inf", "as in -2"]),
        ({"net": "highway", "shortcut": "none"}, ["shortcut=none", "A, B, C"]),
        ({"width": 0}, ["width=0", "1 to 4096"]),
        ({"seed": -1}, ["seed=-1"]),
        ({"seed": 2**63}, ["seed=9223372036854775808"]),
        ({"data": 3}, ["data=3", "group"]),
        ({"data": {"train_limit": 0}}, ["data.train_limit=0", "null for all"]),
        ({"data": {"normalize": "none"}}, ["data.normalize=none", "pixel, channel"]),
        ({"data": {"normalize": [0.5, 0.0]}}, ["data.normalize", "above 0"]),
        ({"data": {"normalize": [float("nan"), 1.0]}}, ["data.normalize"]),
        ({"data": {"normalize": []}}, ["data.normalize"]),
        ({"data": {"normalize": [0.5]}}, ["data.normalize"]),
        ({"recipe": {"lr": float("nan")}}, ["recipe.lr=nan"]),
        ({"recipe": {"lr": -0.1}}, ["recipe.lr=-0.1"]),
        ({"recipe": {"momentum": 1.0}}, ["recipe.momentum=1.0"]),
        ({"recipe": {"milestones": [0.7, 0.5]}}, ["recipe.milestones", "rising"]),
        ({"recipe": {"milestones": 0.5}}, ["recipe.milestones=0.5", "list"]),
        ({"recipe": {"warmup_window": 0}}, ["recipe.warmup_window=0:", "as in 391", "as in 0.05"]),
        ({"recipe": {"warmup_window": 1.0}}, ["recipe.warmup_window=1.0:", "whole number"]),
        ({"recipe": {"warmup_cap": 0.0}}, ["recipe.warmup_cap=0.0:", "between 0 and 1"]),
        ({"recipe": {"warmup_cap": 2.5}}, ["recipe.warmup_cap=2.5:", "whole number"]),
        ({"recipe": {"warmup_cap": float("nan")}}, ["recipe.warmup_cap=nan:"]),
        ({"recipe": {"warmup_cap": True}}, ["recipe.warmup_cap=true:", "number"]),
        ({"recipe": {"warmup_cap": "0.1"}}, ["recipe.warmup_cap=0.1:", "number"]),
        ({"recipe": {"bacth": 3}}, ["recipe.bacth", "did you mean 'batch'?"]),
        ({"engine": {"precision": "fp8"}}, ["engine.precision=fp8", "fp32"]),
    ],
)
def test_a_wrong_value_is_one_line_with_key_value_and_way_out(tree, words):
    with pytest.raises(SpecError) as caught:
        parse(tree)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_plain_collapses_the_shortcut_axis():
    names = {tiny(net="plain", shortcut=option).run for option in ("A", "B", "C")}
    assert len(names) == 1


def test_only_highway_nets_have_a_gate_bias():
    assert tiny(net="residual", gate_bias=-4).run == tiny(net="residual").run
    assert tiny(net="highway", gate_bias=-4).group != tiny(net="highway").group
    assert tiny(net="highway", gate_bias=-4).protocol == tiny(net="residual").protocol


def test_only_option_a_pads():
    assert tiny(shortcut="B", pad="split").run == tiny(shortcut="B").run
    assert tiny(shortcut="A", pad="split").run != tiny(shortcut="A").run


def test_what_cannot_change_the_result_stays_out_of_the_name():
    assert tiny().run == tiny(engine={"threads": 7, "device": "cpu"}).run == tiny(recipe={"name": "other"}).run


def test_an_integer_for_a_number_is_the_same_run():
    assert tiny(recipe={"lr": 1}).run == tiny(recipe={"lr": 1.0}).run


@pytest.mark.parametrize("kind", [NetSpec, DataSpec, RecipeSpec])
def test_values_equal_to_a_released_default_stay_out_of_the_hash(kind):
    assert identity_of(kind()) == {}


def test_group_ignores_the_seed_and_protocol_the_net():
    base = tiny()
    assert tiny(seed=1).group == base.group
    assert tiny(seed=1).run != base.run
    for change in ({"depth": 14}, {"net": "plain"}, {"shortcut": "C"}, {"width": 8}, {"pad": "split"}):
        assert tiny(**change).protocol == base.protocol
        assert tiny(**change).group != base.group
    for change in ({"recipe": {"lr": 0.1}}, {"data": {"train_limit": 90}}):
        assert tiny(**change).protocol != base.protocol


def test_names_of_released_runs_never_change():
    """These names are in people's results folders: a change here orphans them."""
    spec = RunSpec(
        data=DataSpec(name="digits", content="71326816865eb8cd"), recipe=RecipeSpec(iterations=1800, batch=32)
    )
    assert (spec.run, spec.group, spec.protocol) == (
        "residual-A-20-s0-81bb1135",
        "residual-A-20-965d2e37",
        "digits-40b73047",
    )


def test_a_warm_up_in_iterations_keeps_its_released_name_and_a_fraction_has_another():
    """1 means one iteration, also in the hash."""

    def named(window, cap):
        recipe = RecipeSpec(warmup="on", warmup_window=window, warmup_cap=cap)
        spec = RunSpec(data=DataSpec(name="digits", content="71326816865eb8cd"), recipe=recipe)
        assert parse(json.loads(json.dumps(spec.tree()))) == spec
        return spec

    whole = named(45, 450)
    assert (whole.run, whole.protocol) == ("residual-A-20-s0-4577a0d6", "digits-2ec7288e")
    assert named(391, 3910).identity["recipe"] == {"warmup": "on"}
    assert len({whole.run, named(1, 450).run, named(0.5, 450).run, named(45, 0.5).run}) == 4


@pytest.mark.parametrize("key", ["name", "content"])
@pytest.mark.parametrize("value", ["../x", "a/b", "a b", "a.b"])
def test_what_becomes_part_of_a_path_is_one_word(key, value):
    with pytest.raises(SpecError, match=f"^data.{key}={value}: must be letters"):
        DataSpec(**{key: value})
