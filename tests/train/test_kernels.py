"""Compiled kernels are built once, checked, and never loaded from somebody else."""

import os

import pytest
import torch
from conftest import missing, tiny, with_kernels
from noise import batches

from degrade import data, nets
from degrade.errors import SpecError, UnavailableError
from degrade.train.backends import choose, compare
from degrade.train.backends.eager import Eager
from degrade.train.backends.native import build, check
from degrade.train.fit import Fit

pytestmark = with_kernels()


UNSUITED = [
    ({"net": "highway"}, "net=highway"),
    ({"recipe": {"norm": "none"}}, r"recipe\.norm=none"),
    ({"recipe": {"bn_group": 9}}, r"recipe\.bn_group=9"),
    ({"recipe": {"batch": 1}}, r"recipe\.batch=1"),
    ({"engine": {"precision": "tf32"}}, "fp32 and bf16"),
]


@pytest.mark.parametrize(("changes", "reason"), UNSUITED, ids=str)
def test_what_has_no_kernels_says_so_and_is_trained_by_torch(changes, reason):
    spec = tiny(**changes)
    net = nets.build(spec.net, channels=1, classes=10, norm=spec.recipe.norm, bn_group=spec.recipe.bn_group)
    with pytest.raises(SpecError, match=rf"engine\.backend=native: .*{reason}.*; use engine\.backend=auto"):
        choose("native", net, spec, batches(spec, channels=1))
    chosen = choose("auto", net, spec, batches(spec, channels=1))
    assert (chosen.name, type(chosen.backend)) == ("eager", Eager)
    assert chosen.why


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A new cache, and no memory of kernels that were found before. Without optimisation, to save time."""
    monkeypatch.setattr(build, "_COMPILE_FLAGS", ("-O0", *build._COMPILE_FLAGS[1:]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.load.cache_clear()
    yield tmp_path / "cache" / "degrade" / "kernels"
    build.load.cache_clear()


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false", "echo nothing made by", 'gcc "', "/dev/null"])
def test_without_a_compiler_that_works_torch_trains(compiler, elsewhere, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    fit = Fit(tiny(), data.load(tiny().data), device=torch.device("cpu"))
    assert fit.backend_name == "eager"
    assert fit.backend_why.startswith("no kernels: ")
    fit.advance(5)
    assert fit.points


def test_kernels_are_built_once(elsewhere):
    build.kernels("fp32")
    made = [(path.name, path.stat().st_mtime_ns) for path in elsewhere.glob("*.so")]
    build.load.cache_clear()
    build.kernels("fp32")
    assert [(path.name, path.stat().st_mtime_ns) for path in elsewhere.glob("*.so")] == made
    assert len(made) == 1
    assert not [path for path in elsewhere.iterdir() if path.suffix == ".tmp"]


def test_where_the_cache_cannot_be_written_they_are_built_elsewhere(tmp_path, elsewhere, monkeypatch):
    elsewhere.parent.parent.mkdir()
    elsewhere.parent.write_text("a file where a folder should be")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    build.kernels("fp32")
    assert list(tmp_path.glob("degrade-*/*.so"))


@pytest.mark.parametrize("theirs", ["folder", "file", "writable", "link"])
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_what_others_could_have_put_there_is_not_run(tmp_path, elsewhere, monkeypatch, theirs):
    elsewhere.parent.parent.mkdir()
    elsewhere.parent.write_text("")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    build.kernels("fp32")
    build.load.cache_clear()
    (planted,) = tmp_path.glob("degrade-*/*.so")
    if theirs == "writable":
        planted.parent.chmod(0o777)
    elif theirs == "link":
        planted.rename(tmp_path / "elsewhere.so")
        planted.symlink_to(tmp_path / "elsewhere.so")
    else:
        os.chown(planted if theirs == "file" else planted.parent, 12345, -1)
    with pytest.raises(UnavailableError, match="belongs to somebody else, or others can write to it"):
        build.kernels("fp32")


def test_without_a_home_they_are_built_elsewhere(tmp_path, elsewhere, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "nowhere")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    build.load("fp32")
    assert list(tmp_path.glob("degrade-*/*.so"))


def test_an_empty_cc_is_none(elsewhere, monkeypatch):
    monkeypatch.setenv("CC", " ")
    assert build.kernels("fp32").run


@pytest.mark.parametrize("changes", [{"width": 256}, {"recipe": {"batch": 4}}], ids=str)
def test_where_torch_is_faster_auto_takes_it_and_native_can_be_had(changes):
    spec = tiny(**changes)
    made = [nets.build(spec.net, channels=1, classes=10) for _ in range(2)]
    assert choose("auto", made[0], spec, batches(spec, channels=1)).name == "eager"
    assert choose("native", made[1], spec, batches(spec, channels=1)).name == "native"


@pytest.mark.parametrize("precision", [pytest.param(p, marks=with_kernels(p)) for p in ("fp32", "bf16")])
def test_the_check_of_this_machine_finds_them_right(precision):
    distances = check.measure_distances(precision)
    assert check.find_wrong(distances, precision) == ""
    assert {key.partition(",")[0] for key in distances} == {*compare.BOUNDS[precision]}


def test_a_run_says_what_trained_it_and_keeps_it(tmp_path):
    assert not missing("fp32")
    first = Fit(tiny(engine={"backend": "native"}), data.load(tiny().data), device=torch.device("cpu"))
    second = Fit(tiny(engine={"backend": "eager"}), data.load(tiny().data), device=torch.device("cpu"))
    second.restore(first.state())
    assert (first.backend_name, second.backend_name) == ("native", "native")


def test_a_run_that_began_with_kernels_is_not_taken_up_without(monkeypatch):
    state = Fit(tiny(engine={"backend": "native"}), data.load(tiny().data), device=torch.device("cpu")).state()
    build.load.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    fit = Fit(tiny(), data.load(tiny().data), device=torch.device("cpu"))
    with pytest.raises(SpecError, match=r"began with another backend: engine\.backend=native: no C compiler .*; go on"):
        fit.restore(state)
    build.load.cache_clear()
