"""Trainings in steps: schedule, backends, Fit; several of them in turn."""
