"""Downloads a file: resumes where it broke off, checks it, and gives it its name only when it is whole."""

import errno
import hashlib
import http.client
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from degrade.data.images import Note
from degrade.errors import DataError

_BLOCK = 1 << 16  # bytes between two notes of progress
_PATIENCE = 30.0  # seconds of silence after which the host counts as gone
_OFFLINE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)  # what a machine without a network says


def fetch(address: Callable[[], str], path: Path, md5: str, note: Note) -> None:
    """Downloads to `path`. Goes on with the part that an earlier attempt left beside it.

    Raises DataError, which says how to do it by hand, if the file cannot be had or has another md5.
    """
    part = path.with_name(f"{path.name}.part")
    url = ""
    try:
        url = address()
        path.parent.mkdir(parents=True, exist_ok=True)  # the user's own; a root is there already
        _stream(url, part, note)
        found = checksum(part)
        if found != md5:
            part.unlink()  # no part to go on with
            raise OSError(f"what came has md5 {found}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DataError(
            f"{path.name}: cannot download from {url} ({_describe(error)}); run again to go on, put the file (md5 "
            f"{md5}) into {path.parent} by hand, name another place by data.url=https://..., or use data=digits, which "
            "needs no download"
        ) from None
    part.replace(path)


def _describe(error: Exception) -> str:
    """Why a download failed, without the brackets that urllib puts around the reason."""
    reason = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    said = " ".join(str(reason).split()) or type(error).__name__
    offline = isinstance(reason, (socket.gaierror, ConnectionRefusedError)) or getattr(reason, "errno", 0) in _OFFLINE
    return f"no network? {said}" if offline else said


def _stream(url: str, part: Path, note: Note) -> None:
    """Adds the missing bytes to `part`. Raises OSError if the host ends early, or as `_size_of` does."""
    have = _size_of(part)
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urlopen(request, timeout=_PATIENCE)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:  # no such range: the part is the whole file
            return
        raise
    with answer:
        resumed = answer.status == 206  # else the host sends the whole file again
        have = have if resumed else 0
        total = have + int(answer.headers.get("Content-Length") or 0)
        with open(part, "ab" if resumed else "wb", opener=_open_no_link) as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                have += len(block)
                note(f"downloading {part.stem}, bytes", have, max(total, have))
    if have < total:
        raise OSError(f"the host stopped after {have:,} of {total:,} bytes")


def _size_of(part: Path) -> int:
    """Bytes of a file, 0 without a file.

    Raises OSError for a link, a pipe or a device. In a folder of others it may lead elsewhere, make us wait, or have no
    end.
    """
    try:
        found = part.lstat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{part.name} is a link, a pipe or a device, and no file; remove it")
    return found.st_size


def _open_no_link(path: str, flags: int) -> int:
    """Opens as `open` does, but follows no link and waits for no pipe. Somebody may have put one there since."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def checksum(path: Path) -> str:
    """The md5 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
