"""Takes out of a text to pass on what it says of a machine and its user: places, and the names of user and host."""

import re
import shlex
import socket
from functools import cache
from getpass import getuser
from pathlib import Path, PurePath

HIDDEN = "..."  # stands for a name
_PART = r"/[^\s,;:'\"()\[\]/]+"
_PLACE = re.compile(
    rf"(?<![\w.~/:-])(?:(?:~[\w.-]*|\.\.)(?:{_PART})*|(?:{_PART}){{2,}})/?"
)  # in a home, above, absolute
_QUOTED = re.compile(r"(['\"])((?:~|\.\.|/)[^'\"]*/[^'\"]*)\1")  # such a place with spaces in it
_KEYED = re.compile(r"-{0,2}[\w.+-]+=")
_PLACES = ("data.root", "results", "--out", "--results", "--ckpt", "--save")  # keys and options that take a place


@cache
def names_here() -> re.Pattern[str]:
    """Matches the names of the user, the user's home and this host, as whole words."""
    try:
        user = getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        user = ""
    host = socket.gethostname()
    names = sorted({user, Path.home().name, host, host.partition(".")[0]} - {""}, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)", re.IGNORECASE)


def shorten_places(text: str) -> str:
    """Cuts every absolute place in a text down to its last name: /home/ann/results becomes results."""
    text = _QUOTED.sub(lambda found: f"{found[1]}{_last_name(found[2])}{found[1]}", text)
    return _PLACE.sub(lambda found: _last_name(found[0]), text)


def shorten_command(command: str) -> str:
    """A command line without places of this machine, addresses, and the names of user and host in places."""
    try:
        words = shlex.split(command)
    except ValueError:  # an open quote
        return shorten_places(command)
    said: list[str] = []
    for number, word in enumerate(words):
        key, sign, value = word.partition("=") if _KEYED.match(word) else ("", "", word)
        is_place = key in _PLACES or (number > 0 and words[number - 1] in _PLACES) or "/" in value or value[:1] == "~"
        if key != "data.url":
            said.append(f"{key}{sign}{','.join(map(_shorten, value.split(',')))}" if is_place or not number else word)
    return shlex.join(said)


def _shorten(place: str) -> str:
    """A place: a relative one without the names of user and host, another one by its last name."""
    bare = place.strip("'\"[]")
    return _last_name(bare) if bare.startswith(("/", "~", "..")) else "/".join(map(_hide, place.split("/")))


def _last_name(place: str) -> str:
    """The last name of a place, hidden if it is the user's or the host's."""
    name = PurePath(place).name
    return HIDDEN if name in ("", "..") or name.startswith("~") else _hide(name)


def _hide(name: str) -> str:
    """A name of a file or folder without those of user and host in it."""
    return names_here().sub(HIDDEN, name)
