"""The page of `selfedit view` in a real browser: what is seen, clicked and typed; that nothing a model
wrote comes alive, and nothing is fetched from elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page, expect, sync_playwright
from viewed_runs import SETTINGS, TOKEN, written_run

from payloads import PAYLOADS
from run_rows import rl, self_edit
from selfedit.documents.shelf import Shelf
from selfedit.lm.bank import AdapterBank
from selfedit.lm.load import load
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.run.folder import RunFolder
from selfedit.serving.http_server import http_server, listening, run_server
from selfedit.serving.limits import Limits
from selfedit.serving.service import Service
from selfedit.view.app import ViewPage

pytestmark = [pytest.mark.server, pytest.mark.slow]

PHONE = {"width": 390, "height": 844}
_NAMELESS = """[...document.querySelectorAll("button, input, select, a, [role=listbox], [role=img]")]
    .filter((each) => each.offsetParent !== null || each instanceof SVGElement)
    .filter((each) => !(each.ariaLabel || each.textContent.trim() || each.labels?.length))
    .map((each) => each.outerHTML)"""
_WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def chromium() -> str | None:
    """Where a browser is: Debian's, which is fetched where that is allowed; None for Playwright's."""
    if shutil.which("chromium"):
        return shutil.which("chromium")
    with sync_playwright() as playwright:
        if Path(playwright.chromium.executable_path).exists():
            return None
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for words in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", *words], capture_output=True, check=False, timeout=300)
    if (found := shutil.which("chromium")) is None:
        pytest.skip("needs a browser: apt-get install chromium, or playwright install chromium")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the module."""
    path = chromium()
    with sync_playwright() as playwright:
        # As root, as CI often is, Chromium has no sandbox.
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def served(folder: Path, open_service: Callable[[Path], Any] | None = None) -> Iterator[str]:
    """The page in a thread, stopped as Ctrl-C stops it; its address without the token."""
    page, stop = ViewPage(folder, open_service), threading.Event()
    bound = listening("127.0.0.1", 0)
    server = http_server(page.application(TOKEN, []), 64)
    thread = threading.Thread(
        target=run_server, args=(server, bound, stop.is_set), kwargs={"closing": page.close}
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()  # no stream holds it up


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """``opened(address)``: a page of a tab of its own; whatever it should not do fails the test."""
    wrongs: list[str] = []
    contexts = []

    def look(address: str, token: str = TOKEN, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: wrongs.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrongs.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda asked: wrongs.append(asked.url)
                if not asked.url.startswith(address) else None)  # fmt: skip
        page.on("console", lambda line: wrongs.append(line.text)
                if "Content Security Policy" in line.text else None)  # fmt: skip
        page.goto(f"{address}#token={token}" if token else address)
        return page

    yield look
    for context in contexts:
        context.close()
    assert wrongs == []


@pytest.fixture(scope="module")
def address(made_run: Path) -> Iterator[str]:
    """The page over a run of 2,000 trials."""
    with served(made_run) as where:
        yield where


def test_from_a_point_to_its_self_edit_and_its_answers(address: str, opened) -> None:
    page = opened(address)
    expect(page.locator("h1")).to_have_text("run")
    assert TOKEN not in page.url and TOKEN not in page.content()
    expect(page.locator("svg.chart")).to_have_count(2)
    expect(page.locator("#overview")).to_contain_text("40")  # passages
    kept = page.locator("svg.chart circle.kept").first
    kept.hover(force=True)
    expect(page.locator("#tip")).to_contain_text("kept")
    kept.dispatch_event("click")
    chosen = page.locator(".column.chosen")
    expect(chosen.locator(".facts")).to_contain_text("kept")
    expect(page.locator(".column")).to_have_count(2)  # both rounds, side by side
    expect(page.locator("#detail table")).to_contain_text("Who built it?")
    expect(page.locator("#edits [aria-selected=true]")).to_have_count(1)
    # Another candidate of the same round.
    picker = chosen.locator("select")
    before = chosen.locator("pre").inner_text()
    picker.select_option(index=3)
    expect(page.locator(".column.chosen pre")).not_to_have_text(before)
    chosen.locator("button").click()  # another of its round
    expect(page.locator(".column")).to_have_count(3)
    page.reload()  # the address says all of it, and the tab still knows the token
    expect(page.locator(".column.chosen")).to_be_visible()
    assert page.evaluate(_NAMELESS) == []


def test_filters_and_search_change_the_list(address: str, opened) -> None:
    page = opened(address)
    page.click("[data-key=s]")
    count = page.locator("#edits-count")
    expect(count).to_have_text("2,000 self-edits")
    page.select_option("#filter-kept", "1")
    expect(count).not_to_have_text("2,000 self-edits")
    page.fill("#search", "RAILWAY")
    expect(page.locator("#edits mark").first).to_have_text("railway")
    page.fill("#filter-least", "5")
    page.keyboard.press("Tab")
    expect(count).to_have_text("0 self-edits")
    expect(page.locator("#edits")).to_contain_text("No self-edit matches")
    page.click("text=Clear")
    expect(count).to_have_text("2,000 self-edits")
    # The list's end, far below what was ever fetched.
    page.locator("#edits").press("End")
    expect(page.locator("#edits [data-n='1999']")).to_be_visible()
    assert page.locator("#edits [data-id]").count() < 40
    assert page.evaluate(_NAMELESS) == []


def test_all_of_it_by_keys(address: str, opened) -> None:
    page = opened(address)
    expect(page.locator("h1")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    expect(page.locator("#edits [data-n='1']")).to_be_visible()
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("#edits [data-n='1']")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".column.chosen")).to_contain_text("#1")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("nowhere at all")
    expect(page.locator("#edits-count")).to_have_text("0 self-edits")
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    picture = page.locator("svg.chart").first
    picture.focus()
    picture.press("ArrowRight")
    picture.press("ArrowRight")
    expect(page.locator("circle.at")).to_have_count(1)
    picture.press("Enter")
    expect(page.locator(".column.chosen")).to_be_visible()


def test_a_phone_shows_one_thing_after_the_other_and_nothing_wider(address: str, opened) -> None:
    page = opened(address, viewport=PHONE, color_scheme="dark", has_touch=True)
    expect(page.locator("h1")).to_be_visible()
    assert page.evaluate(_WIDER) == 0
    red, *_ = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
    assert int(red) < 60
    page.tap("[data-key=s]")
    page.tap("#edits [data-n='2']")
    expect(page.locator(".column.chosen")).to_be_visible()
    expect(page.locator("#edits")).to_be_hidden()
    assert page.evaluate(_WIDER) == 0
    page.tap("text=All self-edits")
    expect(page.locator("#edits [data-n='2']")).to_be_visible()
    assert page.evaluate(_WIDER) == 0


@pytest.mark.parametrize("kind", ["a script", "markup", "a table's cell", "text that runs backwards",
                                  "300 letters", "a path upwards"])  # fmt: skip
def test_what_a_model_wrote_stays_text(tmp_path: Path, opened, kind: str) -> None:
    name = PAYLOADS[kind]
    written_run(tmp_path / "one", name, name)
    written_run(tmp_path / "two", name, name)
    with served(tmp_path) as where:
        page = opened(where, viewport=PHONE)
        expect(page.locator(".runs a").first).to_be_visible()
        checks = page.locator("input[type=checkbox]")
        checks.nth(0).check()
        checks.nth(1).check()
        page.click("text=Compare the two")
        expect(page.locator("h2").first).to_be_visible()
        assert alive(page) == [0, 1, 0]
        page.click(".brand")
        page.click(".runs a")
        page.click("[data-key=s]")
        page.click("#edits [data-n='0']")
        expect(page.locator(".column pre")).to_be_visible()
        shown = page.locator(".column pre").text_content() or ""
        assert "<script>" in shown or kind != "a script"
        assert "\u202e" not in page.content()
        assert alive(page) == [0, 1, 0]


def alive(page: Page) -> list[int]:
    """Images, scripts (the page has one) and pixels beyond the screen."""
    counts = "['img, iframe, object', 'script'].map((s) => document.querySelectorAll(s).length)"
    return [*page.evaluate(counts), page.evaluate(_WIDER)]


def test_a_run_under_way_and_then_gone(tmp_path: Path, opened) -> None:
    folder = tmp_path / "run"
    with RunFolder.open(folder, SETTINGS, kind="knowledge") as run, served(folder) as where:
        run.ledger.add_self_edits([self_edit("c0", place=rl(1))])
        page = opened(where)
        expect(page.locator("#standing")).to_contain_text("running")
        expect(page.locator("[data-key=s]")).to_have_text("Self-edits 1")
        run.ledger.add_self_edits([self_edit("c1", place=rl(1)), self_edit("c2", place=rl(2))])
        expect(page.locator("[data-key=s]")).to_have_text("Self-edits 3")
        page.click("[data-key=s]")
        run.ledger.add_self_edits([self_edit("c3", place=rl(2), text="a fourth")])
        expect(page.locator("#edits-count")).to_have_text("4 self-edits")
        shutil.rmtree(folder)
        expect(page.locator("#standing")).to_contain_text("this run is gone")


def test_a_wrong_token_is_asked_for_again(address: str, opened) -> None:
    page = opened(address, "not-the-token")
    expect(page.locator("h1")).to_have_text("Which token?")
    page.fill("main input", f"{address}#token={TOKEN}")
    page.keyboard.press("Enter")
    expect(page.locator(".tabs")).to_be_visible()


def test_the_model_and_what_it_learned_answer_side_by_side(
    tmp_path: Path, small_folder: Path, opened
) -> None:
    folder = written_run(tmp_path / "run")
    (folder / "adapter_config.json").write_text("{}")
    loaded: list[Path] = []

    def open_service(path: Path) -> Service:
        loaded.append(path)
        lm = load(str(small_folder), device="cpu")
        bank = AdapterBank(lm.model, [spec := LoraSpec(2, 8, ("q_proj",))])
        bank.values.copy_(torch.ones(bank.values.shape) * 0.01)
        adapter = Adapter(spec, bank.take(0))
        shelf = Shelf(
            lm, {"vell.md": lambda: adapter}, lambda *_: "vell.md", kind="document", base="small"
        )
        return Service(shelf, Limits(max_tokens=8))

    with served(folder, open_service) as where:
        page = opened(where)
        page.click("[data-key=a]")
        assert loaded == []  # not before it is asked
        for _ in range(2):
            page.fill("#search", "Who built <b>it</b>?")
            page.click("button.main")
            expect(page.locator(".answers .card")).to_have_count(2)
            expect(page.locator(".answers .writing")).to_have_count(0)
            expect(page.locator(".answers")).to_contain_text("from vell.md")
            expect(page.locator(".answers")).to_contain_text("the model itself was asked")
        assert loaded == [folder]
