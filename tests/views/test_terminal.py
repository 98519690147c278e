import io

import pytest
from rich.console import Console

from degrade.views import terminal


@pytest.fixture(params=[True, False], ids=["terminal", "pipe"])
def shown(request, monkeypatch) -> io.StringIO:
    """What is written to a terminal, or to a file."""
    file = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=file, width=100, force_terminal=request.param))
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
