import pytest
import torch
from conftest import gpu, tiny
from fitting import bits, finish, taken_up

from degrade import data
from degrade.errors import SpecError
from degrade.nets import build
from degrade.spec.parts import SHORTCUTS
from degrade.train.fit import Fit
from degrade.train.recompute import recompute_block

NETS = [(net, shortcut) for net, shortcuts in SHORTCUTS.items() for shortcut in shortcuts]
VARIANTS = [{"bn_group": 5}, {"norm": "none"}, {"precise_bn": True}]  # 5: BN over 16 images as 5, 5, 5 and 1


def trained(device="cpu", **changes) -> Fit:
    spec = tiny(**changes)
    return finish(Fit(spec, data.load(spec.data), device=torch.device(device)))


def both(**changes) -> tuple[Fit, Fit]:
    """The eager backend without and with recomputation."""
    engine = {"backend": "eager", **changes.pop("engine", {})}
    return trained(engine=engine, **changes), trained(engine={**engine, "recompute": True}, **changes)


@pytest.mark.parametrize(("net", "shortcut"), NETS)
def test_recomputation_changes_no_bit_of_weights_momentum_statistics_and_curves(net, shortcut):
    kept, again = both(net=net, shortcut=shortcut)
    assert bits(kept) == bits(again)
    assert kept.spec.run == again.spec.run


@pytest.mark.parametrize("recipe", VARIANTS, ids=str)
def test_nor_do_variants_of_batch_norm(recipe):
    kept, again = both(recipe=recipe)
    assert bits(kept) == bits(again)


def test_nor_does_bf16():
    kept, again = both(engine={"precision": "bf16"})
    assert bits(kept) == bits(again)
    assert bits(again) != bits(trained(engine={"backend": "eager"}))


def test_a_run_can_be_taken_up_with_recomputation():
    spec = tiny(engine={"backend": "eager", "recompute": True})
    assert bits(taken_up(spec, 5)) == bits(trained(engine={"backend": "eager"}))


def kept_bytes(through) -> int:
    """Bytes held for the backward pass of 16 pictures, 16x16, through a net of 32 layers."""
    net = build(tiny(depth=32).net, channels=3, classes=10)
    held: dict[int, int] = {}

    def note(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        net(torch.randn(16, 3, 16, 16), through)
    return sum(held.values())


def test_of_a_block_its_input_alone_is_kept():
    assert kept_bytes(recompute_block) < kept_bytes(torch.nn.Module.__call__) / 3  # of four


def test_auto_is_then_the_eager_backend_and_native_is_refused():
    fit = Fit(tiny(engine={"recompute": True}), data.load(tiny().data), device=torch.device("cpu"))
    assert (fit.backend_name, "engine.recompute" in fit.backend_why) == ("eager", True)
    with pytest.raises(SpecError, match=r"engine\.recompute=true: .* use engine.backend=auto or eager"):
        tiny(engine={"recompute": True, "backend": "native"})


def test_a_run_that_the_kernels_began_goes_on_with_them():
    """The backend that a run began with decides its bits; the option does not."""
    first = Fit(tiny(), data.load(tiny().data), device=torch.device("cpu"))
    first.advance(3)
    second = Fit(tiny(engine={"recompute": True}), data.load(tiny().data), device=torch.device("cpu"))
    second.restore(first.state())
    assert second.backend_name == first.backend_name
    assert bits(finish(second)) == bits(finish(first))


@gpu
def test_on_a_gpu_it_takes_less_memory_and_changes_no_bit():
    peaks, fits = [], []
    for recompute in (False, True):
        torch.cuda.reset_peak_memory_stats()
        changes = {"depth": 56, "width": 16, "recipe": {"batch": 1024, "iterations": 4}}
        fits.append(trained("cuda", engine={"backend": "eager", "recompute": recompute}, **changes))
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < peaks[0] / 2
    kept, again = ([fit.points[-1].loss, fit.backend.grad_norm().item()] for fit in fits)
    assert kept == again
