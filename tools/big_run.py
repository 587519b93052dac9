"""A run with a million answers in its ledger: how long it takes to go on with it, to print its
table, to grade it again, to report on it, and with how much memory.

``python tools/big_run.py [ANSWERS] [FOLDER]`` makes the run (under FOLDER, else in a temporary
folder) and prints a line a step: seconds on the wall, seconds of the processor, peak memory. Each
step is a process of its own; the base of each is what ``selfedit --help`` takes.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from selfedit.config import Settings, make_settings
from selfedit.experiments.knowledge import train
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from selfedit.run.records import Answer, SelfEditRow, Training, Trial
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts

QUESTIONS, SAMPLES, REPEATS = 10, 5, 5
AT_ONCE = 2000
_GO_ON = """
import json, sys
from pathlib import Path
from selfedit.experiments.knowledge import train
from selfedit.run.folder import RunFolder
settings = json.loads(Path(sys.argv[2]).read_text())
RunFolder.open(sys.argv[1], settings, kind=train.KIND).close()
"""

_OPEN = """
import sys
from selfedit.run.folder import RunFolder
RunFolder.read(sys.argv[1]).close()
"""


def make_passages(path: Path, count: int) -> None:
    """So many invented passages with ten questions each."""
    records = [
        {
            "title": f"Pier {number}",
            "context": f"Pier {number} was built by Ada {number}.",
            "questions": [
                {"question": f"Who built part {part}?", "answer": f"Ada {number}"}
                for part in range(QUESTIONS)
            ],
        }
        for number in range(count)
    ]
    path.write_text(json.dumps(records))


def settings_for(passages: Path) -> Settings:
    """The settings of the run."""
    return make_settings(
        {"heldout": str(passages), "train": str(passages), "eval": {"methods": ["own", "seal"]}}
    )


def make_run(folder: Path, passages: Path) -> int:
    """Fill a run's ledger; how many answers it has."""
    settings, contexts = settings_for(passages), load_contexts(passages)
    frozen = settings.model_dump(mode="json") | {"data": {"heldout": data_hash(contexts)}}
    folder.with_suffix(".json").write_text(json.dumps(frozen))
    training = Training(seed=1, steps=8, tokens=99, final_loss=0.5, seconds=1.0, settings_hash="s")
    answers = 0
    with RunFolder.open(folder, frozen, kind=train.KIND) as run:
        for method in ("own", "seal"):
            place = held_out(method)
            edits = [
                SelfEditRow(
                    place=place, context_id=context.id, candidate=candidate, text="A fact.\n" * 8, prompt_hash="p",
                    seed=1, tokens=9, seconds=0.1, finish="stop",
                )
                for context in contexts
                for candidate in range(SAMPLES)
            ]  # fmt: skip
            run.ledger.add_self_edits(edits)
            trials: list[Trial] = []
            for context in contexts:
                names = sorted(question.id for question in context.questions)
                for candidate, repeat in ((c, r) for c in range(SAMPLES) for r in range(REPEATS)):
                    given = tuple(
                        Answer(
                            question_id=name, text=f"Ada {number}", tokens=3, correct=number % 2 == 0, score=1.0,
                            grader="concise", seconds=0.1,
                        )
                        for number, name in enumerate(names)
                    )  # fmt: skip
                    trials.append(
                        Trial(
                            place=place, context_id=context.id, candidate=candidate, repeat=repeat, training=training,
                            answers=given,
                        )
                    )  # fmt: skip
                    answers += len(given)
                if len(trials) >= AT_ONCE:
                    run.ledger.add_trials(trials)
                    trials = []
            run.ledger.add_trials(trials)
    return answers


def measured(name: str, words: list[str]) -> None:
    """Run a command and print what it took."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", f"{_PEAK}\n{words[0]}", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = done.stderr.rpartition("PEAK ")[2].strip() if "PEAK " in done.stderr else "?"
    verdict = "" if done.returncode == 0 else f"  FAILED: {done.stderr[-200:]}"
    print(
        f"{name:32} {time.monotonic() - start:7.1f} s, {seconds:6.1f} s of the processor,"
        f" {peak:>6} MB{verdict}",
        flush=True,
    )


_PEAK = """
import atexit, sys
def peak():  # of this program alone: what getrusage says counts the process it was forked from
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print("PEAK", int(status["VmHWM"].split()[0]) // 1024, file=sys.stderr)
atexit.register(peak)
"""
_SELFEDIT = "from selfedit.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


def main(answers: int = 1_000_000, where: str | None = None) -> None:
    """Make the run and measure."""
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(where or temporary)
        base.mkdir(parents=True, exist_ok=True)
        passages, folder = base / "passages.json", base / "run"
        make_passages(passages, max(1, answers // (2 * QUESTIONS * SAMPLES * REPEATS)))
        start = time.monotonic()
        count = make_run(folder, passages)
        size = (folder / "ledger.sqlite").stat().st_size / 2**20
        print(
            f"{count:,} answers, {size:,.0f} MB of ledger, made in {time.monotonic() - start:.0f} s"
        )
        measured("selfedit --help (the base)", [_SELFEDIT, "--help"])
        measured(
            "going on with it (opening)", [_GO_ON, str(folder), str(folder.with_suffix(".json"))]
        )
        opening = [_OPEN, str(folder)]
        measured("opening it for reading, anew", opening)
        measured("opening it for reading, again", opening)
        measured("selfedit evaluate RUN", [_SELFEDIT, "evaluate", str(folder)])
        again = ["evaluate", str(folder), "--grader", "contains"]
        measured("selfedit evaluate --grader", [_SELFEDIT, *again])
        measured("selfedit report RUN", [_SELFEDIT, "report", str(folder)])
        measured("selfedit signal RUN", [_SELFEDIT, "signal", str(folder)])


if __name__ == "__main__":
    _answers = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    main(_answers, *sys.argv[2:3])
