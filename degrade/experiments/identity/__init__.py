"""Can solvers find the identity (Sec. 3.1)?

Others use `grid` (a whole experiment) and `trial` (one trial and its columns). `learn` trains; `stacks` has what is
trained, and `features` what it gets and must put out. These three load torch.
"""
