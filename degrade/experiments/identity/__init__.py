"""Can solvers find the identity (Sec. 3.1)?

Others use `grid` (a whole experiment) and `trial` (one trial and its columns). `learn` trains, and loads torch.
"""
