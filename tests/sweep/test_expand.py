from dataclasses import replace

import pytest

from degrade.errors import SpecError
from degrade.spec import RecipeSpec
from degrade.sweep import compose
from degrade.sweep import expand as expanding


def expand(*overrides: str) -> expanding.Plan:
    """Uses the digits unless told otherwise: the default data needs an archive."""
    said = any(o.startswith(("data=", "study=", "+data=")) for o in overrides)
    with expanding.hydra():
        return expanding.expand([*overrides, *([] if said else ["data=digits"])])


def kinds(plan: expanding.Plan) -> set[tuple[str, str, int]]:
    return {(spec.net.net, spec.net.shortcut, spec.net.depth) for spec in plan.specs}


def test_the_default_axes_are_the_papers_grid_and_plain_nets_collapse():
    plan = expand("depth=20,56")
    assert plan.asked == 12
    assert len(plan.jobs) == 8
    assert kinds(plan) == {
        (n, s, d) for n, s in [("plain", "none"), *(("residual", o) for o in "ABC")] for d in (20, 56)
    }


def test_the_command_line_replaces_an_axis():
    assert kinds(expand("net=plain")) == {("plain", "none", 20)}
    assert kinds(expand("shortcut=B", "net=residual,plain")) == {("plain", "none", 20), ("residual", "B", 20)}


def test_a_study_sets_axes_data_and_recipe_and_the_command_line_wins():
    plan = expand("study=quickstart")
    assert kinds(plan) == {(n, s, d) for n, s in (("plain", "none"), ("residual", "A")) for d in (8, 20, 32, 56)}
    assert {(spec.data.name, spec.recipe.name, spec.recipe.iterations) for spec in plan.specs} == {
        ("digits", "quickstart", 1800)
    }
    assert {spec.net.depth for spec in expand("study=quickstart", "depth=14").specs} == {14}
    assert {spec.recipe.name for spec in expand("study=quickstart", "recipe=smoke").specs} == {"smoke"}
    assert {spec.recipe.lr for spec in expand("recipe.lr=1e-3", "study=quickstart").specs} == {0.001}


def test_the_longest_run_comes_first():
    costs = [spec.cost for spec in expand("depth=8,56,20").specs]
    assert costs == sorted(costs, reverse=True)


def test_without_a_word_it_is_the_papers_study_on_cifar10():
    with expanding.hydra():
        plan = expanding.expand(["depth=20,56,110"], look=False)
    assert {(spec.data.name, spec.recipe) for spec in plan.specs} == {("cifar10", RecipeSpec())}
    assert len(plan.jobs) == 12
    assert {spec.recipe.name for spec in expand("data=digits").specs} == {"quickstart"}


STUDIES = {"quickstart": 8, "quickstart3": 24, "smoke": 8, "fig1": 2, "fig4": 4, "fig6": 10, "fig6_seeds": 50,
           "lr": 16, "norm": 24, "warmup": 6, "longer": 4, "highway": 6}  # fmt: skip


def test_every_study_is_the_runs_it_says_and_data_or_recipe_can_be_replaced():
    with expanding.hydra():
        assert set(compose.list_options("study")) == set(STUDIES)
        for study, count in STUDIES.items():
            assert len(expanding.expand([f"study={study}"], look=False).jobs) == count, study
            small = expanding.expand([f"study={study}", "data=digits", "recipe=quickstart"], look=False)
            assert {spec.data.name for spec in small.specs} == {"digits"}


def test_the_warm_up_study_warms_up_every_net_also_on_the_digits():
    digits = ("data=digits", "recipe=quickstart", "recipe.warmup_window=0.025", "recipe.warmup_cap=0.25")
    with expanding.hydra():
        for words in ((), digits):
            specs = expanding.expand(["study=warmup", *words], look=False).specs
            assert {(spec.net.net, spec.net.depth) for spec in specs} == {
                (net, depth) for net in ("plain", "residual") for depth in (20, 56, 110)
            }
            assert all(spec.recipe.warms_up(spec.net) for spec in specs)
    assert {(spec.recipe.window_iterations, spec.recipe.cap_iterations) for spec in specs} == {(45, 450)}


def test_any_key_can_be_an_axis_a_group_too():
    plan = expand("net=plain", "recipe=quickstart,smoke", "seed=0,1", "recipe.lr=0.1,0.2")
    assert len(plan.jobs) == 8
    assert {spec.recipe.name for spec in plan.specs} == {"quickstart", "smoke"}


def test_setting_keys_on_a_copy_equals_composing_them():
    with expanding.hydra():
        for job in expanding.expand(["depth=8,20", "recipe.milestones=[0.25,0.5]", "study=smoke"]).jobs:
            assert expanding.to_spec(compose.compose_groups(job.overrides)) == job.spec


def test_a_run_means_the_same_in_every_sweep():
    alone = expand("net=plain", "depth=20").jobs[0].spec
    assert alone in expand("depth=20,56", "seed=0,1").specs


def test_data_enters_by_its_content():
    assert {spec.data.content for spec in expand().specs} == {"71326816865eb8cd"}


def test_workers_and_folder():
    plan = expand("jobs=3", "results=some/where")
    assert (plan.workers, str(plan.root)) == (3, "some/where")
    assert expand().workers is None


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("depht=20", "depht=20: no such key; did you mean 'depth'?"),
        ("depth=twenty,20", "depth=twenty: must be an integer"),
        ("net=plian", "net=plian: unknown; did you mean 'plain'?"),
        ("depth=21", "depth=21: not 6n+2"),
        ("foo", "foo: cannot be parsed; write key=value"),
        ("depth=20,", "depth=20,: cannot be parsed; a comma needs a value on both sides"),
        ("results=", "results=: must be a folder"),
        ("hydra.job.num=range(1000000000)", "a sweep has one hydra.job.num"),
        ("hydra/launcher=basic,workers", "a sweep has one hydra/launcher"),
        ("recipe.lr='${oc.decode:\"[\"}'", "recipe.lr: GrammarParseError"),
        ("hydra/launcher=nope", "hydra/launcher=nope: unknown; known: "),
        ("+foo=1", "+foo=1: no such key"),
        ("+depth=20", "+depth=20: no such key; did you mean 'depth'?"),
        ("~depth", "~depth=null: no such key; did you mean 'depth'?"),
        ("data=digit", "data=digit: unknown; did you mean 'digits'?"),
        ("+data=digits", "+data=digits: write data=... without a sign"),
        ("data=null", "data=null: unknown"),
        ("study=null", "study=null: unknown"),
        ("jobs=1,2", "jobs=1,2: a sweep has one jobs"),
        ("results='a','b'", "a sweep has one results"),
        ("study=quikstart", "study=quikstart: unknown; did you mean 'quickstart'?"),
        ("recipe.lrr=1", "recipe.lrr=1: no such key; did you mean 'recipe.lr'?"),
        ("recipe.lr=-1", "recipe.lr=-1.0: must be a number from 0 up"),
        ("jobs=0", "jobs=0: must be at least 1"),
        ("jobs=many", "jobs=many: must be an integer"),
        ("data.name=mnist", "data=mnist: unknown"),
        ("hydra.nope=1", "hydra.nope=1: no such key of hydra; known: callbacks, "),
        ("hydra.launcher.nonsense=1", "hydra.launcher.nonsense=1: no such key of hydra.launcher; known: fail_fast"),
        ("hydra.launcher.fail_fats=1", "no such key of hydra.launcher; did you mean 'fail_fast'?"),
        ("hydra.launcher.fail_fast.x=1", "hydra.launcher.fail_fast.x=1: no such key of hydra.launcher; "),
        ("~hydra.launcher.nonsense", "no such key of hydra.launcher; known: fail_fast"),
        ("hydra.callbacks.mine=1", "hydra.callbacks.mine=1: no such key of hydra.callbacks; it has none: leave it out"),
        ("hydra.job.num=abc", "hydra.job.num=abc: Value 'abc' of type 'str' could not be converted to Integer"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_starts(override, words):
    with pytest.raises(SpecError) as caught:
        expand(override)
    assert "\n" not in str(caught.value)
    assert words in str(caught.value)


def test_a_key_that_hydra_lacks_is_named_beside_keys_that_it_gets():
    with pytest.raises(SpecError, match=r"^hydra\.lancher\.a=2: no such key of hydra; did you mean 'launcher'"):
        expand("+hydra.launcher.a=1", "hydra.launcher.a=3", "hydra.lancher.a=2", "hydra.job.name=mine")


def test_excluded_combinations_are_left_out():
    plan = expand_without(["net=plain,depth=56", "shortcut=C"], "depth=20,56")
    assert kinds(plan) == {("plain", "none", 20), *(("residual", s, d) for s in "AB" for d in (20, 56))}
    assert {spec.data.name for spec in expand_without(["seed=1"], "seed=0,1").specs} == {"digits"}


def expand_without(exclude, *overrides: str) -> expanding.Plan:
    with expanding.hydra():
        return expanding.expand(["data=digits", *overrides], exclude=exclude)


@pytest.mark.parametrize(
    ("exclude", "words"),
    [
        ("dept=20", "--exclude dept=20: dept=20 is not KEY=VALUE; did you mean 'depth'?"),
        ("net=residual,foo=1", "--exclude net=residual,foo=1: foo=1 is not KEY=VALUE"),
        ("plain", "--exclude plain: plain is not KEY=VALUE"),
        ("data=digits", "--exclude data=digits: leaves no run of 6"),
        ("net=palin", "--exclude net=palin: is true of no run of 6"),
    ],
)
def test_a_wrong_exclusion_is_one_line(exclude, words):
    with pytest.raises(SpecError) as caught:
        expand_without([exclude])
    assert words in str(caught.value)


def test_values_of_an_exclusion_are_compared_as_values():
    plan = expand_without(["recipe.lr=1e-1,recipe.milestones=[0.5,0.75]"], "recipe.lr=0.1,0.2")
    assert {spec.recipe.lr for spec in plan.specs} == {0.2}


def test_studies_together_are_the_union_of_their_sweeps():
    union = {spec.run for spec in expand("study=smoke,quickstart").specs}
    assert union == {spec.run for study in ("smoke", "quickstart") for spec in expand(f"study={study}").specs}


def test_one_run_needs_no_axes_of_the_config():
    with expanding.hydra():
        assert len(expanding.expand(["depth=8", "data=digits"], axes_of_config=False).jobs) == 1


def test_pictures_are_looked_at_once_and_only_when_every_line_is_right(monkeypatch):
    looked: list[int] = []

    def prepare(spec, note):
        looked.append(1)
        return replace(spec, content="0123456789abcdef")

    monkeypatch.setattr(expanding.data, "prepare", prepare)
    with pytest.raises(SpecError, match="depth=21"):
        expand("data=cifar10", "depth=20,21")
    assert looked == []
    assert len(expand("data=cifar10", "depth=20,56").jobs) == 8
    assert looked == [1]
