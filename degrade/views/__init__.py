"""Views turn frames and states into what people read. No torch.

Other rooms use `sheets` (tables as data and their formats), `tables`, `responses`, `power` and `compare` (sheets of
commands), `keys` (what can be set), `steps` (what to do next), `terminal` (tables, numbers, bars and questions on the
terminal) and `live` (the table of a running sweep). `summaries` and `verdicts` make the sheets of `compare`.
"""
