"""One trial of the identity experiment, and the columns it measures.

Sec. 3.1 of the paper: "The degradation problem suggests that the solvers might have difficulties in approximating
identity mappings by multiple nonlinear layers." A trial asks that of one stack of blocks and one seed. Other targets
and another start say how much of the answer belongs to the identity.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from degrade.spec.rows import FURTHEST, ITERATION, LARGE, Columns, real, text, whole
from degrade.spec.rules import LARGEST, LIMIT, Checked, digest, to_plain

_NETS = ("plain", "residual")  # whose blocks can make a stack
_TARGETS = ("identity", "permutation", "random")  # features.target_of
_INITS = ("he", "dirac")  # stacks.stack
_AXES = ("net", "blocks", "lr", "seed", "target", "init")  # fields in which the trials of one folder differ
LATER = ("target", "decay", "init")  # columns that files of 0.1.0 lack


@dataclass(frozen=True, kw_only=True)
class Trial(Checked):
    """A stack of `blocks` blocks of `layers` 3x3 layers, trained to put out what comes in, or another target of it."""

    prefix: ClassVar[str] = ""

    net: str = "residual"
    blocks: int = 1
    layers: int = 2  # of a block
    width: int = 16  # channels
    size: int = 8  # pixels of a side
    batch: int = 16  # images, drawn anew for every step
    steps: int = 1500
    # the greatest rate of the schedule; 3 is the best of 0.03, 0.1, 0.3, 1, 3, 10 from 8 layers on, for both nets
    lr: float = 3.0
    momentum: float = 0.9  # Sec. 4.2
    weight_decay: float = 1e-4  # Sec. 4.2
    seed: int = 0  # of initial weights and images, and of the target
    target: str = "identity"  # what the stack must put out
    init: str = "he"  # dirac: the stack begins at the identity

    def check(self) -> None:
        for name, known in (("net", _NETS), ("target", _TARGETS), ("init", _INITS)):
            self.one_of(name, known)
        for name, least, most in (("blocks", 1, 256), ("layers", 1, 3), ("width", 1, 4096), ("size", 1, 1024)):
            self.demand(least <= getattr(self, name) <= most, name, f"must be from {least} to {most}")
        self.demand(self.batch >= 2, "batch", "must be at least 2")
        self.demand(self.steps >= 1, "steps", "must be at least 1")
        self.demand(0 < self.lr <= LARGEST, "lr", f"must be a number above 0, at most {LARGEST:g}")
        self.demand(0 <= self.momentum < 1, "momentum", "must be from 0 to below 1")
        self.demand(0 <= self.weight_decay <= LARGEST, "weight_decay", "must be a number from 0 up")
        self.demand(0 <= self.seed < LIMIT, "seed", "must be from 0 to 2**63 - 1")
        alone = self.target == "permutation" and self.width < 2
        self.demand(not alone, "width", "one channel has no permutation; use --width 2 or more, or another --target")

    @property
    def name(self) -> str:
        """plain-4-lr3.0-s0, or plain-4-random-dirac-lr3.0-s0: tells a trial from the others in its folder.

        What 0.1.0 did not know is named only where it differs from what 0.1.0 did.
        """
        new = "".join(f"-{word}" for word in (self.target, self.init) if word not in (_TARGETS[0], _INITS[0]))
        return f"{self.net}-{self.blocks}{new}-lr{self.lr!r}-s{self.seed}"

    @property
    def settings(self) -> str:
        """l2-w16-1500-3f2a91ab: what all trials in its folder share."""
        shared = {key: value for key, value in to_plain(self).items() if key not in _AXES}
        return f"l{self.layers}-w{self.width}-{self.steps}-{digest(shared)}"

    @property
    def cell(self) -> tuple[str | int | float, ...]:
        """The values of figures.identity.CELL: trials with the same differ in rate and seed."""
        return self.target, self.net, self.init, self.weight_decay, self.blocks

    @property
    def cost(self) -> int:
        """Work in arbitrary units."""
        return self.blocks * self.layers * self.steps

    def labels(self) -> dict[str, Any]:
        """The columns of a row that say which trial it is."""
        kept = ("net", "blocks", "layers", "width", "lr", "steps", "seed")
        own = {"trial": self.name, "depth": self.blocks * self.layers, **{key: getattr(self, key) for key in kept}}
        return {**own, "target": self.target, "decay": self.weight_decay, "init": self.init}


@dataclass(frozen=True, slots=True)
class Copied:
    """How well the stack reproduces its target, after some steps."""

    iteration: int
    relative_error: float
    running: float
    predict_mean: float


IDENTITY: Columns = {
    "trial": text("name of the trial in its folder"),
    "net": text("what a block computes: plain, relu(F(x)) | residual, relu(F(x) + x)", _NETS),
    "blocks": whole("blocks in the stack", 1, 2**31),
    "layers": whole("3x3 layers of a block", 1, 2**31),
    "depth": whole("weighted layers: blocks x layers", 1, 2**31),
    "width": whole("channels", 1, 2**31),
    "lr": real("the greatest learning rate of the schedule", 0, LARGE),
    "steps": whole("SGD steps of the schedule"),
    "seed": whole("seed of initial weights and images, and of the target"),
    "iteration": ITERATION,
    "relative_error": real(
        "||f(x) - y||^2 / ||y||^2 on 256 held-out images, y the target, evaluation mode; 1: no better than zeros; "
        "inf: diverged",
        *(0, FURTHEST),
        infinite=True,
    ),
    "running": real(
        "the same on the batches since the last row, each before its step, training mode", 0, FURTHEST, infinite=True
    ),
    "predict_mean": real("relative_error of putting out each channel's mean, whatever comes in", 0, LARGE),
    "target": text("y, what must be put out for x: x | its channels permuted | a random block of it", _TARGETS),
    "decay": real("weight decay", 0, LARGE),
    "init": text("he: He's initial weights | dirac: the stack begins at the identity", _INITS),
}
