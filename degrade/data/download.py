"""A file from the web: resumed where it broke off, checked, and given its name only when it is whole."""

import hashlib
import http.client
import os
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from degrade.data.images import Note
from degrade.errors import DataError

BLOCK = 1 << 16  # bytes between two words about it
PATIENCE = 30.0  # seconds of silence after which the host counts as gone


def fetch(address: Callable[[], str], path: Path, md5: str, note: Note) -> None:
    """Downloads to `path`, going on with what an earlier attempt left beside it.

    Raises DataError, with the way to do it by hand, where it cannot be had or is not what it should be.
    """
    part = path.with_name(f"{path.name}.part")
    url = ""
    try:
        url = address()
        path.parent.mkdir(parents=True, exist_ok=True)
        stream(url, part, note)
        found = checksum(part)
        if found != md5:
            part.unlink()  # nothing to go on with
            raise OSError(f"what came has md5 {found}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path.name}: no download from {url} ({reason}); its host is slow at times: run again to go on, "
            f"or put the file (md5 {md5}) into {path.parent} by hand"
        ) from None
    part.replace(path)


def stream(url: str, part: Path, note: Note) -> None:
    """Adds to `part` what is missing of it. Raises OSError where the host ends early, or as `size` does."""
    have = size(part)
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urlopen(request, timeout=PATIENCE)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:  # no such range: the part is all there is
            return
        raise
    with answer:
        resumed = answer.status == 206  # else the host sends all of it again
        have = have if resumed else 0
        total = have + int(answer.headers.get("Content-Length") or 0)
        with open(part, "ab" if resumed else "wb", opener=unled) as file:
            while block := answer.read(BLOCK):
                file.write(block)
                have += len(block)
                note(f"downloading {part.stem}, bytes", have, max(total, have))
    if have < total:
        raise OSError(f"the host stopped after {have:,} of {total:,} bytes")


def size(part: Path) -> int:
    """Its bytes, 0 where there is none. Raises OSError for what is no file: in a folder of others it may lead
    elsewhere, be waited for, or have no end.
    """
    try:
        found = part.lstat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{part.name} is a link, a pipe or a device, and no file; remove it")
    return found.st_size


def unled(path: str, flags: int) -> int:
    """Opens as `open` does, but no link, and waits for no pipe: another may have put one there since."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
