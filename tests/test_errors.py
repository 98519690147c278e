import pytest

from degrade.errors import SpecError, nearest, pick


def test_an_unknown_name_gets_the_nearest_known_one():
    assert nearest("depht", ["depth", "seed"]) == "did you mean 'depth'?"


def test_a_name_like_none_of_them_gets_the_list():
    assert nearest("zzz", ["b", "a"]) == "known: a, b"


def test_pick_names_key_and_value():
    with pytest.raises(SpecError, match=r"net=plian: unknown; did you mean 'plain'\?"):
        pick({"plain": 1}, "plian", "net")
    assert pick({"plain": 1}, "plain", "net") == 1
