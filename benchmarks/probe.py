"""What one probe (engine.probe) costs, in training steps: of the same net, on the same batch, interleaved.

    python benchmarks/probe.py [--depth 20] [--side 32] [--channels 3] [--batch 128] [--rounds 9] [--threads 1]
                               [--backend eager]

The pictures are noise: neither cost depends on what they show.
"""

import argparse
import platform
import time
from statistics import median

import torch

from degrade import nets
from degrade.bench.cases import noise
from degrade.data.batches import Batches, Resident, scale_of
from degrade.spec import NetSpec, RecipeSpec, RunSpec
from degrade.train.backends import BACKENDS
from degrade.train.probe import probe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    values = {"depth": 20, "side": 32, "channels": 3, "batch": 128, "rounds": 9, "threads": 1}
    for name, default in values.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--backend", choices=tuple(BACKENDS), default="eager")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    spec = RunSpec(net=NetSpec(depth=given.depth), recipe=RecipeSpec(batch=given.batch))
    images = noise(4 * given.batch, given.channels, given.side)
    resident = Resident(images, scale_of(images, spec.data.normalize), device)
    batches = Batches(resident, batch=given.batch, seed=0, augment=spec.recipe.augment)
    net = nets.build(spec.net, channels=given.channels, classes=10)
    backend = BACKENDS[given.backend](net, spec, batches)
    acts = {
        "step": lambda: backend.step(0),
        "probe": lambda: probe(backend.copy(), *batches.at(0), layout=backend.layout),
    }
    spent: dict[str, list[float]] = {name: [] for name in acts}
    for round_ in range(given.rounds + 1):
        for name, act in acts.items():
            begin = time.perf_counter()
            act()
            backend.tally.tolist()  # waits for the device
            if round_:  # the first is warm-up
                spent[name].append(time.perf_counter() - begin)
    step, look = (median(spent[name]) for name in ("step", "probe"))
    where = f"{device}, {given.threads} threads, torch {torch.__version__}, {platform.machine()}"
    picture = f"batch {given.batch} of {given.channels}x{given.side}x{given.side}"
    print(f"residual-A-{given.depth}, {picture}, {given.backend}, {where}:", end=" ")
    print(f"step {1e3 * step:.1f} ms, probe {1e3 * look:.1f} ms,", end=" ")
    print(f"{look / step:.2f} steps; engine.probe=100 costs {look / step:.2f} %")


if __name__ == "__main__":
    main()
