"""How busy the GPUs are, as the driver's own tool says; nothing where there is none."""

import shutil
import subprocess
import threading
import time

_EVERY = 5.0  # seconds between two questions
_ASK = ("--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")


class Gauge:
    """Asks beside the work: the tool takes a tenth of a second, and seconds on a busy machine."""

    def __init__(self) -> None:
        self.tool, self.asked, self.said = shutil.which("nvidia-smi"), float("-inf"), ""

    def read(self) -> str:
        """The last answer: `GPU 93 %, 5.1 of 141 GB`. Asks anew from time to time, and does not wait."""
        if self.tool and time.monotonic() - self.asked > _EVERY:
            self.asked = time.monotonic()
            threading.Thread(target=self._ask, daemon=True).start()
        return self.said

    def _ask(self) -> None:
        try:
            done = subprocess.run([str(self.tool), *_ASK], capture_output=True, text=True, timeout=_EVERY, check=True)
            self.said = describe(done.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            self.said = ""


def describe(answer: str) -> str:
    """What the tool says, in words: a line a GPU. Raises ValueError where it does not know."""
    said: list[str] = []
    for line in answer.splitlines():
        busy, used, whole = (float(word) for word in line.split(","))
        said.append(f"GPU {busy:.0f} %, {used / 1024:.1f} of {whole / 1024:.0f} GB")
    return "; ".join(said)
