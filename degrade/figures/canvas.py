"""How large a figure is, and in which style. No matplotlib."""

from dataclasses import dataclass

from degrade.errors import SpecError, pick

WIDTHS = {"column": 3.3, "text": 6.9, "slide": 12.0}  # inches: of one column, of the text of a page, of a 16:9 slide
STYLES = ("paper", "dark")
_LEAST, _MOST = 2.0, 40.0  # inches
_POINTS = ((4.0, 7.0), (8.0, 8.0))  # (up to so many inches, points of type): of narrow figures
_PANEL = 4.2  # inches, the width of a panel if no width is given
_NARROWEST = 0.22  # inches for each point of type: a narrower panel cannot be read
_SLIDE = (14.0, 6.75)  # points of type, height (inches)


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Raises SpecError for a width or a style that cannot be."""

    width: str = ""  # a key of WIDTHS, or inches; empty: 4.2 inches for each panel in a row
    title: bool = True  # whether the data and settings stand above the panels
    style: str = "paper"  # a member of STYLES

    def __post_init__(self) -> None:
        pick(dict.fromkeys(STYLES), self.style, "--style")
        _ = self.inches

    @property
    def inches(self) -> float | None:
        """The width of the figure; None if the panels say."""
        if not self.width:
            return None
        try:
            inches = WIDTHS[self.width] if self.width in WIDTHS else float(self.width)
        except ValueError:
            inches = float("nan")
        if not _LEAST <= inches <= _MOST:
            rule = f"must be {', '.join(WIDTHS)}, or inches from {_LEAST:g} to {_MOST:g}, as in 3.3"
            raise SpecError(f"--width={self.width}: {rule}")
        return inches

    @property
    def points(self) -> float:
        """The size of the type. The smallest type of a figure is half a point less."""
        if self.width == "slide":
            return _SLIDE[0]
        inches = self.inches
        return 9.0 if inches is None else next((points for upto, points in _POINTS if inches <= upto), 9.0)

    @property
    def height(self) -> float | None:
        """The height (inches) of a figure whose place has one; None if the panels say."""
        return _SLIDE[1] if self.width == "slide" else None

    def count_columns(self, across: int, panels: int) -> int:
        """Panels in a row: `across`, or as many as stay wide enough to read; rows are as even as can be."""
        inches = self.inches
        fit = across if inches is None else max(1, min(across, int(inches / (_NARROWEST * self.points))))
        rows = -(-panels // fit)
        return -(-panels // rows)

    def measure(self, columns: int) -> tuple[float, float]:
        """(width of the figure, width of a panel) in inches."""
        inches = self.inches
        return (0.8 + _PANEL * columns, _PANEL) if inches is None else (inches, inches / columns)

    def measure_tall(self, panel: float) -> float:
        """The height of axes over the width of their panel (inches). A panel as wide as a column is lower."""
        return 0.55 if self.width and panel > 2.6 else 0.72
