"""Where the weights of a run came from, when they were not drawn at random."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from degrade.spec.rules import Checked, plain

LABEL = re.compile("|constructed-[1-9][0-9]{0,4}(-exact)?")  # what `label` can be; nothing: weights drawn at random


@dataclass(frozen=True, kw_only=True)
class OriginSpec(Checked):
    """The trained net that a constructed one copies (Sec. 1: "a solution by construction"); made by degrade.construct.

    All of it is part of the identity; of the group, what does not differ between seeds.
    """

    prefix: ClassVar[str] = "origin."

    run: str  # that was copied
    group: str  # of it
    depth: int  # of it
    iteration: int  # SGD steps it had done
    weights: str  # 16 hexadecimal digits of the SHA-256 of its weights and BN statistics
    how: str = (
        "matched"  # matched: added blocks are the identity in training mode too, but for rounding; exact: to the bit
    )

    def check(self) -> None:
        self.one_of("how", ("matched", "exact"))
        self.demand(1 <= self.depth <= 10_000, "depth", "must be from 1 to 10000")
        self.demand(self.iteration >= 0, "iteration", "must be at least 0")

    @property
    def label(self) -> str:
        """constructed-20, or constructed-20-exact."""
        return f"constructed-{self.depth}" + ("-exact" if self.how == "exact" else "")

    @property
    def shared(self) -> dict[str, Any]:
        """What runs of one group have in common."""
        return {k: v for k, v in plain(self).items() if k not in ("run", "weights")}


def copied_depth(label: str) -> int:
    """The depth that was copied, from the column `origin` of the curves: 20 of constructed-20."""
    return int(label.split("-")[1])
