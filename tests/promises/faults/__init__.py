"""Faults on purpose: every file event of a sweep, and every kind of file, harmed; `python -m faults` runs all."""
