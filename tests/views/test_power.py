"""What `degrade plan --power` tells people, and programs."""

import json

import pytest
from conftest import Degrade

from degrade.analysis.designs import Design
from degrade.views.power import COLUMNS, powers


def design(line: str = "plain", seeds=((8, 3), (20, 3)), **more) -> Design:
    given = {"data": "digits", "recipe": "quickstart", "setting": "", "images": 1_437, **more}
    return Design(line=line, seeds=tuple(seeds), **given)


def words(sheet) -> str:
    return " ".join(sheet.notes)


def test_a_line_says_which_rises_its_seeds_show():
    sheet, supposed = powers([design()], 0.5, 0.0)
    assert sheet.title == "what plain can show: digits, recipe quickstart"
    assert [row[0] for row in sheet.rows] == ["0.16 points", "0.3 points", "1 points", "3 points"]
    assert "3 seeds of each depth (8 and 20 layers), judged by 20 against 8 layers." in words(sheet)
    _, eight, nine = sheet.rows[1]
    assert f"a rise of {nine} in clean training error is seen 9 times in 10; a rise of {eight} 8 times" in words(sheet)
    assert '"does not degrade" is shown 8 times in 10 where seeds spread by' in words(sheet)
    assert "3 seeds show it with a chance of 49 %. 3 failures of 3 against 0 of 3 show that it degrades" in words(sheet)
    assert "can still be up to 71 %" in words(sheet)
    assert "ends at 0 % error (--error). On 1,437 training images" in words(supposed)


def test_lines_that_can_show_the_same_share_a_sheet_but_not_their_rows():
    one, other = design(setting="recipe.lr=0.1"), design("residual-A", setting="recipe.lr=0.01")
    sheet, _ = powers([one, other], 0.5, 0.0)
    assert sheet.title == "what plain and residual-A can show: digits, recipe quickstart"
    assert "2 protocols, each judged by itself: recipe.lr=0.1; recipe.lr=0.01." in words(sheet)
    assert [(row["line"], row["setting"]) for row in sheet.records] == [
        *[("plain", "recipe.lr=0.1")] * 4,
        *[("residual-A", "recipe.lr=0.01")] * 4,
    ]
    assert all(set(row) == set(COLUMNS) for row in sheet.records)
    assert len(powers([one, design(seeds=((8, 2), (20, 2)))], 0.5, 0.0)) == 3


@pytest.mark.parametrize(
    ("seeds", "why", "way"),
    [
        (((8, 1), (20, 1)), "Each depth has one seed (8 and 20 layers), so degrade compare can give no", "seed=0,1,2"),
        (((8, 3), (20, 1)), "All depths but one have one seed (8 and 20 layers)", "seed=0,1,2"),
        (((8, 3),), "All runs have one depth, 8, so there can be no verdict at all", "depth=8,20"),
    ],
)
def test_a_line_that_can_have_no_verdict_says_why_and_names_the_way_out(seeds, why, way):
    (sheet,) = powers([design(seeds=seeds)], 0.5, 0.0)
    assert why in words(sheet)
    assert way in words(sheet)
    assert sheet.columns == ()
    (record,) = sheet.records
    assert set(record) == set(COLUMNS)
    assert record["rise_80"] is None


def test_depths_with_other_numbers_of_seeds_are_named():
    unequal, _ = powers([design(seeds=((8, 2), (20, 5)))], 0.5, 0.0)
    assert "2 seeds of 8 layers, 5 seeds of 20 layers, judged by 20 against 8 layers." in words(unequal)
    single, _ = powers([design(seeds=((8, 2), (20, 1), (32, 2)))], 0.5, 0.0)
    assert "20 layers: one seed, so no verdict is about them" in words(single)
    assert "2 seeds of each depth (8 and 32 layers)" in words(single)
    assert "Even 2 failures of 2 against 0 of 2 do not show that it degrades" in words(single)


def test_few_images_and_unknown_ones_are_said():
    sheet, _ = powers([design()], 0.5, 5.0)
    assert '"does not degrade" cannot be shown, however little seeds spread: 1,437 images' in words(sheet)
    _, supposed = powers([design(images=None, data="image_folder")], 0.5, 5.0)
    assert "How many images image_folder has is not known yet, so they count as enough." in words(supposed)


def test_a_rise_above_100_percent_is_never_seen():
    sheet, _ = powers([design(seeds=((8, 2), (20, 2)))], 0.5, 80.0)
    assert sheet.rows[-1] == ("3 points", "never", "never")


def test_the_command_fetches_measures_and_writes_nothing(here: Degrade, tmp_path):
    """CIFAR-10 need not be there."""
    done = here("plan", "study=fig6_seeds", "--power", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["power"]
    assert {(row["line"], row["depths"], row["seeds"], row["images"]) for row in rows} == {
        ("plain", "20, 32, 44, 56 and 110", "5, 5, 5, 5, 5", 50_000),
        ("residual-A", "20, 32, 44, 56 and 110", "5, 5, 5, 5, 5", 50_000),
    }
    assert list(tmp_path.iterdir()) == []


def test_the_command_leaves_out_and_widens_as_it_is_told(here: Degrade):
    sweep = ("plan", "study=quickstart3", "--power", "--exclude", "net=plain", "--json")
    narrow, wide = (
        json.loads(here(*sweep, *more).stdout)["power"][0] for more in ((), ("--margin", "2", "--error", "1"))
    )
    assert (narrow["line"], narrow["margin"], narrow["error"]) == ("residual-A", 0.5, 0.0)
    assert (wide["margin"], wide["error"]) == (2.0, 1.0)
    assert wide["rise_80"] > narrow["rise_80"] + 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--margin", "1"), "--margin=1: is about --power; add --power, or leave it out"),
        (("--error", "1"), "--error=1: is about --power; add --power, or leave it out"),
        (("--power", "--margin", "0"), "--margin=0: must be above 0 and at most 100 points"),
        (("--power", "--error", "100"), "--error=100: must be from 0 to below 100 %"),
        (("--power", "--error", "nan"), "--error=nan: must be from 0 to below 100 %"),
    ],
)
def test_options_that_cannot_be_are_refused(here: Degrade, options, said):
    done = here("plan", "study=quickstart3", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
