"""Every key of a run, from the specs: its value, default, unit, section of the paper, and whether it is in the name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from typing import Any, NamedTuple

from degrade.errors import SpecError
from degrade.spec import NetSpec, RunSpec
from degrade.spec.parts import CHOICES, NORMALIZES
from degrade.spec.rules import show
from degrade.spec.run import PARTS
from degrade.views.sheets import Sheet


class _About(NamedTuple):
    """What a spec does not say of a field."""

    what: str
    unit: str = ""
    section: str = ""  # of He et al. 2015


ABOUT = {
    "family": _About("kind of stages: cifar, 6n+2 layers in three stages", section="4.2"),
    "net": _About("what a block computes", section="3.3"),
    "shortcut": _About("how a shortcut changes shape; plain nets have none", section="3.3"),
    "depth": _About("weighted layers, 6n+2", "layers", "4.2"),
    "width": _About("channels of the first stage; doubled at each of the two others", "channels", "4.2"),
    "pad": _About("where option A puts its zero channels", section="3.3"),
    "gate_bias": _About("initial bias of the gates of highway nets", section="2"),
    "seed": _About("of weights, order and augmentation"),
    "data.name": _About("the dataset; say data=NAME", section="4.2"),
    "data.content": _About("fingerprint of the pictures; degrade fills it in"),
    "data.root": _About("folder of the pictures, or of a downloaded archive"),
    "data.size": _About("side of all pictures; null: the data's own", "pixels"),
    "data.test": _About("another folder as the test set; null: test/ or val/"),
    "data.url": _About("another address to download from; the checksum stays"),
    "data.label": _About("what people call the data, in figures and tables"),
    "data.skip_bad": _About("leaves unreadable pictures out"),
    "data.normalize": _About("what pixels are reduced by: pixel, the mean image; channel; or numbers", section="4.2"),
    "data.validation": _About("training pictures held out", "images", "4.2"),
    "data.train_limit": _About("a part of the training pictures; null: all", "images"),
    "data.test_limit": _About("a part of the test pictures; null: all", "images"),
    "recipe.name": _About("label of the values below; say recipe=NAME"),
    "recipe.iterations": _About("SGD steps of the whole schedule", "iterations", "4.2"),
    "recipe.batch": _About("images of a step", "images", "4.2"),
    "recipe.lr": _About("learning rate at the start", section="4.2"),
    "recipe.milestones": _About("when the rate falls to a tenth", "of all iterations", "4.2"),
    "recipe.momentum": _About("of SGD", section="4.2"),
    "recipe.momentum_form": _About("where the rate stands: torch, outside the velocity; caffe, inside"),
    "recipe.nesterov": _About("Nesterov's momentum"),
    "recipe.weight_decay": _About("of SGD", section="4.2"),
    "recipe.decay_scope": _About("which parameters decay: all, or kernels alone"),
    "recipe.warmup": _About("a tenth of the rate until the net has started; auto: deep nets with shortcuts", "", "4.2"),
    "recipe.warmup_error": _About("running training error that ends the warm-up", "%", "4.2"),
    "recipe.warmup_window": _About("between two looks at that error", "iterations, or a fraction of all"),
    "recipe.warmup_cap": _About("after which the warm-up ends in any case", "iterations, or a fraction of all"),
    "recipe.norm": _About("batch normalisation, or biases instead", section="3.4"),
    "recipe.bn_group": _About("sub-batch that batch norm normalises over; null: the batch", "images", "4.2"),
    "recipe.precise_bn": _About("true averages for batch norm before the last evaluation"),
    "recipe.init": _About("how weights are drawn", section="3.4"),
    "recipe.augment": _About("how training pictures are changed", section="4.2"),
    "recipe.eval_every": _About("between two points of the curves", "iterations"),
    "recipe.clean_images": _About("training images of the clean error; the last point uses all", "images"),
    "engine.precision": _About("of the numbers in training"),
    "engine.device": _About("auto: a GPU where there is one"),
    "engine.backend": _About("auto: the fastest that can train the run here"),
    "engine.threads": _About("CPU threads of one run", "threads"),
    "engine.deterministic": _About("on a GPU: only algorithms that repeat to the bit"),
    "engine.checkpoint_every": _About("how much training a kill can cost", "seconds (60s) or iterations (500)"),
    "engine.recompute": _About("keeps only the inputs of blocks, to save memory"),
    "engine.keep_checkpoints": _About("whose checkpoints stay", "iterations"),
    "engine.runs_per_gpu": _About("runs that one worker advances in turn", "runs"),
    "engine.same_machine": _About("goes on with a run only where its last steps were done"),
    "engine.probe": _About("between two looks at the gradients by layer; 0: none", "iterations"),
    "jobs": _About("worker processes; null: one a core, or one a GPU", "processes"),
    "results": _About("the results folder"),
}
_OF_SWEEP: dict[str, Any] = {"jobs": None, "results": "results"}
KEY_COLUMNS = {
    "key": "as on a command line",
    "value": "what a run has by the words given; what the paper's protocol has, without words",
    "default": "what a run has if nobody says anything",
    "choices": "the values that it can have, with | between, or the kind of value",
    "unit": "of the value",
    "section": "of He et al. 2015 that is about it",
    "identity": "whether its value is part of a run's name, and so of the result",
    "what": "what it is",
}


def list_fields() -> Iterator[tuple[str, Field[Any]]]:
    """Every key of a run, with the field of its spec."""
    yield from ((field.name, field) for field in fields(NetSpec))
    yield from ((field.name, field) for field in fields(RunSpec) if field.name == "seed")
    for part, kind in PARTS.items():
        yield from ((f"{part}.{field.name}", field) for field in fields(kind))


def keys(word: str, values: Mapping[str, Any]) -> Sheet:
    """The keys that have `word` in their name or their explanation. Raises SpecError where none has.

    `values`: what the command line makes of them.
    """
    records: list[dict[str, Any]] = []
    for key, field in list_fields():
        assert field.default is not MISSING
        records.append(_describe(key, values.get(key, field.default), field.default, str(field.type), field.metadata))
    records += [
        _describe(key, values.get(key, default), default, "str" if default else "int | None", {"identity": False})
        for key, default in _OF_SWEEP.items()
    ]
    found = [each for each in records if word.lower() in each["key"]]
    found = found or [each for each in records if word.lower() in f"{each['what']} {each['choices']}".lower()]
    if not found:
        close = get_close_matches(word, [each["key"] for each in records], n=1)
        way_out = f"did you mean {close[0]!r}?" if close else "`degrade keys` lists all"
        raise SpecError(f"keys {word}: no key is called so, and none speaks of it; {way_out}")
    heads = ("key", "value", "default", "unit", "Sec.", "in name", "what it is")
    return Sheet(columns=heads, rows=[_cells(each) for each in found], name="keys", records=found)


def _describe(key: str, value: Any, default: Any, kind: str, marks: Mapping[str, Any]) -> dict[str, Any]:
    choices: Sequence[str] = CHOICES.get(key, ())
    if key == "data.normalize":
        choices = (*NORMALIZES, "numbers")
    return {
        "key": key,
        "value": show(value),
        "default": show(default),
        "choices": " | ".join(choices) or _KINDS.get(kind, kind),
        "unit": ABOUT[key].unit,
        "section": ABOUT[key].section,
        "identity": bool(marks.get("identity", True)),
        "what": ABOUT[key].what,
    }


_KINDS = {"str": "text", "str | None": "text, or null", "int | None": "int, or null", "bool": "true | false"}


def _cells(record: Mapping[str, Any]) -> tuple[str, ...]:
    more = f" ({record['choices']})" if " | " in record["choices"] else ""
    named = "yes" if record["identity"] else ""
    columns = (record[name] for name in ("key", "value", "default", "unit", "section"))
    return (*columns, named, f"{record['what']}{more}")
