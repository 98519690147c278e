"""Files, names and configurations that somebody made to do harm: each is refused or taken for what it says."""

import hashlib
import io
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import tiny
from omegaconf import OmegaConf

from degrade import composition
from degrade.data import cifar
from degrade.errors import DataError, RunError, SpecError
from degrade.spec import NetSpec, RunSpec
from degrade.store import RunDir, write_json
from degrade.train.checkpoint import pack
from degrade.trained import open_net

ROOT = Path(__file__).parent.parent
CODE = (
    "hydra:\n  launcher:\n    _target_: os.system\n",
    "hydra:\n  launcher:\n    inner: {_target_: os.system, command: touch ran}\n",
    "hydra:\n  callbacks:\n    mine: {_target_: subprocess.run}\n",
    "data:\n  _target_: os.system\n",
    "recipe:\n  milestones: [{_target_: os.system}]\n",
)
EVIL = "\x1b]0;owned\x07\x1b[31m"


# Configurations


@pytest.mark.parametrize("text", CODE)
def test_a_configuration_names_no_code(here, tmp_path, monkeypatch, text):
    """Of a study that somebody was given and put beside ours."""
    shutil.copytree(composition.conf_dir(), tmp_path / "conf")
    (tmp_path / "conf" / "study" / "evil.yaml").write_text(f"# @package _global_\n{text}")
    monkeypatch.setattr(composition, "conf_dir", lambda: tmp_path / "conf")
    before = sorted(tmp_path.rglob("*"))
    done = here("sweep", "study=evil", "data=digits", "--dry-run")
    assert done.returncode == 2
    assert "_target_" in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("place", ["pkg://evil", "file://theirs"])
def test_no_package_is_imported_for_its_configurations(here, tmp_path, monkeypatch, place):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.syspath_prepend(tmp_path)
    done = here("sweep", f"hydra.searchpath=[{place}]", "data=digits", "--dry-run")
    assert done.returncode == 2
    assert "configurations come from conf/ alone" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "key", ["hydra.launcher._target_", "+hydra.launcher.x._target_", "+hydra.callbacks.x._target_"]
)
def test_nor_does_a_command_line(here, tmp_path, key):
    done = here("sweep", f"{key}=os.system", "data=digits", "--dry-run")
    assert done.returncode == 2
    assert "_target_=os.system: configurations name no code to run" in done.stderr
    assert list(tmp_path.iterdir()) == []


CREATE = "${oc.create:{_target_:os.mkdir,path:ran}}"


@pytest.mark.parametrize("part", ["launcher", "callbacks"])  # the sweeper takes no other keys
@pytest.mark.parametrize("place", ["command line", "study"])
def test_nothing_a_launcher_is_given_is_made_into_a_call(here, tmp_path, monkeypatch, part, place):
    """It is text until a launcher is made: then it was resolved, and what it named was called."""
    key = f"+hydra.{part}.x"
    if place == "study":
        shutil.copytree(composition.conf_dir(), tmp_path / "conf")
        (tmp_path / "conf" / "study" / "evil.yaml").write_text(
            f"# @package _global_\nhydra:\n  {part}:\n    x: '{CREATE}'\n"
        )
        monkeypatch.setattr(composition, "conf_dir", lambda: tmp_path / "conf")
    words = ["study=evil"] if place == "study" else [f"{key}='{CREATE}'"]
    small = ["net=plain", "depth=8", "width=4", "recipe=smoke", "recipe.iterations=2", "jobs=1", "engine.device=cpu"]
    done = here("train", *words, "data=digits", "data.train_limit=20", "data.test_limit=20", *small)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "hydra.launcher: its values may point to ${hydra.KEY} alone" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "results").exists()


def test_what_a_launcher_would_be_told_is_what_is_looked_at():
    """That Hydra itself does resolve it, and so that the attack above is one."""
    made = OmegaConf.create({"x": "${oc.create:{_target_:os.mkdir,path:ran}}"})
    assert OmegaConf.to_container(made, resolve=True) == {"x": {"_target_": "os.mkdir", "path": "ran"}}


def test_targets_are_found_at_any_depth():
    node = OmegaConf.to_container(OmegaConf.create({"a": [{"b": {"_target_": "x.y"}}], "hydra": {"_target_": "z"}}))
    assert list(composition.targets(node)) == [("a.b", "x.y"), ("hydra", "z")]


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
    assert "/" not in folder.read_spec().run
    write_json(folder.spec, {"format": 1, "spec": {**spec.tree(), "origin": {**origin, "how": "../../up"}}})
    with pytest.raises(RunError, match=r"spec\.json: origin\.how=\.\./\.\./up: unknown"):
        folder.read_spec()


# Checkpoints


def bomb(path: Path, size: int) -> None:
    """A state dict of zeros, packed: a thousandth of what it unpacks to."""
    plain = io.BytesIO()
    torch.save({"conv.weight": torch.zeros(size // 4)}, plain)
    with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))


def seen_as_a_billion(path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1, dtype=torch.float16).expand(1 << 20, 1 << 20, 3, 3)}, path)


def legacy(path: Path) -> None:
    """torch's older format says how large a storage is before it comes."""
    torch.save({"conv.weight": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"K\x04", b"\x8a\x05\x00\x00\x00\x00\x40"))


def header(path: Path) -> None:
    about = json.dumps({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(about)) + about)


def claims(path: Path) -> None:
    """A checkpoint of ours, with a checksum that is right, of a net that would fill any memory."""
    spec = RunSpec(net=NetSpec(depth=9998, width=4096))
    net = {f"t{i}": torch.zeros(1) for i in range(10_000)}
    net |= {"a": torch.zeros(4096, 1, 1, 1), "b": torch.zeros(10, 1)}
    state = {"format": 1, "run": spec.run, "iteration": 1, "net": net, "momentum": {}, "spec": spec.tree()}
    path.write_bytes(pack(state))


ENORMOUS = {
    "packed.pt": lambda path: bomb(path, 1 << 28),
    "seen.pt": seen_as_a_billion,
    "legacy.th": legacy,
    "header.safetensors": header,
    "claims.pt": claims,
}


@pytest.mark.parametrize("name", ENORMOUS)
def test_what_declares_enormous_tensors_is_refused_without_memory_for_them(tmp_path, name):
    ENORMOUS[name](tmp_path / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RunError, match=name) as refused:
        open_net(tmp_path / name, net="plain")
    assert "\n" not in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_checkpoint_of_ours_that_is_packed_is_refused_too(tmp_path):
    bomb(tmp_path / "packed.pt", 1 << 26)
    content = (tmp_path / "packed.pt").read_bytes()
    (tmp_path / "sealed.pt").write_bytes(content + hashlib.sha256(content).hexdigest().encode())
    with pytest.raises(RunError, match="declares 67,"):
        open_net(tmp_path / "sealed.pt", net="plain")


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
        cifar.members(tmp_path / "evil.tar.gz", {"cifar-10-batches-py/batches.meta"})
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
