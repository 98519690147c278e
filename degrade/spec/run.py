"""A run: its parts together, the names that follow from them, and where its weights come from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from degrade.errors import SpecError
from degrade.spec.parts import DataSpec, EngineSpec, NetSpec, RecipeSpec
from degrade.spec.rules import LIMIT, Checked, build, digest, identity_of, plain

PARTS: dict[str, type[Any]] = {"data": DataSpec, "recipe": RecipeSpec, "engine": EngineSpec}
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


@dataclass(frozen=True, kw_only=True)
class RunSpec(Checked):
    """One training of one configuration with one seed."""

    net: NetSpec = field(default_factory=NetSpec)
    data: DataSpec = field(default_factory=DataSpec)
    recipe: RecipeSpec = field(default_factory=RecipeSpec)
    engine: EngineSpec = field(default_factory=EngineSpec)
    seed: int = 0
    origin: OriginSpec | None = None  # None: weights are drawn at random

    def check(self) -> None:
        self.demand(0 <= self.seed < LIMIT, "seed", "must be from 0 to 2**63 - 1")
        if self.engine.probe and self.recipe.batch < 2:
            rule = "compares the halves of a batch; use recipe.batch=2 or more, or engine.probe=0"
            raise SpecError(f"engine.probe={self.engine.probe}: {rule}")

    @cached_property
    def identity(self) -> dict[str, dict[str, Any]]:
        """What defines the result, by part, less what equals a released default."""
        return {part: identity_of(getattr(self, part)) for part in ("net", *PARTS)}

    @cached_property
    def name(self) -> str:
        """Readable: residual-A-56, plain-20, residual-B-20-w32, plain-56-from20."""
        parts = (self.net.net, self.net.shortcut.replace("none", ""), str(self.net.depth))
        begun = f"-from{self.origin.label.removeprefix('constructed-')}" if self.origin else ""
        return "-".join(p for p in parts if p) + (f"-w{self.net.width}" if self.net.width != 16 else "") + begun

    @cached_property
    def run(self) -> str:
        begun = {"origin": plain(self.origin)} if self.origin else {}
        return f"{self.name}-s{self.seed}-{digest([{**self.identity, **begun}, self.seed])}"

    @cached_property
    def group(self) -> str:
        begun = {"origin": self.origin.shared} if self.origin else {}
        return f"{self.name}-{digest({**self.identity, **begun})}"

    @cached_property
    def protocol(self) -> str:
        """Everything but net, shortcut, depth, width, origin; `pad` belongs to the shortcut, `gate_bias` to the net."""
        kept = {**self.identity, "net": {"family": self.net.family}}
        return f"{self.data.name}-{digest(kept)}"

    def labels(self) -> dict[str, str | int]:
        """The columns of a curve that say which run it is (spec.rows.LABELS)."""
        return {
            "run": self.run,
            "group": self.group,
            "protocol": self.protocol,
            "net": self.net.net,
            "family": self.net.family,
            "shortcut": self.net.shortcut,
            "depth": self.net.depth,
            "width": self.net.width,
            "seed": self.seed,
            "data": self.data.name,
            "recipe": self.recipe.name,
            "precision": self.engine.precision,
            "origin": self.origin.label if self.origin else "",
        }

    @property
    def cost(self) -> float:
        """Work in arbitrary units, for placing the longest run first: layers x channels^2 x images."""
        return self.net.depth * self.net.width**2 * self.recipe.iterations * self.recipe.batch

    def tree(self) -> dict[str, Any]:
        """All values as plain types, such that parse(spec.tree()) == spec."""
        parts = {part: plain(getattr(self, part)) for part in ("data", "recipe", "engine")}
        begun = {"origin": plain(self.origin)} if self.origin else {}
        return {**plain(self.net), "seed": self.seed, **parts, **begun}


def parse(tree: Mapping[str, Any]) -> RunSpec:
    """A RunSpec from plain nested values: net keys and seed at the top, `data`, `recipe`, `engine` below.

    Raises SpecError for an unknown key, a wrong type or a value that breaks a rule.
    """
    rest = dict(tree)
    parts = {key: build(kind, rest.pop(key, {})) for key, kind in PARTS.items()}
    seed, origin = rest.pop("seed", 0), rest.pop("origin", None)
    begun = None if origin is None else build(OriginSpec, origin)
    return RunSpec(net=build(NetSpec, rest, extra=("seed", *PARTS)), seed=seed, origin=begun, **parts)
