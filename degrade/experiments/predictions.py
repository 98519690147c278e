"""What nets say of every picture, and how wrong they are in each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from degrade.errors import RunError
from degrade.experiments.evaluate import Measured
from degrade.spec.rows import Columns, real, text, whole
from degrade.store import files, parquet
from degrade.store.parquet import Schema

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS: Columns = {
    "net": text("label of the net"),
    "weights": text("of the net: 16 hexadecimal digits of a SHA-256"),
    "data": text("name of the dataset"),
    "split": text("train (without augmentation) | test | val"),
    "image": whole(
        "place of the picture in the split, from 0; in a folder, pictures are in the order of their paths", 0
    ),
    "class": text("its class"),
    "prediction": text("the class of the largest output"),
    "probability": real("softmax of that output", 0, 1),
    "loss": real("cross-entropy, nats"),
}


@dataclass(frozen=True, kw_only=True)
class ClassError:
    """The error of one net in one class."""

    label: str  # of the net
    data: str
    split: str
    name: str  # of the class
    n: int  # pictures of the class
    error: float  # of them, %
    taken_for: str  # the class that its pictures are most often taken for, wrongly; "" where none is
    times: int  # how often


def keep_predictions(measured: Sequence[Measured], path: Path) -> int:
    """Writes a row for every net and picture to a parquet file, and returns their number. The columns are PREDICTIONS.

    Raises RunError if `path` is a folder, OSError where it cannot be written.
    """
    if path.is_dir():
        raise RunError(f"--predictions={path}: is a folder; name a file, as in {path / 'predictions.parquet'}")
    schema = Schema(PREDICTIONS)
    rows = parquet.concatenate([parquet.of_frame(_frame(each), schema) for each in measured], schema)
    files.make_folder(path.parent)
    parquet.save(path, rows)
    return len(rows)


def _frame(measured: Measured) -> "pd.DataFrame":
    """The rows of one net."""
    import pandas as pd  # here, since most evaluations need no frames

    said, logits, labels, classes = measured
    likely, chosen = logits.double().softmax(1).max(1)
    columns = {
        "image": range(len(labels)),
        "class": [classes[each] for each in labels.tolist()],
        "prediction": [classes[each] for each in chosen.tolist()],
        "probability": likely.tolist(),
        "loss": F.cross_entropy(logits.double(), labels, reduction="none").tolist(),
    }
    return pd.DataFrame(columns).assign(net=said.label, weights=said.weights, data=said.data, split=said.split)


def judge_classes(measured: Measured) -> list[ClassError]:
    """The error in each class that has pictures, in the order of the classes."""
    said, logits, labels, classes = measured
    size = len(classes)
    counts = torch.bincount(labels * size + logits.argmax(1), minlength=size * size).view(size, size)
    found: list[ClassError] = []
    for place, name in enumerate(classes):
        n, right = int(counts[place].sum()), int(counts[place, place])
        if not n:
            continue
        wrong = counts[place].clone()
        wrong[place] = 0
        worst = int(wrong.argmax())
        found.append(
            ClassError(
                label=said.label,
                data=said.data,
                split=said.split,
                name=name,
                n=n,
                error=100 * (n - right) / n,
                taken_for=classes[worst] if wrong[worst] else "",
                times=int(wrong[worst]),
            )
        )
    return found
