"""What a shell hands over: a path or a free text is a word as it stands, and not Hydra's grammar.

Hydra reads `a,b` as two values, `{x}` as a mapping and 2024 as a number. A folder may have any of these names.
"""

import re
from collections.abc import Sequence
from itertools import takewhile

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from degrade.errors import SpecError
from degrade.store.files import at_home

_PATHS = ("results", "data.root")
_FREE = (*_PATHS, "data.label", "data.test", "data.url")  # keys whose value is a word as it stands


def quote_word(text: str) -> str:
    """KEY=VALUE with the value quoted for Hydra, where the key takes a path or a free text; else the text as it is.

    Three values keep their meaning: null is none; a value in quotes is what is inside the quotes (`'a','b'` is two);
    and a data.root with commas, where no such folder is, but each part is one, is several folders.
    """
    key, sign, value = text.partition("=")
    if not sign or key not in _FREE or value in ("", "null"):
        return text
    if _is_quoted(text, value) and not (key in _PATHS and _exists(value)):
        return text
    parts = value.split(",")
    if key == "data.root" and len(parts) > 1 and not _exists(value) and all(map(_exists, parts)):
        return f"{key}={','.join(map(_quote, parts))}"
    return f"{key}={_quote(value)}"


def refuse_spaces(words: Sequence[str]) -> None:
    """Raises SpecError for `depth=20, 56`, which a shell hands over as two words."""
    for at, text in enumerate(words):
        if "=" not in text or not text.endswith(",") or at + 1 == len(words):
            continue
        rest = list(takewhile(lambda word: "=" not in word, words[at + 1 :]))
        if rest:
            raise SpecError(f"{' '.join([text, *rest])}: no space after commas; write {''.join([text, *rest])}")


def _is_quoted(text: str, value: str) -> bool:
    """Whether Hydra's grammar reads a value as text in quotes, or a list of such texts."""
    if value[0] not in "'\"" or value[-1] != value[0]:
        return False
    try:
        OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError):
        return False
    return True


def _exists(path: str) -> bool:
    """Whether a path exists; a word that cannot be a path does not."""
    try:
        return bool(path) and at_home(path).exists()
    except (OSError, ValueError):
        return False


def _quote(value: str) -> str:
    """A text in Hydra's quotes. OmegaConf would resolve ${...} in it."""
    return QuotedString(re.sub(r"(\\*)\$\{", r"\1\1\\${", value), Quote.single).with_quotes()
