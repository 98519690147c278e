"""`degrade plan --power`: what a sweep of so many seeds can show, before it is trained."""

import math
from collections.abc import Mapping, Sequence

from degrade.analysis.designs import Design
from degrade.analysis.lines import list_depths
from degrade.analysis.power import CHANCES, SPREADS, Failures, Power, find_power
from degrade.errors import SpecError
from degrade.views.sheets import Sheet

COLUMNS = {  # of the table `power`
    "line": "nets that differ in nothing but depth: residual-A",
    "data": "name of the dataset",
    "recipe": "name of the recipe",
    "setting": "values that tell the line from others of its data and recipe: recipe.lr=0.1",
    "depths": "weighted layers of its nets",
    "seeds": "of each of these depths",
    "images": "that the clean training error is measured on; null: not known before the data is there",
    "error": "assumed clean training error of the shallowest net, %",
    "margin": "the smallest rise of interest, points",
    "depth": "weighted layers of the deepest net with several seeds; null, as all below: the line can have no verdict",
    "than": "of the shallowest net with several seeds, against which it is judged",
    "runs": "seeds of the deepest net",
    "runs_than": "seeds of the shallowest",
    "spread": "assumed standard deviation over seeds, points",
    "rise_80": "the true rise of the clean training error that `degrades` is said of 8 times in 10, points; "
    "null: none below 100 %",
    "rise_90": "likewise, 9 times in 10",
    "flat_spread": "the largest spread at which `does not degrade` is said of the line 8 times in 10, if depth changes "
    "nothing, points; null: at none",
    "failure_seen": "chance that some seed of the deepest net fails, if it fails to train with one seed in five, %",
    "failures_needed": "of the deepest net, against none of the shallowest, to give `degrades` by their number alone; "
    "null: not even if all fail",
    "failure_limit": "upper end of the exact 95 % interval of the share that fails, if none of the deepest net does, %",
}
_WORDS = ("8 times in 10", "9 times in 10")  # of CHANCES
_READ = 0.3  # points: the spread whose row is read out


def check_error(error: float) -> float:
    """The error (%) of the shallowest net. Raises SpecError for one that cannot be."""
    if not 0 <= error < 100:
        raise SpecError(f"--error={error:g}: must be from 0 to below 100 % clean training error, as in 5")
    return error


def powers(designs: Sequence[Design], margin: float, error: float) -> list[Sheet]:
    """One sheet for all lines that can show the same; then what is supposed."""
    alike: dict[object, list[Design]] = {}
    for each in designs:
        alike.setdefault((each.data, each.recipe, each.seeds, each.images), []).append(each)
    sheets = [_describe(several, margin, error) for several in alike.values()]
    if any(design.judged for design in designs):
        sheets.append(Sheet("what this supposes", notes=_suppositions(designs, margin, error)))
    return sheets


def _describe(lines: Sequence[Design], margin: float, error: float) -> Sheet:
    """What these lines can show. They differ in nothing that matters here."""
    first, settings = lines[0], list(dict.fromkeys(each.setting for each in lines))
    names = _list(list(dict.fromkeys(each.line for each in lines)))
    alone = f", {settings[0]}" if len(settings) == 1 and settings[0] else ""
    title = f"what {names} can show: {first.data}, recipe {first.recipe}{alone}"
    many = [f"{len(settings)} protocols, each judged by itself: {'; '.join(settings)}."] if len(settings) > 1 else []
    if not first.judged:
        records = [_record(each, margin, error) for each in lines]
        return Sheet(title, notes=(_explain_none(first), *many), name="power", records=records)
    power = find_power(tuple(n for _, n in first.several), first.images, error, margin)
    rows = [(f"{rise.spread:g} points", *(_points(each) for each in rise.seen)) for rise in power.rises]
    notes = (_read_out(first, power), *_single(first), _flat(first, power, error), _failures(first, power.failures))
    columns = (">seeds spread by", *(f">a rise is seen {words}" for words in _WORDS))
    records = [record for each in lines for record in _records(each, power, margin, error)]
    return Sheet(title, columns, rows, (*notes, *many), name="power", records=records)


def _record(design: Design, margin: float, error: float) -> dict[str, object]:
    """The columns that every line has; the others are None."""
    return {
        **dict.fromkeys(COLUMNS),
        "line": design.line,
        "data": design.data,
        "recipe": design.recipe,
        "setting": design.setting,
        "depths": list_depths(depth for depth, _ in design.seeds),
        "seeds": ", ".join(str(n) for _, n in design.seeds),
        "images": design.images,
        "error": error,
        "margin": margin,
    }


def _records(design: Design, power: Power, margin: float, error: float) -> list[Mapping[str, object]]:
    (than, runs_than), (depth, runs) = design.several[0], design.several[-1]
    failures = power.failures
    common = {
        **_record(design, margin, error),
        "depth": depth,
        "than": than,
        "runs": runs,
        "runs_than": runs_than,
        "flat_spread": power.spread,
        "failure_seen": 100 * failures.seen,
        "failures_needed": failures.needed,
        "failure_limit": failures.limit,
    }
    keys = [f"rise_{100 * chance:.0f}" for chance in CHANCES]
    return [{**common, "spread": rise.spread, **dict(zip(keys, rise.seen, strict=True))} for rise in power.rises]


def _explain_none(design: Design) -> str:
    """Why a line can have no verdict, and the way out."""
    depths = list_depths(depth for depth, _ in design.seeds)
    if len(design.seeds) == 1:
        return f"All runs have one depth, {depths}, so there can be no verdict at all. Train another: depth=8,20."
    which = "Each depth has" if not design.several else "All depths but one have"
    return (
        f"{which} one seed ({depths} layers), so degrade compare can give no verdict at all: how far seeds differ "
        "stays unknown. Train three seeds or more: seed=0,1,2."
    )


def _read_out(design: Design, power: Power) -> str:
    """The seeds, what is compared, and one row of the table in words."""
    than, depth = design.several[0][0], design.several[-1][0]
    numbers = {n for _, n in design.several}
    depths = list_depths(each for each, _ in design.several)
    if len(numbers) == 1:
        seeds = f"{numbers.pop()} seeds of each depth ({depths} layers)"
    else:
        seeds = ", ".join(f"{n} seeds of {each} layers" for each, n in design.several)
    said = f"{seeds}, judged by {depth} against {than} layers."
    eight, nine = power.rises[SPREADS.index(_READ)].seen
    if not math.isfinite(nine):
        return said
    return (
        f"{said} If seeds spread by {_READ:g} points, a rise of {_points(nine)} in clean training error is seen "
        f"{_WORDS[1]}; a rise of {_points(eight)} {_WORDS[0]}."
    )


def _single(design: Design) -> list[str]:
    alone = [depth for depth, n in design.seeds if n == 1]
    return [f"{list_depths(alone)} layers: one seed, so no verdict is about them; seed=0,1,2."] if alone else []


def _flat(design: Design, power: Power, error: float) -> str:
    """Whether `does not degrade` can be shown."""
    if math.isfinite(power.spread):
        return (
            f'If depth changes nothing, "does not degrade" is shown {_WORDS[0]} where seeds spread by '
            f'{power.spread:.2g} points at most. The more they spread, the more often the answer is "undecided".'
        )
    return (
        f'"does not degrade" cannot be shown, however little seeds spread: {design.images:,} images measure an error '
        f"of {error:g} % too coarsely. Train more seeds, or ask for a wider margin: --margin."
    )


def _failures(design: Design, found: Failures) -> str:
    """What the seeds show about failures to train."""
    (_, runs_than), (depth, runs) = design.several[0], design.several[-1]
    needed = (
        f"{found.needed} failures of {runs} against 0 of {runs_than} show that it degrades, by their number alone"
        if found.needed
        else f"Even {runs} failures of {runs} against 0 of {runs_than} do not show that it degrades"
    )
    return (
        f"Failures to train: if the net of {depth} layers fails with one seed in five, {runs} seeds show it with a "
        f"chance of {100 * found.seen:.0f} %. {needed}. If 0 of {runs} fail, its share of failures can still be up to "
        f"{found.limit:.0f} % (exact 95 % interval)."
    )


def _suppositions(designs: Sequence[Design], margin: float, error: float) -> tuple[str, ...]:
    """What the numbers rest on."""
    judged = [design for design in designs if design.judged]
    known = [f"{images:,}" for images in sorted({design.images for design in judged if design.images})]
    unknown = sorted({design.data for design in judged if not design.images})
    said = [f"The shallowest net ends at {error:g} % error (--error)."]
    if known:
        said.append(f"On {_list(known)} training images a spread below the binomial one counts as that, as in compare.")
    if unknown:
        said.append(f"How many images {_list(unknown)} has is not known yet, so they count as enough.")
    return (
        "A rise is seen where degrade compare says of the line that it degrades. Spread is the standard deviation over "
        "seeds of the clean training error at the end. Nobody knows it before a sweep, so the table has several; 0.16 "
        "points is the paper's, of the test error of ResNet-110.",
        f"{' '.join(said)} All depths spread alike and normally, and all runs train. The margin is {margin:g} points "
        "(--margin): a smaller rise is of no interest. Only the runs of this sweep count.",
    )


def _points(value: float) -> str:
    """Two digits: the simulation is no sharper."""
    if not math.isfinite(value):
        return "never"
    return f"{value:.{2 if value < 0.995 else 1 if value < 9.95 else 0}f} points"


def _list(words: Sequence[str]) -> str:
    """plain, residual-A and residual-B."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
