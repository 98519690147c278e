"""Results for other programs, read back by those programs."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny
from safetensors.torch import load_file

from degrade.cli import main
from degrade.experiments.evaluate import compute_outputs
from degrade.experiments.export.bundle import CARD, CONFIG, PROGRAM, WEIGHTS
from degrade.experiments.export.events import write_events
from degrade.experiments.trained import open_net, pictures
from degrade.store.folder import RunDir
from degrade.store.results import load
from degrade.train.run import run

with warnings.catch_warnings():  # of its own use of old names
    warnings.simplefilter("ignore")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.custom_scalar import layout_pb2
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

RECIPE = {"iterations": 20, "eval_every": 10, "clean_images": 30}
SPECS = [
    tiny(recipe=RECIPE, net="plain", data={"label": "=pictures"}),
    tiny(recipe=RECIPE, data={"normalize": "channel"}, shortcut="B", seed=1),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("out of the way") / "results"
    run(SPECS, path)
    return path


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["degrade", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def test_one_csv_holds_every_point_of_every_run(root, tmp_path, monkeypatch):
    out = tmp_path / "new" / "curves.csv"
    assert call(monkeypatch, "export", root, "--to", "csv", "-o", out) == 0
    rows, curves = pd.read_csv(out), load(root).curves
    assert len(rows) == len(curves) > 10
    assert set(rows.state) == {"finished"}
    both = rows.merge(curves, on=["run", "split", "iteration"], suffixes=("", "_stored"), validate="one_to_one")
    assert len(both) == len(rows)
    for name in ("loss", "error", "lr", "seconds"):
        assert np.array_equal(both[name], both[f"{name}_stored"], equal_nan=True)


def test_tensorboards_own_reader_finds_curves_and_hyper_parameters_of_a_run_in_one_place(root, tmp_path):
    for folder in write_events(load(root), tmp_path / "tb"):
        assert [path.name for path in folder.iterdir()] == ["events.out.tfevents.0.degrade"]
        found = EventAccumulator(str(folder))
        found.Reload()
        stored = pd.read_parquet(RunDir(root, folder.name).curve)
        for split, rows in stored.groupby("split"):
            for value in ("error", "loss"):
                points = found.Scalars(f"{value}/{split}")
                assert [point.step for point in points] == list(rows.iteration)
                assert [point.value for point in points] == list(rows[value].astype(np.float32))
        said = HParamsPluginData.FromString(found.PluginTagToContent("hparams")["_hparams_/session_start_info"])
        values = said.session_start_info.hparams
        assert values["recipe.lr"].number_value == 0.05
        assert values["depth"].number_value == 8
        assert values["net"].string_value in ("plain", "residual")
        experiment = HParamsPluginData.FromString(found.PluginTagToContent("hparams")["_hparams_/experiment"])
        assert {each.name.tag for each in experiment.experiment.metric_infos} >= {"error/train", "error/test"}
        (laid,) = found.Tensors("custom_scalars__config__")
        charts = layout_pb2.Layout.FromString(laid.tensor_proto.string_val[0]).category[0].chart
        assert {"^error/", "^loss/"} == {tag for chart in charts for tag in chart.multiline.tag}


def test_the_same_results_give_the_same_bytes_for_tensorboard(root, tmp_path):
    first, second = (write_events(load(root), tmp_path / name) for name in "ab")
    for a, b in zip(first, second, strict=True):
        assert [path.read_bytes() for path in a.iterdir()] == [path.read_bytes() for path in b.iterdir()]


@pytest.fixture(scope="module")
def written(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, "export", root, "--to", "safetensors", "-o", out) == 0
    return out


PLAIN = """
import sys
sys.modules["degrade"] = None  # nothing of it may be needed
import safetensors.torch, torch
{lines}
pictures = torch.load("../pictures.pt")
torch.save(net(pictures), "logits.pt")
"""


def test_a_net_is_loaded_in_plain_pytorch_by_the_two_lines_of_its_card(root, written):
    for spec in SPECS:
        folder = written / spec.run
        card = (folder / CARD).read_text()
        lines = card.partition("```python\n")[2].partition("\n```")[0]
        assert len(lines.splitlines()) == 2
        trained = open_net(RunDir(root, spec.run).path)
        shown = pictures(trained)
        logits, _ = compute_outputs(trained, shown, "test", "cpu")
        images = torch.from_numpy(shown.images("test").pixels).float() / 255
        torch.save(images, written / "pictures.pt")
        subprocess.run([sys.executable, "-W", "ignore", "-c", PLAIN.format(lines=lines)], cwd=folder, check=True)
        torch.testing.assert_close(torch.load(folder / "logits.pt"), logits, rtol=1e-4, atol=1e-5)


def test_the_scale_is_among_the_tensors(root, written):
    plain, channel = (load_file(written / spec.run / WEIGHTS) for spec in SPECS)
    assert plain["mean"].shape == (1, 8, 8)
    assert "deviation" not in plain
    assert channel["deviation"].shape == (1, 1, 1)
    trained = open_net(RunDir(root, SPECS[0].run).path)
    assert all(torch.equal(plain[f"net.{name}"], tensor) for name, tensor in trained.net.state_dict().items())


def test_config_says_what_the_net_is_and_card_what_it_measured(root, written):
    config = json.loads((written / SPECS[0].run / CONFIG).read_text())
    assert (config["run"], config["iteration"], config["net"]) == (SPECS[0].run, 20, "plain")
    curve = pd.read_parquet(RunDir(root, SPECS[0].run).curve)
    last = curve[curve.iteration == 20].set_index("split").error
    assert config["measured"] == dict(last)
    assert f"| test | {last['test']:.2f} |" in (written / SPECS[0].run / CARD).read_text()
    assert len(config["classes"]) == 10


def test_no_file_of_an_exported_net_names_a_place_of_this_machine(written):
    files = [path for path in written.rglob("*") if path.is_file() and path.name not in ("pictures.pt", "logits.pt")]
    assert {path.name for path in files} == {WEIGHTS, CONFIG, CARD, PROGRAM}
    for path in files:
        for place in (torch.__path__[0], "site-packages", "degrade/experiments", str(written)):
            assert place.encode() not in path.read_bytes(), (path.name, place)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "xml", "-o", "x"], "--to=xml: must be csv, tensorboard or safetensors"),
        (["--to", "csv"], "say where to"),
        (["data=digits", "--to", "csv", "-o", "x"], "takes results folders alone"),
        (["nowhere", "--to", "csv", "-o", "x"], "no such results folder"),
        (["--to", "csv", "-o", "."], "is a folder; name a file"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_nothing_is_left(words, said, root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = words if "nowhere" in words else [str(root), *words]
    assert call(monkeypatch, "export", *given) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    assert not out
    assert not list(tmp_path.iterdir())


def test_without_the_package_tensorboard_it_says_what_to_install(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    assert call(monkeypatch, "export", root, "--to", "tensorboard", "-o", tmp_path / "tb") == 2
    assert "install degrade[tensorboard]" in capsys.readouterr().err
    assert not (tmp_path / "tb").exists()
