"""From words to runs to workers: a command line is expanded, and a launcher trains what it means.

Others use `expand` (words -> specs), `launch` (a whole sweep), `price` (what it costs), `rerun` (a finished run once
more), `workers` and `launchers` (who trains), and `compose` (the keys and groups of conf/).
"""
