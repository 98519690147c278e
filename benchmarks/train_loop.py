"""Images per second of the training loop, beside the loop that is common practice, interleaved in one run.

    python benchmarks/train_loop.py PICTURES [--depth 20] [--steps 20] [--rounds 5] [--threads 2]

PICTURES is an ImageFolder tree of 32x32 pictures with train/ and test/. Common practice: ImageFolder and PIL transforms
in DataLoader workers, eager fp32 on NCHW tensors, torch's SGD, `.item()` at every step. Ours: the same net, batch and
recipe through Fit, one step after the other, pictures decoded beforehand.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from degrade import data, nets
from degrade.spec import DataSpec, EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.train.fit import Fit

BATCH = 128


def batches(root: Path, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The usual pipeline, endless."""
    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    pictures = datasets.ImageFolder(str(root / "train"), transforms.Compose([*steps, transforms.Normalize(0.5, 0.25)]))
    loader = DataLoader(
        pictures, BATCH, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    while True:
        yield from loader


def peer(root: Path, depth: int, workers: int) -> Callable[[int], None]:
    """Steps of the usual loop."""
    net = nets.build(NetSpec(depth=depth), channels=3, classes=10).train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    source, loss_function = batches(root, workers), nn.CrossEntropyLoss()

    def go(steps: int) -> None:
        for _ in range(steps):
            x, y = next(source)
            optimiser.zero_grad()
            logits = net(x)
            loss = loss_function(logits, y)
            loss.backward()
            optimiser.step()
            loss.item()
            (logits.argmax(1) == y).float().mean().item()

    return go


def ours(root: Path, depth: int, threads: int) -> Callable[[int], None]:
    """Steps of Fit."""
    spec = RunSpec(
        net=NetSpec(depth=depth),
        data=data.prepare(DataSpec(name="image_folder", root=str(root), size=32)),
        recipe=RecipeSpec(batch=BATCH, eval_every=10**6, iterations=10**6),
        engine=EngineSpec(threads=threads),
    )
    splits = data.load(spec.data)
    fit = Fit(spec, splits._replace(test=splits.test.limited(10)))
    return lambda steps: (fit.advance(steps), fit.backend.tally.tolist())[0] and None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    for name, default in (("depth", 20), ("steps", 20), ("rounds", 5), ("threads", 2), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    loops = {
        f"common practice, {workers} loader workers": peer(given.pictures, given.depth, workers)
        for workers in sorted({0, given.workers})
    }
    loops["degrade, eager"] = ours(given.pictures, given.depth, given.threads)
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for round_ in range(given.rounds + 1):
        for name, go in loops.items():
            begin = time.perf_counter()
            go(given.steps)
            if round_:  # the first is warm-up
                rates[name].append(BATCH * given.steps / (time.perf_counter() - begin))
    base = max(median(rates[name]) for name in loops if name != "degrade, eager")
    where = f"{given.threads} threads, torch {torch.__version__}, {platform.machine()}"
    print(f"residual-A-{given.depth}, batch {BATCH}, {where}")
    for name, found in rates.items():
        middle, ends = median(found), f"{min(found):.0f}-{max(found):.0f}"
        print(f"{name:36s} {middle:8.0f} images/s ({ends}), x {middle / base:.2f}")


if __name__ == "__main__":
    main()
