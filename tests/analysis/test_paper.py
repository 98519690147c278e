from dataclasses import replace

import pandas as pd
import pytest
from generated import ended, tables

from degrade.analysis.compare import compare
from degrade.analysis.deviations import PAPER_SETTINGS, STATED, departures
from degrade.analysis.paper import PAPER_CSV, band, find_result, results
from degrade.spec import DataSpec, NetSpec, RecipeSpec, RunSpec

STRICT = RecipeSpec(name="paper_strict", momentum_form="caffe", decay_scope="conv", bn_group=64, precise_bn=True)


def paper_runs(errors: dict[tuple[str, int], list[float]], **more) -> list:
    """Runs of the paper's protocol, one a test error; training errors are all 1 %."""
    return [
        ended(RunSpec(net=NetSpec(net=net, depth=depth), seed=seed, **more), 1.0, error)
        for (net, depth), each in errors.items()
        for seed, error in enumerate(each)
    ]


def test_the_file_is_whole_and_says_what_its_columns_mean():
    frame = results()
    assert list(frame.columns) == list(PAPER_CSV)
    assert len(frame) > 150
    assert frame.value.notna().all()
    assert set(frame.shortcut) <= {"A", "B", "C", "none"}
    assert not frame.duplicated(["source", "data", "net", "depth", "shortcut", "metric", "unit"]).any()
    read = frame[frame.digitised]
    assert set(read.source) == {"Fig. 6 left", "Fig. 6 middle"}
    assert (read.reading > 0).all()
    assert frame[~frame.digitised].reading.isna().all()


def test_nobody_can_change_the_papers_numbers():
    frame = results()
    frame["value"] = 0.0
    assert find_result("residual", "A", 20, "test_error").value == 8.75


@pytest.mark.parametrize(
    ("net", "depth", "metric", "value", "source"),
    [
        ("residual", 20, "test_error", 8.75, "Table 6"),  # not 8.8, as read off Fig. 6
        ("residual", 110, "test_error", 6.61, "Table 6"),
        ("residual", 110, "test_error_best", 6.43, "Table 6"),
        ("residual", 56, "train_error", 0.07, "Fig. 6 middle"),
        ("plain", 56, "test_error", 13.3, "Fig. 6 left"),
        ("plain", 110, "train_error", 60, "Fig. 6 left"),
        ("residual", 1202, "train_error", 0.1, "Sec. 4.2"),
    ],
)
def test_the_numbers_are_the_papers(net, depth, metric, value, source):
    number = find_result(net, "A" if net == "residual" else "none", depth, metric)
    assert (number.value, number.source, number.digitised) == (value, source, "Fig" in source and depth == 56)


def test_the_paper_has_no_cifar_number_for_other_options():
    assert find_result("residual", "B", 20, "test_error") is None
    assert find_result("residual", "A", 26, "test_error") is None
    assert find_result("residual", "B", 34, "val_top1_error_10crop", data="imagenet").value == 24.52


def test_the_band_is_the_spread_of_two_means_and_the_reading():
    low, high = band(find_result("residual", "A", 110, "test_error"), 5)
    assert [low, high] == pytest.approx([6.61 - 1.96 * 0.16 * 0.4**0.5, 6.61 + 1.96 * 0.16 * 0.4**0.5])
    low, high = band(find_result("plain", "none", 20, "test_error"), 1)
    assert high - 9.7 == pytest.approx(1.96 * 0.16 * 2**0.5 + 0.1)
    assert band(find_result("residual", "A", 110, "train_error"), 1)[0] == 0.0
    assert band(find_result("plain", "none", 110, "test_error"), 3) == (60, 100)
    assert band(find_result("residual", "A", 1202, "train_error"), 3) == (0, 0.1)


def test_what_the_paper_is_silent_about_disqualifies_nobody():
    assert departures(RunSpec()) == departures(RunSpec(recipe=STRICT)) == []
    assert set(PAPER_SETTINGS) - set(STATED) == {
        f"recipe.{key}" for key in ("momentum_form", "decay_scope", "bn_group", "precise_bn")
    }
    assert [each.key for each in departures(RunSpec(recipe=replace(STRICT, lr=0.2)))] == ["recipe.lr"]


@pytest.mark.parametrize("recipe", [RecipeSpec(), STRICT])
def test_ours_stand_beside_the_papers_in_its_protocol_only(recipe):
    errors = {("residual", 20): [8.7, 8.8], ("residual", 56): [9.0], ("plain", 20): [9.8], ("residual", 26): [8.0]}
    frame = compare(tables(paper_runs(errors, recipe=recipe))).paper
    test = frame[frame.split == "test"].set_index("label")
    assert test.paper.fillna(0).to_dict() == {
        "plain-20": 9.7,
        "residual-A-20": 8.75,
        "residual-A-26": 0,
        "residual-A-56": 6.97,
    }
    assert test.inside["residual-A-20"]
    assert not test.inside["residual-A-56"]
    assert test.difference["residual-A-56"] == pytest.approx(2.03)
    assert test.digitised["plain-20"]
    assert not test.digitised["residual-A-20"]
    assert pd.isna(test.inside["residual-A-26"])
    assert test.differs["residual-A-26"] == "the paper has no CIFAR-10 number for this net"
    clean = frame[(frame.split == "train_clean") & (frame.label == "residual-A-20")].iloc[0]
    assert (clean.ours, clean.paper, bool(clean.inside)) == (1.0, 0.65, True)  # 0.65 ± 0.27 ± 0.2


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        ({"recipe": RecipeSpec(iterations=1_000)}, "recipe.iterations 1000 (paper: 64000)"),
        ({"data": DataSpec(name="digits")}, "data.name digits (paper: cifar10)"),
        ({"data": DataSpec(validation=5_000)}, "data.validation 5000 (paper: 0)"),
    ],
)
def test_another_protocol_is_named_and_set_beside_nothing(more, differs):
    found = compare(tables(paper_runs({("residual", 20): [8.7], ("plain", 20): [9.0]}, **more)))
    assert found.paper.paper.isna().all()
    assert found.paper.inside.isna().all()
    assert set(found.paper.differs) == {differs}
    assert set(found.table6.differs) == {differs}


def test_other_widths_and_options_have_no_number():
    specs = [RunSpec(net=NetSpec(width=32)), RunSpec(net=NetSpec(shortcut="C")), RunSpec(net=NetSpec(pad="split"))]
    frame = compare(tables(ended(spec, 1.0, 8.7) for spec in specs)).paper
    known = frame[frame.split == "test"].set_index("label").paper.notna()
    assert known.to_dict() == {"residual-A-20-w32": False, "residual-C-20": False, "residual-A-20 pad=split": True}


def test_table_6_is_the_papers_with_ours_beside():
    errors = {
        ("residual", 20): [8.5, 8.7, 9.0],
        ("residual", 110): [6.5],
        ("residual", 26): [8.1],
        ("plain", 20): [9.9],
    }
    table = compare(tables(paper_runs(errors))).table6
    assert len(table) == 13
    assert table.method.tolist()[:6] == ["Maxout", "NIN", "DSN", "FitNet", "Highway", "Highway"]
    rows = table[table.method == "ResNet"].set_index("layers")
    assert rows.index.tolist() == [20, 32, 44, 56, 110, 1202, 26]
    assert rows.paper.tolist()[:6] == [8.75, 7.51, 7.17, 6.97, 6.61, 7.93]
    assert rows.params.tolist()[:6] == [0.27, 0.46, 0.66, 0.85, 1.7, 19.4]
    assert (rows.paper_best[110], rows.paper_std[110]) == (6.43, 0.16)
    assert (rows.ours[20], rows.ours_best[20], rows.ours_runs[20]) == (pytest.approx(8.7333, abs=1e-4), 8.5, 3)
    assert rows.ours_std[20] == pytest.approx(0.2517, abs=1e-4)
    assert (rows.ours[110], rows.ours_runs[110]) == (6.5, 1)
    assert rows.ours[[32, 44, 56, 1202]].isna().all()
    assert rows.ours[26] == 8.1
    assert set(table.differs) == {""}


def test_without_residual_nets_of_option_a_there_is_no_table_6():
    assert compare(tables(paper_runs({("plain", 20): [9.9]}))).table6.empty
