"""A card beside what a run made: a policy's when its round ends, and anew, with the held-out
figures, when the run does; an adapter's of documents when it is measured.

Adapters of trials and of steps have none: there may be thousands, and none is meant to leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

from selfedit.results.card import CARD, Card, card_of, render_card
from selfedit.rl.session import AnySession
from selfedit.run.folder import RunFolder
from selfedit.storage.files import JsonObject, write_atomic
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
    run, cards = session.run, dict[Path, Card]()
    if (run.path / "adapter_config.json").exists():
        cards[run.path] = adapter_card(run, session.lm.has_chat)
    for number, done in enumerate(_rounds(run), start=1):
        if done.get("policy") and run.policy(number).exists():
            cards[run.policy(number)] = policy_card(run, number)
    for folder, card in cards.items():
        write_atomic(folder / CARD, render_card(card).encode())


def adapter_card(run: RunFolder, chat: bool) -> Card:
    """The card of the adapter of a run on documents; ``chat`` says how its model is asked."""
    return card_of(run, name="Adapter of documents", what=_OF_DOCUMENTS, asked=asked_form(chat))


def policy_card(run: RunFolder, number: int) -> Card:
    """The card of the policy after a round."""
    # Not the folder's name: equal runs have equal cards, wherever they lie.
    name, rounds = f"Policy after round {number}", list(islice(_rounds(run), number))
    card = card_of(run, name=name, what=_OF_POLICY, asked=_WRITES, rounds=rounds)
    merged = (run.policy(number) / "model").exists()
    return replace(card, more=[_MERGED]) if merged else card


def _rounds(run: RunFolder) -> Iterator[JsonObject]:
    for number in count(1):
        done = run.ledger.step(f"round-{number}")
        if done is None:
            return
        yield done


def asked_form(chat: bool) -> str:
    """How an adapter of documents has to be asked, in Markdown."""
    form = question_prompt("TITLE OF THE DOCUMENT", "THE QUESTION", chat)
    block = "\n".join(f"    {line}" for line in form.splitlines())
    where = (
        "As the user's message in the model's own chat template, with an empty system message:"
        if chat
        else "As plain text that the model goes on with, in no chat template:"
    )
    return f"{where}\n\n{block}\n\nThe line with the topic may be left out. Greedy decoding."
