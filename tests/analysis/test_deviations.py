from dataclasses import replace

import pytest

from degrade.analysis.deviations import PAPER_SETTINGS, deviations
from degrade.spec import DataSpec, NetSpec, RecipeSpec, RunSpec

STRICT = RecipeSpec(momentum_form="caffe", decay_scope="conv", bn_group=64, precise_bn=True)


def keys(spec: RunSpec) -> set[str]:
    return {each.key for each in deviations(spec)}


def test_the_strict_recipe_on_cifar10_differs_in_nothing():
    assert deviations(RunSpec(recipe=STRICT)) == []


def test_the_default_recipe_differs_in_what_replications_share():
    assert keys(RunSpec()) == {"recipe.momentum_form", "recipe.decay_scope", "recipe.bn_group", "recipe.precise_bn"}


def test_a_net_that_the_study_does_not_have_is_named():
    assert keys(RunSpec(net=NetSpec(net="highway"), recipe=STRICT)) == {"net"}
    assert keys(RunSpec(net=NetSpec(net="plain"), recipe=STRICT)) == set()


def test_other_data_a_limit_and_an_option_are_named():
    spec = RunSpec(net=NetSpec(shortcut="B"), data=DataSpec(name="digits", train_limit=9), recipe=STRICT)
    assert keys(spec) == {"data.name", "data.train_limit", "shortcut"}


@pytest.mark.parametrize("key", PAPER_SETTINGS)
def test_every_key_is_one_of_a_run_and_is_seen(key):
    part, name = key.split(".")
    spec = RunSpec(recipe=STRICT)
    value = getattr(getattr(spec, part), name)
    other = {
        bool: lambda: not value,
        int: lambda: value + 2,
        float: lambda: value / 2,
        tuple: lambda: (0.25,),
        type(None): lambda: 7,
        str: lambda: {
            "all": "conv",
            "conv": "all",
            "caffe": "torch",
            "auto": "on",
            "batch": "none",
            "he": "small",
            "pixel": "channel",
        }.get(value, "none"),
    }[type(value)]()
    if key == "data.name":
        other = "digits"
    changed = replace(spec, **{part: replace(getattr(spec, part), **{name: other})})
    assert (name if part == "net" else key) in keys(changed)
