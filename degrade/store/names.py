"""Where the files of a run lie. Every name is one property of RunFiles.

<root>/runs/<run>/spec.json         what the run is
                  environment.json  what it ran on, and the command
                  curve.parquet     spec.rows.CURVE, written anew at each point
                  probe.parquet     spec.rows.PROBE, where engine.probe asks for it
                  responses.parquet, blocks.parquet   spec.rows.RESPONSES, BLOCKS, if they have been measured
                  checkpoint.pt     weights, momentum, BN, tallies and the points so far; written before the curve
                  state.json        where the run stands, and the heartbeat
                  log.txt           what the training printed
                  .lock             held while a process trains the run
"""

from pathlib import Path

from degrade.store.parquet import TABLES


class RunFiles:
    """The names of the files of one run."""

    def __init__(self, root: Path, run: str) -> None:
        self.run, self.path = run, root / "runs" / run
        self.spec = self.path / "spec.json"
        self.environment = self.path / "environment.json"
        self.curve = self.path / "curve.parquet"
        self.tables = {name: self.path / f"{name}.parquet" for name in TABLES}
        self.checkpoint = self.path / "checkpoint.pt"
        self.previous = self.path / "checkpoint-previous.pt"
        self.state = self.path / "state.json"
        self.log = self.path / "log.txt"
        self.lock = self.path / ".lock"

    @property
    def root(self) -> Path:
        """The results folder."""
        return self.path.parent.parent

    def kept(self, iteration: int) -> Path:
        """The checkpoint of an iteration, which is never removed."""
        return self.path / f"checkpoint-{iteration}.pt"

    @property
    def holds_run(self) -> bool:
        """Whether a run lies in the folder: what it is, or what it left."""
        return any(path.exists() for path in (self.spec, self.state, self.curve, *self.checkpoints))

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """The files that may hold the state of the training, the newest first. A constructed net begins at the last."""
        return self.checkpoint, self.previous, self.kept(0)
