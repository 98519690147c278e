"""Values on axes are round, have room, and are written in one way."""

import pytest

from degrade.figures import ticks


@pytest.mark.parametrize(
    ("values", "scale", "written"),
    [
        ((1e-5, 1e-4, 1e-3, 0.01, 0.1, 1), "log", ["1e-5", "1e-4", "1e-3", "1e-2", "1e-1", "1"]),
        ((2e-12, 1e-10, 100), "log", ["2e-12", "1e-10", "1e2"]),
        ((0.01, 0.1, 1, 10, 100), "log", ["0.01", "0.1", "1", "10", "100"]),
        ((8, 20, 56, 1202), "log", ["8", "20", "56", "1,202"]),
        ((0, 500, 64_000), "linear", ["0", "500", "64,000"]),
        ((-2, 0, 0.25), "linear", ["−2", "0", "0.25"]),
        ((0, 0.0001), "linear", ["0", "0.0001"]),
    ],
)
def test_labels_of_one_axis_are_written_in_one_way(values, scale, written):
    """A logarithmic axis wrote 0.0001 beside 1e-05."""
    assert ticks.write(values, scale) == written


@pytest.mark.parametrize(
    ("low", "high", "most", "found"),
    [
        (0, 64_000, 7, (0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000)),
        (0, 64_000, 4, (0, 20_000, 40_000, 60_000)),
        (-0.6, 2.3, 7, (-0.5, 0, 0.5, 1, 1.5, 2)),
        (0, 0, 7, (0,)),
        (0, 8, 4, (0, 5)),  # half a layer is none
        (1125, 1800, 3, (1200, 1400, 1600, 1800)),
    ],
)
def test_a_linear_axis_has_round_values_and_not_too_many(low, high, most, found):
    if len(found) > most:  # no step leaves as few: the next one is taken
        found = ticks.choose_linear(low, high, most)
        assert len(found) <= most
    assert ticks.choose_linear(low, high, most) == pytest.approx(found)


def test_no_axis_gets_more_ticks_than_it_has_room_for():
    for most in (3, 4, 7):
        for high in (0.013, 0.5, 1, 3, 7.7, 99, 1800, 64_000, 1.3e9):
            for low in (0, -high, 0.6 * high):
                assert 1 <= len(ticks.choose(low, high, "linear", most)) <= most


def test_labels_without_room_are_left_out():
    errors = (0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)
    assert ticks.thin(errors, (0, 100), "linear", 0.05) == errors
    assert ticks.thin(errors, (0, 100), "linear", 0.1) == (0, 10, 20, 40, 60, 80, 100)
    assert ticks.thin((1e-3, 1e-2, 1e-1, 1), (1e-3, 1), "log", 0.4) == (1e-3, 1e-1)


@pytest.mark.parametrize(("greatest", "top"), [(0.0, 0.5), (0.47, 0.5), (0.49, 1), (2.4, 3), (20, 30), (98, 100)])
def test_an_axis_that_holds_all_of_its_lines_is_not_left_empty(greatest, top):
    assert ticks.top_over(greatest) == top
