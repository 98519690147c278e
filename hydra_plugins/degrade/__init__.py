"""Launchers that Hydra finds by their place: hydra_plugins is a namespace that other packages share."""
