import hashlib
import io
import os
import pickle
import shutil
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from degrade import data
from degrade.data import cifar
from degrade.data.download import checksum
from degrade.errors import DataError, SpecError
from degrade.spec import DataSpec


class Python2(pickle._Pickler):
    """Writes what Python 2 and numpy 1 wrote in 2009: byte strings, and the dtype's flags as numbers."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)
    dispatch_table: ClassVar = {np.dtype: lambda d: (np.dtype, (b"u1", 0, 1), (3, b"|", None, None, None, -1, -1, 0))}

    def save_bytes(self, value: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes
    dispatch[str] = lambda self, value: self.save_bytes(value.encode("latin1"))


def dumped(value: object) -> bytes:
    file = io.BytesIO()
    Python2(file, protocol=2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")


def table(seed: int, n: int, classes: int, key: str) -> dict[str, object]:
    random = np.random.default_rng(seed)
    return {
        "batch_label": f"batch {seed}",
        key: [int(y) for y in random.permutation(n) % classes],
        "data": random.integers(0, 256, (n, 3072), np.uint8),
        "filenames": [f"{i}.png" for i in range(n)],
    }


def pack(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def tiny(archive: cifar.Archive, path: Path) -> tuple[cifar.Archive, dict[str, dict[str, object]]]:
    """An archive of the same layout with 20 pictures a member, and its tables."""
    names, (meta,) = ["apple", "bear"], archive.meta
    tables = {name: table(i, 20, len(names), archive.labels) for i, name in enumerate((*archive.test, *archive.train))}
    tables[meta] = {archive.names: names}
    members = {name: dumped(table) for name, table in tables.items()}
    inside = {f"{archive.folder}/{name}": content for name, content in members.items()}
    pack(path, {f"{archive.folder}/readme.html": b"read me", **inside})
    sums = {name: hashlib.md5(content).hexdigest() for name, content in members.items()}
    ours = {key: {name: sums[name] for name in getattr(archive, key)} for key in ("train", "test", "meta")}
    return replace(archive, md5=checksum(path), **ours), tables


@pytest.fixture(autouse=True)
def alone(user, monkeypatch) -> None:
    """A cache of its own, and a server on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(params=[("cifar10", cifar.CIFAR10), ("cifar100", cifar.CIFAR100)], ids=["cifar10", "cifar100"])
def dataset(request, tmp_path, monkeypatch) -> tuple[DataSpec, cifar.Archive, dict[str, dict[str, object]]]:
    """A tiny archive that stands for the real one, in its place in a root of its own."""
    name, original = request.param
    (tmp_path / "root").mkdir()
    archive, tables = tiny(original, tmp_path / "root" / original.file)
    known = data.Dataset(partial(cifar.prepare, archive), size=32)
    monkeypatch.setitem(data.DATASETS, name, known)
    return DataSpec(name=name, root=str(tmp_path / "root")), archive, tables


def test_pictures_and_labels_are_those_of_the_archive(dataset):
    spec, archive, tables = dataset
    train, test, _ = data.load(data.prepare(spec))
    for split, names in ((train, archive.train), (test, archive.test)):
        rows = np.concatenate([tables[name]["data"] for name in names])
        assert (split.pixels == rows.reshape(-1, 3, 32, 32)).all()
        assert split.labels.tolist() == [y for name in names for y in tables[name][archive.labels]]
    assert train.classes == ("apple", "bear")
    assert len(train) == 20 * len(archive.train)


def test_the_archive_is_read_once(dataset):
    spec, archive, _ = dataset
    prepared = data.prepare(spec)
    (Path(spec.root or "") / archive.file).unlink()
    assert data.prepare(spec) == prepared
    assert len(data.load(prepared).test) == 20


def test_nothing_is_extracted(dataset, tmp_path):
    spec, archive, _ = dataset
    data.prepare(spec)
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == [".degrade", archive.file]


def test_validation_comes_before_the_limit(dataset):
    spec, *_ = dataset
    prepared = data.prepare(replace(spec, validation=6, train_limit=4))
    train, _, val = data.load(prepared)
    assert val is not None
    assert (len(train), len(val), np.bincount(val.labels).tolist()) == (4, 6, [3, 3])
    assert (data.load(replace(prepared, train_limit=None)).val.pixels == val.pixels).all()


def test_another_size_is_refused_before_anything_is_fetched():
    with pytest.raises(SpecError, match=r"data.size=16: data=cifar10 has 32x32 pixels; use null"):
        data.prepare(DataSpec(name="cifar10", size=16))


def test_a_wrong_file_in_its_place_is_named_not_read_and_not_removed(dataset):
    spec, archive, _ = dataset
    path = Path(spec.root or "") / archive.file
    path.write_bytes(b"a part of it")
    with pytest.raises(
        DataError, match=f"{archive.file}: has md5 .*, not {archive.md5}: another file or a part"
    ) as caught:
        data.prepare(spec)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"a part of it"


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('ran')",)


def test_a_pipe_in_its_place_is_not_waited_for(dataset):
    spec, archive, _ = dataset
    path = Path(spec.root) / archive.file
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="is no file; put the archive there"):
        data.prepare(spec)


def test_a_pickle_may_build_arrays_and_nothing_else(tmp_path):
    path = tmp_path / "evil.tar.gz"
    pack(path, {"a": pickle.dumps({"data": Evil()}, protocol=2)})
    with pytest.raises(DataError, match=r"asks to run (__builtin__|builtins)\.exec"):
        cifar.read_members(path, {"a"})


def test_an_archive_that_lacks_a_member_is_refused(tmp_path):
    pack(tmp_path / "x.tar.gz", {"a": dumped({})})
    with pytest.raises(DataError, match=r"x.tar.gz: lacks b, c; remove it"):
        cifar.read_members(tmp_path / "x.tar.gz", {"a", "b", "c"})


def test_the_checksums_are_torchvisions():
    from torchvision import datasets

    for ours, theirs in ((cifar.CIFAR10, datasets.CIFAR10), (cifar.CIFAR100, datasets.CIFAR100)):
        assert (ours.md5, ours.file, ours.address()) == (theirs.tgz_md5, theirs.filename, theirs.url)
        assert [*map(list, ours.train.items())] == theirs.train_list
        assert [*map(list, ours.test.items())] == theirs.test_list
        assert ours.folder == theirs.base_folder
        assert ours.meta == {theirs.meta["filename"]: theirs.meta["md5"]}
        assert ours.names == theirs.meta["key"]


class Host(BaseHTTPRequestHandler):
    """Sends `content`: no more than `breaks` bytes of an answer, and with `ranges` from where it is asked to."""

    content = b""
    breaks: int | None = None
    ranges = True
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range") or ""
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if wanted and self.ranges and start >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start:][: self.breaks])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[tuple[type[Host], str]]:
    """A host on this machine, and its address."""
    kind = type("Here", (Host,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield kind, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def remote(tmp_path, host) -> tuple[cifar.Archive, DataSpec, Path]:
    """A tiny archive at the host, to be put into an empty root."""
    kind, address = host
    archive, _ = tiny(cifar.CIFAR10, tmp_path / "original")
    kind.content = (tmp_path / "original").read_bytes()
    archive = replace(archive, address=lambda: address)
    (tmp_path / "new" / "root").mkdir(parents=True)
    return (
        archive,
        DataSpec(name="cifar10", root=str(tmp_path / "new" / "root")),
        tmp_path / "new" / "root" / archive.file,
    )


def test_an_archive_is_downloaded_checked_and_told_of(remote, host):
    archive, spec, path = remote
    said: list[tuple[str, int, int]] = []
    content = cifar.prepare(archive, spec, lambda *words: said.append(words))
    n = path.stat().st_size
    assert said[-1] == ("downloading cifar-10-python.tar.gz, bytes", n, n)
    assert len(data.load(replace(spec, content=content)).train) == 100
    assert cifar.prepare(archive, spec, data.quiet) == content
    assert host[0].asked == [""]


def failed(archive: cifar.Archive, spec: DataSpec) -> str:
    with pytest.raises(DataError) as caught:
        cifar.prepare(archive, spec, data.quiet)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_download_that_broke_off_goes_on_where_it_was(remote, host):
    archive, spec, path = remote
    host[0].breaks = 1000
    text = failed(archive, spec)
    assert "the host stopped after 1,000 of" in text or "IncompleteRead" in text
    assert "run again to go on" in text
    assert not path.exists()
    host[0].breaks = None
    cifar.prepare(archive, spec, data.quiet)
    assert host[0].asked == ["", "bytes=1000-"]
    assert path.read_bytes() == host[0].content


def test_a_host_that_knows_no_ranges_sends_all_again(remote, host):
    archive, spec, path = remote
    path.with_name(f"{path.name}.part").write_bytes(host[0].content[:700])
    host[0].ranges = False
    cifar.prepare(archive, spec, data.quiet)
    assert path.read_bytes() == host[0].content


def test_a_part_that_is_all_of_it_is_taken(remote, host):
    archive, spec, path = remote
    path.with_name(f"{path.name}.part").write_bytes(host[0].content)
    cifar.prepare(archive, spec, data.quiet)
    assert path.read_bytes() == host[0].content


def test_what_came_wrong_is_never_read_nor_kept(remote, host):
    archive, spec, path = remote
    host[0].content = host[0].content[:-1] + b"x"
    assert "(what came has md5 " in failed(archive, spec)
    assert [p.name for p in path.parent.iterdir()] == [".degrade"]


def test_without_a_host_the_line_says_what_to_do(remote):
    archive, spec, path = remote
    archive = replace(archive, address=lambda: "http://127.0.0.1:9/cifar.tar.gz")
    text = failed(archive, spec)
    assert text.startswith("cifar-10-python.tar.gz: cannot download from http://127.0.0.1:9/cifar.tar.gz (no network? ")
    assert f"put the file (md5 {archive.md5}) into {path.parent} by hand" in text


PARTS: dict[str, Callable[[Path], object]] = {
    "a link": lambda part: part.symlink_to(part.parent / "mine"),
    "a link to nothing": lambda part: part.symlink_to(part.parent / "nothing"),
    "a pipe": os.mkfifo,
    "a device": lambda part: part.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_in_no_link_and_no_pipe(remote, host, kind, ranges):
    """What the link led to was overwritten, and a pipe waited for."""
    archive, spec, path = remote
    host[0].ranges = ranges
    (path.parent / "mine").write_text("of years")
    PARTS[kind](path.with_name(f"{path.name}.part"))
    text = in_time(lambda: failed(archive, spec))
    assert f"({path.name}.part is a link, a pipe or a device, and no file; remove it); run again" in text
    assert (path.parent / "mine").read_text() == "of years"
    assert not (path.parent / "nothing").exists()
    assert host[0].asked == []


def in_time(work: Callable[[], str]) -> str:
    """What `work` returns, or a TimeoutError."""
    said = Future[str]()

    def tell() -> None:
        try:
            said.set_result(work())
        except BaseException as error:
            said.set_exception(error)

    threading.Thread(target=tell, daemon=True).start()  # which may wait for ever
    return said.result(timeout=20)


def test_an_archive_beside_a_run_is_decoded_into_the_users_cache(remote, user, tmp_path):
    archive, spec, path = remote
    shutil.copy(tmp_path / "original", path)
    content = cifar.prepare(archive, spec, data.quiet, theirs=True)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert (user / content / "about.json").exists()
    assert len(data.load(replace(spec, content=content)).train) == 100


@pytest.fixture
def unpacked(dataset, tmp_path) -> Path:
    """The root, with the archive unpacked in place of the archive."""
    _spec, archive, _ = dataset
    with tarfile.open(tmp_path / "root" / archive.file) as tar:
        tar.extractall(tmp_path / "root", filter="data")
    (tmp_path / "root" / archive.file).rename(tmp_path / archive.file)
    return tmp_path / "root"


PLACES = {
    "the folder that holds it": lambda root, archive: root,
    "the folder itself": lambda root, archive: root / archive.folder,
    "renamed": lambda root, archive: (root / archive.folder).rename(root / "mine"),
    "the archive itself": lambda root, archive: root.parent / archive.file,
    "the archive, renamed": lambda root, archive: (root.parent / archive.file).rename(root / "cifar (1).tar.gz"),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_archive_is_known_wherever_and_however_it_lies(dataset, unpacked, place, no_host):
    spec, archive, tables = dataset
    said: list[str] = []
    wanted = replace(spec, root=str(PLACES[place](unpacked, archive)))
    prepared = data.prepare(wanted, lambda what, *_: said.append(what))
    assert (data.load(prepared).train.pixels[:20].reshape(20, -1) == tables[next(iter(archive.train))]["data"]).all()
    assert [text.startswith("reads what was unpacked to ") for text in said] == [True] * ("archive" not in place)
    whole = unpacked / "whole"
    whole.mkdir()
    (whole / archive.file).write_bytes(next(p for p in unpacked.parent.rglob("*.tar.gz")).read_bytes())
    assert data.prepare(replace(spec, root=str(whole))).content == prepared.content
    assert no_host == []


@pytest.fixture
def no_host(monkeypatch) -> list[str]:
    """The addresses that a download was begun from."""
    begun: list[str] = []

    def refuse(request, **_):
        begun.append(request.full_url)
        raise OSError("no network")

    monkeypatch.setattr("degrade.data.download.urlopen", refuse)
    return begun


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_an_unpacked_file_that_is_not_the_authors_is_named(dataset, unpacked, harm, no_host):
    spec, archive, _ = dataset
    file = unpacked / archive.folder / [*archive.train][-1]
    content = file.read_bytes()
    file.unlink() if harm == "gone" else file.write_bytes(content[:-1] + b"x")
    with pytest.raises(DataError, match=f"lacks {file.name}; unpack" if harm == "gone" else f"{file.name}: has md5"):
        data.prepare(spec)
    assert no_host == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cifar-10-batches-bin", "is the binary form"),
        ("cifar-10-matlab.tar.gz", "is the Matlab form"),
        ("cifar-10-python.tar", "has lost its compression; unpack it"),
    ],
)
def test_another_form_of_the_archive_is_recognised_and_nothing_fetched(tmp_path, name, words, no_host):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=words):
        data.prepare(DataSpec(name="cifar10", root=str(tmp_path)))
    assert no_host == []


def test_the_other_dataset_is_recognised(tmp_path, no_host):
    for member in cifar.CIFAR100.members:
        (tmp_path / member).touch()
    with pytest.raises(DataError, match=r"is unpacked from cifar-100-python.tar.gz; say data=cifar100"):
        data.prepare(DataSpec(name="cifar10", root=str(tmp_path)))
    assert no_host == []


@pytest.mark.parametrize("kind", ["nothing", "a link to nothing"])
def test_no_folder_is_made_for_a_mistyped_root(tmp_path, kind, no_host):
    root = tmp_path / "dat" / "cifra"
    if kind != "nothing":
        root.parent.mkdir()
        root.symlink_to("nothing")
    with pytest.raises(DataError, match=r"data\.root=.*cifra: no such folder; make it, or leave data.root out to use"):
        data.prepare(DataSpec(name="cifar10", root=str(root)))
    assert not root.exists()
    assert root.parent.exists() == (kind != "nothing")
    assert no_host == []


def test_another_source_is_downloaded_from_and_checked_and_leaves_no_trace(remote, host, monkeypatch):
    archive, spec, path = remote
    monkeypatch.setitem(
        data.DATASETS,
        "cifar10",
        data.Dataset(partial(cifar.prepare, replace(archive, address=None)), size=32, fetched=True),
    )
    asked = replace(spec, url=archive.address() + "mirror/cifar.tar.gz")
    prepared = data.prepare(asked)
    assert (prepared.url, data.prepare(spec)) == (None, prepared)
    path.unlink()
    shutil.rmtree(path.parent / ".degrade")
    host[0].content = b"another archive"
    with pytest.raises(DataError, match=r"cannot download from http://127\.0\.0\.1.*what came has md5"):
        data.prepare(asked)


@pytest.mark.parametrize(
    "url", ["", "mirror", "file:///etc/passwd", "https://ann:secret@host/x", "ftp://host/x", "https://host"]
)
def test_a_source_is_an_address_without_a_password(url):
    with pytest.raises(SpecError, match=r"data\.url=.*: must be an address without a password"):
        DataSpec(url=url)


def test_a_failed_download_ends_the_command_with_that_line(degrade, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there: no network, whatever the machine
    monkeypatch.setenv("no_proxy", "")
    done = degrade("sweep", "data=cifar10", f"data.root={tmp_path}", "depth=8")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("degrade: cifar-10-python.tar.gz: cannot download from https://")
    assert f"(md5 c58f30108f718f92721af3b95e74349a) into {tmp_path} by hand" in done.stderr
