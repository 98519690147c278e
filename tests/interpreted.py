"""Compares the fused step with torch's in float64, in Triton's interpreter. It runs in a process of its own.

Prints JSON: case -> quantity -> relative distance. TRITON_INTERPRET=1 must be set before Triton is loaded.
"""

import itertools
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from conftest import tiny
from fitting import bits, finish, start, taken_up
from noise import batches
from torch import Tensor, nn

from degrade import nets
from degrade.nets.norms import SubBatchNorm
from degrade.spec import EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.train.backends import BACKENDS
from degrade.train.backends.compare import find_wrong, measure_distances
from degrade.train.backends.eager import Eager
from degrade.train.backends.fused import Fused, fingerprint
from degrade.train.backends.fused import norm as fused
from degrade.train.backends.graph import Act
from degrade.train.layout import LAYOUTS

fused._PROGRAMS, fused._TILE = 4, 1024  # so that few values are many blocks of each program
# channels that are no power of 2, more than a tile has, or one; places that do not fill a block, and that fill many
SHAPES = ((4, 16, 9, 7), (3, 10, 4, 4), (2, 96, 5, 5), (5, 1, 3, 2))
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
STEPS: dict[str, tuple[NetSpec, RecipeSpec]] = {
    "plain-8": (NetSpec(net="plain", depth=8, width=4), RecipeSpec(batch=16)),
    "plain-20": (NetSpec(net="plain", depth=20, width=4), RecipeSpec(batch=16)),
    "residual-A-8": (NetSpec(depth=8, width=5), RecipeSpec(batch=16)),
    "residual-A-20": (NetSpec(depth=20, width=4), RecipeSpec(batch=16, momentum_form="caffe", nesterov=True)),
    "residual-B-8": (NetSpec(depth=8, width=4, shortcut="B"), RecipeSpec(batch=16, decay_scope="conv")),
    "residual-C-8": (NetSpec(depth=8, width=4, shortcut="C"), RecipeSpec(batch=16)),
    "highway-B-8": (NetSpec(net="highway", depth=8, width=4, shortcut="B"), RecipeSpec(batch=16)),
    "in sub-batches": (NetSpec(depth=8, width=4, shortcut="C"), RecipeSpec(batch=17, bn_group=8)),  # 8 and 9
}
LR = 0.05


def far(ours: Tensor, right: Tensor) -> float:
    return float((ours.detach().double() - right.detach()).norm() / right.detach().norm().clamp(min=1e-30))


def compare_norm(shape: tuple[int, ...], form: str, dtype: torch.dtype, *, adds: bool, relu: bool) -> dict[str, float]:
    draw = torch.Generator().manual_seed(0)
    layer = nn.BatchNorm2d(shape[1])
    nn.init.uniform_(layer.weight, 0.5, 1.5, generator=draw)
    nn.init.uniform_(layer.bias, -1, 1, generator=draw)
    exact = nn.BatchNorm2d(shape[1]).double()
    exact.load_state_dict(layer.state_dict())
    mean = 1 if relu else 100  # far from 0, sums of squares would lose the variance
    x, add, dy = (torch.randn(shape, generator=draw) * scale + at for scale, at in ((3, mean), (1, 0), (1, 0)))
    x, add = (each.to(dtype).contiguous(memory_format=FORMATS[form]).requires_grad_() for each in (x, add))
    dy = dy.to(dtype)
    right_x, right_add = (each.detach().double().requires_grad_() for each in (x, add))
    y, right = fused.norm(x, layer, add if adds else None, relu=relu), exact(right_x)
    right = right + right_add if adds else right
    right = F.relu(right) if relu else right
    y.backward(dy)
    right.backward(dy.double())
    assert (y.stride(), y.dtype) == (x.stride(), dtype)
    pairs = {"y": (y, right), "dx": (x.grad, right_x.grad), "running mean": (layer.running_mean, exact.running_mean)}
    pairs |= {"dweight": (layer.weight.grad, exact.weight.grad), "dbias": (layer.bias.grad, exact.bias.grad)}
    pairs |= {"running var": (layer.running_var, exact.running_var)}
    pairs |= {"dadd": (add.grad, right_add.grad)} if adds else {}
    return {key: far(*pair) for key, pair in pairs.items()}


def pretend(act: Act) -> Act:
    """In the place of a capture."""
    act()
    return act


def compare_step(
    make: Callable[..., Any], net: NetSpec, recipe: RecipeSpec, layout: str, precision: str
) -> dict[str, float]:
    """A step of SGD of a backend and an evaluation after it, beside the eager backend in float64."""
    spec = RunSpec(net=net, recipe=recipe, engine=EngineSpec(precision=precision))
    ours, exact = (nets.build(net, channels=3, classes=10, seed=1, bn_group=recipe.bn_group) for _ in range(2))
    exact.double().register_forward_pre_hook(lambda _, given: (given[0].double(),))
    drawn = batches(spec, size=9, width=8)
    found = make(ours, spec, drawn, layout=layout)
    right = Eager(exact, RunSpec(net=net, recipe=recipe), drawn)
    begin = {key: value.double() for key, value in found.state()["net"].items()}
    for backend in (found, right):
        backend.lr.fill_(LR)
        backend.step(1)
    states = found.state(), right.state()
    moved = [{key: value.double() - begin[key] for key, value in state["net"].items()} for state in states]
    measured = [backend.evaluate(drawn.images, 3, 60)[0] for backend in (found, right)]

    def compare(ours: dict[str, Tensor], right: dict[str, Tensor], words: str) -> float:
        keys = [key for key in right if words in key]
        return far(*(torch.cat([each[key].flatten() for key in keys]) for each in (ours, right)))

    weights = [{key: each[key] for key in states[0]["momentum"]} for each in moved]
    return {
        "loss": far(*(state["tally"][0] for state in states)),
        "momentum": compare(*(state["momentum"] for state in states), ""),
        "weights": compare(*weights, ""),
        "means": compare(*moved, "running_mean"),
        "variances": compare(*moved, "running_var"),
        "counts": compare(*moved, "num_batches_tracked"),
        "evaluation": far(*measured),
    }


def find_bits() -> dict[str, bool]:
    """Whether a run taken up anywhere ends as one at once, and says by what it was computed."""
    BACKENDS["fused"] = partial(Fused, capture=pretend)
    spec = tiny(engine={"backend": "fused"}, recipe={"precise_bn": True})
    whole = finish(start(spec))
    state = whole.state()
    other = start(spec)
    other.begin_in(next(each for each in LAYOUTS if each != state["layout"]))
    torchs = finish(start(tiny(engine={"backend": "eager"}, recipe={"precise_bn": True})))
    return {
        "taken up": all(bits(taken_up(spec, kill)) == bits(whole) for kill in (0, 7)),
        "in the other layout": bits(finish(other)) != bits(whole),
        "not torch": bits(torchs) != bits(whole),
        "backend": state["backend"] == "fused",
        "kernels": state["machines"][0][-1] == fingerprint(),
    }


def refuses_one_value() -> bool:
    """One value has no variance: torch refuses it too."""
    x = torch.zeros(1, 3, 1, 1)
    try:
        fused.norm(x, nn.BatchNorm2d(3))
    except ValueError as error:
        return "more than one value a channel" in str(error)
    return False


def counts_as_torch() -> bool:
    layers = [SubBatchNorm(3, 4).train() for _ in range(2)]
    x = torch.randn(9, 3, 2, 2)
    layers[0](x)
    for part in (x[:4], x[4:]):
        fused.norm(part, layers[1])
    return int(layers[0].num_batches_tracked) == int(layers[1].num_batches_tracked) == 2


def find_mistakes() -> dict[str, str]:
    """What the check at the first contact with a GPU finds: nothing, and each of a few mistakes."""
    found: dict[str, str] = {}
    launch = fused._launch

    def mistaken(kernel: Any, *given: Any, **constants: Any) -> None:
        if kernel is fused.kernels.normalise and mistake == "averages":
            given = (*given[:-1], 0.0)  # momentum
        if mistake == "relu" and "adds" in constants:
            constants["relu"] = constants["relu"] and not constants["adds"]
        launch(kernel, *given, **constants)
        if kernel is fused.kernels.differentiate and mistake == "gradient":
            given[9].mul_(1.1)  # dx

    fused._launch = mistaken
    for mistake in ("", "averages", "relu", "gradient"):
        distances = measure_distances(partial(Fused, capture=pretend), "fp32", torch.device("cpu"))
        found[mistake] = find_wrong(distances, "fp32")
    fused._launch = launch
    return found


if __name__ == "__main__":
    torch.manual_seed(0)
    distances: dict[str, Any] = {}
    for shape, form, dtype in itertools.product(SHAPES, FORMATS, (torch.float32, torch.bfloat16)):
        for adds, relu in ((False, False), (False, True), (True, True)):
            name = f"{'x'.join(map(str, shape))} {form} {dtype} {'add ' * adds}{'relu' * relu}"
            distances[name] = compare_norm(shape, form, dtype, adds=adds, relu=relu)
    fused._TILE = 1 << 15  # few blocks, to save time
    step = partial(Fused, capture=pretend)
    for (name, case), layout in zip(STEPS.items(), itertools.cycle(LAYOUTS), strict=False):
        distances[f"step {name} {layout} fp32"] = compare_step(step, *case, layout, "fp32")
    for kind, make in (("fused", step), ("eager", Eager)):
        distances[f"bf16 {kind}"] = compare_step(make, *STEPS["residual-C-8"], LAYOUTS[0], "bf16")
    told = {**find_bits(), "one value": refuses_one_value(), "counts": counts_as_torch()}
    print(json.dumps({"distances": distances, "told": told, "mistakes": find_mistakes()}))
