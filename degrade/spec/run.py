"""A run: all its parts, the names that follow from them, and the origin of its weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from degrade.errors import SpecError
from degrade.spec.parts import DataSpec, EngineSpec, NetSpec, RecipeSpec
from degrade.spec.rules import LIMIT, Checked, build_spec, digest, identity_of, to_plain

PARTS: dict[str, type[Any]] = {"data": DataSpec, "recipe": RecipeSpec, "engine": EngineSpec}
# The column `origin` of a curve. Empty: weights are drawn at random.
ORIGIN_LABEL = re.compile("|constructed-[1-9][0-9]{0,4}(-exact)?")


@dataclass(frozen=True, kw_only=True)
class OriginSpec(Checked):
    """The trained net that a constructed one copies (Sec. 1: "a solution by construction"). degrade.construct makes it.

    All fields enter the name of the run. Those that seeds have in common enter the name of the group.
    """

    prefix: ClassVar[str] = "origin."

    run: str  # the copied run
    group: str  # of the copied run
    depth: int  # of the copied run
    iteration: int  # SGD steps that the copied run had done
    weights: str  # 16 hexadecimal digits of the SHA-256 of the copied weights and BN statistics
    # matched: added blocks are the identity in training mode too, but for rounding; exact: to the bit
    how: str = "matched"

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
        """The values that runs of one group have in common."""
        return {k: v for k, v in to_plain(self).items() if k not in ("run", "weights")}


def copied_depth(label: str) -> int:
    """The depth of the copied net, from the column `origin` of the curves: 20 for constructed-20."""
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
        """The values that define the result, by part. Values equal to a released default are left out."""
        return {part: identity_of(getattr(self, part)) for part in ("net", *PARTS)}

    @cached_property
    def name(self) -> str:
        """Readable: residual-A-56, plain-20, residual-B-20-w32, plain-56-from20."""
        parts = (self.net.net, self.net.shortcut.replace("none", ""), str(self.net.depth))
        origin = f"-from{self.origin.label.removeprefix('constructed-')}" if self.origin else ""
        return "-".join(p for p in parts if p) + (f"-w{self.net.width}" if self.net.width != 16 else "") + origin

    @cached_property
    def run(self) -> str:
        """The name of the run: readable, with a hash of all values that define the result."""
        return f"{self.name}-s{self.seed}-{digest([{**self.identity, **self._origin_tree()}, self.seed])}"

    @cached_property
    def group(self) -> str:
        """The name of all runs that differ in nothing but the seed."""
        origin = {"origin": self.origin.shared} if self.origin else {}
        return f"{self.name}-{digest({**self.identity, **origin})}"

    @cached_property
    def protocol(self) -> str:
        """The name of all groups that differ in nothing but net, shortcut, depth, width and origin.

        `pad` belongs to the shortcut, `gate_bias` to the net.
        """
        shared = {**self.identity, "net": {"family": self.net.family}}
        return f"{self.data.name}-{digest(shared)}"

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
        """Work in arbitrary units: layers x channels^2 x images. Sweeps start the longest run first."""
        return self.net.depth * self.net.width**2 * self.recipe.iterations * self.recipe.batch

    def tree(self) -> dict[str, Any]:
        """All values as plain types, such that parse(spec.tree()) == spec."""
        parts = {part: to_plain(getattr(self, part)) for part in ("data", "recipe", "engine")}
        return {**to_plain(self.net), "seed": self.seed, **parts, **self._origin_tree()}

    def _origin_tree(self) -> dict[str, dict[str, Any]]:
        """The group of keys `origin`, where there is an origin."""
        return {"origin": to_plain(self.origin)} if self.origin else {}


def parse(tree: Mapping[str, Any]) -> RunSpec:
    """A RunSpec from plain nested values: net keys and seed at the top, `data`, `recipe`, `engine` below.

    Raises SpecError for an unknown key, a wrong type or a value that breaks a rule.
    """
    rest = dict(tree)
    parts = {key: build_spec(kind, rest.pop(key, {})) for key, kind in PARTS.items()}
    seed, origin = rest.pop("seed", 0), rest.pop("origin", None)
    copied = None if origin is None else build_spec(OriginSpec, origin)
    return RunSpec(net=build_spec(NetSpec, rest, extra=("seed", *PARTS)), seed=seed, origin=copied, **parts)
