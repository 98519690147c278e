"""The page of `degrade report` in a real browser, where there is one: what is seen, heard, clicked and typed."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from places import ROOT

from degrade.views.report import write

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here; on Debian: apt-get install chromium")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write([ROOT / "results" / "quickstart3"], path)
    return path


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # a browser refuses its sandbox to root
        arguments = ["--no-sandbox"] if hasattr(os, "getuid") and os.getuid() == 0 else []
        found = started.chromium.launch(executable_path=BROWSER, args=arguments)
        yield found
        found.close()


@pytest.fixture
def open_page(browser, page_file):
    """Opens the page; at the end of a test nothing may have gone wrong in it, and nothing been asked of a network."""
    wrong, asked, contexts = [], [], []

    def open_it(path=page_file, **more):
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **more})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"file://{path}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []
    assert [url for url in asked if not url.startswith(("file:", "blob:"))] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_everyone_can_read_it(open_page, scheme, width):
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    for details in page.locator("details").all()[:4]:
        details.locator("summary").click()
    found = axe.Axe().run(page, options={"runOnly": RULES})
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found.response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_point_of_every_line_is_told_to_the_keyboard(open_page):
    page = open_page()
    panel = page.locator("#p0-fig1 .panel").first
    data = json.loads(panel.locator("script").text_content())
    panel.locator(".plot").focus()
    live = page.locator("[aria-live=polite]")
    page.keyboard.press("ArrowRight")
    for number, line in enumerate(data["lines"]):
        page.keyboard.press("Home")
        heard = []
        for _ in line["y"]:
            heard.append(live.text_content())
            page.keyboard.press("ArrowRight")
        for said, x, y in zip(heard, data["xs"][line["x"][0]], line["y"], strict=True):
            assert said.startswith(f"{line['t']}: iteration {x:,.0f}, {y:g} %"), said
        if number + 1 < len(data["lines"]):
            page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert "gone" in panel.locator(".tip").get_attribute("class")


def test_a_pointer_near_a_point_shows_it(open_page):
    page = open_page()
    panel = page.locator("#p0-fig1 .panel").first
    panel.locator(".line use").first.hover(force=True)
    assert "plain-8" in panel.locator(".tip").text_content()
    page.mouse.move(5, 5)
    assert "gone" in panel.locator(".tip").get_attribute("class")


def places(curve):
    """The points of a curve: its d has a step from each to the next."""
    steps = [re.findall(r"-?[\d.]+", each) for each in re.split("[Ml]", curve.get_attribute("d"))[1:]]
    return np.cumsum(np.array(steps, float), axis=0)


def test_axes_splits_seeds_nets_and_scale_can_be_changed(open_page):
    page = open_page()
    plate = page.locator("#p0-fig4")
    curve = plate.locator(".curve").first
    before = places(curve)
    plate.locator("select").select_option("seconds")
    assert "wall time (s)" in plate.locator(".axes").first.text_content()
    plate.locator("select").select_option("iterations")
    assert np.abs(places(curve) - before).max() < 0.25  # four digits of a number on the page
    plate.get_by_label("logarithmic").check()
    assert np.abs(places(curve) - before).max() > 20
    plate.get_by_label("logarithmic").uncheck()
    assert np.abs(places(curve) - before).max() < 0.25
    plate.get_by_label("each seed").check()
    data = json.loads(plate.locator(".panel script").first.text_content())
    assert plate.locator(".panel").first.locator(".seed").count() == len(data["seeds"]) > 3
    plate.get_by_label("each seed").uncheck()
    assert plate.locator(".seed").count() == 0
    panel, training = plate.locator(".panel").first, [line["s"] for line in data["lines"]].count("training")
    plate.get_by_label("training", exact=True).uncheck()
    assert panel.locator(".line.gone").count() == training > 0
    plate.get_by_label("training", exact=True).check()
    entry = panel.locator(".legend button").first
    entry.click()
    assert entry.get_attribute("aria-pressed") == "false"
    assert panel.locator(".line.gone").count() == 2
    entry.click()
    assert panel.locator(".line.gone").count() == 0


def test_a_figure_is_saved_as_picture_and_its_data_as_csv(open_page, tmp_path):
    page = open_page()
    plate = page.locator("#p0-fig7")
    for kind, start in (("CSV", b'"panel","line"'), ("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as download:
            plate.get_by_role("button", name=f"{kind} of").click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert path.read_bytes().startswith(start), kind
        assert path.suffix == f".{kind.lower()}"
        assert len(path.read_bytes()) > 1000


def test_tables_are_sorted_and_runs_filtered(open_page):
    page = open_page()
    table = page.locator("#runs table")
    heads = [text.strip() for text in table.locator("thead th").all_text_contents()]
    column = heads.index("test error, %")

    def values():
        return [float(row.locator("td").nth(column).text_content()) for row in table.locator("tbody tr").all()]

    button = table.locator("thead th").nth(column).locator("button")
    button.click()
    assert values() == sorted(values())
    assert table.locator("thead th").nth(column).get_attribute("aria-sort") == "ascending"
    button.click()
    assert values() == sorted(values(), reverse=True)
    page.get_by_label("Show runs with").fill("plain-56")
    shown = [row for row in table.locator("tbody tr").all() if row.is_visible()]
    assert shown
    assert all("plain-56" in row.text_content() for row in shown)
    assert page.locator("#runs [role=status]").text_content() == f"{len(shown)} of {table.locator('tbody tr').count()}"


def test_without_script_figures_numbers_and_tables_are_there(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator(".plate svg .curve").first.is_visible()
    assert not page.locator(".controls").first.is_visible()
    details = page.locator("details").nth(1)
    details.locator("summary").click()
    assert details.locator("table.numbers").is_visible()
    assert page.locator("#runs tbody tr").first.is_visible()


def test_nothing_in_a_results_folder_runs_script(open_page, tmp_path):
    from generated import ended, lay

    import degrade
    from degrade.spec import NetSpec, RunSpec

    evil = "</script><script>window.hit=1</script><img src=x onerror='window.hit=2'>"
    data = degrade.DataSpec(label=evil[:80])
    runs = [ended(RunSpec(net=NetSpec(net="plain", depth=depth), data=data), 5.0, 9.0) for depth in (8, 14)]
    for each in runs:
        each.outcome = evil
    lay(runs, tmp_path / "results")
    write([tmp_path / "results"], tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    assert page.evaluate("window.hit") is None
    assert "window.hit=1" in page.locator("body").text_content()


def test_a_watched_page_reads_itself_anew_until_told_not_to(open_page, tmp_path):
    write([ROOT / "results" / "quickstart3"], tmp_path / "page.html", watch=True)
    page = open_page(tmp_path / "page.html")
    assert "Read anew every 30 s" in page.locator("#reload").text_content()
    page.locator("#reload button").click()
    assert page.locator("#reload").text_content() == "No longer read anew."


def test_printed_it_has_figures_and_no_buttons(open_page):
    page = open_page()
    page.emulate_media(media="print")
    assert page.locator(".plate svg .curve").first.is_visible()
    assert not page.locator(".controls").first.is_visible()
    assert len(page.pdf()) > 20_000
