"""What is measured on a net beside its errors: rows by layer and by block, and what their columns mean."""

from dataclasses import dataclass

PLACE = {
    "name": ("string", "of the module inside the net: stages.0.2.first"),
    "stage": ("int64", "0: the stem; 1, 2, 3: the stages of Sec. 4.2; 4: the last layer"),
    "block": ("int64", "place of the block in its stage, from 1; 0 outside the stages"),
}
UNDER = {
    "iteration": ("int64", "SGD steps done when it was measured"),
    "split": ("string", "the images it was measured on: train | test, as they are, without augmentation"),
    "bn": ("string", "statistics of batch normalisation: running (evaluation mode) | batch"),
}


@dataclass(frozen=True, slots=True)
class LayerResponse:
    """Responses of one 3x3 layer: its output after BN, before ReLU or addition (Sec. 4.2, Fig. 7)."""

    iteration: int
    split: str
    bn: str
    layer: int
    name: str
    stage: int
    block: int
    place: int
    std: float
    std_channel: float
    mean: float
    n: int


RESPONSES: dict[str, tuple[str, str]] = {
    **UNDER,
    "layer": ("int64", "index of the 3x3 layer, from 1 (the stem) to 6n+1, as on the x axis of Fig. 7"),
    **PLACE,
    "place": ("int64", "place of the layer in its block, from 1; 0 outside the stages"),
    "std": ("float64", "standard deviation over images, channels and positions together"),
    "std_channel": ("float64", "mean over channels of the standard deviation over images and positions"),
    "mean": ("float64", "mean over images, channels and positions"),
    "n": ("int64", "images it was measured on"),
}


@dataclass(frozen=True, slots=True)
class BlockResponse:
    """How much one block changes the signal x that comes into it; norms are over all images and positions together."""

    iteration: int
    split: str
    bn: str
    index: int
    name: str
    stage: int
    block: int
    change: float
    distance: float
    opening: float
    n: int


BLOCKS: dict[str, tuple[str, str]] = {
    **UNDER,
    "index": ("int64", "place of the block in the net, from 1 to 3n"),
    **PLACE,
    "change": ("float64", "||F(x)|| / ||x||, F being what the block's last 3x3 layer puts out"),
    "distance": ("float64", "||H(x) - x|| / ||x||, H being the block; where it changes the shape, x goes by option A"),
    "opening": (
        "float64",
        "mean opening of the shortcut: 0 in plain nets, 1 in residual nets, 1 - T(x) where a gate T decides",
    ),
    "n": ("int64", "images it was measured on"),
}


@dataclass(frozen=True, slots=True)
class LayerGradient:
    """What a probe sees of one weighted layer just before an SGD step, in training mode on that step's batch."""

    iteration: int
    layer: int
    name: str
    stage: int
    block: int
    place: int
    grad_norm: float
    weight_norm: float
    ratio: float
    std: float
    cosine: float


PROBE: dict[str, tuple[str, str]] = {
    "iteration": ("int64", "SGD steps done before; the probe sees the batch of the next one"),
    "layer": ("int64", "index of the weighted layer, from 1 (the stem) to 6n+2 (the last layer)"),
    **PLACE,
    "place": ("int64", "place of the layer in its block, from 1; 0 outside the stages"),
    "grad_norm": ("float64", "Euclidean norm of the gradient of the loss by the layer's weight"),
    "weight_norm": ("float64", "Euclidean norm of the weight"),
    "ratio": ("float64", "grad_norm / weight_norm"),
    "std": ("float64", "standard deviation of the layer's responses over images, channels and positions"),
    "cosine": ("float64", "cosine similarity of the gradients of the batch's two halves; NaN where one is 0"),
}
