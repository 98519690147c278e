"""The promises of the benchmark: fair work, right sums, and a check that notices errors. No test judges a time."""

import json
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch

from degrade import bench
from degrade.bench import cases, limit, peer, timing, writing
from degrade.bench.apart import Apart, Paced
from degrade.bench.exact import Exactness
from degrade.bench.ours import Aside, Ours, engine_of, shares
from degrade.bench.same import COMPARED_NETS, Comparison, Sameness, compare_loops, find_available
from degrade.errors import RunError, SpecError, UnavailableError
from degrade.spec import NetSpec
from degrade.train.backends import BACKENDS
from degrade.train.backends.eager import Eager

CPU = torch.device("cpu")
RECIPE = replace(cases.QUICKSTART, batch=16, iterations=20, eval_every=10)
TINY = cases.Case(8, RECIPE, channels=1, size=8, train=40, test=10)


@pytest.mark.parametrize(("depth", "giga"), [(20, 0.2424), (56, 0.752), (110, 1.517)])
def test_flops_of_a_step_are_three_forwards_less_the_first_layers_gradient_by_the_picture(depth, giga):
    assert cases.paper(depth).flops / 1e9 == pytest.approx(giga, rel=1e-3)


def test_the_quickstart_is_that_of_the_configuration():
    from degrade.sweep import expand

    with expand.hydra():
        (spec,) = expand.expand(["data=digits", "net=plain", "depth=20"], look=False).specs
    assert spec.recipe == cases.QUICKSTART


def test_the_peer_sees_every_image_once_an_epoch_and_learns(monkeypatch):
    seen, look = Counter(), peer.Pictures.__getitem__

    def counted(self, index):
        seen[index] += 1
        return look(self, index)

    monkeypatch.setattr(peer.Pictures, "__getitem__", counted)
    loop = peer.Peer(TINY, CPU, workers=0, threads=1)
    assert loop.go(3) == len(seen) == 40  # two batches of 16 and one of 8
    assert loop.go(3) == 40
    assert set(seen.values()) == {2}
    before = loop.loss
    loop.go(150)
    assert loop.loss < before
    assert 0 <= loop.accuracy <= 1


def test_the_peers_pictures_are_what_torchvision_makes_of_colours_too():
    colours = replace(TINY, channels=3, recipe=replace(RECIPE, augment="crop_flip"))
    x, y = peer.Pictures(colours.splits().train, peer.transform(colours))[0]
    assert x.shape == (3, 8, 8)
    assert isinstance(y, int)
    kinds = [type(step).__name__ for step in peer.transform(colours).transforms]
    assert kinds == ["RandomCrop", "RandomHorizontalFlip", "ToTensor", "Normalize"]


def test_our_loop_is_fit_and_counts_its_images():
    loop = Ours(TINY, engine_of("eager-fp32", "cpu", 1))
    assert loop.go(5) == 80
    assert loop.fit.iteration == 5
    assert not loop.fit.points
    aside = loop.aside()
    assert min(aside.image, aside.checkpoint, aside.curve, aside.beat) > 0


def test_a_round_takes_about_the_time_it_is_given():
    class Slow:
        def go(self, steps: int) -> int:
            self.last = steps
            return steps

    paced = Paced(Slow())
    paced.pace = 0.1
    done = paced.round(1.0)
    assert (done.steps, done.images) == (10, 10)
    paced.pace = 5.0
    assert paced.round(1.0).steps == 1


def test_shares_add_up_to_the_run():
    """By hand: 20 iterations with 2 points evaluate 40 and 40 clean images, and 2 x 10 images of the test set."""
    assert TINY.evaluated == 100
    whole = shares(TINY, 6.0, Aside(image=0.3, checkpoint=0.5, curve=2.0, beat=0.01))
    assert (whole.steps, whole.evaluation) == (120.0, pytest.approx(30.0))
    assert whole.checkpoints == pytest.approx((150 / 60 + 1) * 0.5)
    assert whole.logging == pytest.approx(2 * 2.0 + 150 * 0.01)
    parts = ("steps", "evaluation", "checkpoints", "logging")
    assert sum(whole.of(part) for part in parts) == pytest.approx(1.0)


class Doubled(Eager):
    def step(self, iteration: int) -> None:
        self.lr.mul_(2)
        super().step(iteration)


class WithoutDecay(Eager):
    def __init__(self, net, spec, batches) -> None:
        super().__init__(net, replace(spec, recipe=replace(spec.recipe, weight_decay=0.0)), batches)


class WithoutStatistics(Eager):
    def step(self, iteration: int) -> None:
        before = {name: value.clone() for name, value in self.net.named_buffers()}
        super().step(iteration)
        for name, value in self.net.named_buffers():
            value.copy_(before[name])


class NextBatch(Eager):
    def step(self, iteration: int) -> None:
        super().step(iteration + 1)


def in_this_process(loops: list[str], depth: int, steps: int) -> list[Sameness]:
    """`compare_loops` in this process, so that it sees what a test has patched."""
    return [row for net in COMPARED_NETS for row in Comparison(net, "cpu", depth, steps).compare(loops)]


def test_nets_are_compared_at_once_and_come_to_what_each_does_by_itself():
    found = compare_loops(["eager-bf16"], "cpu", depth=8, steps=8)
    assert found == in_this_process(["eager-bf16"], depth=8, steps=8)
    with pytest.raises(SpecError, match="tf32"):
        compare_loops(["eager-tf32"], "cpu", depth=8, steps=1)


WRONG = {Doubled: "update", WithoutDecay: "update", WithoutStatistics: "statistics", NextBatch: "loss"}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda kind: kind.__name__)
def test_a_backend_that_computes_something_else_is_found_out(monkeypatch, wrong):
    monkeypatch.setitem(BACKENDS, "native", wrong)
    rows = in_this_process(["eager-fp32", "native-fp32"], depth=8, steps=8)
    assert [(row.loop, row.net) for row in rows] == [
        (loop, net) for net in ("residual", "plain") for loop in ("eager-fp32", "native-fp32")
    ]
    for row in rows:
        assert row.ok is (row.loop == "eager-fp32")
        assert row.ok or getattr(row, WRONG[wrong]) > row.bounds[WRONG[wrong]]
        assert row.ok is (row.nearest <= 1)


def test_a_backend_whose_loss_is_no_number_is_not_the_same(monkeypatch):
    class Lost(Eager):
        def step(self, iteration: int) -> None:
            super().step(iteration)
            self.tally.fill_(float("nan"))

    monkeypatch.setitem(BACKENDS, "native", Lost)
    row = in_this_process(["native-fp32"], depth=8, steps=4)[0]
    assert not row.ok
    assert row.nearest == float("inf")


def test_bf16_of_the_reference_is_within_its_bounds():
    assert all(row.ok for row in in_this_process(["eager-bf16"], depth=8, steps=16))


def test_loops_that_cannot_be_had_say_why():
    had, refused = find_available(["eager-fp32", "eager-tf32"], "cpu")
    assert had == ["eager-fp32"]
    assert "needs a CUDA device" in refused["eager-tf32"]


def test_there_is_a_limit_without_compiled_kernels(monkeypatch):
    def none(precision: str) -> None:
        raise UnavailableError("no compiler")

    monkeypatch.setattr(limit.build, "kernels", none)
    found = limit.peaks(CPU, 1, 0.0, lambda what, done, total: None)
    assert set(found) == {"fp32", "bf16"}
    assert found["fp32"].flops == max(found["fp32"].all.values()) > 1e8
    assert len(found["fp32"].all) == 4


def test_the_kernels_own_measurement_counts_as_the_peak_where_it_is_best(monkeypatch):
    class Library:
        peak = staticmethod(lambda threads, seconds: 1e18)

    monkeypatch.setattr(limit.build, "kernels", lambda precision: Library())
    monkeypatch.setattr(limit, "LAYER_SHAPES", ())
    found = limit.peaks(CPU, 1, 0.0, lambda what, done, total: None)
    assert (found["fp32"].flops, found["fp32"].by) == (1e18, "multiply-adds in registers")


EXACT = (  # tests/bench/test_exact.py measures; here, what a report makes of it
    Exactness("torch-fp32", "plain-56", "fresh", 1e-7, 0.13, 1e-7, {}),
    Exactness("eager-fp32", "plain-56", "fresh", 1e-7, 0.2, 1e-7, {"loss": 4e-7, "gradient": 0.52, "statistics": 4e-7}),
)


@pytest.fixture
def short(monkeypatch):
    """Tiny cases, a short comparison, one thread."""
    monkeypatch.setattr(bench, "paper", lambda depth: replace(TINY, depth=depth))
    monkeypatch.setattr(bench, "quickstart", lambda depth: replace(TINY, depth=depth))
    quick = partial(in_this_process, depth=8, steps=16)
    monkeypatch.setattr(bench, "compare_loops", lambda loops, device, *, steps, note: quick(loops))
    monkeypatch.setattr(bench, "compare_with_float64", lambda loops, device, nets, note: [*EXACT])
    monkeypatch.setattr(limit, "LAYER_SHAPES", ())
    monkeypatch.setattr(bench, "peaks", lambda device, threads, seconds, note: limit.peaks(device, 1, 0.0, note))


def test_a_report_has_it_all(short, tmp_path):
    asked = bench.Asked(depths=(8,), only=("eager-fp32", "eager-tf32"), device="cpu", threads=1, seconds=0.01, rounds=1)
    report = bench.measure(asked, "degrade bench")
    values = json.loads(writing.as_json(report))
    assert set(values) == {
        *("format", "ok", "machine", "threads", "seconds", "rounds"),
        *("peaks", "same", "exact", "unavailable", "cases", "timed"),
    }
    assert {"device", "processor", "cores", "flags", "memory", "environment"} <= set(values["machine"])
    assert {"torch", "python", "commit", "command", "started"} <= set(values["machine"]["environment"])
    assert list(values["unavailable"]) == ["eager-tf32"]
    assert values["ok"]
    assert {"loop", "net", "loss", "update", "statistics", "first", "all", "bounds", "nearest", "ok"} == set(
        values["same"][0]
    )
    assert values["exact"][1]["bounds"]["gradient"] == 0.52
    assert values["exact"][1]["nearest"] == pytest.approx(0.2 / 0.52)
    case = values["cases"][0]
    assert case["case"]["recipe"]["batch"] == 16
    rows = {row["loop"]: row for row in case["rows"]}
    assert list(rows)[-1] == "eager-fp32"
    assert case["peer"] in list(rows)[:-1]
    assert max(row["ratio"] for name, row in rows.items() if name != "eager-fp32") == 1
    row = rows["eager-fp32"]
    assert row["images_per_second"] == pytest.approx(16 / row["step"])
    assert row["of_limit"] == pytest.approx(row["images_per_second"] * case["flops"] / values["peaks"]["fp32"]["flops"])
    assert 50e6 < row["memory"] < 50e9
    assert row["run"] == pytest.approx(sum(row["shares"].values()))
    md, js = writing.save(report, tmp_path / "new")
    assert md.stem == js.stem == f"{values['machine']['environment']['started'][:10]}-{report.machine.slug}"
    text = md.read_text()
    assert "plain-56, fresh: fp32 itself ends here; its gradient is 13 % off, and only BN is judged" in text
    for words in ("| eager-fp32 |", "not here: eager-tf32", "target, below 5 %", "peak in fp32", "| peer, 0 workers |"):
        assert words in text
    assert json.loads(js.read_text()) == values


def test_the_short_form_checks_and_judges_no_time(short, here):
    done = here("bench", "--check", "--only", "eager-fp32,eager-bf16", "--threads", "1", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    for words in ("eager-fp32: goes", "peer, 0 workers: goes", "bound, bf16"):
        assert words in done.stdout
    assert "images/s" not in done.stdout
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()[3:]) <= 80


def test_what_is_not_the_same_ends_with_code_1(short, here, monkeypatch):
    monkeypatch.setitem(BACKENDS, "native", Doubled)
    monkeypatch.setattr(bench, "time_case", lambda case, *_: timing.Measured(case, case.flops, (), {}))
    monkeypatch.setattr(timing.Measured, "peer", timing.Row("peer", *[0.0] * 3, (), *[0.0] * 3, 0, 0.0, None))
    done = here("bench", "--check", "--only", "native-fp32", "--device", "cpu", "--json", "-")
    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False
    done = here("bench", "--check", "--only", "native-fp32", "--device", "cpu", "--json", "found.json")
    assert done.returncode == 1
    assert "NO" in done.stdout


def test_what_is_further_from_float64_than_its_bound_ends_with_code_1(short, here, monkeypatch):
    far = replace(EXACT[1], statistics=2e-5)
    monkeypatch.setattr(bench, "compare_with_float64", lambda loops, device, nets, note: [EXACT[0], far])
    done = here("bench", "--check", "--only", "eager-fp32", "--threads", "1", "--device", "cpu")
    assert done.returncode == 1
    assert "5000 %  NO" in done.stdout
    done = here("bench", "--check", "--only", "eager-fp32", "--device", "cpu", "--format", "csv")
    assert done.returncode == 1


def test_a_loop_that_cannot_be_made_and_one_that_dies_say_so():
    with Apart(partial(Ours, TINY, engine_of("eager-tf32", "cpu", 1))) as apart, pytest.raises(SpecError, match="tf32"):
        apart.ask("warm", 0.01)
    with Apart(partial(exit, 3)) as apart, pytest.raises(RunError, match="died"):
        apart.ask("warm", 0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        "--depth=21",
        "--float64=plain-21",
        "--float64=plain",
        "--depth=x",
        "--depth=",
        "--only=eager-fp33",
        "--rounds=0",
        "--seconds=0",
        "--threads=0",
    ]
    + ["--device=tpu"]
    + ([] if torch.cuda.is_available() else ["--device=cuda", "--only=eager-tf32"]),
)
def test_what_cannot_be_is_refused_in_one_line(here, wrong):
    done = here("bench", wrong)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("degrade: ")


def test_flops_count_any_shape():
    assert cases.flops(NetSpec(depth=20, shortcut="B"), 3, 32) > cases.flops(NetSpec(depth=20), 3, 32)
