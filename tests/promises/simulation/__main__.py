"""`python -m promises.simulation SCHEDULES [FIRST]`: so many schedules of seeds from FIRST on, and what broke in which.

`python -m promises.simulation --seed SEED` replays one.
"""

import sys
import time
from collections import Counter

from promises.simulation.schedule import draw, play


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--seed"]:
        plan = draw(int(arguments[1]))
        faults = play(plan)
        print(plan, *(faults or ["no promise broken"]), sep="\n")
        return int(bool(faults))
    count, first = int(arguments[0]) if arguments else 1000, int(arguments[1]) if len(arguments) > 1 else 0
    begin, kinds, broken = time.monotonic(), Counter[str](), Counter[str]()
    for seed in range(first, first + count):
        plan = draw(seed)
        kinds[plan.kind] += 1
        if faults := play(plan):
            broken[plan.kind] += 1
            print(f"python -m promises.simulation --seed {seed}", *faults, sep="\n    ", flush=True)
    for kind, number in sorted(kinds.items()):
        print(f"{kind}: {number} schedules, {broken[kind]} broken")
    print(f"{count} schedules in {time.monotonic() - begin:.0f} s, {sum(broken.values())} broken")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
