import fcntl
import io
import os
import pty
import struct
import subprocess
import termios

import pytest
from places import GOLDEN
from processes import DEGRADE, PATIENCE
from rich.console import Console

from degrade.views import terminal
from degrade.views.sheets import Sheet


@pytest.fixture(params=[True, False], ids=["terminal", "pipe"])
def shown(request, monkeypatch) -> io.StringIO:
    """What is written to a terminal, or to a file."""
    file = io.StringIO()
    for name in ("console", "_errors"):
        monkeypatch.setattr(
            terminal, name, Console(file=file, width=100, force_terminal=request.param, color_system=None)
        )
    return file


def test_a_bar_where_there_is_a_terminal_and_lines_at_times_where_there_is_none(shown, monkeypatch):
    with terminal.bar() as note:
        note("decoding", 10, 400)
        if not terminal.console.is_terminal:
            assert shown.getvalue() == ""  # what is over soon is not worth a line
        monkeypatch.setattr(terminal, "LINE_PAUSE", -1.0)
        note("decoding", 300, 400)
    assert "decoding" in shown.getvalue()
    assert ("300 of 400" in shown.getvalue()) is not terminal.console.is_terminal


def test_nothing_to_do_shows_nothing(shown):
    with terminal.bar():
        pass
    assert shown.getvalue() == ""


def test_a_remark_stays(shown):
    with terminal.bar() as note:
        note("[left out] 'a.png'", 0, 0)
    assert shown.getvalue() == "[left out] 'a.png'\n"


def test_an_error_takes_the_bar_away(shown):
    def decode() -> None:
        with terminal.bar() as note:
            note("decoding", 1, 2)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        decode()
    assert not terminal.console._live_stack


def test_names_are_shown_as_they_are(capsys):
    """:bug: was an insect, in cells of tables too."""
    table = terminal.grid("run")
    table.add_row("[red]:bug:")
    plain = terminal.Plain(markup=False, emoji=False, width=40)
    plain.print(table)
    assert "[red]:bug:" in capsys.readouterr().out
    assert (terminal.console._markup, terminal.console._emoji) == (False, False)


NAME, WHY = "residual-A-56-from20-s0-5264a510", "stopped by the disk, which had no room left for a checkpoint"


@pytest.mark.parametrize("rows", [3, 300], ids=["short", "long"])
@pytest.mark.parametrize("columns", [("run",), ("run", ">error"), ("run", ">error", "why")], ids=len)
def test_a_table_wider_than_its_place_keeps_names_and_numbers_whole(shown, rows, columns):
    terminal.console.width = 40
    row = (NAME, "1,800/1,800", WHY)[: len(columns)]
    terminal.show([Sheet(columns=columns, rows=[row] * rows)])
    named = [line for line in shown.getvalue().splitlines() if NAME in line]
    assert len(named) == rows
    assert all("1,800/1,800" in line for line in named) is (len(columns) > 1)
    assert all(WHY[:10] in line for line in named) is (len(columns) > 2)  # each beside its own name
    assert all(len(line) < 80 for line in named) or (len(columns) > 2 and not terminal.console.is_terminal)


@pytest.mark.parametrize("width", [40, 80])
def test_text_in_the_last_column_gives_way_at_a_terminal_and_is_one_line_elsewhere(shown, width):
    terminal.console.width = width
    terminal.show([Sheet(columns=("run", ">error", "why"), rows=[(NAME, "12.50", WHY)])])
    lines = shown.getvalue().splitlines()
    assert any(NAME in line and WHY in line for line in lines) is not terminal.console.is_terminal
    at = next(line.index("why") for line in lines if "why" in line)
    assert " ".join(" ".join(line[at:] for line in lines[3:]).split()) == WHY
    if terminal.console.is_terminal:
        assert max(map(len, lines)) == max(width, at + 20 + 1)


def run_at_terminal(columns: int, *arguments: str) -> str:
    """What a command writes to a terminal so wide, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"} | {"TERM": "dumb"}
    process = subprocess.Popen([*DEGRADE, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says the end so
            part = b""
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait(PATIENCE) == 0
    return said.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 140, None], ids=["80 columns", "140 columns", "pipe"])
def test_status_has_each_run_on_a_line_of_its_own(columns):
    """Names were folded, and `degrade status | grep NAME` found nothing."""
    results = GOLDEN / "results-0.1.0" / "results"
    if columns is None:
        environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
        command = [*DEGRADE, "status", str(results)]
        said = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    else:
        said = run_at_terminal(columns, "status", str(results))
    lines = said.splitlines()
    for folder in (results / "runs").iterdir():
        (line,) = [line for line in lines if folder.name in line]
        assert {*line.split()} & {"constructed", "diverged", "finished", "interrupted"}
    others = 3 if columns is None else 4  # head, rule, sum; and at a terminal, where both streams lead, what to do next
    assert len([line for line in lines if line.strip()]) == len([*(results / "runs").iterdir()]) + others
