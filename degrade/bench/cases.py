"""The cases: a net, its recipe, and pictures of noise, since no time depends on what pictures show."""

from dataclasses import dataclass, replace

import numpy as np

from degrade import nets
from degrade.data.images import Images, Splits
from degrade.spec import DataSpec, EngineSpec, NetSpec, RecipeSpec, RunSpec

_PAPER = RecipeSpec()
QUICKSTART = RecipeSpec(name="quickstart", iterations=1_800, batch=32, lr=0.02, augment="crop", eval_every=180)
CLASSES = 10


@dataclass(frozen=True)
class Case:
    """One net, residual-A of some depth, on pictures of one shape, by one recipe."""

    depth: int
    recipe: RecipeSpec
    channels: int
    size: int  # pixels of a side
    train: int  # images
    test: int

    @property
    def name(self) -> str:
        picture = f"{self.channels}x{self.size}x{self.size}"
        return f"residual-A-{self.depth}, recipe {self.recipe.name}, batch {self.recipe.batch} of {picture}"

    def spec(self, engine: EngineSpec) -> RunSpec:
        """The run for Fit. It has no points to evaluate, however long it goes on."""
        endless = replace(self.recipe, iterations=10**9, eval_every=10**9)
        return RunSpec(net=NetSpec(depth=self.depth), data=DataSpec(name="noise"), recipe=endless, engine=engine)

    def splits(self) -> Splits:
        train, test = (noise(n, self.channels, self.size) for n in (self.train, self.test))
        return Splits(train, test, None)

    @property
    def flops(self) -> float:
        """FLOPs of one training step per image."""
        return flops(NetSpec(depth=self.depth), self.channels, self.size)

    @property
    def evaluated(self) -> int:
        """Images that a whole run evaluates, counted as degrade.sweep.estimate does."""
        points = -(-self.recipe.iterations // self.recipe.eval_every)
        return (points - 1) * min(self.recipe.clean_images, self.train) + self.train + points * self.test


def paper(depth: int) -> Case:
    """A case of CIFAR-10's shape, by the protocol of Sec. 4.2."""
    return Case(depth, _PAPER, channels=3, size=32, train=50_000, test=10_000)


def quickstart(depth: int) -> Case:
    """A case of the digits' shape, by conf/recipe/quickstart.yaml."""
    return Case(depth, QUICKSTART, channels=1, size=8, train=1_437, test=360)


def flops(net: NetSpec, channels: int, size: int) -> float:
    """FLOPs of one training step per image: two a multiply-add; forward, and the gradients by weights and by inputs.

    The first layer needs no gradient by its inputs. Only convolutions and the last layer count: no implementation that
    multiplies as the formula says can do less.
    """
    forward = nets.cost(net, channels=channels, classes=CLASSES, size=size).multiply_adds
    stem = size * size * net.width * channels * 9
    return 2.0 * (3 * forward - stem)


def noise(n: int, channels: int, size: int) -> Images:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (n, channels, size, size), dtype=np.uint8)
    return Images(pixels, draw.integers(0, CLASSES, n), tuple("0123456789"))
