"""How a run differs from the paper, as far as the paper says. `degrade recipe-diff` lists it."""

from typing import NamedTuple

from degrade.spec import RunSpec
from degrade.spec.rules import show

# key -> (the paper's value, where the paper says so or how we know it). Keys of which nothing is known are missing.
# The paper states these itself: a run that differs in one of them does not follow the paper's protocol.
STATED: dict[str, tuple[object, str]] = {
    "data.name": ("cifar10", "Sec. 4.2"),
    "data.train_limit": (None, "Sec. 4.2: trained on the training set"),
    "data.test_limit": (None, "Sec. 4.2: evaluated on the test set"),
    "data.normalize": ("pixel", "Sec. 4.2: the per-pixel mean subtracted"),
    "data.validation": (0, "Sec. 4.2: trained on the training set; 45k/5k only chose the schedule"),
    "net.width": (16, "Sec. 4.2: {16, 32, 64} filters"),
    "recipe.iterations": (64_000, "Sec. 4.2: terminate training at 64k iterations"),
    "recipe.batch": (128, "Sec. 4.2"),
    "recipe.lr": (0.1, "Sec. 4.2"),
    "recipe.milestones": ((0.5, 0.75), "Sec. 4.2: divided by 10 at 32k and 48k of 64k iterations"),
    "recipe.momentum": (0.9, "Sec. 4.2"),
    "recipe.nesterov": (False, "not mentioned"),
    "recipe.weight_decay": (1e-4, "Sec. 4.2"),
    "recipe.warmup": ("auto", "Sec. 4.2: ResNet-110 alone begins at 0.01"),
    "recipe.warmup_error": (80.0, "Sec. 4.2: until the training error is below 80%"),
    "recipe.norm": ("batch", "Sec. 3.4: BN right after each convolution"),
    "recipe.init": ("he", "Sec. 4.2: the initialisation of [12]"),
    "recipe.augment": ("crop_flip", "Sec. 4.2: 4 pixels padded, a crop of the padded image or its flip"),
}
_INFERRED: dict[str, tuple[object, str]] = {  # the paper is silent; what the authors most likely had
    "recipe.momentum_form": ("caffe", "the authors used Caffe, whose momentum differs after the rate changes"),
    "recipe.decay_scope": ("conv", "FAIR's README: the paper decays the weights of convolutions only"),
    "recipe.bn_group": (64, "Sec. 4.2: a mini-batch of 128 on two GPUs; that BN saw 64 is our inference"),
    "recipe.precise_bn": (True, "the authors' notes: true averages after training, said of their ImageNet nets"),
}
PAPER_SETTINGS = STATED | _INFERRED


class Deviation(NamedTuple):
    """One key whose value in a run is not the paper's."""

    key: str
    paper: str
    run: str
    source: str


def deviations(spec: RunSpec) -> list[Deviation]:
    """Lists each key of PAPER_SETTINGS that the run sets otherwise, and a net or shortcut the paper lacks on CIFAR."""
    found: list[Deviation] = []
    for key, (paper, source) in PAPER_SETTINGS.items():
        part, name = key.split(".")
        value = getattr(getattr(spec, part), name)
        if value != paper:
            key = name if part == "net" else key
            found.append(Deviation(key, show(paper), show(value), source))
    if spec.net.net not in ("plain", "residual"):
        found.append(Deviation("net", "plain, residual", spec.net.net, "Sec. 4.2; highway nets are others', Sec. 2"))
    if spec.net.shortcut in ("B", "C"):
        found.append(Deviation("shortcut", "A", spec.net.shortcut, "Sec. 4.2: option A in all cases on CIFAR-10"))
    return found


def departures(spec: RunSpec) -> list[Deviation]:
    """Lists the deviations from what the paper states. A run without departures follows the paper's protocol.

    On CIFAR-10 `recipe=paper` and `recipe=paper_strict` both follow it. They differ only where the paper is silent.
    """
    return [each for each in deviations(spec) if each.key not in _INFERRED]
