"""Who holds a run: a process, named so that no other process ever has its name.

A number of a process is used again, and two containers or cloned machines can have one host name. So a holder is the
boot of its machine, its namespace of processes, its number, the moment it started, and a random token.
"""

import hashlib
import os
import secrets
import socket
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class Holder(NamedTuple):
    """A process. `place`: where numbers of processes mean the same."""

    place: str
    pid: int
    started: str  # in ticks since the boot; "" where the system does not say
    token: str

    def __str__(self) -> str:
        return "/".join((self.place, str(self.pid), self.started, self.token))

    @property
    def mark(self) -> str:
        """For names of files: `<pid>-<place>-<token>`, letters and digits. No other process has the same."""
        return f"{self.pid}-{hashlib.sha256(self.place.encode()).hexdigest()[:8]}-{self.token}"

    @property
    def here(self) -> bool:
        """Whether this process can see whether the holder lives."""
        return self.place == _find_place()

    @property
    def alive(self) -> bool:
        """Whether a process of this number is there, and started when the holder did."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # another user's process
        started = _read_start(self.pid)
        return not (self.started and started) or started == self.started


def parse(text: str) -> Holder | None:
    """The holder that `str` wrote; None for another text."""
    parts = text.split("/")
    if len(parts) != 4 or not parts[1].isdecimal() or not 0 < int(parts[1]) < 2**31:
        return None
    return Holder(parts[0], int(parts[1]), parts[2], parts[3])


def this_process() -> Holder:
    """The holder that this process is."""
    return _make(os.getpid())


@lru_cache(maxsize=1)
def _make(pid: int) -> Holder:
    """Made once a process: a fork is another."""
    return Holder(_find_place(), pid, _read_start(pid), secrets.token_hex(8))


def _find_place() -> str:
    """The boot of this machine and the namespace of processes; the host name where the system says neither."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname().replace("/", "_")


def _read_start(pid: int) -> str:
    """When a process started, in ticks since the boot; "" where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]  # field 22 of proc(5); a name in brackets may hold spaces
