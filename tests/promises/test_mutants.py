"""The table of `make mutants`: it knows every promise, its guards are there, and a few of them are taken out."""

import re

import pytest
from places import ROOT, TESTS
from promises.mutants.__main__ import COPIED, KILLED, SURVIVED, judge_all, write_table
from promises.mutants.mutant import Mutant, read_promises
from promises.mutants.table import MUTANTS


def test_every_promise_has_a_guard_and_every_guard_a_promise():
    assert {mutant.promise for mutant in MUTANTS} == {*read_promises()}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_guard_stands_where_the_table_says(mutant):
    assert mutant.file.partition("/")[0] in (*COPIED, "pyproject.toml")
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.old != mutant.new


@pytest.mark.parametrize("test", sorted({test for mutant in MUTANTS for test in mutant.tests}))
def test_the_tests_of_the_table_exist(test):
    file, _, name = test.partition("::")
    text = (TESTS / file).read_text()
    assert not name or re.search(rf"^(def|class) {name}\b", text, re.MULTILINE)


def test_a_guard_that_is_taken_out_is_missed_and_a_change_that_guards_nothing_is_not():
    chosen = next(mutant for mutant in MUTANTS if mutant.promise == "Newer files")  # a test of a moment
    first = (ROOT / "degrade" / "errors.py").read_text().partition("\n")[0]
    harmless = Mutant("harmless", "degrade/errors.py", first, '"""Another docstring."""', ("test_errors.py",))
    found = judge_all([chosen, harmless])
    assert found == {chosen: KILLED, harmless: SURVIVED}
    assert f"| {SURVIVED} |" in write_table(found)
