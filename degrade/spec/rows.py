"""What one row of a curve is: the measured part (Point), the labels of its run, and the units of both."""

from dataclasses import dataclass

SPLITS = ("train", "train_clean", "test", "val")


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement of one split; MEANING below has the units."""

    iteration: int
    epoch: float
    split: str
    loss: float
    error: float
    n: int
    lr: float
    grad_norm: float
    images_per_second: float
    seconds: float


# column -> (type, meaning); the order is the order in the file. Stored as metadata inside every parquet file.
LABELS: dict[str, tuple[str, str]] = {
    "run": ("string", "name of the run: a readable slug and a hash of all that defines its result"),
    "group": ("string", "runs that differ in nothing but the seed"),
    "protocol": ("string", "groups that differ in nothing but net, shortcut, depth and width: may be compared"),
    "net": ("string", "what a block computes: a key of degrade.nets.NETS"),
    "family": ("string", "cifar: the 6n+2 nets of He et al. 2015, Sec. 4.2"),
    "shortcut": ("string", "option A | B | C of Sec. 3.3; none for plain nets"),
    "depth": ("int64", "weighted layers"),
    "width": ("int64", "channels of the first stage"),
    "seed": ("int64", "seed of initial weights, order of the data and augmentation"),
    "data": ("string", "name of the dataset"),
    "recipe": ("string", "name of the recipe"),
    "precision": ("string", "arithmetic of the training step"),
    "origin": ("string", "nothing: weights drawn at random; constructed-20: a trained net of 20 layers and identities"),
}
MEANING = LABELS | {
    "iteration": ("int64", "SGD steps done"),
    "epoch": ("float64", "passes over the training set"),
    "split": (
        "string",
        "train: mean since the last point, augmented, training mode; "
        "train_clean: evaluation mode, no augmentation; test; val",
    ),
    "loss": ("float64", "mean cross-entropy, nats"),
    "error": ("float64", "top-1 error, %"),
    "n": ("int64", "images it was measured on"),
    "lr": ("float64", "learning rate of the last step"),
    "grad_norm": ("float64", "Euclidean norm of the gradient of the loss in the last step, without weight decay"),
    "images_per_second": ("float64", "training images per second since the last point, evaluation not counted"),
    "seconds": ("float64", "wall time of the run so far, evaluation counted"),
}
TIMINGS = ("images_per_second", "seconds")  # the two columns in which a repeated run may differ
