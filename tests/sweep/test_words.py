"""Paths and free texts reach a run as the shell hands them over; words that change nothing are refused."""

from pathlib import Path

import pytest

from degrade.errors import SpecError
from degrade.sweep import expand as expanding
from degrade.sweep import launchers
from degrade.sweep.words import quote_word

NAMES = [
    *("my photos", "a=b", "#1", "a&b", "it's", 'say "x"', "[old]", "{new}", "a,b", "$HOME", "${depth}", "back\\slash"),
    *("end\\", "${oc.env:HOME}", "\\${x}", "größe", "猫", "2024", "true", "1e3", "nan", "~", "x: y", "%s", "a;b", "-x"),
    *("'quoted'", "(1)", "a*b?", "a|b", "!x", "a\tb"),
]


def plan(*words: str, **options: bool):
    with expanding.hydra():
        return expanding.expand(["net=plain", "shortcut=A", *words], look=False, **options)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_may_have_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    for path in (name, f"./{name}", str(tmp_path / name)):
        made = plan("data=image_folder", f"data.root={path}", f"results={path}", "jobs=1")
        assert [spec.data.root for spec in made.specs] == [path]
        assert made.root == Path(path).expanduser()


def test_a_launcher_of_others_gets_words_that_mean_the_same_folder(tmp_path):
    (job,) = plan("data=image_folder", "data.root=${depth}, {a} 'b'", f"results={tmp_path}").jobs
    with expanding.hydra():
        assert expanding._describe(expanding.configure(job.overrides)).data.root == "${depth}, {a} 'b'"


def test_quotes_within_the_shells_quotes_mean_what_is_inside(tmp_path):
    """As people wrote paths before, when Hydra's grammar asked for it."""
    for quoted in ("'my photos'", '"my photos"'):
        assert plan("data=image_folder", f"data.root={quoted}").specs[0].data.root == "my photos"
    assert plan("data=image_folder", "data.root='a','b'").asked == 2


def test_a_comma_is_part_of_a_name_unless_every_part_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = ["data=image_folder", "data.root=cats,dogs"]
    assert plan(*both).asked == 1
    Path("cats").mkdir()
    Path("dogs").mkdir()
    assert plan(*both).asked == 2
    Path("cats,dogs").mkdir()
    assert plan(*both).specs[0].data.root == "cats,dogs"


def test_null_is_none_and_other_keys_keep_hydras_grammar():
    assert plan("data=image_folder", "data.root=null").specs[0].data.root is None
    assert quote_word("depth=8,14") == "depth=8,14"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["depth=8", "depth=14"], "depth=8 depth=14: depth is given twice; leave one out, or write depth=A,B for both"),
        (["data=cifar10"], "data is given twice"),
        (["hydra.run.dir=here"], "hydra.run.dir=here: changes nothing here; results=FOLDER says where results go"),
        (["hydra.sweep.dir=here"], "changes nothing here; results=FOLDER"),
        (["hydra.job.name=mine"], "hydra.job.name=mine: changes nothing here; leave it out"),
        (["hydra.output_subdir=null"], "changes nothing here; results=FOLDER"),
        (["hydra.verbose=true"], "changes nothing here"),
        (["hydra/job_logging=none"], "changes nothing here"),
        (["hydra/launcher=basic", "hydra.run.dir=here"], "changes nothing here"),
    ],
)
def test_words_that_would_change_nothing_are_refused(words, said):
    with pytest.raises(SpecError) as caught, expanding.hydra():
        launchers.choose(expanding.expand(["net=plain", "data=digits", *words], look=False))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_keys_of_a_run_and_of_its_pictures_are_given_once_too():
    with expanding.hydra():
        with pytest.raises(SpecError, match="is given twice"):
            expanding.compose_data(["data=digits", "data.size=8", "data.size=9"])
        with pytest.raises(SpecError, match="is given twice"):
            expanding.change(plan_spec(), ["depth=8", "depth=14"])


def plan_spec():
    return expanding.expand(["net=plain", "data=digits", "depth=8"], look=False).specs[0]
