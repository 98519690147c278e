"""Analysis turns frames into frames: no torch, no matplotlib, no file but the paper's numbers.

Other rooms use `compare` (all tables of a results folder at once), `curves` (rows for figures and tables), `deviations`
(how a run differs from the paper), `sizes` (of nets, by arithmetic), `designs` and `power` (what a sweep can show
before it is trained), and the column tables of `constructed`, `outcomes`, `replication` and `verdicts`. `paper` holds
the paper's numbers, `stats` the intervals and tests.
"""
