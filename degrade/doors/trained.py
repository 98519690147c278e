"""degrade.trained of 0.1.0: now degrade.experiments.trained."""

from degrade.experiments.trained import Pictures, Trained, open_net, pictures

__all__ = ["Pictures", "Trained", "open_net", "pictures"]
