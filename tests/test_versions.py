"""No version that pyproject.toml allows has a hole that was known when tests/advisories.csv was written."""

import csv
import re
import tomllib

import pytest
from places import ROOT, TESTS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
HOLES = list(csv.DictReader(line for line in (TESTS / "advisories.csv").read_text().splitlines() if line[0] != "#"))


def parse_version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def floors() -> dict[str, tuple[int, ...]]:
    """The lowest version of each dependency."""
    found = (re.match(r"([\w-]+)>=([\d.]+)", wanted) for wanted in PROJECT["dependencies"])
    return {each[1]: parse_version(each[2]) for each in found if each}


def test_every_dependency_has_a_lowest_version():
    assert len(floors()) == len(PROJECT["dependencies"])


@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: f"{hole['package']} {hole['advisory']}")
def test_no_lowest_version_has_a_known_hole(hole):
    lowest, fixed = floors()[hole["package"]], parse_version(hole["fixed"])
    size = max(len(lowest), len(fixed))
    assert (*lowest, 0, 0)[:size] >= (*fixed, 0, 0)[:size], f"raise the floor to {hole['fixed']}: {hole['what']}"
    locked = [each["version"] for each in LOCK["package"] if each["name"] == hole["package"]]
    assert locked
    assert all(parse_version(version) >= fixed for version in locked)
