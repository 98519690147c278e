"""Trains runs: the schedule, the backends, Fit, and the training of a spec in its folder.

Other rooms use `run` (train specs in their folders), `fit` (one training, step by step), `checkpoint`, `environment`,
`precision`, `probe`, `processes`, `resume`, `schedule` and `backends`. `turns` and `recompute` serve this room alone.
"""
