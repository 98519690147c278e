"""Sheets that only commands show: errors and sizes of nets, copies, stacks that learn the identity."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from degrade.spec import RunSpec
from degrade.views.sheets import Sheet, records_of
from degrade.views.terminal import percent

if TYPE_CHECKING:
    import pandas as pd

    from degrade.experiments.construct import Constructed
    from degrade.experiments.doctor import Found
    from degrade.experiments.evaluate import Evaluation
    from degrade.experiments.predictions import ClassError
    from degrade.experiments.verify import Verified

# table -> column -> what it means, with its unit
SHEET_COLUMNS = {
    "evaluations": {
        "label": "the net: its run, or its file; or how many are together",
        "net": "what it is: residual-A-20; empty for an ensemble",
        "iteration": "SGD steps done; 0 where unknown",
        "data": "name of the dataset, or data.label",
        "split": "train (without augmentation) | test | val",
        "n": "images",
        "loss": "mean cross-entropy, nats",
        "error": "top-1 error, %",
        "weights": "16 digits of the SHA-256 of the net's weights and statistics; empty for an ensemble",
        "scale": "by which numbers the pictures are scaled, and whence; empty for an ensemble, as are the next two",
        "classes": "which output of the net is which class: by name | by position, and why",
        "assumed": "what no tensor of other people's files tells (net, option A's zeros, epsilon, stride), and whether "
        "somebody said it; empty for a run",
    },
    "by_class": {
        "label": "the net",
        "data": "name of the dataset, or data.label",
        "split": "train (without augmentation) | test | val",
        "name": "of the class",
        "n": "images of the class",
        "error": "of them, %",
        "taken_for": "the class that its images are most often taken for, wrongly; empty where none is",
        "times": "how often",
    },
    "verified": {
        "run": "name of the run",
        "path": "its folder",
        "state": "how it stands, as in `status`",
        "files": "in its folder",
        "problems": "what is wrong, with ; between; empty: all is right",
        "notes": "what could not be checked, and what is left over",
    },
    "nets": {
        "net": "name of the net",
        "parameters": "how many",
        "multiply_adds": "of convolutions and the last layer, for one picture",
        "channels": "of a picture",
        "size": "pixels of its side",
        "classes": "that are told apart",
    },
    "constructed": {
        "run": "name of the constructed run",
        "copies": "the net that it copies",
        "images": "whose predictions were compared: training, validation and test",
        "differ": "of these, predicted otherwise",
        "gap": "the largest difference between two outputs (logits)",
        "train_clean": "error before the first step, %",
        "test": "likewise, %",
        "val": "likewise, %; null where no images are held out",
        "known": "whether it was there already",
    },
    "identity": {
        "net": "plain | residual",
        "blocks": "in the stack",
        "depth": "weighted layers",
        "lr": "the greatest learning rate of the schedule; of several, that with the least mean, by `picked`",
        "mean": "||f(x) - y||² / ||y||² on held-out images at the end, y the target, mean over seeds",
        "std": "its standard deviation over seeds (n - 1); null for one seed",
        "low": "least of the seeds",
        "high": "greatest of the seeds",
        "running": "the same on the last batches, in training mode, mean over seeds",
        "seeds": "how many",
        "target": "y: identity, x itself | permutation, x with permuted channels | random, a random block of x",
        "decay": "weight decay",
        "init": "he: He's initial weights | dirac: the stack begins at the identity",
        "unexplained": "||f(x) - y||² over the squared deviation of y from its channels' means, mean over seeds",
        "unexplained_std": "its standard deviation over seeds (n - 1); null for one seed",
        "picked": "what chose the rate: seeds 0, that are not among the others | shown, these seeds themselves | "
        "nothing: one rate",
    },
}


def evaluations(rows: "Sequence[Evaluation]") -> list[Sheet]:
    """Loss and error of nets and ensembles: a sheet for each dataset and split."""
    named = any(
        row.net and not row.label.startswith(row.net) for row in rows
    )  # whether to show what the nets of others turned out to be
    sheets: list[Sheet] = []
    for data, split, n in dict.fromkeys((row.data, row.split, row.n) for row in rows):
        own = [row for row in rows if (row.data, row.split, row.n) == (data, split, n)]
        cells = [
            (
                *(row.label, *([row.net] if named else [])),
                *(f"{row.iteration:,}" if row.iteration else "", f"{row.loss:.4f}", percent(row.error)),
            )
            for row in own
        ]
        columns = ("net", *(["found to be"] if named else []), ">iteration", ">loss", ">error, %")
        records, notes = [asdict(row) for row in own], tuple(_explain(own))
        title = f"{data}, {split}: {n:,} images"
        sheets.append(Sheet(title, columns, cells, notes, name="evaluations", records=records))
    return sheets


def by_class(rows: "Sequence[ClassError]") -> list[Sheet]:
    """Errors in each class: a sheet a net."""
    sheets: list[Sheet] = []
    for label, data, split in dict.fromkeys((row.label, row.data, row.split) for row in rows):
        own = [row for row in rows if (row.label, row.data, row.split) == (label, data, split)]
        cells = [
            (row.name, f"{row.n:,}", percent(row.error), f"{row.taken_for} ({row.times:,})" if row.times else "")
            for row in own
        ]
        columns, title = ("class", ">images", ">error, %", "most taken for"), f"{label} by class: {data}, {split}"
        sheets.append(Sheet(title, columns, cells, name="by_class", records=[asdict(row) for row in own]))
    return sheets


def _explain(rows: "Sequence[Evaluation]") -> Iterator[str]:
    """A line for each thing that numbers rest on: scale, order of the classes, what is assumed; and whose numbers."""
    for title, key in (("scale", "scale"), ("classes", "classes"), ("assumed or said", "assumed")):
        labels: dict[str, list[str]] = {}
        for row in rows:
            if said := getattr(row, key):
                labels.setdefault(said, []).append(row.label)
        whole = len(labels) == 1 and all(getattr(row, key) for row in rows if row.net)
        for said, whose in labels.items():
            names = ", ".join(dict.fromkeys(whose))
            yield f"{title}: {said}" if whole else f"{title} of {names}: {said}"


def sizes(specs: Sequence[RunSpec]) -> Sheet:
    """Size and work of each distinct net, on pictures of the dataset it is asked for."""
    from degrade import data
    from degrade.analysis.sizes import KNOWN, count

    distinct = {spec.net: spec for spec in specs}
    records: list[dict[str, str | int]] = []
    for net in sorted(distinct, key=lambda net: (net.net, net.shortcut, net.depth, net.width)):
        channels, size, classes = data.shape(distinct[net].data)
        if net.net in KNOWN:
            cost = count(net, channels=channels, classes=classes, size=size)
        else:
            from degrade import nets  # loads torch, for nets that somebody added

            cost = nets.cost(net, channels=channels, classes=classes, size=size)
        sizes = {"parameters": cost.parameters, "multiply_adds": cost.multiply_adds}
        picture = {"channels": channels, "size": size, "classes": classes}
        records.append({"net": distinct[net].name, **sizes, **picture})
    rows = [
        (
            str(row["net"]),
            f"{row['parameters']:,}",
            f"{int(row['multiply_adds']) / 1e6:,.2f} M",
            f"{row['channels']}x{row['size']}x{row['size']}, {row['classes']} classes",
        )
        for row in records
    ]
    columns = ("net", ">parameters", ">multiply-adds", "of one picture")
    return Sheet(columns=columns, rows=rows, name="nets", records=records)


def copies(label: str, made: "Constructed") -> Sheet:
    """How a constructed net compares with the net it copies."""
    same = "all equal" if not made.differ else f"{made.differ} differ"
    gap = "outputs equal to the bit" if made.gap == 0 else f"largest output difference {made.gap:.1g}"
    errors = ", ".join(f"{split} {percent(error)} %" for split, error in made.errors.items())
    there = " (was there already)" if made.known else ""
    said = f"{made.run.run}{there}: copies {label}; {made.images:,} predictions, {same}; {gap}; {errors}"
    record = {
        "run": made.run.run,
        "copies": label,
        "images": made.images,
        "differ": made.differ,
        "gap": made.gap,
        **{split: made.errors.get(split) for split in ("train_clean", "test", "val")},
        "known": made.known,
    }
    return Sheet(lines=(said,), name="constructed", records=[record])


def stacks(frame: "pd.DataFrame", pick: Sequence[int] = ()) -> list[Sheet]:
    """Mean ± sample standard deviation of the last error over seeds, a sheet a target; below, what trivial answers do.

    `pick`: the seeds that only chose the rate. The start and the weight decay are shown where there are others than
    He's and 1e-4.
    """
    from degrade.figures.identity import TITLES, finals

    ends = finals(frame, pick)
    records = records_of(ends, SHEET_COLUMNS["identity"])
    decays = set(ends.decay) != {1e-4}
    seeds, rates = ", ".join(map(str, sorted(pick))), {row["picked"].partition(" ")[0] for row in records}
    rate = tuple(words.format(seeds=seeds) for word, words in _RATES.items() if word in rates)
    columns = ("net", *([">decay"] if decays else []), *_STACK_COLUMNS)
    titled = set(ends.target) != {"identity"}
    sheets: list[Sheet] = []
    for target in dict.fromkeys(row["target"] for row in records):
        own = [row for row in records if row["target"] == target]
        cells = [_stack_cells(row, decays=decays) for row in own]
        notes = (_describe_trivial(frame[frame.target == target].predict_mean), *rate)
        sheets.append(Sheet(TITLES[target] if titled else "", columns, cells, notes, name="identity", records=own))
    return sheets


def _describe_trivial(mean: "pd.Series[float]") -> str:
    """What errors mean, by those of outputs that need no learning. `mean`: of each channel's mean, a row a trial."""
    low, high = f"{mean.min():.3g}", f"{mean.max():.3g}"
    return (
        "error: ||f(x) - y||² / ||y||². Zeros have 1; each channel's mean, whatever comes in, has "
        f"{low if low == high else f'{low} to {high}'}, which is all of the variance."
    )


_STACK_COLUMNS = (">blocks", ">layers", ">lr", ">error", ">of variance", ">seeds")
_RATES = {  # first word of `picked` -> what is said of it
    "shown": "lr: the best of several by the errors shown, which flatters them a little.",
    "seeds": "lr: the best of several on seeds that are not shown: {seeds}.",
}


def _stack_cells(row: Any, *, decays: bool) -> tuple[str, ...]:
    net = row["net"] + (", dirac" if row["init"] == "dirac" else "")
    spread = "" if row["std"] != row["std"] else f" ± {row['std']:.1g}"
    error, part = (
        ("diverged", "") if row["mean"] == float("inf") else (f"{row['mean']:.2g}{spread}", f"{row['unexplained']:.2g}")
    )
    sizes = (str(row["blocks"]), str(row["depth"]), f"{row['lr']:g}")
    return net, *([f"{row['decay']:g}"] if decays else []), *sizes, error, part, str(row["seeds"])


def health(found: "Sequence[Found]") -> Sheet:
    """What was looked at, and below the table what to do about it."""
    rows = [(each.what, each.state, each.found) for each in found]
    ways = tuple(f"{each.what}: {each.next}" for each in found if each.next)
    records = [each._asdict() for each in found]
    return Sheet(columns=("", "", "found"), rows=rows, lines=ways, name="doctor", records=records)


def verified(found: "Sequence[Verified]") -> list[Sheet]:
    """What is wrong with stored runs, and a count."""
    wrong = [each for each in found if each.problems]
    rows = [(each.run, each.state, problem) for each in wrong for problem in each.problems]
    noted = [f"{each.run}: {text}" for each in found for text in each.notes]
    count = f"{sum(each.files for each in found)} files of {len(found)} runs: "
    count += f"something is wrong with {len(wrong)}" if wrong else "all is right"
    heads = ("run", "state", "what is wrong") if rows else ()
    records = [asdict(each) | {"problems": "; ".join(each.problems), "notes": "; ".join(each.notes)} for each in found]
    return [Sheet(columns=heads, rows=rows, lines=(*noted, count), name="verified", records=records)]
