"""The time of an eager training step in each layout (degrade.train.layout), on a CPU.

    python benchmarks/layouts.py --depths 20,56 --sides 8,32 --rounds 9

Both layouts step in turn, every other round in reverse order. The times are CPU times of one thread, so that other work
on the machine counts little. Medians, in ms, and their ratio.
"""

import argparse
import time
from statistics import median

import torch

from degrade import nets
from degrade.bench.cases import QUICKSTART, noise
from degrade.data.batches import Batches, Resident, scale_of
from degrade.spec import NetSpec, RecipeSpec, RunSpec
from degrade.train.backends.eager import Eager
from degrade.train.layout import LAYOUTS

SHAPES = ((QUICKSTART, 1, 8), (RecipeSpec(), 3, 32))  # recipe, channels, side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", default="20,56")
    parser.add_argument("--sides", default="8,32")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread")
    for recipe, channels, side in (shape for shape in SHAPES if str(shape[-1]) in given.sides.split(",")):
        for depth in map(int, given.depths.split(",")):
            for kind in ("plain", "residual"):
                spec = RunSpec(net=NetSpec(net=kind, depth=depth), recipe=recipe)
                spent = measure(spec, channels, side, given.rounds)
                new, old = (1e3 * median(spent[layout]) for layout in LAYOUTS)
                picture = f"batch {recipe.batch} of {channels}x{side}x{side}"
                said = f"{LAYOUTS[0]} {new:.1f} ms, {LAYOUTS[1]} {old:.1f} ms, ratio {new / old:.2f}"
                print(f"{kind}-{depth}, {picture}: {said}", flush=True)


def measure(spec: RunSpec, channels: int, side: int, rounds: int) -> dict[str, list[float]]:
    """layout -> CPU seconds of a step, one a round."""
    images = noise(4 * spec.recipe.batch, channels, side)
    resident = Resident(images, scale_of(images, "pixel"), torch.device("cpu"))
    batches = Batches(resident, batch=spec.recipe.batch, seed=0, augment=spec.recipe.augment)
    backends: dict[str, Eager] = {}
    for layout in LAYOUTS:
        net = nets.build(spec.net, channels=channels, classes=10)
        backends[layout] = Eager(net, spec, batches)
        backends[layout].restore({**backends[layout].state(), "layout": layout})
    spent: dict[str, list[float]] = {layout: [] for layout in LAYOUTS}
    for number in range(rounds + 1):
        for layout in LAYOUTS[:: 1 if number % 2 else -1]:
            begin = time.thread_time()
            backends[layout].step(number)
            if number:  # the first round is warm-up
                spent[layout].append(time.thread_time() - begin)
    return spent


if __name__ == "__main__":
    main()
