"""Files, names and configurations that somebody made to do harm: each is refused or taken for what it says."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from conftest import tiny
from places import ROOT
from promises.enormous import bomb, buffer

from degrade.data import cifar
from degrade.errors import DataError, RunError, SpecError
from degrade.experiments.trained import open_net
from degrade.store.folder import RunDir, write_json
from degrade.train.checkpoint import unpack

EVIL = "\x1b]0;owned\x07\x1b[31m"


# Names


def test_no_run_is_named_after_a_path(tmp_path):
    for evil in ("../../up", "/etc/x", "a/b", "..", "a\nb"):
        with pytest.raises(SpecError):
            tiny(data={"name": evil})
    spec = tiny(recipe={"name": "../../up"})  # a label: in no name
    assert RunDir(tmp_path, spec.run).path.resolve().parent == (tmp_path / "runs").resolve()
    folder = RunDir(tmp_path, spec.run)
    folder.path.mkdir(parents=True)
    origin = {"run": "../../up", "group": "../..", "depth": 8, "iteration": 1, "weights": "../..", "how": "matched"}
    write_json(folder.spec, {"format": 1, "spec": {**spec.tree(), "depth": 14, "origin": origin}})
    with pytest.raises(RunError) as caught:  # it is another run, and its name is no path
        folder.read_spec()
    assert "/" not in str(caught.value).partition("another run, ")[2].partition(";")[0]
    write_json(folder.spec, {"format": 1, "spec": {**spec.tree(), "origin": {**origin, "how": "../../up"}}})
    with pytest.raises(RunError, match=r"spec\.json: origin\.how=\.\./\.\./up: unknown"):
        folder.read_spec()


# Checkpoints


def test_a_checkpoint_of_ours_that_is_packed_is_refused_too(tmp_path):
    bomb(tmp_path / "packed.pt", 1 << 26)
    content = (tmp_path / "packed.pt").read_bytes()
    (tmp_path / "sealed.pt").write_bytes(content + hashlib.sha256(content).hexdigest().encode())
    with pytest.raises(RunError, match="declares 67,"):
        open_net(tmp_path / "sealed.pt", net="plain")


def test_so_is_one_of_ours_that_asks_for_a_buffer(tmp_path):
    buffer(tmp_path / "buffer.pt")
    content = (tmp_path / "buffer.pt").read_bytes()
    with pytest.raises(RunError, match="asks for a bytearray"):
        unpack(content + hashlib.sha256(content).hexdigest().encode())


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin"])
def test_what_has_no_end_is_not_read(path):
    if Path(path).is_file():
        pytest.skip(f"{path} is a file here")
    with pytest.raises(RunError, match="is no file"):
        open_net(path)


# Archives


def test_an_archive_that_would_write_elsewhere_writes_nothing(tmp_path):
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        for name in ("../up", "/tmp/degrade-was-here", "cifar-10-batches-py/../../up"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("cifar-10-batches-py/batches.meta")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.raises(DataError, match=r"lacks cifar-10-batches-py/batches\.meta"):
        cifar.read_members(tmp_path / "evil.tar.gz", {"cifar-10-batches-py/batches.meta"})
    assert sorted(tmp_path.parent.rglob("*")) == before
    assert not Path("/tmp/degrade-was-here").exists()


# The network, and what is installed


SITE = """
import socket, pathlib, os
real = socket.socket
class Forbidden(real):
    def __init__(self, family=-1, *rest, **more):
        if family != socket.AF_UNIX:
            open(os.environ["TOUCHED"], "a").write(f"{family}\\n")
            raise OSError("sockets are forbidden")
        super().__init__(family, *rest, **more)
def forbidden(*_, **__):
    open(os.environ["TOUCHED"], "a").write("name\\n")
    raise OSError("names are forbidden")
socket.socket, socket.getaddrinfo, socket.create_connection = Forbidden, forbidden, forbidden
"""


def test_sweep_and_plot_need_no_network(tmp_path):
    """In all processes: `sitecustomize` is loaded by workers too."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    paths = [str(tmp_path / "site"), str(ROOT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TOUCHED": str(tmp_path / "touched")}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "degrade", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    probe = [sys.executable, "-c", "import socket; socket.socket()"]
    assert b"forbidden" in subprocess.run(probe, env=environment, capture_output=True).stderr
    (tmp_path / "touched").unlink()
    small = ["net=plain", "depth=8", "width=4", "data=digits", "recipe=smoke", "jobs=1", "engine.device=cpu"]
    done = call("sweep", *small, "recipe.iterations=4", "data.train_limit=50", "data.test_limit=20")
    assert done.returncode == 0, done.stdout + done.stderr
    done = call("plot", "results")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "touched").exists()


def test_every_package_has_its_hashes_and_every_dependency_its_reason():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    for package in lock["package"]:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert all(file["hash"].startswith("sha256:") for file in files), package["name"]
        assert files or package["source"].keys() & {"editable", "virtual"}, package["name"]
    text, told = (ROOT / "pyproject.toml").read_text(), 0
    project = tomllib.loads(text)
    for wanted in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]:
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f'"{wanted}"')]
        assert line.partition("#")[2].strip(), f"{wanted}: what is it for?"
        told += 1
    assert told > 10
