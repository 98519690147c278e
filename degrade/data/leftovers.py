"""What a folder of pictures holds besides pictures, by kind: told once, since what is left out could be missed."""

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePath

from degrade.data.pictures import extensions

_THUMBNAILS = ("@eadir", ".@__thumb", ".thumbnails", ".thumbs", ".picasaoriginals")
_TRASH = ("#recycle", "@recycle", "$recycle.bin", "recycler", "network trash folder")
_OF_SYSTEMS = ("__macosx", "system volume information", "lost+found", "#snapshot", "@tmp")
ARCHIVES = frozenset((".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"))
# Pictures that nothing here reads; extension -> what would
_DECODERS = dict.fromkeys((".avif", ".heic", ".heif", ".hif"), "pip install pillow-heif")
_UNREAD = (
    *(".arw", ".cr2", ".cr3", ".dng", ".exr", ".hdr", ".j2k", ".jp2", ".jxl", ".mpo", ".nef", ".orf", ".pcx"),
    *(".pfm", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga"),
)
_MAX_NAMES = 3  # of one kind

Kind = tuple[str, str]  # (what it is, its name or extension)


def name_folder(name: str) -> Kind | None:
    """The kind of a folder that holds no pictures of the set; None for an ordinary folder."""
    low = name.lower()
    if low in _THUMBNAILS:
        return ("of thumbnails", name)
    if low in _TRASH or low.startswith(".trash"):
        return ("of trash", name)
    if low in _OF_SYSTEMS:
        return ("of the system", name)
    return ("with a hidden name", name) if low.startswith(".") else None


def name_file(name: str) -> Kind | None:
    """The kind of a file that is no picture to read; None for a picture. An extension says which it is."""
    low, suffix = name.lower(), PurePath(name).suffix.lower()
    if low.startswith("._"):
        return ("of macOS", "._*")
    if low.startswith(".trashed-"):
        return ("of trash", ".trashed-*")
    if suffix in extensions():
        return None
    if suffix in _DECODERS:
        return ("without a decoder here", f"{suffix}: {_DECODERS[suffix]}")
    if suffix in _UNREAD:
        return ("of kinds that are not read", suffix)
    return ("packed", suffix) if suffix in ARCHIVES else ("besides pictures", suffix or name)


class Leftovers:
    """Counts by kind what is left out."""

    def __init__(self) -> None:
        self._folders, self._files = Counter[Kind](), Counter[Kind]()

    def folder(self, kind: Kind) -> None:
        self._folders[kind] += 1

    def file(self, kind: Kind) -> None:
        self._files[kind] += 1

    def __str__(self) -> str:
        """3 folders of thumbnails (@eaDir), 2 files besides pictures (.db, .txt); empty if nothing is."""
        return ", ".join([*_list_kinds("folder", self._folders), *_list_kinds("file", self._files)])


def _list_kinds(what: str, counts: Mapping[Kind, int]) -> list[str]:
    """The kinds of folders or files, each with its count and names."""
    total, names = Counter[str](), dict[str, list[str]]()
    for (kind, name), count in counts.items():
        total[kind] += count
        names.setdefault(kind, []).append(name if name.isprintable() else repr(name))
    said: list[str] = []
    for kind, count in total.items():
        own = sorted(set(names[kind]))
        shown = ", ".join(own[:_MAX_NAMES]) + (" and others" if len(own) > _MAX_NAMES else "")
        said.append(f"{count:,} {what}{'s' * (count > 1)} {kind} ({shown})")
    return said
