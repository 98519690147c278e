"""Hosts, clocks, processes and locks that are simulated, over the real code that claims and takes up runs.

Only training is a toy: a step counts, and a checkpoint is its number.
"""
