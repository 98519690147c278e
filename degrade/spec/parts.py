"""The parts of a run: frozen dataclasses whose rules live in `__post_init__`.

Defaults are the paper's CIFAR-10 protocol (He et al. 2015, Sec. 4.2). Values equal to a default stay out of the
hashes, so a new field orphans no stored run: a released default never changes.
"""

import math
import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

from degrade.spec.rules import ASIDE, LARGEST, LATER, Checked

# The shortcut options (Sec. 3.3) that each net can take. The blocks are in degrade.nets.NETS.
SHORTCUTS: dict[str, tuple[str, ...]] = {
    "plain": ("none",),
    "residual": ("A", "B", "C"),
    "highway": ("A", "B", "C"),
}
GATED = ("highway",)  # the nets whose blocks have a gate
# The values of each key that has only a few. The shell completes them too.
CHOICES: dict[str, tuple[str, ...]] = {
    "family": ("cifar",),
    "net": tuple(SHORTCUTS),
    "shortcut": ("A", "B", "C", "none"),
    "pad": ("after", "split"),
    "recipe.augment": ("none", "crop", "crop_flip"),
    "recipe.momentum_form": ("torch", "caffe"),
    "recipe.decay_scope": ("all", "conv"),
    "recipe.warmup": ("auto", "on", "off"),
    "recipe.norm": ("batch", "none"),
    "recipe.init": ("he", "xavier", "small"),
    "engine.precision": ("fp32", "tf32", "bf16"),
    "engine.device": ("auto", "cpu", "cuda"),
    "engine.backend": ("auto", "eager", "graph", "fused", "native"),
}
NORMALIZES = ("pixel", "channel")
CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100}  # of the datasets whose number of classes is fixed
TRAINING_IMAGES = {"digits": 1_437, "cifar10": 50_000, "cifar100": 50_000}  # of the datasets of fixed size, all of them


def _nearest_depths(depth: int) -> str:
    """The two depths of the form 6n+2 around a wrong depth."""
    below = max(8, depth - (depth - 2) % 6)
    return f"{below} or {below + 6}"


@dataclass(frozen=True, kw_only=True)
class NetSpec(Checked):
    """A net of the CIFAR family, Sec. 4.2: 6n+2 weighted layers in three stages."""

    family: str = "cifar"
    net: str = "residual"  # a key of SHORTCUTS
    shortcut: str = "A"  # Sec. 3.3; "none" for plain nets
    depth: int = 20  # weighted layers
    width: int = 16  # channels of the first stage; doubled at each of the two others
    pad: str = "after"  # where option A puts its zero channels; the paper does not say
    # The bias of a gate T before training. Below 0, blocks begin by handing x on (arXiv:1505.00387, Sec. 2.2): at -2,
    # T is 0.12 where x is 0.
    gate_bias: float = -2.0

    def check(self) -> None:
        for name in ("family", "net", "shortcut", "pad"):
            self.one_of(name, CHOICES[name])
        self.demand(
            self.depth >= 8 and self.depth % 6 == 2,
            "depth",
            f"not 6n+2 (n >= 1), the depths of Sec. 4.2; use {_nearest_depths(self.depth)}",
        )
        self.demand(self.depth <= 10_000, "depth", "must be at most 10000; the paper's deepest has 1202 layers")
        self.demand(1 <= self.width <= 4096, "width", "must be from 1 to 4096")
        if SHORTCUTS[self.net] == ("none",):  # one plain net, whatever the sweep crossed it with
            object.__setattr__(self, "shortcut", "none")
        self.one_of("shortcut", SHORTCUTS[self.net])
        if self.shortcut != "A":  # only option A pads
            object.__setattr__(self, "pad", "after")
        self.demand(abs(self.gate_bias) <= LARGEST, "gate_bias", f"must be a number, as in -2, at most {LARGEST:g}")
        if self.net not in GATED:
            object.__setattr__(self, "gate_bias", -2.0)


@dataclass(frozen=True, kw_only=True)
class DataSpec(Checked):
    """The pictures of a run. They enter its name by `content`, a fingerprint of the pictures, not by their folder."""

    prefix: ClassVar[str] = "data."

    name: str = "cifar10"
    content: str = ""  # filled in by degrade.data.prepare
    root: str | None = field(default=None, metadata=ASIDE)  # the folder of the pictures, or of a downloaded archive
    size: int | None = field(
        default=None, metadata=ASIDE
    )  # pixels of a side (`content` covers it); null: the data's own size
    test: str | None = field(default=None, metadata=ASIDE)  # the folder of the test set; null: test/, or val/
    url: str | None = field(default=None, metadata=ASIDE)  # another place to download from; the checksum stays
    label: str = field(default="", metadata=ASIDE)  # a name for people, in figures and tables
    skip_bad: bool = field(default=False, metadata=ASIDE)  # leave out unreadable pictures (`content` covers it)
    # What pixels are reduced by, and divided by. pixel: the mean image alone (Sec. 4.2). channel: mean and deviation of
    # each channel. A list for C channels, [means..., deviations...] in units of full scale: these numbers.
    normalize: str | tuple[float, ...] = "pixel"
    validation: int = 0  # training images held out before train_limit, as even over the classes as can be
    train_limit: int | None = None  # images, as even over the classes as can be; null: all
    test_limit: int | None = None

    def check(self) -> None:
        for name in ("name", "content"):  # both become parts of paths: of a protocol's figures and of the cache
            ok = re.fullmatch(r"[\w-]*", getattr(self, name)) is not None
            self.demand(ok, name, "must be letters, digits, - and _")
        root = self.root
        self.demand(root is None or (root.strip() != "" and "\0" not in root), "root", "must be a folder, or null")
        test, url = self.test, self.url
        ok = test is None or (test not in ("", ".", "..", "train") and not {*"/\0"} & {*test})
        self.demand(ok, "test", "must be the name of a folder beside train/, or null for test/ or val/")
        ok = url is None or re.fullmatch(r"https?://[^\s/@]+/\S*", url) is not None
        self.demand(ok, "url", "must be an address without a password, as in https://host/file, or null")
        ok = self.label.isprintable() and len(self.label) <= 80
        self.demand(ok, "label", "must be a name of at most 80 printable characters")
        self.demand(self.size is None or 1 <= self.size <= 1024, "size", "must be from 1 to 1024, or null")
        given = self.normalize
        ok = given in NORMALIZES
        if not isinstance(given, str):
            deviations = given[len(given) // 2 :]
            ok = given != () and len(given) % 2 == 0 and all(map(math.isfinite, given)) and min(deviations) > 0
        self.demand(ok, "normalize", "must be pixel, channel, or [means...,deviations...] with deviations above 0")
        self.demand(self.validation >= 0, "validation", "must be a number of images, or 0 for none")
        for name in ("train_limit", "test_limit"):
            value = getattr(self, name)
            self.demand(value is None or value >= 1, name, "must be at least 1, or null for all")

    @property
    def shown(self) -> str:
        """The name for people."""
        return self.label or self.name


@dataclass(frozen=True, kw_only=True)
class RecipeSpec(Checked):
    """How a net is trained, Sec. 4.2. Everything is counted in iterations (SGD steps)."""

    prefix: ClassVar[str] = "recipe."

    name: str = field(default="paper", metadata=ASIDE)  # a label; the values below decide the result
    iterations: int = 64_000
    batch: int = 128
    lr: float = 0.1
    milestones: tuple[float, ...] = (0.5, 0.75)  # of all iterations: lr / 10 at 32k and 48k of 64k
    momentum: float = 0.9
    momentum_form: str = "torch"  # torch: v = m v + g, p -= lr v; caffe, the authors': v = m v + lr g, p -= v
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_scope: str = (
        "all"  # all: all parameters, as replications do; conv: kernels only, as the authors most likely did
    )
    warmup: str = "auto"  # lr / 10 until the net has started; auto: for nets with shortcuts and depth >= 110 (Sec. 4.2)
    warmup_error: float = 80.0  # %; the warm-up ends when the running training error is below it (Sec. 4.2)
    # Iterations, or a fraction of all iterations: averaged in that error, and between two looks at it. 391 are a pass
    # over 50,000 images.
    warmup_window: int | float = 391
    warmup_cap: int | float = 3_910  # iterations, or a fraction of all, after which the warm-up ends in any case
    norm: str = "batch"  # none: biases instead of batch normalisation everywhere
    bn_group: int | None = None  # images of a sub-batch that BN normalises over (64: two GPUs); null: the whole batch
    precise_bn: bool = False  # before the last evaluation, BN's statistics become true averages over the training set
    init: str = "he"  # N(0, 2/fan); xavier: N(0, 2/(fan in + fan out)); small: N(0, 0.01^2)
    augment: str = "crop_flip"  # crop: pads the picture by an eighth of its side first (4 for the paper's 32)
    eval_every: int = 1_000  # iterations between two points of the curves
    clean_images: int = 5_000  # training images of the clean error; the last point uses all

    def check(self) -> None:
        for name in ("iterations", "eval_every", "clean_images"):
            self.demand(getattr(self, name) >= 1, name, "must be at least 1")
        for name in ("warmup_window", "warmup_cap"):
            value = getattr(self, name)  # 1.0 could mean one iteration or all of them
            ok = value >= 1 if isinstance(value, int) else 0 < value < 1
            rule = "must be a whole number of iterations, as in 391, or a fraction of all between 0 and 1, as in 0.05"
            self.demand(ok, name, rule)
        self.demand(1 <= self.batch <= 1_000_000, "batch", "must be from 1 to 1000000")
        for key in (key for key in CHOICES if key.startswith(self.prefix)):
            self.one_of(key.removeprefix(self.prefix), CHOICES[key])
        self.demand(
            self.bn_group is None or self.bn_group >= 2, "bn_group", "must be at least 2, or null for the batch"
        )
        self.demand(0 < self.warmup_error <= 100, "warmup_error", "must be a percentage above 0")
        for name in ("lr", "weight_decay"):
            value = getattr(self, name)
            self.demand(0 <= value <= LARGEST, name, f"must be a number from 0 up, at most {LARGEST:g}")
        self.demand(0 <= self.momentum < 1, "momentum", "must be from 0 to below 1")
        self.demand(
            all(0 < m < 1 for m in self.milestones) and list(self.milestones) == sorted(set(self.milestones)),
            "milestones",
            "must be rising fractions of all iterations between 0 and 1, as in [0.5,0.75]",
        )
        self.demand(not self.nesterov or self.momentum > 0, "nesterov", "needs recipe.momentum above 0")

    def warms_up(self, net: NetSpec) -> bool:
        """Whether a net begins at a tenth of the rate. Sec. 4.2 does this for ResNet-110 alone.

        `auto` does it for every net with shortcuts, highway nets too, of depth 110 or more.
        """
        deep = net.net != "plain" and net.depth >= 110
        return self.warmup == "on" or (self.warmup == "auto" and deep)

    @cached_property
    def window_iterations(self) -> int:
        """Iterations between two looks at the condition of the warm-up."""
        return self._count(self.warmup_window)

    @cached_property
    def cap_iterations(self) -> int:
        """Iterations after which the warm-up ends in any case."""
        return self._count(self.warmup_cap)

    def _count(self, share: int | float) -> int:
        """A number of iterations as it is, or a fraction of all of them rounded up."""
        if isinstance(share, int):
            return share
        return math.ceil(Fraction(repr(share)) * self.iterations)  # the fraction as written: 0.07 of 100 are 7, not 8


@dataclass(frozen=True, kw_only=True)
class EngineSpec(Checked):
    """How the machine trains. Only `precision` can change the result."""

    prefix: ClassVar[str] = "engine."

    precision: str = "fp32"
    device: str = field(default="auto", metadata=ASIDE)  # auto: cuda where there is one
    backend: str = field(default="auto", metadata=ASIDE)  # auto: the fastest backend that can train this run here
    threads: int = field(default=1, metadata=ASIDE)  # CPU threads of one run; sweeps use one run a core
    deterministic: bool = field(default=True, metadata=ASIDE)  # on a GPU: only algorithms that repeat to the bit
    checkpoint_every: str | int = field(default="60s", metadata=ASIDE)  # seconds (60s) or iterations (500)
    recompute: bool = field(default=False, metadata=ASIDE)  # keep only the inputs of blocks, to save memory
    keep_checkpoints: tuple[int, ...] = field(
        default=(), metadata=ASIDE
    )  # iterations whose checkpoint is never removed
    # Runs of a sweep that a worker advances in turn. auto: as many as fit on its GPU, at most 4; without a GPU 1.
    runs_per_gpu: str | int = field(default="auto", metadata=ASIDE)
    same_machine: bool = field(default=False, metadata=LATER)  # go on with a run only where its last steps were done
    probe: int = field(default=0, metadata=ASIDE)  # iterations between two looks at the gradients by layer; 0: no looks

    def check(self) -> None:
        for key in (key for key in CHOICES if key.startswith(self.prefix)):
            self.one_of(key.removeprefix(self.prefix), CHOICES[key])
        self.demand(1 <= self.threads <= 1024, "threads", "must be from 1 to 1024")
        rule = f"engine.backend={self.backend} cannot recompute; use engine.backend=auto or eager"
        self.demand(not self.recompute or self.backend not in ("fused", "native"), "recompute", rule)
        every = self.checkpoint_every
        ok = every >= 1 if isinstance(every, int) else re.fullmatch(r"\d{1,18}s", every) is not None  # below 2**63
        self.demand(ok, "checkpoint_every", "must be seconds, as in 60s, or a number of iterations")
        self.demand(all(i >= 1 for i in self.keep_checkpoints), "keep_checkpoints", "must be iterations, as in [1000]")
        several = self.runs_per_gpu
        ok = 1 <= several <= 16 if isinstance(several, int) else several == "auto"  # two of torch's 32 streams for each
        self.demand(ok, "runs_per_gpu", "must be auto, or a number of runs from 1 to 16")
        self.demand(self.probe >= 0, "probe", "must be a number of iterations, as in 100, or 0 for none")
