import pytest

from degrade.analysis.designs import list_designs
from degrade.data import digits
from degrade.errors import SpecError
from degrade.spec import RunSpec, parse
from degrade.spec.parts import TRAINING_IMAGES


def spec_of(net: str = "plain", depth: int = 8, seed: int = 0, **more) -> RunSpec:
    """Of digits that nobody has looked at."""
    return parse({"net": net, "depth": depth, "seed": seed, "data": {"name": "digits"}, **more})


def test_runs_make_lines_by_net_with_their_seeds():
    specs = [spec_of(net, depth, seed) for net in ("residual", "plain") for depth in (20, 8) for seed in range(3)]
    plain, residual = list_designs([*specs, spec_of(depth=56)])
    assert (plain.line, plain.seeds) == ("plain", ((8, 3), (20, 3), (56, 1)))
    assert plain.several == ((8, 3), (20, 3))
    assert (residual.line, residual.seeds) == ("residual-A", ((8, 3), (20, 3)))
    assert (plain.setting, plain.data, plain.images) == ("", "digits", 1_437)
    assert plain.judged


def test_a_line_needs_two_depths_with_several_seeds():
    single = [spec_of(depth=depth) for depth in (8, 20, 32)]
    for runs in (single, [*single, spec_of(depth=20, seed=1)], [spec_of(seed=seed) for seed in range(3)]):
        assert not list_designs(runs)[0].judged


def test_protocols_are_not_mixed_and_named_by_what_tells_them_apart():
    specs = [spec_of(depth=depth, recipe={"lr": lr, "batch": 32}) for depth in (8, 20) for lr in (0.1, 0.01)]
    found = list_designs([*specs, spec_of(recipe={"name": "other"})])
    assert [(each.recipe, each.setting, each.seeds) for each in found] == [
        ("other", "", ((8, 1),)),
        ("paper", "recipe.lr=0.01", ((8, 1), (20, 1))),
        ("paper", "recipe.lr=0.1", ((8, 1), (20, 1))),
    ]


@pytest.mark.parametrize(
    ("data", "images"),
    [
        ({"name": "digits"}, 1_437),
        ({"name": "digits", "validation": 100}, 1_337),
        ({"name": "digits", "validation": 100, "train_limit": 500}, 500),
        ({"name": "digits", "train_limit": 5_000}, 1_437),
        ({"name": "cifar100"}, 50_000),
        ({"name": "image_folder"}, None),
        ({"name": "image_folder", "train_limit": 300}, 300),
    ],
)
def test_training_images_are_counted_without_looking_at_them(data, images):
    assert list_designs([spec_of(data=data)])[0].images == images


def test_the_digits_are_as_many_as_is_written_down():
    assert len(digits.load()[0]) == TRAINING_IMAGES["digits"]


def test_images_that_are_all_held_out_are_refused():
    with pytest.raises(SpecError, match=r"data.validation=1437: must leave training images; there are 1,437"):
        list_designs([spec_of(data={"name": "digits", "validation": 1_437})])
