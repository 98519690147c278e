"""Waiting for a lock: not in silence, and not for ever.

Where a file system has no locks of its own, filelock keeps a file instead, which a dead process leaves behind.
"""

import errno
import sys
import time
from pathlib import Path
from tempfile import NamedTemporaryFile

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from degrade.spec.escape import controls

SAID_AFTER = 10.0  # seconds until a line says who is waited for
LONGEST = 6 * 3600.0  # seconds; to decode millions of pictures takes less


def wait_for(lock: BaseFileLock, what: str) -> None:
    """Acquires a lock, however long another process needs it; says so once. Raises TimeoutError after LONGEST."""
    begin = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=SAID_AFTER)
        except Timeout:
            if time.monotonic() - begin > LONGEST:
                said = f"held by another process for {LONGEST / 3600:g} hours; remove it if none is at work"
                raise TimeoutError(errno.ETIMEDOUT, said, lock.lock_file) from None
            if time.monotonic() - begin < 2 * SAID_AFTER:
                said = f"waiting for another process, which {what}; it holds {lock.lock_file}"
                print(controls(said), file=sys.stderr, flush=True)
        else:
            return


def break_stale(lock: BaseFileLock, age: float) -> bool:
    """Removes a lock that is only a file, and older than `age` seconds. Returns whether it did.

    To be called where it is known that its process is dead.
    """
    try:
        if isinstance(lock, SoftFileLock) and time.time() - Path(lock.lock_file).stat().st_mtime > age:
            Path(lock.lock_file).unlink()
            return True
    except OSError:
        pass  # another process was first, or the disk refuses
    return False


def has_locks(folder: Path) -> bool:
    """Whether the file system of a folder has locks: a second hold of one file must be refused.

    Raises OSError where no file can be made in it.
    """
    with NamedTemporaryFile(dir=folder, prefix=".locks-") as file:
        first, second = (FileLock(file.name, timeout=0, is_singleton=False) for _ in range(2))
        with first:
            try:
                second.acquire()
            except Timeout:
                return True
            second.release()
    return False
