"""What lies on disk. Moves bytes and rows; never loads torch.

Others use `folder` (RunDir, the folder of one run), `state` (State, where a run stands), `results` (all runs under
results folders), `parquet` (tables), `seal` (checksums), `files` (atomic writes, safe reads) and `clean` (what may be
removed). `names` holds the file names of a run for `folder`.
"""
