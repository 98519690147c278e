"""The command line: get, do, say. Heavy imports stand inside the commands, so that --help takes a moment.

Each module holds some commands; `app` holds what they share. Others use `main`.
"""

from degrade.cli import bench, doctor, experiments, export, guide, identity, keys, report, results, runs, sweeps, verify
from degrade.cli.app import app, main

__all__ = [
    "app",
    "bench",
    "doctor",
    "experiments",
    "export",
    "guide",
    "identity",
    "keys",
    "main",
    "report",
    "results",
    "runs",
    "sweeps",
    "verify",
]
