"""Plays many schedules. `python -m promises.simulation 10000`; `... 1 SEED` plays one again."""

import sys
import time

from promises.simulation.schedules import play


def main(count: int = 1000, first: int = 0) -> int:
    begun, wrong = time.monotonic(), 0
    for seed in range(first, first + count):
        for said in play(seed):
            wrong += 1
            print(f"schedule {seed}: {said}; again: python -m promises.simulation 1 {seed}", flush=True)
    print(f"{count:,} schedules, {wrong} broken promises, {time.monotonic() - begun:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
