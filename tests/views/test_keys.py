import json

import pytest
from conftest import Degrade

from degrade.errors import SpecError
from degrade.spec import RunSpec, parse
from degrade.sweep import expand
from degrade.views.keys import ABOUT, keys, list_fields


def test_every_key_of_the_specs_and_of_the_command_line_is_explained_and_no_other():
    with expand.hydra():
        composed = {key for key in expand.list_values([]) if not key.startswith("hydra")}
    own = {key for key, _ in list_fields()} | {"jobs", "results"}
    assert own == {*ABOUT}
    assert composed <= own


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recipe.lr", 0.3),
        ("recipe.name", "mine"),
        ("data.validation", 9),
        ("data.label", "mine"),
        ("engine.precision", "bf16"),
        ("engine.threads", 2),
        ("engine.probe", 5),
        ("width", 8),
    ],
)
def test_a_key_is_in_the_name_where_another_value_gives_another_name(key, value):
    part, _, name = key.rpartition(".")
    other = parse({part: {name: value}} if part else {name: value})
    (record,) = [record for record in keys(key, {}).records if record["key"] == key]
    assert record["identity"] is (other.run != RunSpec().run)


def test_values_are_those_of_the_words_beside_the_default(here: Degrade):
    (found,) = json.loads(here("keys", "recipe.lr", "data=digits", "--json").stdout)
    assert (found["value"], found["default"], found["section"], found["identity"]) == ("0.02", "0.1", "4.2", True)
    (axis,) = json.loads(here("keys", "depth", "depth=8,20", "--json").stdout)
    assert (axis["value"], axis["unit"]) == ("8,20", "layers")


@pytest.mark.parametrize(
    ("word", "said"), [("recipe.lrr", "did you mean 'recipe.lr'"), ("zzz", "`degrade keys` lists all")]
)
def test_a_word_that_nothing_speaks_of_is_refused(word, said):
    with pytest.raises(SpecError, match=said):
        keys(word, {})
