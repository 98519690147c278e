"""Puts the layers of a file into order by their names: numbers, ordinals and letters tell an order, words do not."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_WORDS = {word: number for number, word in enumerate(_NUMBERS)} | {word: n + 1 for n, word in enumerate(_ORDINALS)}
_KINDS = (
    "conv convs c convolution convolutional cnn bn bns n b norm norms normalization normalisation batch batchnorm layer"
)
KINDS = frozenset(_KINDS.split())  # words that say what a layer is, and nothing of its place


class Token(NamedTuple):
    """A part of a name: a number, a word or a sign."""

    rank: int  # 0 the dot, 1 other signs, 2 numbers, 3 words
    number: int
    text: str


class Order(NamedTuple):
    """Names in the order in which a net computes; `open` holds two whose order no name tells, or nothing."""

    names: list[str]
    open: tuple[str, str] | None
    by_kind: bool = False  # names go by the kind of layer first: a file is written in that order too, and tells none


def tokenize(name: str) -> tuple[Token, ...]:
    """`layer1.10` -> layer, 1, ., 10. Number words are numbers, and so are ordinals: `first` is 1."""
    return tuple(_read_token(part) for part in re.findall(r"\d+|[A-Za-z]+|[^A-Za-z\d]", name))


def _read_token(part: str) -> Token:
    if part.isdecimal():
        return Token(2, int(part[:18]), part)
    if part.lower() in _WORDS:
        return Token(2, _WORDS[part.lower()], part)
    return Token(3, 0, part) if part.isalpha() else Token(int(part not in "./"), 0, part)


def numbers(name: str) -> tuple[int, ...]:
    """The numbers in a name, in their order."""
    return tuple(token.number for token in tokenize(name) if token.rank == 2)


def strip_kinds(name: str) -> tuple[str, ...]:
    """The parts of a name that say which layer it is: `conv1` and `bn1` are both 1. Signs do not count."""
    return tuple(token.text for token in tokenize(name) if token.rank > 1 and token.text.lower() not in KINDS)


def arrange(names: Sequence[str], places: Mapping[str, int], first: str | None = None) -> Order:
    """Puts names into order: by numbers, number words, letters that follow each other, and signs before those.

    `first` is computed first, whatever its name, and so are the names of its group before words beside it. Where words
    alone differ, `places` decides, the place of each name in the file, and `open` names two such names.
    """
    parts = {name: tokenize(name) for name in names}
    return _arrange(list(names), 0, parts, places, first)


def _arrange(
    names: list[str], depth: int, parts: Mapping[str, tuple[Token, ...]], places: Mapping[str, int], first: str | None
) -> Order:
    if len(names) < 2:
        return Order(names, None)
    groups: dict[Token | None, list[str]] = {}
    for name in names:
        groups.setdefault(parts[name][depth] if depth < len(parts[name]) else None, []).append(name)
    if len(groups) == 1 and None not in groups:
        return _arrange(names, depth + 1, parts, places, first)
    heads, open_pair, by_kind = _order_heads(groups, depth, parts, places, first)
    found: list[str] = []
    for head in heads:
        inner = (
            Order(sorted(groups[head], key=places.__getitem__), None)
            if head is None
            else _arrange(groups[head], depth + 1, parts, places, first)
        )
        found += inner.names
        open_pair, by_kind = open_pair or inner.open, by_kind or inner.by_kind
    return Order(found, open_pair, by_kind)


def _order_heads(
    groups: Mapping[Token | None, list[str]],
    depth: int,
    parts: Mapping[str, tuple[Token, ...]],
    places: Mapping[str, int],
    first: str | None,
) -> tuple[list[Token | None], tuple[str, str] | None, bool]:
    """Orders groups of names by the token in which they differ. Returns these tokens, and the rest of an Order."""
    front = [head for head, names in groups.items() if first in names]
    rest = [head for head in groups if head not in front]
    against = any(head and front[0] and head.rank == front[0].rank == 2 and head < front[0] for head in rest if front)
    by_kind = _go_by_kind([names for names in groups.values() if len(names) > 1], depth, parts)
    if not against and not by_kind and _tell_order(rest):
        return [*front, *sorted(rest, key=lambda head: (head is not None, head or ()))], None, False
    rest.sort(key=lambda head: min(places[name] for name in groups[head]))
    both = front + rest if against or by_kind else sorted(rest, key=lambda head: not (head and head.rank == 3))
    return [*front, *rest], (groups[both[0]][0], groups[both[1]][0]), by_kind


def _tell_order(heads: Sequence[Token | None]) -> bool:
    """Whether these tokens tell an order: numbers that differ, letters that follow each other, or signs and numbers."""
    words = [head.text for head in heads if head and head.rank == 3]
    if words:
        near = all(ord(b) - ord(a) == 1 for a, b in pairwise(sorted(words)) if len(a) == len(b) == 1)
        return len(words) == len(heads) and (len(heads) == 1 or (near and all(len(word) == 1 for word in words)))
    values = [head.number for head in heads if head and head.rank == 2]
    return len(set(values)) == len(values)


def _go_by_kind(groups: Sequence[list[str]], depth: int, parts: Mapping[str, tuple[Token, ...]]) -> bool:
    """Whether names go by the kind of layer first, as in conv1.0, conv1.1, conv2.0: no order of computation."""
    if len(groups) < 2:
        return False
    for names in groups:
        before = parts[names[0]][depth - 1] if depth else None
        own = parts[names[0]][depth] if depth < len(parts[names[0]]) else None
        ordinal = own is not None and own.rank == 2 and own.text.lower() in _ORDINALS
        if not ordinal and not (own and own.rank == 2 and before and before.text.lower() in KINDS - {"layer", "b"}):
            return False
        if not _differ_by_index(names, depth + 1, parts):
            return False
    return True


def _differ_by_index(names: Sequence[str], depth: int, parts: Mapping[str, tuple[Token, ...]]) -> bool:
    """Whether the next difference of these names is a number of its own, rather than that of a layer like conv1."""
    longest = max(len(parts[name]) for name in names)
    for place in range(depth, longest):
        heads = {parts[name][place] if place < len(parts[name]) else None for name in names}
        if len(heads) > 1:
            before = parts[names[0]][place - 1]
            return all(head and head.rank == 2 and not head.text.isalpha() for head in heads) and before.rank < 2
    return False
