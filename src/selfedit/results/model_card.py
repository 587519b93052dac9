"""The card of an adapter or a policy: what a stranger has to know of it, in the form of the hub.

A README.md with a block of YAML before it. Every text that is not ours (names, documents, notes) is
made harmless for Markdown; YAML is written by the hub's own library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfedit.models.openable import hub_id, licence
from selfedit.results.layout import main_tables, notes_of
from selfedit.results.policy_moved import round_tables
from selfedit.results.render import as_markdown
from selfedit.results.results import Results
from selfedit.results.tabular import Column, Table
from selfedit.storage.neutral import in_line, in_markdown

CARD = "README.md"
BY_PEFT = 'peft.AutoPeftModelForCausalLM.from_pretrained("FOLDER")'
_LIMITS = (
    "It was measured on the passages above and nothing else: what it says of other things was not"
    " looked at, and a share measured on few passages is rough.",
    "An adapter trained on documents knows what was asked of them in the form above; it does not"
    " say when it does not know.",
    "The base model's licence and limits hold for it too.",
)


@dataclass(frozen=True)
class ModelCard:
    """What a card says.

    Attributes:
        name: of the adapter or policy.
        what: what it is, in a sentence.
        base: the base model's name, as `selfedit.load` takes it.
        library: what opens it: peft, transformers.
        prompt_form: how it has to be asked, in words; empty where nothing is known.
        opened_by: the line of code or the command that opens it, in our own words.
        results: of its run; None while there are none.
        command: lines of the command that makes it again.
        data: what its run read, each with a hash.
        packages: versions it was made with.
        fingerprint: of the base's weights.
        more: what else has to be said, in sentences.
    """

    name: str
    what: str
    base: str
    library: str = "peft"
    prompt_form: str = ""
    opened_by: str = ""
    results: Results | None = None
    command: Sequence[str] = ()
    data: Sequence[str] = ()
    packages: Mapping[str, str] | None = None
    fingerprint: str = ""
    more: Sequence[str] = ()


def render_card(card: ModelCard) -> str:
    """The whole README.md."""
    parts = [
        _metadata(card),
        f"# {in_markdown(card.name, starts_line=True)}",
        in_markdown(card.what, starts_line=True),
        _as_list([*_origin(card), *map(in_markdown, card.more)]),
        *_result_parts(card),
        "## How it is asked",
        card.prompt_form or "Not known: it was made elsewhere.",
        f"Opened by:\n\n    {card.opened_by}" if card.opened_by else "",
        *_made_by(card),
        "## Limits",
        _as_list(_LIMITS),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _metadata(card: ModelCard) -> str:
    """The block that the hub reads; a folder's name stays out of it: it is of this machine."""
    from huggingface_hub import ModelCardData

    known, merged = licence(card.base), card.library == "transformers"
    base = hub_id(card.base)
    data: Any = ModelCardData(
        base_model=base,
        base_model_relation=None if base is None else "finetune" if merged else "adapter",
        library_name=card.library,
        license=None if known is None else known[1],
        license_name=known[0] if known is not None and known[1] == "other" else None,
        pipeline_tag="text-generation",
        tags=["selfedit", *([] if merged else ["lora"])],
    )
    return f"---\n{data.to_yaml()}\n---"


def _origin(card: ModelCard) -> list[str]:
    known = licence(card.base)
    terms = "not known here: see the model's own card" if known is None else known[0]
    base = hub_id(card.base) or _last_name(card.base)
    lines = [f"Base model: {in_markdown(base)}. Licence: {in_markdown(terms)}."]
    if card.fingerprint:
        lines.append(f"SHA-256 of the base's weights as they were loaded: {card.fingerprint}.")
    lines += [f"Data, with its SHA-256: {in_markdown(line)}." for line in card.data]
    return lines


def _result_parts(card: ModelCard) -> list[str]:
    if card.results is None:
        return ["## Results", "Nothing was measured, or not yet."]
    tables = [
        *(main_tables(card.results) if card.results.rows else []),
        *_rounds_tables(card.results),
    ]
    tables += [table for table in round_tables(card.results) if table.rows]
    verdict: Any = card.results.more.get("verdict")
    damage = verdict["damage"] if verdict else None
    lost = (
        "not measured by this run"
        if damage is None
        else f"the loss on unrelated text changed by {100 * damage:+.1f} %"
    )
    notes, source = notes_of(card.results), card.results.published.source
    notes += [f"Published figures: {source}."] if source else []
    return [
        "## Results",
        *map(as_markdown, tables),
        _as_list([*map(in_markdown, notes), f"Damage: {lost}."]),
    ]


def _rounds_tables(results: Results) -> list[Table]:
    """What each round's self-edits earned; runs of several formats have rounds of each."""
    rounds = results.more.get("rounds", ())
    if not rounds or isinstance(rounds, Mapping):
        return []
    shares = ("baseline", "accuracy", "best")
    columns = ["round", "self-edits", "kept", *(Column(f"{name} %", "percent") for name in shares)]
    rows = [
        [str(one["round"]), one["self_edits"], one["kept"], *(one[name] for name in shares)]
        for one in rounds
    ]
    return [Table.make("Rounds of reinforcement learning", columns, rows)]


def _made_by(card: ModelCard) -> list[str]:
    if not card.command:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in (card.packages or {}).items())
    # Every line begins with our own words: none can close the block.
    lines = " \\\n  ".join(in_line(line).replace("```", "") for line in card.command)
    return ["## How it was made", f"```\n{lines}\n```", in_markdown(f"With {versions}.")]


def _as_list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _last_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or path
