"""One reader decides what is in a file of torch.save: Python's. torch gets an archive written anew from what it saw.

A zip archive can say two things: a second directory, other names or sizes in front of the members, bytes before the
first of them. Python's reader and torch's then see different files, and a check of the one tells nothing of the other.
"""

import io
import zipfile
import zlib

from degrade.errors import RunError

_LOCAL = b"PK\x03\x04"  # by these first bytes torch takes a file for an archive
_BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, EOFError, OSError, RuntimeError)
_WHEN = (1980, 1, 1, 0, 0, 0)  # the least date of an archive; torch reads none


def rewrite(content: bytes) -> bytes:
    """The same file for torch: an archive of the members that Python's reader sees, none of them packed.

    A file in torch's older form, which is no archive, stays as it is. Raises RunError for an archive that cannot be
    read, that has two members of one name, that would take more memory than it has bytes (torch.save does not pack), or
    that asks for a bytearray: a few bytes can ask for any size, and torch's reader would make it.
    """
    if not content.startswith(_LOCAL):
        _demand_no_buffer(content)
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > len(content):
                raise RunError(f"declares {total:,} bytes, and the file has {len(content):,}: refused")
            if len({member.filename for member in members}) < len(members):
                raise RunError("holds two members of one name: refused")
            found = {member.filename: archive.read(member) for member in members}
    except _BROKEN as error:
        raise RunError(f"an archive that is damaged or cut short ({error})") from None
    _demand_no_buffer(b"".join(text for name, text in found.items() if name.endswith(".pkl")))
    return _write(found)


def _demand_no_buffer(pickles: bytes) -> None:
    if b"bytearray" in pickles:
        raise RunError("asks for a bytearray, and no net holds one: refused")


def _write(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _WHEN), content)
    return sink.getvalue()
