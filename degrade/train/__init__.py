"""One training, in steps: schedule, backends, Fit."""
