"""The paper's numbers beside ours where our protocol is the paper's; elsewhere, how our protocol differs."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from degrade.analysis.deviations import Deviation, departures
from degrade.analysis.outcomes import GROUP, by_group
from degrade.analysis.paper import band, find_result, results
from degrade.spec import RunSpec

# split of ours -> metric of the paper
_METRICS = {"test": "test_error", "train": "train_error", "train_clean": "train_error"}
BESIDE_PAPER = GROUP | {
    "split": "test | train | train_clean; the paper does not say how it measured its training error",
    "ours": "mean error at the last iterate, %",
    "std": "over runs, points; NaN for one run",
    "runs": "of ours",
    "paper": "the paper's error, %; NaN where it has none for this net, or our protocol is another",
    "bound": "> or <: the paper says only that it is above or below",
    "paper_runs": "of the paper's; 1 where it does not say",
    "digitised": "the paper's value was read off a figure by us",
    "source": "table or figure of the paper",
    "difference": "ours less the paper's, points; NaN for a bound",
    "low": "lower end of the expected band (degrade.analysis.paper.band), %",
    "high": "its upper end, %",
    "inside": "whether ours is in the band; missing where there is none, as for groups with failed runs. Of one run "
    "the band is no 95 % band: it supposes the paper's spread of 0.16 points",
    "differs": "in what our protocol is not the paper's, or that the paper has no such net; else nothing",
}
TABLE6 = {
    "protocol": "ours, of the columns ours_*; nothing where there is none",
    "line": "ours: residual-A",
    "method": "as Table 6 has it",
    "layers": "weighted layers",
    "params": "parameters, millions: the paper's figure, else our arithmetic",
    "paper": "the paper's test error, %: mean of its runs",
    "paper_best": "of its runs, where it says so, %",
    "paper_std": "over its runs, points",
    "ours": "our test error at the last iterate, mean over runs, %",
    "ours_best": "of our runs, %",
    "ours_std": "over our runs, points; NaN for one run",
    "ours_runs": "how many",
    "differs": "in what our protocol is not the paper's; else nothing",
}
NO_NUMBER = "the paper has no CIFAR-10 number for this net"
_METHODS = {
    "maxout": "Maxout",
    "nin": "NIN",
    "dsn": "DSN",
    "fitnet": "FitNet",
    "highway": "Highway",
    "residual": "ResNet",
}


def _list_deviations(found: list[Deviation]) -> str:
    """data.name digits (paper: cifar10), recipe.batch 32 (paper: 128)."""
    return ", ".join(f"{each.key} {each.run} (paper: {each.paper})" for each in found)


def _protocol_departures(spec: RunSpec) -> list[Deviation]:
    """The departures that all runs of the protocol share. They exclude the net's, whose keys have no dot."""
    return [each for each in departures(spec) if "." in each.key]


def beside_paper(ends: pd.DataFrame, failed: Collection[str], specs: Mapping[str, RunSpec]) -> pd.DataFrame:
    """Sets our errors beside the paper's: the columns of BESIDE_PAPER, one row per (group, split).

    `failed` names the runs that failed to train: a group with such runs has no expected band, since its spread is that
    between two kinds of runs. Constructed nets have no row.
    """
    drawn = ends[(ends.origin == "") & ends.split.isin(list(_METRICS))]
    rows: list[dict[str, Any]] = []
    for keys, own in by_group(drawn, "split"):
        spec, runs, ours = specs[own.run.iloc[0]], len(own), float(own["last"].mean())
        differs = _list_deviations(_protocol_departures(spec))
        row = {
            **keys,
            "ours": ours,
            "std": own["last"].std(),
            "runs": runs,
            "bound": "",
            "source": "",
            "differs": differs,
        }
        lost = bool(own.run.isin(list(failed)).any())
        rows.append(row if differs else row | _compare_to_paper(spec, keys["split"], own["last"], lost=lost))
    frame = pd.DataFrame(rows, columns=list(BESIDE_PAPER))
    return frame.astype({"paper_runs": "Int64", "digitised": "boolean", "inside": "boolean"})


def _compare_to_paper(spec: RunSpec, split: str, errors: "pd.Series[float]", *, lost: bool) -> dict[str, Any]:
    """The paper's number for this net, and whether the mean of our errors lies in the expected band."""
    net, ours = spec.net, float(errors.mean())
    number = None if departures(spec) else find_result(net.net, net.shortcut, net.depth, _METRICS[split])
    if number is None:
        return {"differs": NO_NUMBER}
    low, high = band(number, len(errors), errors.std())
    return {
        "paper": number.value,
        "bound": number.bound,
        "paper_runs": number.runs,
        "digitised": number.digitised,
        "source": number.source,
        "difference": float("nan") if number.bound else ours - number.value,
        "low": low if not lost else math.nan,
        "high": high if not lost else math.nan,
        "inside": low <= ours <= high if not lost else None,
    }


def table6(ends: pd.DataFrame, specs: Mapping[str, RunSpec]) -> pd.DataFrame:
    """Table 6 with our residual option A nets beside it, one protocol after the other: the columns of TABLE6.

    Depths that the paper does not have come last. The frame is empty if there is no such net of ours.
    """
    wanted = (ends.origin == "") & (ends.net == "residual") & (ends.shortcut == "A") & (ends.width == 16)
    rows: list[dict[str, Any]] = []
    for (protocol, line), own in ends[wanted & (ends.split == "test")].groupby(["protocol", "line"]):
        ours = {int(str(depth)): _summarise_ours(each["last"]) for depth, each in own.groupby("depth")}
        differs = _list_deviations(_protocol_departures(specs[own.run.iloc[0]]))
        known = _read_table6()
        more = sorted({*ours} - {row["layers"] for row in known if row["method"] == _METHODS["residual"]})
        for row in known + [{"method": _METHODS["residual"], "layers": depth} for depth in more]:
            mine = ours.get(row["layers"], {}) if row["method"] == _METHODS["residual"] else {}
            params = row.get("params", _parameters(row["layers"]) if mine else None)
            rows.append({"protocol": protocol, "line": line, "differs": differs} | row | mine | {"params": params})
    return pd.DataFrame(rows, columns=list(TABLE6)).astype({"layers": "Int64", "ours_runs": "Int64"})


def _summarise_ours(errors: pd.Series) -> dict[str, Any]:
    ours = {"ours": errors.mean(), "ours_best": errors.min(), "ours_std": errors.std()}
    return {**ours, "ours_runs": len(errors)}


def _read_table6() -> list[dict[str, Any]]:
    """Reads Table 6 of the paper, one row per net."""
    rows: dict[tuple[str, int | None], dict[str, Any]] = {}
    names = {"params": "params", "test_error": "paper", "test_error_best": "paper_best"}
    for each in results().query("source == 'Table 6'").to_dict("records"):
        layers = None if pd.isna(each["depth"]) else int(each["depth"])
        row = rows.setdefault((each["net"], layers), {"method": _METHODS[each["net"]], "layers": layers})
        row[names[each["metric"]]] = each["value"]
        if each["metric"] == "test_error":
            row["paper_std"] = each["std"]
    return list(rows.values())


def _parameters(depth: int) -> float | None:
    """Parameters (millions) of a residual option A net on CIFAR-10. None if paper.csv does not have them."""
    number = find_result("residual", "A", depth, "params")
    return None if number is None else number.value / 1e6
