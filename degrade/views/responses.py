"""Responses of trained nets as sheets: one row per group, one sheet per protocol."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from degrade.spec.rows import FOREIGN, foreign_label
from degrade.views.sheets import Sheet, records_of

if TYPE_CHECKING:
    import pandas as pd

_RESPONSE_KEYS = ["net", "shortcut", "depth", "width", "group"]
COLUMNS = {  # of the table `responses`
    "protocol": "groups that may be compared",
    "group": "runs that differ in nothing but the seed",
    "net": "plain | residual | highway",
    "shortcut": "A | B | C | none",
    "depth": "weighted layers",
    "width": "channels of the first stage",
    "runs": "that were measured",
    "layers": "3x3 layers",
    "std": "standard deviation of the responses of a layer, mean over layers and runs",
    "greatest": "the greatest of these standard deviations",
    "change": "||F(x)|| / ||x||, mean over blocks and runs",
    "distance": "||H(x) - x|| / ||x||, mean over blocks and runs",
    "opening": "mean opening of the shortcut, mean over blocks and runs",
    "rests_on": "the scale of the pictures and whence; of other people's files also what no tensor tells, and whether "
    "somebody said it",
}
_NUMBERS = ("std", "greatest", "change", "distance", "opening")


def responses(
    layers: "pd.DataFrame", blocks: "pd.DataFrame", nets: int, rests: Mapping[str, str] | None = None
) -> list[Sheet]:
    """The sheets of the measured layers and blocks. `nets` counts all nets, also those left out as diverged.

    `rests`: group -> what its numbers rest on (degrade.experiments.responses.explain).
    """
    sheets = [
        _of_protocol(str(name), rows, blocks[blocks.protocol == name], rests or {})
        for name, rows in layers.groupby("protocol")
    ]
    first, data = layers.iloc[0], ", ".join(sorted(layers.data.unique()))
    counted = ", ".join(f"{n:,}" for n in sorted(layers.n.unique()))
    lost = nets - min(layers.run.nunique(), blocks.run.nunique())
    gone = (f"{lost} of {nets} nets have diverged: no finite responses, left out",) if lost else ()
    said = (
        f"std of responses: mean over layers, and the greatest; change: ‖F(x)‖/‖x‖, distance: ‖H(x) − x‖/‖x‖, "
        f"opening of the shortcut: means over blocks. {data}: {first.split} images ({counted}); "
        f"{first.bn} statistics of BN"
    )
    return [*sheets, Sheet(lines=(*gone, said))]


def _of_protocol(protocol: str, layers: "pd.DataFrame", blocks: "pd.DataFrame", rests: Mapping[str, str]) -> Sheet:
    """One protocol. A group keeps its hash if its name alone does not tell it from the others."""
    by = layers.groupby(_RESPONSE_KEYS).agg(
        runs=("run", "nunique"), layers=("layer", "max"), std=("std", "mean"), greatest=("std", "max")
    )
    found = by.join(blocks.groupby(_RESPONSE_KEYS)[["change", "distance", "opening"]].mean()).reset_index()
    said = [rests.get(group, rests.get(group.rpartition("@")[0], "")) for group in found.group]
    records = records_of(found.assign(protocol=protocol, rests_on=said), COLUMNS)
    theirs = protocol == FOREIGN
    names = [_name_foreign(row) if theirs else row["group"].rpartition("-")[0] for row in records]
    rows, whose = list[tuple[str, ...]](), dict[str, list[str]]()
    for row, name in zip(records, names, strict=True):
        shown = name if theirs or (names.count(name) == 1 and "@" not in row["group"]) else row["group"]
        whose.setdefault(row["rests_on"], []).append(shown)
        rows.append((shown, str(row["runs"]), str(row["layers"]), *(f"{row[column]:.3f}" for column in _NUMBERS)))
    columns = ("net", ">runs", ">layers", ">std", ">greatest", ">change", ">distance", ">opening")
    notes = tuple(f"{said} ({', '.join(nets)})" if len(whose) > 1 else said for said, nets in whose.items() if said)
    title = f"responses: {'nets from files' if theirs else protocol}"
    return Sheet(title, columns, rows, notes, name="responses", records=records)


def _name_foreign(row: Mapping[str, Any]) -> str:
    """resnet20 (residual-A-20)."""
    kind = row["net"] if row["shortcut"] == "none" else f"{row['net']}-{row['shortcut']}"
    return f"{foreign_label(row['group'])} ({kind}-{row['depth']})"
