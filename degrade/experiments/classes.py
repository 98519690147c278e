"""Which output of a net belongs to which class of the pictures: by the names of the classes, where both have names."""

from collections.abc import Sequence
from typing import NamedTuple

from degrade import data
from degrade.data.images import Images
from degrade.errors import DataError, RunError
from degrade.experiments.checkpoints import Trained
from degrade.experiments.known import LABEL_FILES

_MOST = 3  # names that an error lists


class Order(NamedTuple):
    """The outputs of a net in the order of the pictures' classes."""

    outputs: tuple[int, ...] | None  # for each class of the pictures, the output of the net; None: as they are
    said: str  # by name | by position, and why


def find_names(trained: Trained) -> tuple[str, ...] | None:
    """The names of a net's classes: as stored with it, else those of its own pictures, if they are here."""
    if trained.names is not None or trained.run is None:
        return trained.names
    try:
        return data.load(trained.run.data).train.classes
    except DataError:
        return None


def match_classes(trained: Trained, images: Images, dataset: str) -> Order:
    """Matches a net's outputs with the classes of pictures, as trained.hints.classes asks; None: by name if it can.

    Raises RunError where names differ, where there are none to match, or where two orders are as likely.
    """
    asked, theirs, own = trained.hints.classes, images.classes, find_names(trained)
    if asked == "by-position":
        return Order(None, "by position (said)")
    if trained.hints.known is not None and dataset in LABEL_FILES and asked is None:
        return Order(None, f"in the order of the label files (as={trained.hints.known})")
    if asked == "by-text":
        places = {name: place for place, name in enumerate(sorted(theirs))}
        return Order(tuple(places[name] for name in theirs), "by position in the order of text (said)")
    if own is None:
        return _match_by_position(trained, theirs)
    if own == theirs:
        return Order(None, "by name")
    if set(own) == set(theirs):
        return Order(tuple(own.index(name) for name in theirs), "by name (in another order)")
    alone = {"it": [name for name in own if name not in theirs], "the pictures": [n for n in theirs if n not in own]}
    words = "; ".join(
        f"only {who} has {_list_names(names)}" if who == "it" else f"only {who} have {_list_names(names)}"
        for who, names in alone.items()
        if names
    )
    raise RunError(
        f"{trained.label}: trained on classes of other names than data={dataset} has ({words}); rename the folders, or "
        "say that they are the same in this order, by --classes by-position"
    )


def _match_by_position(trained: Trained, theirs: Sequence[str]) -> Order:
    """Matches the outputs of a net without names in the order of the pictures' classes."""
    if trained.hints.classes == "by-name":
        raise RunError(
            f"--classes=by-name: {trained.label} has no names of classes; say by-position, or whose it is by as=NAME"
        )
    if list(theirs) != sorted(theirs):  # numbers: 2 comes before 10 by size, and after it as text
        raise RunError(
            f"{trained.label}: has no names of classes, and the classes {', '.join(sorted(theirs)[:_MOST])}, ... have "
            "one order by size and one as text; say --classes by-position (2 before 10) or by-text (10 before 2)"
        )
    return Order(None, f"by position (the {'file' if trained.run is None else 'run'} has no names of classes)")


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(repr(name) for name in names[:_MOST]) + more
