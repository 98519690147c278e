"""Well-known sources of other people's nets: what `--as NAME` says of a file, each fact read in the source's own code.

The class order of all of them is that of torchvision's CIFAR-10 and CIFAR-100, the order of the label files.

Not here: Keras' `cifar10_resnet.py`. Its `padding="same"` pads a strided 3x3 layer on one side only, so its nets
compute something else than the nets of Sec. 4.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Numbers = tuple[float, ...]  # means, then deviations, of each channel, in units of full scale
IMAGENET_NUMBERS: Numbers = (0.485, 0.456, 0.406, 0.229, 0.224, 0.225)
CIFAR10_NUMBERS: Numbers = (0.4914, 0.4822, 0.4465, 0.2023, 0.1994, 0.2010)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LABEL_FILES = ("cifar10", "cifar100")  # the datasets whose labels are in that order, whatever their names


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a source says in its code, and no tensor does."""

    normalize: Mapping[int, Numbers]  # classes of the net -> how its pictures are scaled
    net: str = "residual"
    pad: str | None = None  # where option A puts its zeros; None: its nets have projections
    eps: float = 1e-5  # of batch norm; all of these leave torch's default

    def names(self, classes: int) -> tuple[str, ...] | None:
        """The names of a net's classes in the order of its outputs; None where they are not ten."""
        return CIFAR10_CLASSES if classes == len(CIFAR10_CLASSES) else None


KNOWN: dict[str, Known] = {
    # akamaster/pytorch_resnet_cifar10: resnet.py (F.pad by planes//4 on both sides of the channels), trainer.py
    "akamaster": Known(pad="split", normalize={10: IMAGENET_NUMBERS}),
    # bearpaw/pytorch-classification: models/cifar/resnet.py (conv and BN in `downsample`; option B), cifar.py
    "bearpaw": Known(normalize={10: CIFAR10_NUMBERS, 100: CIFAR10_NUMBERS}),
    # chenyaofo/pytorch-cifar-models: pytorch_cifar_models/resnet.py (option B), logs/cifar10*/resnet20/default.log
    "chenyaofo": Known(normalize={10: CIFAR10_NUMBERS, 100: (0.5070, 0.4865, 0.4409, 0.2673, 0.2564, 0.2761)}),
    # junyuseu/pytorch-cifar-models: models/resnet_cifar.py (option B), main.py
    "junyuseu": Known(
        normalize={10: (0.491, 0.482, 0.447, 0.247, 0.243, 0.262), 100: (0.507, 0.487, 0.441, 0.267, 0.256, 0.276)}
    ),
    # kuangliu/pytorch-cifar: main.py. None of its own nets has 6n+2 layers; its script trains nets of others.
    "kuangliu": Known(normalize={10: CIFAR10_NUMBERS}),
    # facebookresearch/open_lth: models/cifar_resnet.py (option B), datasets/cifar10.py
    "open_lth": Known(normalize={10: IMAGENET_NUMBERS}),
}
