"""Frames to frames: no torch, no file but the paper's numbers, no matplotlib."""
