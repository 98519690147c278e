"""What must hold of every schedule."""

from itertools import pairwise
from typing import Any

from promises.simulation.doors import Doors
from promises.simulation.training import EVERY, Session
from promises.simulation.world import World

from degrade.errors import DegradeError, Stopped
from degrade.store import seal

TURN = 3.0  # seconds: the beat of the state and a turn, after which a process looks again
CACHED = 30.0  # likewise where names are cached for seconds: a sign of life, its measurement, and the cache
UNSEEN = 2.0  # seconds between a look and a write that no lock protects


def judge(strict: bool, kind: str, befalls: tuple[str, ...], world: World, doors: Doors) -> list[str]:
    """The promises that a schedule broke."""
    wild = "future" in befalls
    faults = [*world.faults]
    faults += _overlaps(strict, kind, befalls, doors.sessions, world)
    if not strict and wild:
        faults = [*world.faults]  # clocks that differ by more than two minutes: two may train at once
    else:
        faults += _begun_anew(doors)
    faults += _foreign_failures(strict, doors)
    if "away" not in befalls:
        faults += [
            f"a process of {p.host.boot} ended with {p.error!r}"
            for p in world.ended
            if p.error is not None and not isinstance(p.error, (DegradeError, Stopped))
        ]
        faults += _blames(doors)
    return faults


def _overlaps(strict: bool, kind: str, befalls: tuple[str, ...], sessions: list[Session], world: World) -> list[str]:
    """Runs that two processes trained at once, for longer than the page of promises says."""
    found: list[str] = []
    done = sorted((s for s in sessions if s.steps), key=lambda s: s.steps[0][0])
    for i, first in enumerate(done):
        for second in done[i + 1 :]:
            if first.run != second.run or first.steps[-1][0] < second.steps[0][0]:
                continue
            same = strict or first.proc.host is second.proc.host
            most = 0.0 if same else CACHED if kind == "cached" else TURN if "asleep" in befalls else 0.0
            until = min(first.steps[-1][0], second.steps[-1][0])
            since = [at for at, _ in first.steps if second.steps[0][0] <= at <= until]
            awake = sum(b - a for a, b in pairwise([second.steps[0][0], *since]) if b - a < 2 * TURN)
            if awake >= most:
                also = f"{first.proc.host.boot} and {second.proc.host.boot}"
                found.append(f"{first.run}: trained by {also} at once, {len(since)} steps in {awake:.1f} s")
    return found


def _begun_anew(doors: Doors) -> list[str]:
    """Trainings that began before the last checkpoint that was whole by then."""
    found: list[str] = []
    for session in doors.sessions:
        if not session.steps:
            continue
        at, begun = session.steps[0]
        others = [s for s in doors.sessions if s is not session and s.run == session.run and s.steps]
        if any(s.steps[0][0] < at <= s.steps[-1][0] for s in others):
            continue  # two at once, which is judged above
        held = max((i for when, _, run, i in doors.saved if run == session.run and when < at - UNSEEN), default=0)
        if begun < held:
            found.append(f"{session.run}: went on from {begun}, and a checkpoint held {held} (every {EVERY})")
    return found


def _foreign_failures(strict: bool, doors: Doors) -> list[str]:
    """States `failed` or `interrupted` that a process wrote over the state of another that was at work."""
    found: list[str] = []
    for when, proc, path, before, after in doors.wrote:
        new, old = _values(after), _values(before)
        if new.get("state") not in ("failed", "interrupted") or old.get("state") != "running":
            continue
        last = max((w for w, _, p, _, a in doors.wrote if p == path and w < when and a == before), default=0.0)
        if strict or when - last > UNSEEN:
            token = str(old.get("holder", "")).rpartition("/")[2]
            alive = [s.proc for s in doors.sessions if s.proc.token == token and s.run == path.parent.name]
            if token != proc.token and any(other.alive_at(when) for other in alive):
                found.append(f"{path.parent.name}: {proc.host.boot} wrote {new['state']} into another's run")
    return found


def _values(content: bytes) -> dict[str, Any]:
    try:
        return seal.of_json(content)
    except ValueError:
        return {"reason": "half of a state was written"}


def _blames(doors: Doors) -> list[str]:
    """Failures with a reason that is not the run's: no process here meets an error of its own."""
    reasons = {str(_values(after).get("reason", "")) for *_, after in doors.wrote}
    return [f"a run failed: {reason}" for reason in sorted(reasons) if reason and not _expected(reason)]


def _expected(reason: str) -> bool:
    return "worker died" in reason or "a run beside it" in reason
