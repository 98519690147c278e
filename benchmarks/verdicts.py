"""How often `degrade compare` is right, on made-up studies whose truth is known: the table of docs/verdicts.md.

    python benchmarks/verdicts.py [--studies 2000] [--images 50000] [--margin 0.5]

A study is a line of two or four depths. Every run has an error rate of its own, drawn around that of its net with the
standard deviation over seeds, and makes mistakes on so many images at that rate. The deepest net of two is worse by
the true difference; of four, the three deeper ones are at the margin, which is the worst case for a false `degrades`.
What judges is degrade.analysis.stats and the rule of degrade.analysis.verdicts, as in the command.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from degrade.analysis.stats import Contrast, Sample, above, contrast, sample
from degrade.analysis.verdicts import locate

SEEDS = (2, 3, 5, 10)
STDS = (0.1, 0.3, 1.0, 3.0)  # points, over seeds
DIFFERENCES = (0.0, 0.5, 1.0, 2.0, 5.0, 20.0)  # points, true
RATE = 5.0  # %, of the shallowest net


def nets(rng: np.random.Generator, rates: Sequence[float], std: float, seeds: int, images: int, n: int) -> list[Sample]:
    """One sample for each net, of `n` studies at once."""
    drawn = [np.clip(rate + std * rng.standard_normal((n, seeds)), 0, 100) / 100 for rate in rates]
    return [sample(100 * rng.binomial(images, each) / images, images) for each in drawn]


def one(found: Contrast, number: int) -> Contrast:
    """A single study of many."""
    parts: dict[str, Any] = {name: getattr(found, name)[number] for name in found._fields if name != "basis"}
    return Contrast(**parts, basis=found.basis)


def power(rng: np.random.Generator, difference: float, std: float, seeds: int, given: argparse.Namespace) -> float:
    """Share of studies of two depths with the verdict `degrades`: of one pair, Holm's p is the pair's own."""
    shallow, deep = nets(rng, (RATE, RATE + difference), std, seeds, given.images, given.studies)
    found = contrast([deep, shallow], [1, -1])
    return float(np.mean((found.low > given.margin) & (above(found, given.margin) < 0.05)))


def false(rng: np.random.Generator, std: float, seeds: int, given: argparse.Namespace) -> float:
    """Share of studies of four depths with any false `degrades`."""
    drawn = nets(rng, (RATE, *[RATE + given.margin] * 3), std, seeds, given.images, given.studies)
    pairs = [contrast([drawn[deep], drawn[shallow]], [1, -1]) for deep in range(4) for shallow in range(deep)]
    wrong = 0
    for number in range(given.studies):
        wrong += any(each.where == "above" for each in locate([one(pair, number) for pair in pairs], given.margin))
    return wrong / given.studies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2_000)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--margin", type=float, default=0.5)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    heads = [f"{difference:g}" for difference in DIFFERENCES]
    print(f"| std over seeds | seeds | {' | '.join(heads)} | four depths at the margin |")
    print("|---:|---:|" + "---:|" * (len(heads) + 1))
    for std in STDS:
        for seeds in SEEDS:
            shares = [power(rng, difference, std, seeds, given) for difference in DIFFERENCES]
            shares.append(false(rng, std, seeds, given))
            print(f"| {std:g} | {seeds} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main()
