"""The report in a real browser, with the network off: laptop and phone, light and dark, no errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S, wait_for

import raysearch
from raysearch.bench.report import write_run
from raysearch.core.segment import Outcome, Segment, Status, segment_id
from raysearch.report.report import write_report

DRAWN = "html[data-drawn]"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("pages") / "run"
    write_run(run, 400)
    path = run / "report.html"
    path.write_text(write_report(raysearch.load(run)))
    return path


def opened(browser: Any, url: str, width: int, scheme: str) -> tuple[Any, list[str]]:
    """(the page when all is drawn, what its console and network said that it should not)."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    context.set_default_timeout(1000 * PATIENCE_S)
    page, wrong = context.new_page(), []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: (
            wrong.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None
        ),
    )
    page.goto(url)
    page.wait_for_selector(DRAWN, state="attached")
    return page, wrong


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_figure_is_drawn_without_a_word_on_the_console_and_nothing_overflows(
    browser: Any, report: Path, width: int, scheme: str
) -> None:
    page, wrong = opened(browser, report.as_uri(), width, scheme)
    assert wrong == []
    plots = page.locator(".plot")
    assert plots.count() == 8
    assert page.locator(".plot .main-svg").count() >= plots.count()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    heights = page.evaluate(
        "[...document.querySelectorAll('.plot')].map(e => e.getBoundingClientRect().height)"
    )
    assert min(heights) > 100
    page.context.close()


def colours(page: Any, selectors: Sequence[str]) -> list[list[int]]:
    """Red, green and blue of what each selector is painted with."""
    script = """names => names.map(name => {
        const style = getComputedStyle(document.querySelector(name));
        const paint = name.includes('text') ? style.fill : name === 'body' ? style.backgroundColor : style.color;
        return paint.match(/\\d+/g).slice(0, 3).map(Number); })"""  # noqa: E501
    return page.evaluate(script, list(selectors))


def test_light_and_dark_paint_the_figures_too_and_the_button_switches(browser: Any, report: Path) -> None:
    parts = ("body", "h1", ".plot .xtick text")
    page, _ = opened(browser, report.as_uri(), 1000, "light")
    paper, title, ticks = colours(page, parts)
    assert min(paper) > 230 > 120 > max(title)
    assert max(ticks) < 130, "tick labels are dark on light paper"
    page.click("#theme")
    paper, title, ticks = colours(page, parts)
    assert max(paper) < 50 < 200 < min(title)
    assert min(ticks) > 130, "and light on dark paper"
    page.context.close()


def test_the_tools_of_a_figure_are_seen_where_the_pointer_is_and_can_be_read(
    browser: Any, report: Path
) -> None:
    page, _ = opened(browser, report.as_uri(), 1000, "light")
    looks = """scheme => {
        document.documentElement.dataset.theme = scheme;
        const bar = document.querySelector('.plot .modebar'), group = bar.querySelector('.modebar-group');
        const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
        return [Number(getComputedStyle(group).opacity), numbers(getComputedStyle(group).backgroundColor),
                numbers(getComputedStyle(bar.querySelector('path')).fill)]; }"""
    page.locator(".plot").first.scroll_into_view_if_needed()
    page.mouse.move(0, 0)
    seen = page.locator(".plot").first.locator(".modebar")
    assert page.evaluate(looks, "light")[0] == 0
    page.locator(".plot").first.hover()
    wait_for(lambda: page.evaluate(looks, "light")[0] == 1)
    for scheme, is_right in (
        ("light", lambda paper, ink: paper - ink > 100),
        ("dark", lambda p, i: i - p > 100),
    ):
        _, paper, ink = page.evaluate(looks, scheme)
        assert is_right(min(paper[:3]), max(ink[:3])), (scheme, paper, ink)
        assert paper[3:] in ([], [1])
    names = seen.locator(".modebar-btn").evaluate_all("all => all.map(one => one.dataset.title)")
    assert "Zoom" in names
    assert not [name for name in names if "hare" in name or "loud" in name], "nothing is sent away"
    page.context.close()


def test_a_name_full_of_markup_runs_nothing_in_the_browser(browser: Any, tmp_path: Path) -> None:
    evil = '<img src=x onerror="window.hit=1"></script><script>window.hit=1</script>'
    run = tmp_path / "run"
    write_run(run, 30)
    spec = (run / "spec.yaml").read_text()
    (run / "spec.yaml").write_text(spec.replace("name: huge", "name: " + repr(evil)))
    from raysearch.storage.journal.journal import Journal

    segment = Segment(segment_id(999, 0), 999, None, {evil: evil, "lr": 0.1}, 0, 1, 0, evil)
    failed = Outcome(segment, Status.FAILED, {}, None, 1.0, evil, evil, False, 1_700_000_010.0)
    with Journal.open(run / "journal") as journal:
        journal.append([failed])
    path = tmp_path / "report.html"
    path.write_text(write_report(raysearch.load(run)))
    page, wrong = opened(browser, path.as_uri(), 1000, "light")
    assert page.evaluate("window.hit === undefined")
    assert page.locator("h1").inner_text() == evil
    assert page.locator("main img").count() == 0
    assert wrong == []
    page.context.close()


def test_the_decision_can_be_copied_as_text(browser: Any, report: Path) -> None:
    page, _ = opened(browser, report.as_uri(), 1000, "light")
    page.check("#decision input[type=checkbox] >> nth=0")
    page.fill("[name=owner]", "Ada")
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    page.click("#copy")
    page.wait_for_function("window.copied !== undefined")
    copied = page.evaluate("window.copied").splitlines()
    assert copied[1].startswith("[x] The verdict rests on fresh seeds")
    assert "owner: Ada" in copied
    page.context.close()
