"""Deviations that have bounds: whether they keep them, and how near they come."""

import math


class Bounded:
    """A row of deviations. `bounds`: by the names of the fields that are judged."""

    bounds: dict[str, float]

    @property
    def ok(self) -> bool:
        return all(getattr(self, name) <= bound for name, bound in self.bounds.items())  # false for NaN

    @property
    def nearest(self) -> float:
        """The deviation that is nearest to its bound, or furthest above it, as a share of the bound; 0 without any."""
        shares = [getattr(self, name) / bound for name, bound in self.bounds.items()]
        return max((share if math.isfinite(share) else math.inf for share in shares), default=0.0)
