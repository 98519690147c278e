"""The layout of a run: contiguous on a CPU from now on, and what a run began with for its whole life."""

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import ON_CPU, missing, tiny
from fitting import bits, finish, start
from places import GOLDEN
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from degrade import nets
from degrade.errors import RunError
from degrade.experiments.identity.learn import learn
from degrade.experiments.identity.trial import Trial
from degrade.spec import NetSpec, RunSpec
from degrade.spec.parts import SHORTCUTS
from degrade.store.folder import RunDir
from degrade.store.state import UNMARKED_LAYOUT, State
from degrade.train import run
from degrade.train.checkpoint import unpack
from degrade.train.fit import Fit
from degrade.train.layout import CONTIGUOUS, to_channels_last
from degrade.train.probe import probe


def unmarked(state: dict[str, Any]) -> dict[str, Any]:
    """A state as 0.1.0 wrote it."""
    return {key: value for key, value in state.items() if key != "layout"}


def old(spec: RunSpec) -> Fit:
    """A run as 0.1.0 began it."""
    fit = start(spec)
    fit.begin_in(UNMARKED_LAYOUT)
    return fit


@pytest.mark.parametrize("net", SHORTCUTS)
@pytest.mark.parametrize("kill", [0, 3, 7])
def test_a_run_of_0_1_0_goes_on_in_its_layout_bit_for_bit(net, kill):
    spec = tiny(
        net=net, shortcut=SHORTCUTS[net][-1], recipe={"precise_bn": True}, engine={"backend": "eager", "probe": 4}
    )
    first, second = old(spec), start(spec)
    first.advance(kill)
    second.restore(unmarked(first.state()))
    whole = finish(old(spec))
    assert bits(finish(second)) == bits(whole) != bits(finish(start(spec)))
    assert second.probes == whole.probes


@pytest.mark.skipif(bool(missing("fp32")), reason="no kernels")
def test_what_torch_does_beside_the_kernels_goes_on_in_the_layout_too():
    spec = tiny(recipe={"precise_bn": True}, engine={"backend": "native", "probe": 4})
    first, second = old(spec), start(spec)
    first.advance(7)
    second.restore(unmarked(first.state()))
    whole = finish(old(spec))
    assert bits(finish(second)) == bits(whole) != bits(finish(start(spec)))
    assert second.probes == whole.probes != finish(start(spec)).probes


@pytest.mark.parametrize("layout", [CONTIGUOUS, UNMARKED_LAYOUT])
def test_the_gradient_of_a_layout_is_that_of_torch_in_it_bit_for_bit(layout):
    spec = tiny(net="residual", shortcut="B", recipe={"weight_decay": 0.0}, engine={"backend": "eager"})
    fit, form = old(spec), torch.contiguous_format if layout == CONTIGUOUS else torch.channels_last
    fit.begin_in(layout)
    net, (x, y) = nets.build(spec.net, channels=1, classes=10).to(memory_format=form), fit.batches.at(0)
    F.cross_entropy(net(x.contiguous(memory_format=form)), y).backward()
    fit.advance(1)
    momentum = fit.state()["momentum"]
    for name, p in net.named_parameters():
        assert p.grad is not None
        assert torch.equal(momentum[name], p.grad), name


@pytest.mark.parametrize("layout", [CONTIGUOUS, UNMARKED_LAYOUT])
def test_from_one_seed_the_same_losses_as_when_this_was_written(layout):
    """Guards the numerics of each layout; in such a short run the two differ after the sixth digit."""
    fit = start(tiny(depth=14, recipe={"iterations": 20}, engine={"backend": "eager"}))
    fit.begin_in(layout)
    assert [p.loss for p in finish(fit).points] == pytest.approx(
        json.loads((GOLDEN / "losses.json").read_text()), rel=0.02
    )


@pytest.mark.parametrize("backend", ON_CPU)
def test_a_run_that_begins_on_a_cpu_is_marked_contiguous_in_checkpoint_and_state(tmp_path, backend):
    spec = tiny(engine={"backend": backend})
    run.run([spec], tmp_path)
    folder = RunDir(tmp_path, spec.run)
    assert unpack(folder.checkpoint.read_bytes())["layout"] == folder.read_state().layout == CONTIGUOUS


def test_a_run_whose_state_plans_a_layout_begins_in_it(tmp_path):
    spec = tiny(engine={"backend": "eager"})
    folder = RunDir(tmp_path, spec.run)
    folder.path.mkdir(parents=True)
    folder.write_state(State("new", layout=UNMARKED_LAYOUT))
    run.run([spec], tmp_path)
    assert unpack(folder.checkpoint.read_bytes())["layout"] == folder.read_state().layout == UNMARKED_LAYOUT


def test_a_layout_that_is_none_is_refused():
    state = start(tiny()).state()
    for layout in ("sideways", None, 3):
        with pytest.raises(RunError, match="its layout cannot be"):
            start(tiny()).restore({**state, "layout": layout})
    with pytest.raises(RunError, match="its layout cannot be 'sideways'"):
        start(tiny()).begin_in("sideways")


class Seen:
    """Counts the batch norms in float32 that sum over a batch, and those that sum over channels-last tensors."""

    def __init__(self) -> None:
        self.all = self.channels_last = 0

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.BatchNorm2d) and module.training and inputs[0].dtype == torch.float32:
            self.all += 1
            self.channels_last += not inputs[0].is_contiguous()


@pytest.fixture
def seen():
    watch = Seen()
    handle = register_module_forward_pre_hook(watch)
    yield watch
    handle.remove()


RUNS = [
    *({"net": net, "shortcut": option} for net, options in SHORTCUTS.items() for option in options),
    {"recipe": {"bn_group": 8, "precise_bn": True}},
    {"engine": {"backend": "eager", "recompute": True}},
    {"engine": {"backend": "eager", "precision": "bf16", "probe": 5}},
    *([] if missing("fp32") else [{"recipe": {"precise_bn": True}, "engine": {"backend": "native", "probe": 5}}]),
]


@pytest.mark.parametrize("changes", RUNS, ids=str)
def test_no_batch_norm_of_a_run_on_a_cpu_sums_over_channels_last_tensors(seen, changes):
    """There torch sums in float32, value by value. bf16 is apart: its own rounding is far greater, so its steps do."""
    finish(start(tiny(**{"engine": {"backend": "eager", "probe": 5}, "recipe": {"precise_bn": True}, **changes})))
    assert seen.all > 0
    assert seen.channels_last == 0


def test_no_batch_norm_of_the_identity_experiment_sums_over_channels_last_tensors(seen):
    learn(Trial(blocks=2, steps=10, width=4))
    assert seen.all > 0
    assert seen.channels_last == 0


def test_a_run_of_0_1_0_is_seen_by_this_test(seen):
    finish(old(tiny(engine={"backend": "eager"})))
    assert seen.channels_last == seen.all > 0


@pytest.mark.parametrize(("layout", "near"), [(CONTIGUOUS, True), (UNMARKED_LAYOUT, False)])
def test_a_probe_at_the_papers_shape_is_near_to_float64_in_the_layout_of_today_alone(layout, near):
    spec, draws = NetSpec(net="plain", depth=8), torch.Generator().manual_seed(0)
    x, y = torch.randn(128, 3, 32, 32, generator=draws), torch.randint(0, 10, (128,), generator=draws)
    right = probe(nets.build(spec, channels=3, classes=10).double(), x.double(), y)
    rows = probe(nets.build(spec, channels=3, classes=10), x, y, layout=layout)
    worst = max(abs(row.std - exact.std) / exact.std for row, exact in zip(rows, right, strict=True))
    assert (worst < 1e-6) is near


def test_evaluation_is_channels_last_in_the_strides_of_one_channel_too():
    for channels in (1, 3):
        x = torch.randn(5, channels, 6, 4)
        y = to_channels_last(x)
        assert torch.equal(x, y)
        assert y.stride() == (24 * channels, 1, 4 * channels, channels)


def test_old_runs_and_new_runs_evaluate_to_the_same_bits_from_the_same_weights():
    """BN sums nothing in evaluation mode, so both are channels last there."""
    spec = tiny(engine={"backend": "eager"})
    first, second = old(spec), start(spec)
    first.advance(4)
    second.restore({**first.state(), "layout": CONTIGUOUS})
    sums = [fit.backend.evaluate(fit.test, 0, 50) for fit in (first, second)]
    assert torch.equal(*sums)


def test_a_spec_and_so_a_name_holds_no_layout():
    """So 0.1.0 opens the spec of a run that began today."""
    assert "layout" not in json.dumps(tiny().tree())
