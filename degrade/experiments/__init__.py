"""Questions asked of trained nets, or apart from sweeps."""
