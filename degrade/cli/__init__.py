"""The command line: get, do, say. Heavy imports stand inside the commands, so that --help takes a moment."""

from degrade.cli import analysis, sweeps, trained
from degrade.cli.app import app, main

__all__ = ["analysis", "app", "main", "sweeps", "trained"]
