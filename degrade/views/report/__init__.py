"""One HTML page about results: verdicts, figures, tables, configurations, and how to do it again. No network, no files.

Other rooms call `report`, `write` and `render`.
"""

from degrade.views.report.page import render, report, write

__all__ = ["render", "report", "write"]
