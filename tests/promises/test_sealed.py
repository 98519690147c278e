"""Files whose checksums are right and whose values no run has: anybody can seal. One line that names file and key."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from ended import reseal
from generated import ended, lay
from rich.console import Console

import degrade
from degrade import figures
from degrade.errors import RunError, SpecError
from degrade.experiments.identity import grid
from degrade.experiments.identity.trial import Copied, Trial
from degrade.experiments.trained import open_net
from degrade.spec import EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.spec.rows import BlockResponse, LayerResponse
from degrade.spec.run import OriginSpec
from degrade.store import parquet
from degrade.store.folder import RunDir, write_json
from degrade.store.parquet import CURVES, TABLES
from degrade.store.state import State
from degrade.train.checkpoint import pack, unpack
from degrade.train.fit import CHECKPOINT_FORMAT
from degrade.views import live, terminal

RUN = ended(RunSpec(net=NetSpec(net="plain", depth=8)), 5.0, 9.0)
OTHER = ended(RunSpec(net=NetSpec(net="plain", depth=14)), 6.0, 9.5)
HALF = "\ud800"


@pytest.fixture
def folder(tmp_path) -> RunDir:
    """One of two runs."""
    lay([RUN, OTHER], tmp_path / "theirs")
    return RunDir(tmp_path / "theirs", RUN.spec.run)


def expect_one_line(done, *words: str) -> None:
    """Exit 2, and one line that has all the words."""
    assert (done.returncode, done.stdout.count("Traceback")) == (2, 0), done.stderr
    assert (done.stderr.count("\n"), done.stderr.startswith("degrade: ")) == (1, True), done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr


def state(folder: RunDir, **changes: Any) -> None:
    write_json(folder.state, folder.read_state().tree() | changes)


def columns(path: Path, schema: Any, **values: Any) -> None:
    """The table once more, with other values in every row of these columns."""
    rows = pq.read_table(path).select(list(schema.columns)).cast(schema.arrow)
    for name, value in values.items():
        index, kind = schema.arrow.get_field_index(name), schema.arrow.field(name)
        rows = rows.set_column(index, kind, pa.array([value] * len(rows), kind.type))
    parquet.save(path, rows)
    if "curve" in path.name:
        reseal(RunDir(path.parents[2], path.parent.name))


class TestStates:
    @pytest.mark.parametrize("there", [False, True])
    @pytest.mark.parametrize("values", [{}, {"iterations": 12}, {"iterations": 12, "epoch": 1.0}, {"lr": 0.1}], ids=str)
    @pytest.mark.parametrize("name", ["failed", "running", "interrupted", "damaged"])
    def test_the_live_table_takes_what_numbers_there_are(self, tmp_path, monkeypatch, there, values, name):
        spec, room = RUN.spec, Console(width=120, force_terminal=there)
        signs = {"heartbeat": 0.0, "pid": 1, "reason": "x"}
        monkeypatch.setattr(terminal, "console", room)
        with live.Progress([spec], tmp_path, 1) as progress, room.capture() as said:
            progress.states[spec.run] = State(name, iteration=2, **signs, **values)
            progress.active = [spec.run]
            room.print(progress.table())
            room.print(live.describe_run(spec, progress.states[spec.run]))
        assert spec.name in said.get()

    def test_not_more_was_done_than_there_is_to_do(self, here, folder):
        state(folder, state="interrupted", iteration=2**62, iterations=64_000)
        expect_one_line(
            here("compare", str(folder.path.parent.parent)), "state.json", f"iteration cannot be {2**62} of 64000"
        )

    def test_what_is_damaged_says_why(self):
        with pytest.raises(ValueError, match="reason cannot be None"):
            State.parse({"state": "damaged"})

    @pytest.mark.parametrize("key", ["epoch", "lr", "seconds", "images_per_second"])
    def test_numbers_have_an_end(self, key):
        assert getattr(State.parse({key: 1e39}), key) == 1e39
        for value in (1e40, -1e40, float("inf"), float("nan"), 10**400, "1", None):
            with pytest.raises(ValueError, match=f"{key} cannot be"):
                State.parse({key: value})

    @pytest.mark.parametrize("value", [-1, 101, 10**400, float("nan"), "1", None])
    def test_errors_are_percentages(self, value):
        with pytest.raises(ValueError, match="train_error cannot be"):
            State.parse({"train_error": value})
        assert State.parse({"train_error": 9}).train_error == 9

    @pytest.mark.parametrize("value", [[1], HALF, {"a": 1}, 3])
    def test_labels_are_those_of_the_spec(self, here, folder, value):
        """They were those of the state, where it had them."""
        root = folder.path.parent.parent
        state(folder, **dict.fromkeys(("group", "protocol", "net", "family", "shortcut", "depth", "other"), value))
        runs = degrade.load(root).runs.set_index("run")
        labels = {name: label for name, label in RUN.spec.labels().items() if name != "run"}
        assert {name: runs.loc[RUN.spec.run][name] for name in labels} == labels
        assert not {*runs.columns} - {*labels} - {each.name for each in fields(State)} - {"state"}
        assert here("compare", str(root)).returncode == 0

    @pytest.mark.parametrize("before", [3, None, "x", {"a": 1}])
    def test_an_environment_that_is_none_is_begun_anew(self, folder, before):
        write_json(folder.environment, {"resumed": before, "host": "a"})
        folder.begin(RUN.spec, {"host": "b"})
        assert folder.read(folder.environment)["resumed"] == [{"host": "b"}]
        folder.begin(RUN.spec, {"host": "c"})
        assert folder.read(folder.environment)["resumed"] == [{"host": "b"}, {"host": "c"}]


class TestSpecs:
    @pytest.mark.parametrize("command", ["compare", "plot"])
    def test_half_a_character_is_no_name(self, here, folder, command):
        tree = RUN.spec.tree()
        write_json(folder.spec, {"spec": {**tree, "recipe": {**tree["recipe"], "name": HALF}}})
        expect_one_line(here(command, str(folder.path.parent.parent)), "spec.json", "recipe.name=\\ud800")

    def test_nor_in_a_checkpoint(self, here, tmp_path):
        tree, path = RUN.spec.tree(), tmp_path / "checkpoint.pt"
        state = {
            "format": CHECKPOINT_FORMAT,
            "run": RUN.spec.run,
            "iteration": 1,
            "net": {"w": torch.zeros(1)},
            "momentum": {},
        }
        path.write_bytes(pack({**state, "spec": {**tree, "recipe": {**tree["recipe"], "name": HALF}}}))
        expect_one_line(here("responses", "--ckpt", str(path), "data=digits"), str(path), "recipe.name=\\ud800")

    def test_a_folder_may_have_any_name(self):
        assert replace(RunSpec().data, root="/caf\udce9").root == "/caf\udce9"

    @pytest.mark.parametrize("values", [{"depth": -5}, {"depth": 0}, {"depth": 10**9}, {"iteration": -1}], ids=str)
    def test_what_was_copied_is_a_net(self, values):
        known = {"run": "a", "group": "a", "depth": 8, "iteration": 0, "weights": "0" * 16}
        (key,) = values
        with pytest.raises(SpecError, match=f"origin.{key}="):
            OriginSpec(**{**known, **values})

    def test_a_batch_fits_in_memory(self, here):
        assert RecipeSpec(batch=1_000_000).batch == 1_000_000
        for batch in (1_000_001, 10**11, 2**63 - 1):
            done = here("sweep", "data=digits", f"recipe.batch={batch}")
            expect_one_line(done, f"recipe.batch={batch}: must be from 1 to 1000000")
        assert not Path("results").exists()

    def test_seconds_between_checkpoints_have_an_end(self, here):
        assert EngineSpec(checkpoint_every=f"{'9' * 18}s").checkpoint_every == f"{'9' * 18}s"
        for every in ("9" * 19, "9" * 5000):
            done = here("sweep", "data=digits", f"engine.checkpoint_every={every}s")
            expect_one_line(done, "engine.checkpoint_every=99", "must be seconds" if len(every) < 99 else "")
        assert not Path("results").exists()


class TestTables:
    @pytest.mark.parametrize("origin", ["x", "constructed-abc", "constructed-", "constructed--8", "constructed-8-x"])
    @pytest.mark.parametrize("command", ["compare", "plot"])
    def test_an_origin_is_one_that_degrade_writes(self, here, folder, command, origin):
        columns(folder.curve, CURVES, origin=origin)
        expect_one_line(here(command, str(folder.path.parent.parent)), "curve.parquet", f"origin cannot be '{origin}'")

    def test_every_label_of_an_origin_is_read(self, folder):
        for how in ("matched", "exact"):
            for depth in (8, 10_000):
                origin = OriginSpec(run="a", group="a", depth=depth, iteration=0, weights="0" * 16, how=how)
                columns(folder.curve, CURVES, origin=origin.label)
                assert len(parquet.read(folder.curve, CURVES)) == 3

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            *((column, value) for column in ("width", "depth") for value in (0, -1, 2**31 + 1, 2**62)),
            *((column, value) for column in ("n", "iteration") for value in (-1, 2**53 + 1, 2**62)),
            ("n", 0),
            *((name, value) for name in ("epoch", "lr", "seconds") for value in (np.inf, np.nan, -1.0, 1e41, 1e308)),
            *(("images_per_second", value) for value in (np.inf, np.nan, -1.0, 1e308)),
            *(("error", value) for value in (np.nan, -0.5, 100.5, np.inf)),
            *(("loss", value) for value in (1e308, -1e308)),
            *(("grad_norm", value) for value in (1e308, -1e308)),
        ],
    )
    def test_numbers_have_ends(self, here, folder, column, value):
        columns(folder.curve, CURVES, **{column: value})
        expect_one_line(
            here("compare", str(folder.path.parent.parent)), "curve.parquet", f"{column} cannot be {value!r}"
        )

    @pytest.mark.parametrize("column", ["loss", "grad_norm"])
    def test_runs_that_diverged_are_read(self, here, folder, column):
        for value in (0.0, 1e99, -np.inf, np.inf, np.nan):
            columns(folder.curve, CURVES, **{column: value})
            assert len(parquet.read(folder.curve, CURVES)) == 3
        assert here("compare", str(folder.path.parent.parent)).returncode == 0

    @pytest.mark.parametrize(
        ("name", "column", "value"),
        [
            *((name, "bn", value) for name in ("responses", "blocks") for value in ("none", "")),
            *((name, "split", value) for name in ("responses", "blocks") for value in ("val", "x", "train_clean")),
            ("responses", "layer", 0),
            ("blocks", "index", 2**40),
            ("responses", "std", 1e308),
            ("blocks", "change", -1e101),
        ],
    )
    def test_measurements_are_of_what_is_measured(self, here, folder, name, column, value):
        layer = LayerResponse(10, "test", "running", 1, "stem", 0, 0, 0, 1.0, 1.0, 0.0, 50)
        block = BlockResponse(10, "test", "running", 1, "stages.0.0", 1, 1, 1.0, 1.0, 1.0, 50)
        folder.write_table("responses", RUN.spec, [layer])
        folder.write_table("blocks", RUN.spec, [block])
        assert here("plot", "--figure", "fig7", str(folder.path.parent.parent)).returncode == 0
        columns(folder.tables[name], TABLES[name], **{column: value})
        done = here("plot", "--figure", "fig7", str(folder.path.parent.parent))
        expect_one_line(done, f"{name}.parquet", f"{column} cannot be {value!r}")


class TestTrials:
    """Of `degrade identity`, which are read where they are there."""

    @pytest.fixture
    def trial(self, here, tmp_path) -> tuple[Callable[[], Any], Path]:
        """The command that reads its file, and that file."""
        trial, root = Trial(net="plain", blocks=1, seed=0, steps=2), tmp_path / "results"
        path = grid.trial_file(trial, grid.home([trial], root))
        path.parent.mkdir(parents=True)
        parquet.write_rows(path, trial.labels(), [Copied(1, 0.9, 0.9, 0.7), Copied(2, 0.5, 0.6, 0.7)], grid.SCHEMA)
        words = ("--net", "plain", "--blocks", "1", "--seeds", "0", "--steps", "2", "--results", str(root))
        return lambda: here("identity", *words), path

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("relative_error", np.nan),
            ("relative_error", -1.0),
            ("relative_error", 1e308),
            ("running", np.nan),
            ("predict_mean", np.inf),
            ("lr", np.inf),
            ("lr", 0.5),
            ("depth", 2**40),
            ("net", "residual"),
            ("trial", "another"),
        ],
    )
    def test_what_none_has_measured_is_named(self, trial, column, value):
        again, path = trial
        columns(path, grid.SCHEMA, **{column: value})
        expect_one_line(
            again(), path.name, f"{column} cannot be {value!r}", "remove it, and the same command makes it anew"
        )

    def test_one_without_rows_is_named(self, trial):
        again, path = trial
        parquet.save(path, grid.SCHEMA.empty())
        expect_one_line(again(), path.name, "has no rows")

    @pytest.mark.parametrize("value", [np.inf, 1e100, 0.0])
    def test_one_that_diverged_is_read(self, trial, value):
        again, path = trial
        columns(path, grid.SCHEMA, relative_error=value, running=value)
        done = again()
        assert done.returncode == 0 or "every stack diverged" in done.stderr


class TestCheckpoints:
    @pytest.mark.parametrize("iteration", [2**70, 2**63, -1, True])
    def test_steps_are_counted(self, here, tmp_path, iteration):
        path = tmp_path / "checkpoint.pt"
        state = {"format": 2, "run": "a", "iteration": iteration, "net": {"w": torch.zeros(1)}, "momentum": {}}
        path.write_bytes(pack(state))
        with pytest.raises(RunError, match=f"checkpoint.pt: its iteration cannot be {iteration}"):
            open_net(path)
        expect_one_line(here("responses", "--ckpt", str(path), "data=digits"), str(path), f"cannot be {iteration}")

    def test_what_torch_says_of_a_tensor_goes_nowhere(self, recwarn):
        rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        for tensor in (rows.to_sparse_csr(), torch.quantize_per_tensor(rows, 0.1, 0, torch.qint8)):
            content = pack({"net": {"w": tensor}})
            recwarn.clear()
            with suppress(RunError):
                unpack(content)
            assert not recwarn.list


@pytest.mark.parametrize("word", ["x\x1b[31mred\x07", "a\tb\x00c", "\u202eabc"])
@pytest.mark.parametrize("column", ["recipe", "data", "precision", "group"])
def test_a_figure_holds_no_raw_control_character(here, folder, word, column, monkeypatch, recwarn):
    monkeypatch.setattr(figures, "FORMATS", ("svg",))
    columns(folder.curve, CURVES, **{column: word})
    done = here("plot", "--figure", "fig6", str(folder.path.parent.parent))
    assert (done.returncode, done.stderr) == (0, "")
    assert not [one for one in recwarn.list if "Glyph" in str(one.message)]
    drawn = list(folder.root.rglob("*.svg"))
    assert len(drawn) == 1
    for path in drawn:
        ElementTree.parse(path)
        assert path.read_text().replace("\n", "").isprintable()
