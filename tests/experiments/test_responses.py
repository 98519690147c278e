"""Responses of runs and of other people's nets: measured once, kept and drawn; and the command."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import tiny

from degrade import data
from degrade.errors import RunError, SpecError
from degrade.experiments import responses as measuring
from degrade.experiments.construct import construct
from degrade.experiments.responses import Under, responses
from degrade.experiments.trained import open_net
from degrade.figures import FORMATS
from degrade.spec import NetSpec, parse
from degrade.spec.rows import BLOCKS, LABELS, RESPONSES
from degrade.store import parquet, results
from degrade.store.folder import RunDir
from degrade.train import run
from degrade.train.checkpoint import pack, unpack

SPECS = {net: tiny(net=net) for net in ("plain", "residual", "highway")}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    run.run(SPECS.values(), folder)
    return folder


@pytest.fixture
def nets(root):
    return [open_net(RunDir(root, spec.run).path) for spec in SPECS.values()]


def test_every_net_has_its_rows_with_labels(nets):
    layers, blocks = responses(nets)
    assert list(layers.columns) == [*LABELS, *RESPONSES]
    assert list(blocks.columns) == [*LABELS, *BLOCKS]
    assert layers.groupby("run").layer.apply(list).to_dict() == {spec.run: list(range(1, 8)) for spec in SPECS.values()}
    assert set(layers.iteration) == {12}
    assert set(layers.n) == {50}
    openings = blocks.groupby("net").opening.agg(["min", "max"])
    assert openings.loc["plain"].tolist() == [0, 0]
    assert openings.loc["residual"].tolist() == [1, 1]
    assert 0 < openings.loc["highway", "min"] <= openings.loc["highway", "max"] < 1


def test_what_is_measured_is_kept_with_the_run_and_not_measured_again(root, nets, monkeypatch):
    first = responses(nets, Under(split="train"))
    tables = results.load(root)
    kept = tables.responses[tables.responses.split == "train"]
    assert kept["std"].tolist() == first.layers.sort_values(["run", "layer"])["std"].tolist()
    monkeypatch.setattr(measuring, "measure", None)
    pd.testing.assert_frame_equal(responses(nets, Under(split="train")).blocks, first.blocks)


def test_measurements_under_other_conditions_stand_beside_each_other(root, nets):
    conditions = [Under(), Under(bn="batch"), Under(split="train"), Under(bn="batch", batch=7)]
    found = [responses(nets[:1], under).layers for under in conditions]
    stored = results.load(root).responses
    own = stored[stored.run == SPECS["plain"].run]
    assert len(own) == len(own.drop_duplicates(["iteration", "split", "bn", "layer"]))
    assert {("test", "running"), ("test", "batch"), ("train", "running")} <= set(zip(own.split, own.bn, strict=True))
    assert found[1]["std"].tolist() != found[3]["std"].tolist()  # a measurement with --batch is not kept
    assert own[own.bn == "batch"]["std"].tolist() == found[1]["std"].tolist()


def test_a_run_whose_folder_cannot_be_written_is_measured_all_the_same(root, nets, monkeypatch):
    def full(*_):
        raise OSError("read-only")

    monkeypatch.setattr(measuring.parquet, "save", full)
    assert len(responses(nets[:1], Under(split="train", bn="batch")).layers) == 7


@pytest.mark.parametrize("wrong", [{"split": "val"}, {"bn": "moving"}, {"batch": 1}])
def test_conditions_that_cannot_be_are_one_line(wrong):
    with pytest.raises(SpecError, match=f"^--{next(iter(wrong))}="):
        Under(**wrong)


def test_the_command_draws_all_runs_of_a_folder_and_plot_draws_them_again(here, root):
    done = here("responses", str(root), "--split", "test")
    assert done.returncode == 0, done.stderr
    drawn = sorted(line.rsplit("/", 1)[1] for line in done.stdout.splitlines() if line.endswith(FORMATS))
    assert drawn == sorted(f"{name}.{kind}" for name in ("fig7", "blocks", "gates") for kind in FORMATS)
    assert "highway-A-8-w4" in done.stdout
    again = here("plot", str(root), "--figure", "fig7,gates", "--net", "highway")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("gates") == 3


def test_the_command_takes_other_peoples_nets_beside_runs(here, root, tmp_path):
    foreign = {f"module.{k}": v for k, v in open_net(RunDir(root, SPECS["residual"].run).path).net.state_dict().items()}
    torch.save({"state_dict": foreign}, tmp_path / "theirs.pth")
    words = ["--ckpt", str(RunDir(root, SPECS["plain"].run).path), "theirs.pth:net=residual,pad=after"]
    done = here("responses", *words, "data=digits", "data.test_limit=20", "--out", "out")
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "out" / "foreign" / "responses.parquet")
    assert (set(table.net), set(table.protocol), set(table.n)) == ({"residual"}, {"foreign"}, {20})
    assert (tmp_path / "out" / "mixed" / "fig7-plain-8-w4-s0+theirs.png").exists()
    refused = here("responses", "--ckpt", "theirs.pth", "--net", "residual", "--pad", "after")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "data=" in refused.stderr


def test_a_folder_without_checkpoints_and_wrong_words_are_one_line(here, root, tmp_path):
    (tmp_path / "results" / "runs").mkdir(parents=True)
    for words, said in (
        ([], "results: no run there has a checkpoint"),
        ([str(root), "--bn", "moving"], "--bn=moving: unknown"),
        ([str(root), "--over", "layers"], "--over=layers: unknown"),
        ([str(root), "depth=20"], "depth=20: "),
        (["nowhere"], "nowhere: no such results folder"),
    ):
        done = here("responses", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert done.stderr.startswith(f"degrade: {said}")


def test_a_net_on_its_own_cannot_be_measured_without_pictures(root, tmp_path):
    made = open_net(RunDir(root, SPECS["residual"].run).path).net.state_dict()
    torch.save(made, tmp_path / "bare.pt")
    bare = open_net(tmp_path / "bare.pt", net="residual", pad="after")
    assert bare.spec == NetSpec(depth=8, width=4)
    with pytest.raises(RunError, match="data="):
        responses([bare])
    with_data = responses([bare], asked=data.prepare(SPECS["plain"].data)).layers
    own = responses([open_net(RunDir(root, SPECS["residual"].run).path)]).layers
    assert with_data["std"].tolist() == pytest.approx(own["std"].tolist(), rel=1e-12)


def test_a_net_named_twice_counts_once_and_a_run_at_two_iterations_is_two_nets(root, tmp_path):
    spec = tiny(net="plain", engine={"keep_checkpoints": [6]})
    run.run([spec], tmp_path)
    folder = RunDir(tmp_path, spec.run)
    early, late = open_net(folder.kept(6)), open_net(folder.path)
    layers, _ = responses([early, late, open_net(folder.path)])
    assert layers.groupby("run").iteration.unique().str[0].to_dict() == {f"{spec.run}@6": 6, f"{spec.run}@12": 12}
    assert len(layers) == 2 * 7
    alone = responses([early]).layers
    assert (alone.run[0], alone["std"].tolist()) == (spec.run, layers[layers.iteration == 6]["std"].tolist())


def test_a_run_on_other_data_is_labelled_by_them_and_kept_elsewhere(here, root, tmp_path):
    run = RunDir(root, SPECS["plain"].run)
    before = run.tables["responses"].read_bytes() if run.tables["responses"].exists() else b""
    for limit in ("20", "30"):
        done = here("responses", "--ckpt", str(run.path), "data=digits", f"data.test_limit={limit}", "--out", "out")
        assert done.returncode == 0, done.stderr
        assert f"digits: test images ({limit})" in " ".join(done.stdout.split())
    place = f"{SPECS['plain'].protocol}-on-digits"
    assert set(pd.read_parquet(tmp_path / "out" / place / "responses.parquet").n) == {20, 30}  # none is lost
    assert (tmp_path / "out" / place / "fig7-plain-8-w4-s0.png").exists()
    assert (run.tables["responses"].read_bytes() if run.tables["responses"].exists() else b"") == before


def test_one_damaged_checkpoint_hides_no_other_and_a_folder_may_have_any_name(here, tmp_path):
    folder = tmp_path / "lr=0.1"
    good, bad = tiny(net="plain"), tiny(net="residual")
    run.run([good, bad], folder)
    for path in RunDir(folder, bad.run).checkpoints:
        if path.exists():
            path.write_bytes(path.read_bytes()[:-100])
    done = here("responses", "lr=0.1")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert f"left out: {Path('lr=0.1')}/runs/{bad.run}/checkpoint.pt: its checksum is wrong" in said
    assert "plain-8-w4 1 7" in said


def test_a_diverged_seed_is_left_out_of_table_and_figure_and_named(here, root, tmp_path):
    runs = [tiny(net="plain"), tiny(net="plain", seed=1)]
    run.run(runs, tmp_path / "results")
    broken = RunDir(tmp_path / "results", runs[1].run)
    state = unpack(broken.checkpoint.read_bytes())
    state["net"]["stages.1.0.first.0.weight"][:] = float("nan")
    broken.checkpoint.write_bytes(pack(state))
    done = here("responses")
    assert done.returncode == 0, done.stderr
    assert "1 of 2 nets have diverged" in done.stdout
    assert "plain-8-w4 1 7" in " ".join(done.stdout.split())
    with pytest.raises(RunError, match="diverged, and there is nothing to copy"):
        construct(open_net(broken.path), 14, tmp_path / "results")


def test_a_strangers_checkpoint_is_no_reason_to_fetch_or_to_make_a_cache(root, tmp_path):
    state = unpack(RunDir(root, SPECS["plain"].run).checkpoint.read_bytes())
    data_of = {**state["spec"]["data"], "name": "cifar10", "content": "0123", "root": str(tmp_path / "made")}
    spec = parse({**state["spec"], "data": data_of})
    (tmp_path / "theirs.pt").write_bytes(pack({**state, "spec": spec.tree(), "run": spec.run}))
    with pytest.raises(RunError, match=r"are not here; say data=cifar10"):
        responses([open_net(tmp_path / "theirs.pt")])
    assert not (tmp_path / "made").exists()


def test_what_a_file_says_its_rows_are_of_is_not_believed(here, root, tmp_path):
    """A protocol named by a stranger made files wherever it pointed."""
    shutil.copytree(root, tmp_path / "theirs")
    run = RunDir(tmp_path / "theirs", SPECS["plain"].run)
    first = responses([open_net(run.path)]).layers
    for name in measuring.TABLE_NAMES:
        rows = pd.read_parquet(run.tables[name])
        told = rows.assign(protocol=f"{tmp_path}/OUTSIDE/x-on-y", run="another", group="=1+1", depth=20)
        parquet.save(run.tables[name], parquet.of_frame(told, parquet.TABLES[name]))
    pd.testing.assert_frame_equal(responses([open_net(run.path)]).layers, first)
    done = here("responses", "theirs")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "OUTSIDE").exists()
    responses([open_net(run.path)], Under(split="train", bn="batch"))  # mends the other rows, too
    assert set(pd.read_parquet(run.tables["blocks"]).run) == {run.run}


@pytest.mark.parametrize("name", ["../OUTSIDE/x-on-y", "a/b-on-c", "..-on-", "a\n-on-b"])
def test_no_folder_is_made_of_what_is_no_protocols_name(nets, tmp_path, name):
    found = responses(nets[:1])
    good, bad = (found._replace(blocks=found.blocks.assign(protocol=said)) for said in ("a-on-b", name))
    evil = measuring.Responses(found.layers.assign(protocol="a-on-b"), bad.blocks)
    with pytest.raises(
        RunError, match=r"is not the name of a protocol, so no folder is named after it; find out who wrote the file$"
    ):
        measuring.keep(evil, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert measuring.keep(good, tmp_path / "out") == [tmp_path / "out" / "a-on-b" / "blocks.parquet"]


def test_measurements_are_not_kept_where_a_link_leads(nets, tmp_path):
    found = responses(nets[:1])
    elsewhere = found._replace(blocks=found.blocks.assign(protocol="a-on-b"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "a-on-b").symlink_to("mine")
    with pytest.raises(RunError, match=r"cannot be written \(is a link\); choose another folder with --out"):
        measuring.keep(elsewhere, tmp_path)
    assert list((tmp_path / "mine").iterdir()) == []
