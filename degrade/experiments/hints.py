"""What somebody says of a net: FILE:key=value,key=value, or options for the files whose tensors do not say it."""

import math
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from degrade.errors import SpecError, nearest, pick
from degrade.experiments.known import KNOWN
from degrade.spec.parts import CHOICES, NORMALIZES
from degrade.store.files import at_home

CLASS_ORDERS = ("by-name", "by-position", "by-text")
_COMMA = re.compile(r",(?![^\[]*\])")  # outside of brackets
_BACK = {"known": "as"}  # fields of Hints -> the words of a command line, where they differ


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What tensors cannot say; None where nobody says it. Raises SpecError for a value that cannot be."""

    net: str | None = None  # plain | residual
    pad: str | None = None  # after | split: where option A puts its zeros
    eps: float | None = None  # of batch norm
    key: str | None = None  # which of several state dicts in the file, as in ema.state_dict
    normalize: str | tuple[float, ...] | None = None  # how its pictures are scaled, as data.normalize
    classes: str | None = None  # one of CLASS_ORDERS: which output belongs to which class of the pictures
    known: str | None = None  # a key of KNOWN; `as` on the command line
    measure: str | None = None  # no: take it as said, whatever its BN statistics say on the pictures

    def __post_init__(self) -> None:
        for name, words in (("pad", CHOICES["pad"]), ("classes", CLASS_ORDERS), ("measure", ("yes", "no"))):
            value = getattr(self, name)
            if value is not None and value not in words:
                raise SpecError(f"--{name}={value}: unknown; known: {', '.join(words)}")
        if self.net not in (None, "plain", "residual"):
            raise SpecError(
                f"--net={self.net}: a state dict of others is of a plain or a residual net; use one of these"
            )
        if self.eps is not None and not (0 <= self.eps < math.inf):
            raise SpecError(f"--eps={self.eps:g}: must be batch norm's epsilon, as in 1e-3")
        if self.known is not None:
            pick(KNOWN, self.known, "--as")

    def over(self, others: "Hints") -> "Hints":
        """These hints, and others where these say nothing. What `as` stands for counts with the hints that name it."""
        mine = self._spell_out()
        rest = others._spell_out()
        said = {each.name: getattr(mine, each.name) for each in fields(Hints) if getattr(mine, each.name) is not None}
        return replace(rest, **said)

    def _spell_out(self) -> "Hints":
        """The hints with what `as` says of the net. Its scale depends on the classes: `pictures` looks it up."""
        if self.known is None:
            return self
        about = KNOWN[self.known]
        said = {"net": about.net, "pad": about.pad, "eps": about.eps}
        return replace(self, **{name: value for name, value in said.items() if getattr(self, name) is None})

    def __str__(self) -> str:
        """As on a command line: net=plain,pad=split."""
        said = [(_BACK.get(each.name, each.name), getattr(self, each.name)) for each in fields(self)]
        return ",".join(f"{word}={list(v) if isinstance(v, tuple) else v}" for word, v in said if v is not None)


NO_HINTS = Hints()


class Named(NamedTuple):
    """A net as somebody names it: where it is, and what is said of it there."""

    path: str
    hints: Hints


def parse_net(net: Path | str) -> Named:
    """Splits FILE:key=value,key=value. What is a path as it stands has no hints. Raises SpecError."""
    word = str(net)
    for colon in [] if _exists(word) else [place for place, char in enumerate(word) if char == ":"][::-1]:
        path, rest = word[:colon], word[colon + 1 :]
        if path and re.match(r"[\w-]+=", rest) and ("=" not in path or _exists(path)):
            return Named(path, _parse_hints(rest, word))
    return Named(word, NO_HINTS)


def names_net(word: str) -> bool:
    """Whether a word of a command line is a net rather than KEY=VALUE: a path with or without hints, or a name."""
    return "=" not in word or _exists(word) or parse_net(word).path != word


def parse_normalize(value: str) -> str | tuple[float, ...]:
    """Reads pixel, channel or [means...,deviations...]. Raises SpecError for anything else."""
    if value in NORMALIZES:
        return value
    try:
        if not (value.startswith("[") and value.endswith("]")):
            raise ValueError
        return tuple(float(number) for number in value[1:-1].split(","))
    except ValueError:
        raise SpecError(f"normalize={value}: must be pixel, channel, or [means...,deviations...]") from None


def _parse_hints(text: str, word: str) -> Hints:
    """Reads key=value,key=value. Raises SpecError, which names the word, for an unknown key, or one said twice."""
    known = {_BACK.get(each.name, each.name): each.name for each in fields(Hints)}
    found: dict[str, str] = {}
    for part in _COMMA.split(text):
        key, sign, value = part.partition("=")
        if key not in known or not sign or not value:
            said = f"{part!r} is no key=value" if not (sign and value) else f"{key}: no such key"
            raise SpecError(f"{word}: {said}; after a colon, {nearest(key, known)}")
        if known[key] in found:
            raise SpecError(f"{word}: {key} is said twice; say it once")
        found[known[key]] = value
    eps, scale = found.pop("eps", None), found.pop("normalize", None)
    try:
        number = None if eps is None else float(eps)
    except ValueError:
        raise SpecError(f"{word}: eps={eps} must be a number, as in 1e-3") from None
    return Hints(**found, eps=number, normalize=None if scale is None else parse_normalize(scale))


def _exists(path: str) -> bool:
    """Whether a path exists; a word that cannot be a path does not."""
    try:
        return at_home(path).exists()
    except (OSError, ValueError):
        return False
