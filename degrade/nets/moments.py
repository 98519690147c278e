"""Moments of a layer's output, streamed in float64: neither the number of images nor their batches matter."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Moments:
    """Sums over images and positions, by channel."""

    count: int = 0  # values of one channel
    total: Tensor | float = 0.0  # (C,) float64
    squares: Tensor | float = 0.0  # (C,) float64

    def add(self, y: Tensor) -> None:
        """Adds y (N, C, H, W)."""
        y = y.double()
        self.total = self.total + y.sum((0, 2, 3))
        self.squares = self.squares + y.square().sum((0, 2, 3))
        self.count += y.numel() // y.shape[1]

    def by_channel(self) -> tuple[Tensor, Tensor]:
        """(mean (C,), variance (C,)), float64. The variance is that of a population, not of a sample."""
        assert isinstance(self.total, Tensor)
        assert isinstance(self.squares, Tensor)
        mean = self.total / self.count
        return mean, (self.squares / self.count - mean**2).clamp(min=0)

    def pooled(self) -> tuple[float, float]:
        """(mean, standard deviation) over images, positions and channels."""
        mean, variance = self.by_channel()
        whole = mean.mean()
        return whole.item(), (variance.mean() + (mean**2).mean() - whole**2).clamp(min=0).sqrt().item()
