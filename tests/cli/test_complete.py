import pytest

from degrade.cli.complete import complete_override
from degrade.spec.parts import SHORTCUTS

NETS = list(SHORTCUTS)  # plain is the first of them
OTHERS = [f"plain,{net}" for net in NETS if net != "plain"]


def test_the_nets_that_are_offered_are_those_there_are():
    assert {"plain", "residual", "highway"} <= set(NETS)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("dep", ["depth="]),
        ("stud", ["study="]),
        ("recipe.lr", ["recipe.lr="]),
        ("net=", [f"net={net}" for net in NETS]),
        ("net=plain,", [f"net={pair}" for pair in OTHERS]),
        ("net=plain,r", ["net=plain,residual"]),
        ("shortcut=A,", ["shortcut=A,B", "shortcut=A,C", "shortcut=A,none"]),
        ("study=quickstart", ["study=quickstart", "study=quickstart3"]),
        ("recipe.norm=", ["recipe.norm=batch", "recipe.norm=none"]),
        ("recipe.nesterov=", ["recipe.nesterov=true", "recipe.nesterov=false"]),
        ("data.normalize=c", ["data.normalize=channel"]),
        ("depth=20,5", ["depth=20,56"]),
        ("nonsense=", []),
        ("zzz", []),
    ],
)
def test_keys_groups_and_values_are_offered_also_after_a_comma(typed, offered):
    assert complete_override(typed) == offered


@pytest.mark.parametrize(
    ("before", "typed", "offered"),
    [
        (["net"], "", NETS),
        (["net", "="], "pl", ["plain"]),
        (["net", "="], "plain,", OTHERS),
        (["net", "=", "plain"], "stud", ["study="]),
        (["net=plain"], "stud", ["study="]),
    ],
)
def test_bash_which_splits_at_the_sign_gets_the_last_word_alone(before, typed, offered):
    assert complete_override(typed, before) == offered
