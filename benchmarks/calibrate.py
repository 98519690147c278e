"""How often verdicts are right, on made-up studies whose truth is known: the tables of docs/verdicts.md.

    python benchmarks/calibrate.py [--studies 1000] [--save benchmarks/calibration.md]

A study is a line of two depths or more. Every run has an error rate of its own, drawn from the law of its depth, and
makes mistakes on so many images at that rate. What judges is degrade.analysis.judge, as in the command. Ends with code
1 if a scenario has more false `degrades` than 5 % by more than simulation error.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats

from degrade.analysis.judge import DEGRADES, NEVER, OPEN, SLIGHTLY, judge
from degrade.analysis.pairs import Group
from degrade.analysis.stats import SCALES

IMAGES = 50_000  # that an error is measured on
RATE = 5.0  # %, of the shallowest net
CHANCE = 90.0  # %, of a run that failed to train
DEPTHS = (20, 32, 44, 56, 68, 80, 92, 110)
SEEDS = (2, 3, 5, 10)
Rng = np.random.Generator


@dataclass(frozen=True)
class Law:
    """How the error rates (%) of the seeds of one depth are drawn."""

    mean: float = RATE
    std: float = 0.3  # over seeds
    fails: float = 0.0  # chance that a seed fails to train
    far: float = 0.0  # chance that a seed lies far out
    by: float = 10.0  # points, how far
    skew: float = 0.0  # sigma of a lognormal of that mean; 0: normal with `std`

    def draw(self, rng: Rng, seeds: int) -> tuple[np.ndarray, np.ndarray]:
        """Error rates (%), and which seeds failed."""
        if self.skew:
            rates = self.mean * np.exp(self.skew * rng.standard_normal(seeds) - self.skew**2 / 2)
        else:
            rates = self.mean + self.std * rng.standard_normal(seeds)
        rates = rates + self.by * (rng.random(seeds) < self.far)
        failed = rng.random(seeds) < self.fails
        return np.where(failed, CHANCE, rates).clip(0, 100), failed

    @property
    def expected(self) -> float:
        """The mean error (%) over all seeds."""
        return self.fails * CHANCE + (1 - self.fails) * (self.mean + self.far * self.by)


@dataclass(frozen=True)
class Scenario:
    """Studies of one truth."""

    name: str
    laws: tuple[Law, ...]  # shallow to deep
    seeds: tuple[int, ...]  # of each depth
    kind: str


@dataclass(frozen=True)
class Found:
    """How many studies of a scenario ended how, by the way to the verdict."""

    studies: int
    means: int  # `degrades` with intervals of means alone
    failures: int  # `degrades` by failures to train alone
    verdict: int  # `degrades` anywhere in the line, as the command says it
    odds: int  # the same with --scale odds
    trend: int  # the trend's interval lies above 0
    any: int  # any of the last three
    primary: int  # the primary comparison `degrades`
    never: int  # the line `does not degrade`
    open: int  # undecided

    def percent(self, key: str) -> float:
        return 100 * getattr(self, key) / self.studies


def draw(rng: Rng, scenario: Scenario) -> list[Group]:
    """The groups of one study."""
    groups: list[Group] = []
    for depth, law, seeds in zip(DEPTHS, scenario.laws, scenario.seeds, strict=False):
        rates, failed = law.draw(rng, seeds)
        clean, test = (100 * rng.binomial(IMAGES, rates / 100) / IMAGES for _ in range(2))
        groups.append(Group(depth, clean, test, IMAGES, IMAGES, failed))
    return groups


def simulate(scenario: Scenario, studies: int) -> Found:
    """Judges so many studies of a scenario. The draws depend on its name alone."""
    rng = np.random.default_rng(list(scenario.name.encode()))
    counts = dict.fromkeys(("means", "failures", "verdict", "odds", "trend", "any", "primary", "never", "open"), 0)
    for _ in range(studies):
        groups = draw(rng, scenario)
        points, odds = (judge(groups, SCALES[scale].margin, scale) for scale in ("points", "odds"))
        worse = [each for each in points.pairs if each.verdict == DEGRADES]
        by_means = [float(each.pair.train["points"].low) > SCALES["points"].margin for each in worse]
        trend = points.trend is not None and float(points.trend.low) > 0
        ends = {"verdict": bool(worse), "odds": any(each.verdict == DEGRADES for each in odds.pairs), "trend": trend}
        ends |= {"means": any(by_means), "failures": bool(worse) and not any(by_means), "any": any(ends.values())}
        ends |= {"primary": any(each.primary for each in worse), "never": points.verdict in (NEVER, SLIGHTLY)}
        ends["open"] = points.verdict == OPEN
        for key, value in ends.items():
            counts[key] += value
    return Found(studies, **counts)


def flat(laws: Sequence[Law], kind: str, name: str, seeds: Iterable[int] = SEEDS) -> list[Scenario]:
    """The same laws for each number of seeds."""
    return [Scenario(f"{name}, {n} seeds", tuple(laws), (n,) * len(laws), kind) for n in seeds]


def false_alarms() -> list[Scenario]:
    """Scenarios in which no deeper net is worse by more than the margin, and none fails to train more often."""
    found: list[Scenario] = []
    for std in (0.1, 0.3, 1.0, 3.0):
        for depths in (2, 4, 8):
            found += flat([Law(std=std)] * depths, "equal", f"{depths} equal depths, std {std:g}")
        margin = [Law(std=std), *[Law(RATE + 0.5, std)] * 3]
        found += flat(margin, "margin", f"4 depths, 3 of them at the margin, std {std:g}")
        found += flat(margin[:2], "margin", f"2 depths at the margin, std {std:g}")
    for fails in (0.1, 0.3, 0.5):
        found += flat([Law(fails=fails)] * 2, "failures", f"2 depths, each seed fails with {fails:.0%}")
        found += flat([Law(fails=fails)] * 4, "failures", f"4 depths, each seed fails with {fails:.0%}", (3, 5))
    for skew in (0.5, 1.0, 1.5):
        found += flat([Law(0.5, skew=skew)] * 2, "skew", f"2 depths, lognormal around 0.5 %, sigma {skew:g}")
        found += flat([Law(2.0, skew=skew)] * 4, "skew", f"4 depths, lognormal around 2 %, sigma {skew:g}", (3, 5))
    for far in (0.1, 0.3):
        found += flat(
            [Law(far=far)] * 2, "far out", f"2 depths, each seed far out (+10) with {far:.0%}", (2, 3, 5, 8, 10, 20)
        )
    for depths in (4, 8):
        for far, by in ((0.3, 10.0), (0.5, 50.0)):
            name = f"{depths} depths, each seed far out (+{by:g}) with {far:.0%}"
            found += flat([Law(std=0.1, far=far, by=by)] * depths, "far out", name, (3, 5, 10))
    for seeds in ((3, 20), (5, 20), (4, 10), (10, 3)):
        name = f"2 depths, {seeds[0]} and {seeds[1]} seeds, each far out (+10) with 40%"
        found.append(Scenario(name, (Law(far=0.4),) * 2, seeds, "far out"))
    for shallow, deep in ((0.1, 3.0), (3.0, 0.1)):
        laws = [Law(std=shallow), Law(RATE + 0.5, std=deep)]
        found += flat(laws, "spreads", f"2 depths at the margin, std {shallow:g} and {deep:g}")
    for seeds in ((2, 10), (10, 2), (3, 5), (1, 5), (5, 1), (1, 1)):
        for shallow, deep in ((1.0, 1.0), (0.3, 3.0), (3.0, 0.3)):
            laws = (Law(std=shallow), Law(RATE + 0.5, std=deep))
            name = f"2 depths at the margin, {seeds[0]} and {seeds[1]} seeds, std {shallow:g} and {deep:g}"
            found.append(Scenario(name, laws, seeds, "numbers"))
    found += flat([Law(), Law(4.0), Law(3.0), Law(2.0)], "gains", "4 depths, each better by 1 point", (3, 5))
    return found


def real_rises() -> list[Scenario]:
    """Scenarios in which the deepest net is worse by more than the margin, in the mean over seeds."""
    found: list[Scenario] = []
    for std in (0.1, 0.3, 1.0, 3.0):
        for rise in (1.0, 2.0, 5.0, 20.0):
            found += flat([Law(std=std), Law(RATE + rise, std)], "power", f"std {std:g}, +{rise:g}")
    for depths in (2, 4, 8):
        steps = [Law(RATE + 2.0 * i / (depths - 1)) for i in range(depths)]
        found += flat(steps, "depths", f"{depths} depths up to +2, std 0.3", (3, 5))
    for fails in (0.1, 0.2, 0.4, 0.6, 0.8):
        found += flat([Law(), Law(fails=fails)], "failing", f"deeper seeds fail with {fails:.0%}", (3, 5, 10, 20))
    for far in (0.1, 0.2, 0.3):
        found += flat(
            [Law(), Law(far=far, by=20.0)], "far", f"deeper seeds far out (+20) with {far:.0%}", (3, 5, 8, 10, 20)
        )
    for skew in (1.0, 1.5):
        laws = [Law(0.2, 0.02), Law(1.0, skew=skew)]
        found += flat(laws, "skewed", f"0.2 % against lognormal around 1 %, sigma {skew:g}", (3, 5, 8, 10, 20))
    return found


def limit(studies: int) -> int:
    """The most false alarms that a share of 5 % gives, but for one simulation in a thousand."""
    return int(stats.binom.ppf(0.999, studies, 0.05))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def cells(scenario: Scenario, found: Found, keys: Sequence[str]) -> list[str]:
    return [scenario.name, *(f"{found.percent(key):.1f}" for key in keys)]


FALSE = {
    "means": "means",
    "failures": "failures",
    "verdict": "`degrades`",
    "odds": "odds",
    "trend": "trend",
    "any": "any",
}
REAL = {"primary": "`degrades`", "open": "undecided", "never": "`does not degrade`"}


def report(run: Callable[[list[Scenario]], list[Found]]) -> tuple[str, list[str]]:
    """The two tables, and the scenarios with too many false alarms."""
    alarms, rises = false_alarms(), real_rises()
    found = run([*alarms, *rises])
    flat_truth = ("equal", "failures", "skew", "far out", "gains")  # where the trend has no rise to find either
    first: list[list[str]] = []
    wrong: list[str] = []
    for scenario, each in zip(alarms, found[: len(alarms)], strict=True):
        row = cells(scenario, each, tuple(FALSE))
        if scenario.kind not in flat_truth:
            row[-2:] = ["", f"{100 * max(each.verdict, each.odds) / each.studies:.1f}"]
        first.append(row)
        count = each.any if scenario.kind in flat_truth else max(each.verdict, each.odds)
        if count > limit(each.studies):
            wrong.append(f"{scenario.name}: {100 * count / each.studies:.1f} %")
    second = [cells(s, each, tuple(REAL)) for s, each in zip(rises, found[len(alarms) :], strict=True)]
    return (
        "### No deeper net is worse by more than the margin\n\n"
        + table(("false `degrades`, % of studies", *FALSE.values()), first)
        + "\n\n### The deepest net is worse\n\n"
        + table(("% of studies", *REAL.values()), second),
        wrong,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1_000)
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        text, wrong = report(lambda all_: list(pool.map(partial(simulate, studies=given.studies), all_)))
    print(text)
    if given.save:
        given.save.write_text(f"# Calibration of the verdicts, {given.studies:,} studies a row\n\n{text}\n")
    for each in wrong:
        print(f"more false `degrades` than 5 %: {each}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
