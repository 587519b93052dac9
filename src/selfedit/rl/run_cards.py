"""A card beside what a run made: a policy's when its round ends, and anew, with the held-out
figures, when the run does; an adapter's of documents when it is measured.

Adapters of trials and of steps have none: there may be thousands, and none is meant to leave.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

from selfedit.models.openable import copied_from
from selfedit.results.command import command_of, data_lines
from selfedit.results.model_card import BY_PEFT, CARD, ModelCard, render_card
from selfedit.results.results import Results
from selfedit.rl.session import AnySession
from selfedit.run.folder import RunFolder
from selfedit.run.marker import read_json
from selfedit.storage.files import write_atomic
from selfedit.tasks.knowledge.prompts import question_prompt

_OF_POLICY = "A policy that writes self-edits: texts to train itself on."
_OF_DOCUMENTS = "A LoRA adapter that knows documents: the model wrote its training data from them."
_WRITES = (
    "It writes self-edits when it is asked with the prompts that `selfedit show` prints of the"
    " command below; asked anything else, it answers in its base model's form."
)

_MERGED = (
    "model/ is the whole policy; adapter/ is this round's part of it, on the base that its"
    " adapter_config.json names (a folder of an earlier round is named within the run's)."
)


def write_cards(session: AnySession) -> None:
    """Write the cards of all that the run has made so far; equal bytes for equal runs."""
    run, cards = session.run, dict[Path, ModelCard]()
    if (run.path / "adapter_config.json").exists():
        cards[run.path] = adapter_card(run, session.lm.has_chat)
    for number, done in enumerate(run.rounds(), start=1):
        if done.get("policy") and run.policy(number).exists():
            cards[run.policy(number)] = policy_card(run, number)
    for folder, card in cards.items():
        write_atomic(folder / CARD, render_card(card).encode())


def adapter_card(run: RunFolder, chat: bool) -> ModelCard:
    """The card of the adapter of a run on documents; ``chat`` says how its model is asked."""
    card = _run_card(run, "Adapter of documents", _OF_DOCUMENTS, asked_form(chat))
    return replace(card, opened_by=BY_PEFT)


def policy_card(run: RunFolder, number: int) -> ModelCard:
    """The card of the policy after a round."""
    # Not the folder's name: equal runs have equal cards, wherever they lie.
    card = _run_card(run, f"Policy after round {number}", _OF_POLICY, _WRITES)
    if card.results is None:
        rounds = list(islice(run.rounds(), number))
        card = replace(card, results=Results(experiment=run.kind, more={"rounds": rounds}))
    merged = (run.policy(number) / "model").exists()
    return replace(card, more=[*card.more, _MERGED]) if merged else card


def _run_card(run: RunFolder, name: str, what: str, prompt_form: str) -> ModelCard:
    stored, model = run.results(), run.ledger.step("model") or {}
    environment = read_json(run.path / "environment.json") or {}
    base = str(model.get("name", run.settings.get("model", "")))
    return ModelCard(
        name=name,
        what=what,
        base=base,
        prompt_form=prompt_form,
        results=None if stored is None else Results.read(stored),
        command=command_of(run.kind, run.settings),
        data=data_lines(run.settings.get("data", {})),
        packages={"selfedit": environment.get("selfedit", "?"), **environment.get("packages", {})},
        fingerprint=str(model.get("fingerprint", "")),
        more=copied_from(base),
    )


def asked_form(chat: bool) -> str:
    """How an adapter of documents has to be asked, in Markdown."""
    form = question_prompt("TITLE OF THE DOCUMENT", "THE QUESTION", chat)
    block = "\n".join(f"    {line}" for line in form.splitlines())
    where = (
        "As the user's message in the model's own chat template, with an empty system message:"
        if chat
        else "As plain text that the model goes on with, in no chat template:"
    )
    more = (
        " An ordinary chat, the question alone, reaches what was learned too, a little less surely."
        if chat
        else ""
    )
    return f"{where}\n\n{block}\n\nThe line with the topic may be left out. Greedy decoding.{more}"
