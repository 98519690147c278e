"""Fit: one training. It goes forward by a stated number of steps, and can stop and go on anywhere."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, fields, replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from degrade.data.batches import Batches, Resident, scale_of
from degrade.data.images import Splits
from degrade.errors import RunError, SpecError
from degrade.nets import build
from degrade.nets.norms import split_batch
from degrade.spec import RunSpec
from degrade.spec.rows import LayerGradient, Point
from degrade.store.state import UNMARKED_LAYOUT
from degrade.train.backends import BACKENDS, choose
from degrade.train.checkpoint import check, parse_rows, read_probe
from degrade.train.layout import check_layout
from degrade.train.precision import settle
from degrade.train.probe import probe
from degrade.train.processor import Stretch, join, pick_device
from degrade.train.schedule import Warmup, judge, look_due, lr_at, point_due

CHECKPOINT_FORMAT = 1  # of state(); a newer one is refused
_values_of = attrgetter(*(f.name for f in fields(LayerGradient)))  # astuple takes four times as long, and rows are many


class Fit:
    """The training of one RunSpec. `advance` returns points; saving, printing and stopping are the caller's.

    `stop` is polled before every step and every evaluation batch. Once it says True, `advance` returns early; the next
    `advance` repeats an evaluation that was cut short. Equal states lead to equal bits (on a CPU, with the same number
    of threads).
    """

    def __init__(
        self,
        spec: RunSpec,
        splits: Splits,
        *,
        device: torch.device | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.spec, self.stop = spec, stop
        self.device = device or pick_device(spec.engine.device)
        settle(spec.engine.precision, self.device, deterministic=spec.engine.deterministic)
        self.threads = spec.engine.threads
        train, test, val = splits
        scale = scale_of(train, spec.data.normalize)
        self.train, self.test = Resident(train, scale, self.device), Resident(test, scale, self.device)
        self.clean = Resident(train.limit(spec.recipe.clean_images), scale, self.device)
        self.val = None if val is None else Resident(val, scale, self.device)
        self.batches = Batches(self.train, batch=spec.recipe.batch, seed=spec.seed, augment=spec.recipe.augment)
        self.classes = len(train.classes)
        self._use(spec.engine.backend)
        self.points: list[Point] = []
        self.probes: list[LayerGradient] = []
        self.iteration, self.diverged = 0, False
        self.warmup = Warmup(None) if spec.recipe.warms_up(spec.net) else Warmup()
        self._tally = [0.0, 0.0]  # the backend's tally at the last point: loss, mistakes
        self._cut = False  # whether `stop` cut the evaluation short
        self._looked = (0, 0.0)  # iteration and mistakes at the last look at the warm-up
        self.seconds, self._training = 0.0, 0.0  # of the whole run; of the steps since the last point
        self._grad_norm = 0.0  # of the last step before a point; the state holds no gradients

    def _use(self, name: str) -> None:
        """Builds a new net on the backend of that name."""
        recipe, channels = self.spec.recipe, self.train.pixels.shape[1]
        net = build(
            self.spec.net,
            channels=channels,
            classes=self.classes,
            seed=self.spec.seed,
            init=recipe.init,
            norm=recipe.norm,
            bn_group=recipe.bn_group,
        )
        self.backend, self.backend_name, self.backend_why, self.measured = choose(name, net, self.spec, self.batches)
        self.here = Stretch.observe(self.device, self.backend.fingerprint)
        self.machines = [self.here]  # that computed the run, by iteration

    def _use_again(self, name: str) -> None:
        """Goes back to the backend that the run began with: another backend would end with other bits."""
        try:
            self._use(name)
        except SpecError as error:
            why = str(error).removesuffix("; use engine.backend=auto")
            rule = "go on where it can be had, or remove its checkpoints to train the run anew"
            raise SpecError(f"{self.spec.run}: began with another backend: {why}; {rule}") from None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: all steps and the last evaluation are done, or the run diverged."""
        return self.diverged or (self.iteration == self.spec.recipe.iterations and not self._due)

    @property
    def outcome(self) -> str:
        """`diverged`, `not started` or "": a flag on a result, never a reason to drop it.

        Not started: from a tenth of the schedule on, the running training error was never 5 % below chance.
        """
        if self.diverged:
            return "diverged"
        late = [p for p in self.points if p.split == "train" and p.iteration * 10 >= self.spec.recipe.iterations]
        chance = 100 * (1 - 1 / self.classes)
        return "not started" if late and all(p.error > 0.95 * chance for p in late) else ""

    def advance(self, steps: int) -> list[Point]:
        """Does up to `steps` steps and the evaluations that fall due; returns the new points."""
        if self.device.type == "cpu" and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        known = len(self.points)
        begin = self._measure(time.perf_counter())
        while steps > 0 and not self.done and not self._due and not self.stop():
            begin = self._probe(begin)
            self.backend.lr.fill_(lr_at(self.spec.recipe, self.iteration, self.warmup))
            self.backend.step(self.iteration)
            self.iteration += 1
            steps -= 1
            self._look()
            if self._due:
                self._grad_norm = self.backend.grad_norm().item()
                begin = self._measure(begin)
        self._spend(begin, training=True)
        return self.points[known:]

    @property
    def lr(self) -> float:
        """The learning rate of the last step; before any step, of the first."""
        return lr_at(self.spec.recipe, max(0, self.iteration - 1), self.warmup)

    @property
    def _due(self) -> bool:
        measured = self.points[-1].iteration if self.points else 0
        return point_due(self.spec.recipe, self.iteration) and measured != self.iteration

    def _look(self) -> None:
        """Ends the warm-up where its condition holds. This is the only wait for the device between two points."""
        recipe = self.spec.recipe
        if look_due(recipe, self.iteration, self.warmup):
            wrong, (since, before) = self.backend.tally[1].item(), self._looked
            error = 100 * (wrong - before) / ((self.iteration - since) * recipe.batch)
            self.warmup, self._looked = judge(recipe, self.iteration, error), (self.iteration, wrong)

    def _spend(self, begin: float, *, training: bool) -> float:
        """Books the time since `begin`; returns now."""
        now = time.perf_counter()
        self.seconds += now - begin
        self._training += (now - begin) * training
        return now

    def book_wait(self, seconds: float) -> None:
        """Books time between two calls of `advance` as training: other runs advanced, or a GPU did its queued work.

        So the images per second of a run are those that it had beside the other runs.
        """
        self.seconds += seconds
        self._training += seconds

    def _probe(self, begin: float) -> float:
        """Probes the gradients of the next step where engine.probe says so; returns now. Changes no bit of the step."""
        every = self.spec.engine.probe
        if not every or self.iteration % every:
            return begin
        self.backend.tally.tolist()  # waits for the device, so that the steps before count as training
        begin = self._spend(begin, training=True)
        self.probes += probe(self.backend.copy(), *self.batches.at(self.iteration), self.iteration, self.backend.layout)
        return self._spend(begin, training=False)

    def _measure(self, begin: float) -> float:
        """Adds the points of this iteration, if they are due and `stop` lets the evaluation finish; returns now."""
        if not self._due:
            return begin
        tally = self.backend.tally.tolist()  # waits for the device
        loss, wrong = (now - before for now, before in zip(tally, self._tally, strict=True))
        begin = self._spend(begin, training=True)
        last = self.points[-1].iteration if self.points else 0
        steps, n = self.iteration - last, (self.iteration - last) * self.spec.recipe.batch
        self.diverged, self._cut = not math.isfinite(loss), False
        whole = self.diverged or self.iteration == self.spec.recipe.iterations
        if whole and self.spec.recipe.precise_bn and not self.diverged:
            self.backend.average_statistics(self._clean_batches())
        measured = self._evaluate_splits(whole=whole)
        now = self._spend(begin, training=False)
        if self._cut:
            self.diverged = False  # the repeated evaluation finds it again
            return now
        speed = steps * self.spec.recipe.batch / self._training if self._training else 0.0
        self._note({"train": (loss / n, 100 * wrong / n, n), **measured}, speed)
        self._tally, self._training = tally, 0.0
        return now

    def _evaluate_splits(self, *, whole: bool) -> dict[str, tuple[float, float, int]]:
        """split -> (mean loss, error, images); `whole`: train_clean is all training images."""
        splits = {"train_clean": self.train if whole else self.clean, "test": self.test, "val": self.val}
        return {split: self._evaluate(images) for split, images in splits.items() if images is not None}

    def _note(self, measured: Mapping[str, tuple[float, float, int]], images_per_second: float = 0.0) -> None:
        for split, (loss, error, images) in measured.items():
            self.points.append(
                Point(
                    iteration=self.iteration,
                    epoch=self.iteration * self.spec.recipe.batch / len(self.train),
                    split=split,
                    loss=loss,
                    error=error,
                    n=images,
                    lr=self.lr,
                    grad_norm=self._grad_norm,
                    images_per_second=images_per_second,
                    seconds=self.seconds,
                )
            )

    def begin_from(self, net: Mapping[str, Tensor]) -> None:
        """Starts from the weights and statistics of a state_dict, and adds their points at iteration 0.

        These have no running training error, since no step was done.
        """
        assert self.iteration == 0
        self.backend.restore({**self.backend.state(), "net": net})
        self._note(self._evaluate_splits(whole=True))

    def begin_in(self, layout: str) -> None:
        """Starts in another layout than runs that begin here have. Raises RunError for a layout that is none."""
        self.backend.restore({**self.backend.state(), "layout": check_layout(layout)})

    def _clean_batches(self) -> Iterator[Tensor]:
        """Yields all training images as they are, as many at once as BN sees; ends early if `stop` says so."""
        recipe, everything = self.spec.recipe, torch.arange(len(self.train), device=self.device)
        for index in split_batch(everything, min(recipe.bn_group or recipe.batch, recipe.batch)):
            self._cut = self._cut or self.stop()
            if self._cut:
                return
            yield self.train.clean(index)[0]

    def _evaluate(self, images: Resident) -> tuple[float, float, int]:
        """(mean loss in nats, error in %, images); meaningless where `stop` cut it short."""
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        for start, stop in images.spans():
            self._cut = self._cut or self.stop()
            if self._cut:
                break
            sums += self.backend.evaluate(images, start, stop)
        loss, wrong = sums.tolist()
        return loss / len(images), 100 * wrong / len(images), len(images)

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on, and the points so far, as tensors and plain values."""
        return {
            "format": CHECKPOINT_FORMAT,
            "run": self.spec.run,
            "spec": self.spec.tree(),  # so that a checkpoint says by itself what net it holds
            "iteration": self.iteration,
            "diverged": self.diverged,
            "seconds": self.seconds,
            "training": self._training,
            "grad_norm": self._grad_norm,
            "warmup": list(astuple(self.warmup)),
            "looked": list(self._looked),
            "tally_at_point": self._tally,
            "points": [list(astuple(p)) for p in self.points],
            "probes": [list(_values_of(row)) for row in self.probes],
            "backend": self.backend_name,
            "threads": self.threads,
            "machines": [list(astuple(each)) for each in self.machines],
            **self.backend.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes back to `state`, with the backend, the threads, the layout and the probe that the run began with: half a
        probe would pass for a whole one. Another machine is noted in `machines`, unless the run is done.

        Raises RunError for a state of another run or one that `state` did not return, NewerError for a state of a newer
        degrade, and SpecError where the backend cannot be had.
        """
        check(state, self.state(), self.spec.recipe.iterations)
        (warmup,) = parse_rows(Warmup, [state.get("warmup")], "warmup")
        points = parse_rows(Point, state.get("points"), "points")
        probes = parse_rows(LayerGradient, state.get("probes", []), "probes")
        machines = parse_rows(Stretch, state.get("machines", []), "machines") or [Stretch()]
        if state["backend"] not in BACKENDS:
            raise RunError(f"its backend cannot be {state['backend']!r}")
        if state["backend"] != self.backend_name:
            self._use_again(state["backend"])
        self.backend.restore({"layout": UNMARKED_LAYOUT, **state})
        self.threads, self.iteration, self.diverged = state["threads"], state["iteration"], state["diverged"]
        self.seconds, self._training, self._grad_norm = state["seconds"], state["training"], state["grad_norm"]
        self._looked, self._tally = tuple(state["looked"]), list(state["tally_at_point"])
        self.warmup, self.points, self.probes = warmup, points, probes
        if self.iteration:
            self.spec = replace(self.spec, engine=replace(self.spec.engine, probe=read_probe(state)))
        self.machines = machines if self.done else join(machines, self.here.at(self.iteration))
