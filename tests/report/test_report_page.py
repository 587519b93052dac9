"""The page of a run: what a model wrote stays text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from selfedit.report.folder import write_report
from selfedit.rl.rounds import rl_place
from selfedit.run.folder import RunFolder
from selfedit.run.records import RewardRow, SelfEditRow, TimingRow

EVIL = "</pre><script>alert(1)</script>\x1b[2J <img src=x onerror=alert(2)>\ud800"

PICTURES = ["reward-by-round.png", "reward-by-length.png"]
SETTINGS = {"seed": 0, "rl": {"reward": {"signal": "accuracy"}}}


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    path = tmp_path / "<b>run"
    row = SelfEditRow(
        place=rl_place(1), context_id="<i>vell", candidate=0, text=EVIL, prompt_hash="", seed=1, tokens=9,
        seconds=1.0, finish="stop",
    )  # fmt: skip
    earned = RewardRow(
        place=rl_place(1), context_id="<i>vell", candidate=0, reward=0.2, accuracy=0.2, baseline=0.1,
        kept=True,
    )  # fmt: skip
    with RunFolder.open(path, SETTINGS, kind="knowledge") as run:
        run.ledger.add_rewards([earned])
        run.ledger.add_self_edits(
            [row], [TimingRow(place=rl_place(1), part="sampling", seconds=2.5, count=1)]
        )
        numbers = {"baseline": 0.1, "accuracy": 0.2, "best": 0.3}
        run.ledger.finish_step("round-1", {"round": 1, **numbers})
    return path


def test_a_model_can_put_nothing_into_the_page(run_folder: Path) -> None:
    page, *_ = write_report(run_folder)
    text = page.read_text("utf-8")
    tags = Tags()
    tags.feed(text)
    assert not {"script", "b", "i", "iframe", "link"} & {tag for tag, _ in tags.seen}
    images = [attributes for tag, attributes in tags.seen if tag == "img"]
    assert [image["src"] for image in images] == PICTURES
    twins = [attributes["srcset"] for tag, attributes in tags.seen if tag == "source"]
    assert twins == [name.replace(".png", "-dark.png") for name in PICTURES]
    assert not any(name.startswith("on") for _, attributes in tags.seen for name in attributes)
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text


def test_the_page_fetches_nothing(run_folder: Path) -> None:
    text = write_report(run_folder)[0].read_text("utf-8")
    assert "default-src 'none'" in text
    assert "http://" not in text and "https://" not in text


def test_an_unfinished_run_has_times_and_rounds(run_folder: Path) -> None:
    page, *pictures = write_report(run_folder)
    text = page.read_text("utf-8")
    assert "writing self-edits" in text and "2.5" in text
    assert "not finished" in text
    assert [picture.name for picture in pictures] == PICTURES


def test_reporting_twice_is_fine(run_folder: Path) -> None:
    assert write_report(run_folder) == write_report(run_folder)


def test_an_e_step_is_split_into_its_parts(run_folder: Path) -> None:
    parts = {"sampling": 2.5, "adapting": 40.0, "answering": 8.0, "grading": 0.5, "waiting": 3.0}
    with RunFolder.open(run_folder, SETTINGS, kind="knowledge") as run:
        rows = [TimingRow(place=rl_place(2), part=p, seconds=s, count=6) for p, s in parts.items()]
        run.ledger.add_timings(rows)
    text = write_report(run_folder)[0].read_text("utf-8")
    (line,) = [line for line in text.splitlines() if "E-step of round 2" in line]
    assert "".join(f"<td>{s:.1f}</td>" for s in parts.values()) + "<td>54.0</td>" in line
    assert "<td>5.0</td>" in next(
        line for line in text.splitlines() if "<td>all</td>" in line
    )  # both rounds' sampling
