"""What runs here was built here: damage, other files and other people's folders are found before a byte runs."""

import errno
import faulthandler
import os
import random
import signal
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import tiny, with_kernels
from filelock import FileLock
from noise import batches

from degrade import nets
from degrade.errors import PassingError, RunError, UnavailableError
from degrade.store.files import user_cache
from degrade.store.folder import RunDir
from degrade.store.holder import this_process
from degrade.train import run
from degrade.train.backends import choose
from degrade.train.backends.native import build, check
from degrade.train.backends.native.passing import demand_lasting
from degrade.train.backends.native.shelf import Shelf

pytestmark = with_kernels()
only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
STRANGER = 12345


COMPILED: dict[str, bytes] = {}  # the kernels, for all tests but those that build them again


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Kernels in a new cache, and the file they are in. Without optimisation, to save time."""
    monkeypatch.setattr(build, "_COMPILE_FLAGS", ("-O0", *build._COMPILE_FLAGS[1:]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    shelf = Shelf(tmp_path / "cache" / "degrade" / "kernels")
    for name, content in COMPILED.items():
        shelf.write(name, content)
    name = load_again().name
    COMPILED[name] = shelf.read(name) or b""
    yield shelf.path / name
    shelf.close()
    build.load.cache_clear()


def load_again() -> build.Kernels:
    build.load.cache_clear()
    return build.load("fp32")


def choose_auto() -> None:
    spec = tiny()
    choose("auto", nets.build(spec.net, channels=1, classes=10), spec, batches(spec, channels=1))


def flip(content: bytes, place: int) -> bytes:
    return content[: place // 8] + bytes([content[place // 8] ^ 1 << place % 8]) + content[place // 8 + 1 :]


def blank(content: bytes, page: int) -> bytes:
    return content[: page * 4096] + bytes(4096) + content[(page + 1) * 4096 :]


def test_any_bit_that_flips_and_any_page_that_is_lost_is_found(built):
    right, draw = built.read_bytes(), random.Random(0)
    harmed = [flip(right, draw.randrange(8 * len(right))) for _ in range(40)]
    harmed += [blank(right, page) for page in range(len(right) // 4096)]
    harmed += [right[: draw.randrange(len(right))] for _ in range(10)] + [b"", right + b"\n"]
    shelf = Shelf(built.parent)
    for content in (content for content in harmed if content != right):
        built.write_bytes(content)
        with pytest.raises(ValueError, match="checksum is wrong"):
            shelf.read(built.name)
    shelf.close()


@pytest.mark.parametrize("harm", [lambda c: flip(c, 99_999), lambda c: blank(c, 3), lambda c: c[:-1], lambda c: b""])
def test_damage_is_told_and_healed_by_building_anew(built, capsys, harm):
    right = built.read_bytes()
    built.write_bytes(harm(right))
    assert load_again().library.run
    assert "its checksum is wrong: damaged, or cut short; the kernels are built anew" in capsys.readouterr().out
    assert built.read_bytes() == right
    assert load_again().library.run
    assert capsys.readouterr().out == ""


def test_another_sound_library_in_its_place_is_not_run(built, capsys):
    other = Shelf(built.parent)
    other.write("bf16-0123456789abcdef.so", b"another library")
    (built.parent / "bf16-0123456789abcdef.so").replace(built)
    other.close()
    assert load_again().library.run
    assert "is another file than its name says" in capsys.readouterr().out


def test_the_bytes_that_were_checked_are_those_that_run_whatever_becomes_of_the_file(built):
    assert str(built) not in Path("/proc/self/maps").read_text()
    with built.open("r+b") as file:
        file.truncate(0)
    check.measure_distances("fp32")


def test_both_precisions_can_be_loaded_at_once(built):
    """The loader knows a library by its path, and memory has the same path when a number is used again."""
    loaded = [load_again() for _ in range(3)]
    assert len({each.library._handle for each in loaded}) == 3


@only_root
@pytest.mark.parametrize("at", ["cache", "cache/degrade", "cache/degrade/kernels"])
@pytest.mark.parametrize("theirs", ["owner", "group", "everybody"])
def test_no_folder_on_the_way_is_somebody_elses_or_can_be_written_by_others(built, tmp_path, at, theirs):
    if theirs == "owner":
        os.chown(tmp_path / at, STRANGER, -1)
    else:
        (tmp_path / at).chmod(0o770 if theirs == "group" else 0o707)
    with pytest.raises(PermissionError, match=f"{at} belongs to somebody else, or others can write to it"):
        Shelf(built.parent)
    assert load_again().shelf.path == tmp_path / "temporary" / f"degrade-{os.getuid()}"


@only_root
def test_a_library_that_somebody_else_owns_is_not_read(built):
    os.chown(built, STRANGER, -1)
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        Shelf(built.parent).read(built.name)


@only_root
def test_a_link_of_somebody_else_leads_nowhere_and_our_own_link_does(built, tmp_path):
    (tmp_path / "link").symlink_to(built.parent)
    assert Shelf(tmp_path / "link").read(built.name)
    os.lchown(tmp_path / "link", STRANGER, -1)
    with pytest.raises(PermissionError, match="link belongs to somebody else"):
        Shelf(tmp_path / "link")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_is_not_read(built, tmp_path, kind):
    built.rename(tmp_path / "moved")
    if kind == "link":
        built.symlink_to(tmp_path / "moved")
    elif kind == "pipe":
        os.mkfifo(built)
    else:
        built.mkdir()
    with pytest.raises(OSError, match="belongs to somebody else"):
        Shelf(built.parent).read(built.name)


def test_a_sticky_folder_as_tmp_is_fine_above_ours_and_not_as_ours(tmp_path):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    Shelf(tmp_path / "tmp" / "ours").close()
    with pytest.raises(PermissionError, match="others can write to it"):
        Shelf(tmp_path / "tmp")


def test_a_loop_of_links_ends(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PermissionError, match="too many links"):
        Shelf(tmp_path / "loop" / "kernels")


RELATIVE = [
    {"XDG_CACHE_HOME": ".cache", "HOME": "."},
    {"XDG_CACHE_HOME": None, "HOME": "home"},
    {"XDG_CACHE_HOME": "", "HOME": "../here"},
]


@pytest.mark.parametrize("words", RELATIVE, ids=str)
def test_no_cache_lies_in_the_folder_one_stands_in(built, tmp_path, monkeypatch, words):
    for name, value in words.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(RunError, match=r"HOME=.*: is no absolute folder.*; set XDG_CACHE_HOME to an absolute folder"):
        user_cache()
    assert load_again().shelf.path == tmp_path / "temporary" / f"degrade-{os.getuid()}"
    monkeypatch.setenv("TMPDIR", "temporary")
    monkeypatch.setattr(build, "Shelf", lambda path: Shelf(Path(f"/proc/{path}")))  # which makes no folder
    with pytest.raises(UnavailableError, match=f"/proc/tmp/degrade-{os.getuid()}"):
        load_again()
    assert not list((tmp_path / "here").iterdir())
    with pytest.raises(PermissionError, match="is relative"):
        Shelf(Path("kernels"))


def test_a_relative_xdg_cache_home_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache" / "degrade"


@pytest.mark.parametrize("mask", [0o002, 0o000, 0o077])
def test_its_own_files_and_folders_are_its_own_under_any_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        shelf = Shelf(tmp_path / "new" / "kernels")
        shelf.write("library", b"bytes")
        with shelf.locked("library"):
            pass
    finally:
        os.umask(before)
    assert Shelf(shelf.path).read("library") == b"bytes"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new", *(tmp_path / "new").rglob("*"))}
    assert modes == {"new": 0o700, "kernels": 0o700, "library": 0o600, "library.lock": 0o600}


def test_a_file_and_its_name_are_on_the_disk_before_anybody_believes_them(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda at: done.append(Path(f"/proc/self/fd/{at}").readlink().name) or sync(at))
    monkeypatch.setattr(Path, "replace", lambda self, to: done.append("renamed") or replace(self, to))
    Shelf(tmp_path).write("library", b"bytes")
    assert done == [f".library-{this_process().mark}.tmp", "renamed", tmp_path.name]


def test_where_a_disk_has_no_locks_the_kernels_are_kept_elsewhere(built, tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        if "temporary" not in self.lock_file:
            raise NotImplementedError("FileSystem does not appear to support flock")
        return acquire(self)

    acquire = FileLock.acquire
    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert load_again().shelf.path == tmp_path / "temporary" / f"degrade-{os.getuid()}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_kernels_that_a_process_died_of_are_built_anew(built, monkeypatch, capsys, number):
    monkeypatch.setattr(check, "measure_speed", lambda precision: 2.0)
    child = os.fork()
    if child == 0:
        faulthandler.disable()  # this death is meant
        check.measure_distances = lambda precision: os.kill(os.getpid(), number)
        check.demand_right("fp32")
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == number
    before = built.stat().st_mtime_ns
    load_again()
    assert "a process died when it tried them; the kernels are built anew" in capsys.readouterr().out
    assert built.stat().st_mtime_ns != before
    check.demand_right("fp32")
    load_again()
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kernels_that_a_process_died_of_while_it_loaded_them_are_built_anew(built, capsys):
    child = os.fork()
    if child == 0:
        build._open = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        load_again()
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    load_again()
    assert "a process died when it tried them; the kernels are built anew" in capsys.readouterr().out


def test_an_answer_belongs_to_the_bytes_that_were_checked(built, monkeypatch):
    asked = []
    monkeypatch.setattr(check, "measure_distances", lambda precision: asked.append(precision) or {})
    monkeypatch.setattr(check, "measure_speed", lambda precision: 2.0)
    check.demand_right("fp32")
    check.demand_right("fp32")
    assert len(asked) == 1
    answer = built.with_name(f"{built.name}.ok")
    answer.write_bytes(answer.read_bytes()[:-30])
    check.demand_right("fp32")
    assert len(asked) == 2
    shelf = Shelf(built.parent)
    shelf.write(built.name, (shelf.read(built.name) or b"") + b"another")
    load_again()
    check.demand_right("fp32")
    assert len(asked) == 3


PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EINTR, errno.EAGAIN, errno.EIO)


@pytest.mark.parametrize("where", ["compiler", "library", "loader"])
def test_a_passing_error_is_a_failure_and_no_other_backend(built, monkeypatch, where):
    owner, name = {"compiler": (subprocess, "run"), "library": (Shelf, "read"), "loader": (build, "_open")}[where]
    build.load.cache_clear()
    for code in PASSING:
        said = os.strerror(code)
        error = OSError(f"cannot open: {said}") if where == "loader" else OSError(code, said)
        monkeypatch.setattr(owner, name, Mock(side_effect=error))
        with pytest.raises(PassingError, match=rf"engine\.backend: .*{said}.*; mend that, and the same command"):
            choose_auto()


@pytest.mark.parametrize("text", ["No space left on device", "cc1: out of memory allocating 9 bytes", "Killed signal"])
def test_what_a_compiler_says_of_a_passing_error_counts_too(built, tmp_path, monkeypatch, text):
    text = text.replace("Killed signal", "fatal error: Killed signal terminated program cc1")
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\ncase "$*" in *-dM*) exec cc "$@";; esac\necho "error: {text}" >&2\nexit 1\n')
    compiler.chmod(0o700)
    monkeypatch.setenv("CC", str(compiler))
    built.unlink()
    with pytest.raises(PassingError, match="cannot be built or loaded now"):
        load_again()


def test_a_run_that_met_a_passing_error_failed_for_that_reason_and_goes_on_later(built, tmp_path, monkeypatch):
    build.load.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(build, "_open", Mock(side_effect=OSError(errno.EMFILE, os.strerror(errno.EMFILE))))
        with pytest.raises(PassingError):
            run.run([tiny()], tmp_path)
    state = RunDir(tmp_path, tiny().run).standing()
    assert state.name == "failed"
    assert "Too many open files" in str(state.reason)
    monkeypatch.setattr(check, "measure_speed", lambda precision: 2.0)
    assert run.run([tiny()], tmp_path) == {tiny().run: "finished"}
    assert RunDir(tmp_path, tiny().run).read_state().backend == "native"


def test_a_lasting_error_is_none():
    demand_lasting(OSError(errno.EACCES, os.strerror(errno.EACCES)))
    demand_lasting(OSError("undefined symbol: run"))
