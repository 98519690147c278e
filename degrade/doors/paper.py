"""degrade.paper of 0.1.0: now degrade.analysis.paper."""

from degrade.analysis.paper import PAPER_CSV, SEED_STD, Stated, band, results
from degrade.analysis.paper import find_result as stated

__all__ = ["PAPER_CSV", "SEED_STD", "Stated", "band", "results", "stated"]
