"""The page of `degrade report`, as text: what is in it, and what is not."""

import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from generated import Run, ended, lay
from places import ROOT

import degrade
from degrade.cli import main
from degrade.errors import RunError
from degrade.figures import FIGURES, View
from degrade.figures.frames import collect
from degrade.figures.panels import Line, Panel
from degrade.spec import NetSpec, RunSpec
from degrade.store.folder import RunDir, write_json
from degrade.store.results import load
from degrade.views.report import render, write
from degrade.views.report.words import describe, name_lines

QUICKSTART3 = ROOT / "results" / "quickstart3"
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "script":
            self.scripts.append(data)


@pytest.fixture(scope="module")
def page():
    return render([QUICKSTART3])


def test_it_begins_with_the_verdicts_of_compare(page):
    command = [sys.executable, "-m", "degrade", "compare", str(QUICKSTART3), "--table", "lines"]
    done = subprocess.run(command, env={**os.environ, "COLUMNS": "10000"}, capture_output=True, text=True, check=True)
    said = [line.strip() for line in done.stdout.splitlines() if " degrade" in line and "points" in line]
    assert len(said) == 2
    told = re.findall(r'<p class="verdict">(.*?)</p>', page)
    assert told == said
    assert page.index(told[0]) < page.index("<svg")


def test_every_figure_that_plot_draws_is_there_with_words_and_numbers(page):
    shown = collect(load(QUICKSTART3))
    named = set(re.findall(r'<figure class="plate" id="[^"]*" data-name="(\w+)"', page))
    assert {"ladder", "fig1", "fig4", "fig6", "reached", "difference", "fig7", "blocks", "constructed"} <= named
    assert named <= set(FIGURES)
    assert all(len(shown[FIGURES[name].table]) for name in named)
    for plate in re.findall(r'<figure class="plate".*?</figure>', page, re.DOTALL):
        panels = plate.count('<div class="panel">')
        assert panels == plate.count('<div class="plot"><svg') == plate.count('<table class="numbers">')
        assert panels == plate.count("<summary>In words</summary>") == plate.count('<script type="application/json">')


def test_pictures_numbers_and_data_are_those_of_the_panels(page):
    from degrade.analysis.curves import add_standing

    tables = load(QUICKSTART3)
    panels = FIGURES["fig1"].make(add_standing(tables.curves, tables.runs), View())
    plate = re.search(r'<figure class="plate" id="p0-fig1".*?</figure>', page, re.DOTALL)[0]
    datas = [json.loads(text) for text in re.findall(r'application/json">(.*?)</script>', plate, re.DOTALL)]
    pictures = re.findall(r'<div class="plot">(<svg.*?</svg>)</div>', plate, re.DOTALL)
    for panel, data, picture in zip(panels, datas, pictures, strict=True):
        drawn = re.findall(r'<path class="curve" d="(.*?)"', picture)
        assert len(drawn) == len(panel.lines) == len(data["lines"])
        for line, path, told in zip(panel.lines, drawn, data["lines"], strict=True):
            assert np.allclose(told["y"], line.y, rtol=1e-3)
            assert np.allclose(data["xs"][told["x"][0]], line.x, rtol=1e-3)
            steps = [[float(n) for n in re.findall(r"-?[\d.]+", each)] for each in re.split("[Ml]", path)[1:]]
            places = np.cumsum(steps, axis=0)  # each from the one before
            top, bottom = panel.ylim[1], panel.ylim[0] - 0.015 * panel.ylim[1]
            heights = 254 - (line.y - bottom) / (top - bottom) * 244
            assert np.allclose(places[:, 1], heights, atol=0.06)
        for axis in ("epochs", "seconds"):
            assert axis in data["views"]
    assert "<td>" + f"{panels[0].lines[0].y[0]:.4g}" in plate


def test_it_stands_alone_and_only_its_own_script_may_run(page):
    elements = Elements(page)
    for tag, words in elements.found:
        assert not {"src", "style"} & set(words), (tag, words)
        assert not [name for name in words if name.startswith("on")]
        for name in ("href", "xlink:href", "action"):
            assert (words.get(name) or "#").startswith("#")
    policy = next(words["content"] for tag, words in elements.found if words.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    look = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    for kind, (text,) in (("script-src", script), ("style-src", look)):
        checksum = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{checksum}'" in policy


def test_the_same_results_give_the_same_bytes(page):
    assert render([QUICKSTART3]) == page


def study(runs: int, points: int = 65) -> list[Run]:
    """So many runs of the paper's nets with five seeds, and curves of 65 points, as the paper's."""
    draws, found = np.random.default_rng(0), []
    for number in range(runs):
        depth, net = (20, 32, 44, 56, 110)[number // 5 % 5], ("plain", "residual")[number // 25 % 2]
        spec = RunSpec(
            net=NetSpec(net=net, shortcut="none" if net == "plain" else "A", depth=depth, width=16 + number // 50),
            seed=number % 5,
        )
        errors = 90 * np.exp(-np.linspace(0.1, 3, points)) + draws.uniform(0, 1, (3, points))
        found.append(Run(spec, dict(zip(("train", "train_clean", "test"), errors.tolist(), strict=True))))
    return found


@pytest.mark.parametrize(("runs", "most"), [(45, 500_000), (200, 2_000_000)])
def test_a_page_of_many_runs_stays_small(runs, most, tmp_path):
    lay(study(runs), tmp_path / "results")
    assert 50_000 < write([tmp_path / "results"], tmp_path / "page.html") < most


def test_the_page_of_quickstart3_stays_small(page):
    assert len(page.encode()) < 300_000


def test_it_says_nothing_of_machine_and_user_unless_told(tmp_path):
    secret = tmp_path / "secret place"
    data = degrade.DataSpec(name="image_folder", root=str(secret))
    runs = [ended(RunSpec(net=NetSpec(net="plain", depth=depth), data=data), 5.0, 9.0) for depth in (8, 14)]
    lay(runs, tmp_path / "results")
    command = f"degrade sweep data=image_folder 'data.root={secret}' results={tmp_path}/results depth=8,14"
    for each in runs:
        folder = RunDir(tmp_path / "results", each.spec.run)
        host = f"Linux-6.1-{socket.gethostname()}-x86_64"
        write_json(folder.environment, {"command": command, "torch": "2.15.0", "platform": host, "host": "secret host"})
    page, private = (render([tmp_path / "results"], private=private) for private in (False, True))
    for word in (str(tmp_path), "secret host", socket.gethostname()):
        assert word not in page
    assert "depth=8,14" in page
    assert "2.15.0" in page
    assert str(secret) in private


def test_no_word_of_a_strangers_results_is_html(tmp_path):
    data = degrade.DataSpec(label="<script>alert(3)</script>")
    runs = [ended(RunSpec(net=NetSpec(net="plain", depth=depth), data=data), 5.0, 9.0) for depth in (8, 14)]
    runs[1].state, runs[1].outcome = "diverged", EVIL
    lay(runs, tmp_path / "results")
    page = render([tmp_path / "results"])
    assert "alert(3)" in page
    assert "<script>alert" not in page
    assert "<img" not in page
    assert not {"\x1b", "\u202e"} & {*page}
    plain = [words for tag, words in Elements(page).found if tag == "script" and not words.get("type")]
    assert len(plain) == 1


def test_a_folder_without_points_and_a_folder_as_page_are_refused_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "results" / "runs").mkdir(parents=True)
    for words, said in (
        ([tmp_path / "results"], "no run has a measured point"),
        ([QUICKSTART3, "-o", tmp_path], "is a folder; name a file"),
    ):
        monkeypatch.setattr(sys, "argv", ["degrade", "report", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        err = capsys.readouterr().err
        assert said in err
        assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("*.html"))
    with pytest.raises(RunError, match="no such results folder"):
        render([tmp_path / "nowhere"])


def test_watched_it_is_written_until_no_run_trains_and_then_once_more(tmp_path, monkeypatch, capsys):
    from degrade.cli import report

    runs = [ended(RunSpec(net=NetSpec(net="plain", depth=depth)), 5.0, 9.0) for depth in (8, 14)]
    lay(runs, tmp_path)
    seen, states = [], iter(["running", "running", "finished"])

    def wait(seconds):
        seen.append((tmp_path / "report.html").read_text())

    monkeypatch.setattr(report.time, "sleep", wait)
    monkeypatch.setattr(report, "trains", lambda roots: next(states) == "running")
    monkeypatch.setattr(sys, "argv", ["degrade", "report", str(tmp_path), "--watch"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert [text.count('data-reload="30"') for text in seen] == [1, 1]
    assert "data-reload" not in (tmp_path / "report.html").read_text().partition("<script>")[0]
    assert capsys.readouterr().out.startswith(str(tmp_path / "report.html"))


def line(label, key, x, y, **more):
    values = np.array(y, float)
    return Line(label=label, key=key, x=np.array(x, float), y=values, low=values, high=values, **more)


def panel(*lines, **more):
    words = {"title": "", "xlabel": "iterations", "ylabel": "error (%)", "ticks": (), "grid": (), **more}
    return Panel(lines=lines, xlim=(0, 10), ylim=(0, 100), **words)


def test_words_say_where_a_line_starts_and_ends_and_where_it_runs_above_the_first():
    shown = panel(
        line("plain-20", "20", [0, 10, 20, 30], [90, 50, 20, 10]),
        line("plain-56", "56", [0, 10, 20, 30], [89, 60, 50, 67.9]),
        line("plain-32", "32", [0, 10, 20, 30], [91, 51, 21, 11]),
        line("plain-44", "44", [30], [7]),
    )
    assert describe(shown) == [
        "plain-20: starts at 90 %, ends at 10 %.",
        "plain-56: starts at 89 %, ends at 67.9 %, above plain-20 from iteration 10 on.",
        "plain-32: starts at 91 %, ends at 11 %, above plain-20 throughout.",
        "plain-44: 7 % at iteration 30.",
    ]


def test_lines_without_a_label_are_named_by_their_key_and_what_their_dash_means():
    shown = panel(
        line("", "56", [0], [1], dash="dashed", weight="thin"),
        line("plain-56, 3 seeds (to 30)", "56", [0], [1]),
        notes=("dashed: training", "bold: test"),
    )
    assert name_lines(shown) == ["plain-56, training", "plain-56, 3 seeds (to 30), test"]
