"""Folders that a reader finds the changed file in: a run's, a model's, a library's."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from selfedit.cli.evaluate import evaluate
from selfedit.errors import SelfEditError
from selfedit.lm.kinds import check_weight_types
from selfedit.lm.load import LanguageModel, _with_tokenizer
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.models.config import check_tables
from selfedit.report.markdown import results_markdown
from selfedit.report.page import write_page
from selfedit.report.pictures import draw_pictures
from selfedit.results.results import Results
from selfedit.run.folder import RunFolder
from selfedit.run.ledger import Ledger
from selfedit.run.records import Answer, Phase, Place, RewardRow, SelfEditRow, Trial
from tiny_llama import made_tokenizer, tiny_llama

SETTINGS = {"model": "m", "seed": 1}
Read = Callable[[Path, bytes], object]


def within(name: str, make: Callable[[Path], object], read: Callable[[Path], object]) -> Read:
    """A reader of a folder, in which the file called so is the input; the folder is made once."""

    def run(folder: Path, data: bytes) -> object:
        place = folder / f"{make.__name__}-{name}"
        if not place.exists():
            make(place)
        (place / name).write_bytes(data)
        return read(place)

    return run


def run_folder(place: Path) -> None:
    """A run with a little of everything in its ledger."""
    at = Place(Phase.EVAL, "own")
    edits = [
        SelfEditRow(
            place=at, context_id=f"c{number}", candidate=0, text="a\nb", prompt_hash="p", seed=1, tokens=2,
            seconds=0.5, finish="stop", sampled_json='{"ids":[1,2],"logprobs":[]}',
        )
        for number in range(3)
    ]  # fmt: skip
    answers = [
        Answer(question_id=f"q{number}", text="a", tokens=1, correct=number > 0, grader="g", seconds=0.1)
        for number in range(3)
    ]  # fmt: skip
    reward = RewardRow(
        place=at, context_id="c0", candidate=0, reward=1.0, accuracy=0.5, baseline=0.1, kept=True
    )
    with RunFolder.open(place, SETTINGS, kind="knowledge") as run:
        run.ledger.add_self_edits(edits)
        run.ledger.add_trials([Trial(place=at, context_id="c1", answers=tuple(answers))])
        run.ledger.add_rewards([reward])
        run.ledger.finish_step("round-1", {"round": 1})
        run.record_environment({"packages": {"torch": "2"}})
        run.append_metric({"loss": 1.0})


def ledger_bytes() -> bytes:
    """The ledger of such a run."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run_folder(Path(folder) / "run")
        return (Path(folder) / "run" / "ledger.sqlite").read_bytes()


def read_ledger(path: Path) -> object:
    """Everything that a ledger holds."""
    for part in ("-wal", "-shm"):
        path.with_name(path.name + part).unlink(missing_ok=True)
    with Ledger(path, readonly=True, begun=True) as ledger:
        places = ledger.places()
        for place in places:
            _ = ledger.self_edits(place), ledger.trials(place), ledger.rewards(place)
            _ = ledger.verdicts(place), ledger.done(place)
        return places, ledger.steps(), ledger.timings(), ledger.step("round-1")


def print_table(folder: Path) -> None:
    """A run's table as text."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        evaluate(str(folder))


def print_run(folder: Path) -> None:
    """A run's table and page, as text, Markdown and HTML."""
    print_table(folder)
    with RunFolder.read(folder) as run:
        results = Results.read(run.results())
        results_markdown(results)
        write_page(run, results, [])


def draw_run(folder: Path) -> None:
    """A run's pictures."""
    with RunFolder.read(folder) as run:
        if stored := run.results():
            Results.read(stored)
            draw_pictures(stored, folder / "pictures")


def note_environment(folder: Path) -> None:
    """A resume in another environment."""
    with RunFolder.read(folder) as run:
        run.record_environment({"packages": {"torch": "3"}})


def model_folder(place: Path) -> None:
    """A small model with its tokenizer."""
    shutil.copytree(_small_model(), place)


@cache
def _small_model() -> Path:
    import atexit
    import tempfile

    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    tokenizer = made_tokenizer()
    tokenizer.save_pretrained(folder.name)
    tiny_llama(len(tokenizer)).save_pretrained(folder.name)
    return Path(folder.name)


def model_file(name: str) -> bytes:
    """A file of the small model."""
    return (_small_model() / name).read_bytes()


@cache
def _small_lm() -> Any:
    from selfedit.lm.load import load

    return load(str(_small_model()), device="cpu")


def read_tokenizer(folder: Path) -> LanguageModel:
    """The tokenizer of a folder with a model that is loaded already: what a prompt needs."""
    check_tables(folder)
    lm = _small_lm()
    again = _with_tokenizer("x", folder, lm.model, lm.device, lm.dtype, "auto")
    again.encode("Who built Vell?")
    again.document("Who <|im_end|>?")
    return again


def read_template(text: str) -> object:
    """A chat in a template."""
    from selfedit.lm.chat import chat_prompt, chat_turns, end_of_turn

    tokenizer = made_tokenizer()
    tokenizer.chat_template = text
    end_of_turn(tokenizer)
    lm = _small_lm()
    before, lm.tokenizer.chat_template = lm.tokenizer.chat_template, text
    try:
        return chat_prompt(lm, "a"), chat_turns(lm, [("a", "b"), ("c", "d")])
    finally:
        lm.tokenizer.chat_template = before


def read_weights(path: Path) -> None:
    """The heads of weight files."""
    check_weight_types(path.parent)


def tensor_bytes() -> bytes:
    """Two matrices as safetensors."""
    return save({"a.weight": torch.ones(2, 3), "b.weight": torch.zeros(4)})


def adapter_folder(place: Path) -> None:
    """An adapter."""
    Adapter(LoraSpec(2, 4.0, ("q",)), {"x.q": (torch.ones(2, 3), torch.ones(3, 2))}).save(place)


def adapter_bytes() -> bytes:
    """Its matrices as safetensors."""
    return save(
        {f"base_model.model.x.q.lora_{side}.weight": torch.ones(2, 2) for side in ("A", "B")}
    )


def ours(run: Callable[[], object]) -> object:
    """What a reader that answers ValueError by design says to the settings that call it."""
    try:
        return run()
    except ValueError as error:
        raise SelfEditError(str(error)) from error
