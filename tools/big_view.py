"""`selfedit view` on a run of 10^5 trials: how long until the page shows something, and until a
filter has changed what it shows, in a real browser.

``python tools/big_view.py [TRIALS] [FOLDER]`` makes the run (under FOLDER, else in a temporary
folder), opens the page in Chromium and prints a line a step.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from selfedit.config import Settings, make_settings
from selfedit.rl.rounds import rl_place
from selfedit.run.folder import RunFolder
from selfedit.run.records import Answer, RewardRow, SelfEditRow, TimingRow, Training, Trial
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.task import Context

QUESTIONS, CANDIDATES, ROUNDS = 3, 25, 2
_NAMES = ("Vell", "Tarn", "Ossery", "Kerrigal", "Holm", "Brae", "Lunder", "Pell", "Quay", "Ister")
_THINGS = ("harbour", "bridge", "lighthouse", "mill", "archive", "ferry", "observatory", "market")
_PEOPLE = ("Orda Mirane", "Pell Harran", "Ida Voss", "Tomas Ekk", "Runa Sol", "Ben Achter")
_FORMS = (
    "{person} built the {thing} of {name}.",
    "The {thing} of {name} dates from {year}.",
    "In {year} the {thing} was opened by {person}.",
    "Anyone who visits {name} sees the {thing} that {person} planned.",
    "The {thing} of {name} is older than the railway.",
    "Its builder, {person}, never saw it finished.",
)


_ANSWERED = "before => document.querySelector('#edits').dataset.answer !== before"
_BEST = "location.hash = location.hash.split('?')[0] + '?sort=best'"


def make_passages(path: Path, count: int) -> None:
    """So many invented passages with three questions each."""
    chance, records = random.Random(0), []
    for number in range(count):
        name, thing = chance.choice(_NAMES), chance.choice(_THINGS)
        person, year = chance.choice(_PEOPLE), 1400 + number % 500
        text = f"The {thing} of {name} was built in {year} by {person}. It closes in February."
        asked = (
            ("Who built it?", person),
            ("When?", str(year)),
            ("When is it closed?", "February"),
        )
        questions = [{"question": question, "answer": answer} for question, answer in asked]
        title = f"The {thing} of {name} ({number})"
        records.append({"title": title, "context": text, "questions": questions})
    path.write_text(json.dumps(records))


def make_run(folder: Path, trials: int) -> Path:
    """A run of two rounds in which about so many inner loops have been trained; it has no results
    yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    passages = folder / "passages.json"
    make_passages(passages, max(1, trials // (ROUNDS * CANDIDATES)))
    contexts = load_contexts(passages)
    values = {
        "train": str(passages),
        "heldout": "none",
        "rl": {"rounds": ROUNDS, "contexts": len(contexts), "candidates": CANDIDATES},
    }
    settings: Settings = make_settings(values)
    frozen = settings.model_dump(mode="json") | {"data": {"train": data_hash(contexts)}}
    with RunFolder.open(folder / "run", frozen, kind="knowledge") as run:
        for number in range(1, ROUNDS + 1):
            for start in range(0, len(contexts), 100):
                _add(run, number, contexts[start : start + 100])
            spent = TimingRow(place=rl_place(number), part="adapting", seconds=60.0, count=trials)
            run.ledger.add_timings([spent])
            sums = {"baseline": 0.1, "accuracy": 0.3 + 0.1 * number, "best": 0.8}
            run.ledger.finish_step(f"round-{number}", {"round": number, **sums, "kept": 1})
    return folder / "run"


def _add(run: RunFolder, number: int, contexts: list[Context]) -> None:
    rows = [_candidate(number, context, k) for context in contexts for k in range(CANDIDATES)]
    with run.ledger.transaction():
        run.ledger.add_self_edits([edit for edit, _, _ in rows])
        run.ledger.add_trials([trial for _, trial, _ in rows])
        run.ledger.add_rewards([reward for _, _, reward in rows])


def _candidate(
    number: int, context: Context, candidate: int
) -> tuple[SelfEditRow, Trial, RewardRow]:
    place, chance = rl_place(number), random.Random(f"{number} {context.id} {candidate}")
    text = "\n".join(_lines(chance, context, 3 + number))
    tokens = len(text.split()) * 4 // 3
    ids = json.dumps({"ids": list(range(tokens)), "logprobs": [-1.234567] * tokens})
    edit = SelfEditRow(
        place=place, context_id=context.id, candidate=candidate, text=text, prompt_hash="p", seed=1,
        tokens=tokens, seconds=0.1, finish="length" if chance.random() < 0.1 else "stop",
        sampled_json=ids,
    )  # fmt: skip
    training = Training(
        seed=1, steps=12, tokens=4 * tokens, final_loss=1.0 + chance.random(), seconds=1.0,
        settings_hash="s",
    )  # fmt: skip
    answers, right = [], 0
    for question in sorted(context.questions, key=lambda question: question.id):
        correct = chance.random() < 0.2 + 0.15 * number
        right += correct
        said = question.answers[0] if correct else chance.choice(_PEOPLE)
        answers.append(
            Answer(
                question_id=question.id, text=said, tokens=3, correct=correct, score=float(correct),
                grader="contains", seconds=0.1,
            )
        )  # fmt: skip
    trial = Trial(
        place=place, context_id=context.id, candidate=candidate, training=training,
        answers=tuple(answers),
    )  # fmt: skip
    share = right / QUESTIONS
    reward = RewardRow(
        place=place, context_id=context.id, candidate=candidate, reward=share - 0.1, accuracy=share,
        baseline=0.1, kept=share > 0.9,
    )  # fmt: skip
    return edit, trial, reward


def _lines(chance: random.Random, context: Context, count: int) -> Iterator[str]:
    thing, _, name = context.title.partition(" (")[0].removeprefix("The ").partition(" of ")
    for _ in range(count + chance.randrange(8)):
        form = chance.choice(_FORMS)
        year, person = chance.randrange(1400, 1900), chance.choice(_PEOPLE)
        yield form.format(name=name, thing=thing, year=year, person=person)


def main(trials: int = 100_000, where: str | None = None) -> None:
    """Make the run and measure."""
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(where or temporary)
        start = time.monotonic()
        run = base / "run" if (base / "run").exists() else make_run(base, trials)
        size = (run / "ledger.sqlite").stat().st_size / 2**20
        print(f"{trials:,} trials, {size:,.0f} MB, made in {time.monotonic() - start:.0f} s")
        command = [sys.executable, "-m", "selfedit", "view", str(run), "--port", "0", "--no-ask"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            measure(server.stdout.readline().strip())
        finally:
            server.terminate()
            server.wait(30)


def measure(address: str) -> None:
    """Open the page and print what each step took."""
    from playwright.sync_api import Page, sync_playwright

    def timed(page: Page, label: str, step: Callable[[], object]) -> None:
        before = page.get_attribute("#edits", "data-answer")
        start = time.monotonic()
        step()
        page.wait_for_function(_ANSWERED, arg=before)
        took = time.monotonic() - start
        print(f"{label:30} {took:6.2f} s   {page.inner_text('#edits-count')}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page()
        start = time.monotonic()
        page.goto(address)
        page.wait_for_selector("h1")
        print(f"{'the run is shown':30} {time.monotonic() - start:6.2f} s")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        print(f"{'first paint, by the browser':30} {paint / 1000:6.2f} s")
        second = time.monotonic()
        page.click("[data-key=s]")
        page.wait_for_selector("#edits [data-id]")
        print(f"{'its self-edits are listed':30} {time.monotonic() - second:6.2f} s")
        page.wait_for_selector("body[data-indexed=all]", timeout=600_000)
        print(f"{'all of them are in the index':30} {time.monotonic() - start:6.2f} s")
        page.wait_for_timeout(2000)
        timed(page, "kept only", lambda: page.select_option("#filter-kept", "1"))
        timed(page, "kept only, round 2", lambda: page.select_option("#filter-place", "2"))
        timed(page, "and a word in the text", lambda: page.fill("#search", "observatory"))
        timed(page, "no filter, best first", lambda: page.evaluate(_BEST))
        timed(page, "a word in all texts", lambda: page.fill("#search", "railway"))
        timed(page, "a word that is nowhere", lambda: page.fill("#search", "nowhere at all"))
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, *sys.argv[2:3])
