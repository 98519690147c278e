"""The command line: get, do, say. Heavy imports stand inside the commands, so that --help takes a moment."""

from degrade.cli import analysis, bench, identity, sweeps, trained, verdicts
from degrade.cli.app import app, main

__all__ = ["analysis", "app", "bench", "identity", "main", "sweeps", "trained", "verdicts"]
