"""Launchers that Hydra finds by their place: hydra_plugins is a namespace shared with other packages."""
