"""An export's folder: whole under its name, with a card; what it was made of is kept beside it, so
that the same command finds it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from selfedit.errors import RunFolderError
from selfedit.export.exportable import Exportable, exportable_run
from selfedit.export.gguf_lora import write_gguf
from selfedit.export.merged import write_merged
from selfedit.export.modelfile import ADAPTER, BASE, modelfile
from selfedit.lm.load import LanguageModel, load_without_weights
from selfedit.models.openable import copied_from, hub_id, openable_name
from selfedit.results.model_card import BY_PEFT, CARD, ModelCard, render_card
from selfedit.rl.run_cards import adapter_card, policy_card
from selfedit.run.marker import read_json
from selfedit.storage.files import (
    canonical_json,
    fingerprint,
    folder_atomic,
    hash_file,
    write_atomic,
)

Form = Literal["merged", "adapter", "gguf"]
MADE_OF = ".selfedit-export.json"
"""What an export was made of; it does not leave this machine."""
_LIBRARIES = {"merged": "transformers", "adapter": "peft", "gguf": "llama.cpp"}
_USE = {
    "merged": 'AutoModelForCausalLM.from_pretrained("FOLDER")',
    "adapter": BY_PEFT,
    "gguf": f"llama-server -m {BASE} --lora {ADAPTER}    # or: ollama create NAME -f Modelfile",
}


@dataclass(frozen=True)
class Options:
    """How an export is written.

    Attributes:
        base: what the base model is called for those who open it; what peft can open if not given.
        dtype: of merged weights; see `write_merged`.
        shard: the most that one file of merged weights holds.
    """

    base: str | None = None
    dtype: str = "auto"
    shard: str = "5GB"


def write_export(source: Exportable, out: Path, form: Form, options: Options) -> list[Path]:
    """Write the export, or only its card where the same one is there already.

    Returns:
        Its files, without those that are of this machine alone.

    Raises:
        RunFolderError: something else is there.
        UsageError, ModelFileError: it cannot be written in this form.
    """
    base = options.base or openable_name(source.model)
    made_of = _made_of(source, form, options)
    lm = load_without_weights(source.model, prompting=source.prompting)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        record = read_json(out / MADE_OF) if out.is_dir() else None
        if not isinstance(record, dict) or record.get("made_of") != made_of:
            what = "there is something else here already"
            raise RunFolderError(what, where=out, fix="give a new folder")
        notes = [str(line) for line in record.get("notes", ())]
    else:
        with folder_atomic(out) as new:
            notes = _write_form(source, new, form, options, base, lm)
            (new / MADE_OF).write_bytes(canonical_json({"made_of": made_of, "notes": notes}))
    write_atomic(out / CARD, render_card(_card(source, lm, form, base, notes)).encode())
    return sorted(path for path in out.rglob("*") if path.is_file() and path.name != MADE_OF)


def _made_of(source: Exportable, form: Form, options: Options) -> str:
    hashes = [hash_file(folder / "adapter_model.safetensors") for folder in source.adapters]
    return fingerprint([source.name, source.model, source.prompting, form, vars(options), hashes])


def _write_form(
    source: Exportable, folder: Path, form: Form, options: Options, base: str, lm: LanguageModel
) -> list[str]:
    """Fill an empty folder; what has to be said of it."""
    if form == "merged":
        return write_merged(source, folder, dtype=options.dtype, shard=options.shard)
    adapter = source.adapter()
    if form == "gguf":
        write_gguf(adapter, lm.model.config, folder / ADAPTER, name=source.name)
        text = modelfile(lm, base=base, in_form=source.kind != "policy")
        (folder / "Modelfile").write_text(text, encoding="utf-8")
        return []
    adapter.save(folder, base=base)
    # How it is asked, for `ask`, `chat` and `serve`; nothing of this machine. A short name stays:
    # what it stands for are the weights that the adapter was trained on.
    name = base if hub_id(source.model) is None else source.model
    known = {"base": {"name": name}, "settings": {"prompting": source.prompting}}
    (folder / "selfedit.json").write_bytes(canonical_json(known))
    parts = len(source.adapters)
    return [f"The adapters of {parts} rounds added up: their ranks too."] if parts > 1 else []


def _card(
    source: Exportable, lm: LanguageModel, form: Form, base: str, notes: list[str]
) -> ModelCard:
    run = exportable_run(source)
    if run is None:
        card = ModelCard(source.name, "A LoRA adapter.", base)
    else:
        with run:
            of_policy = source.kind == "policy"
            card = policy_card(run, source.round) if of_policy else adapter_card(run, lm.has_chat)
            if run.path.resolve() != source.folder.resolve():
                # One of many that a run kept: its tables are of all of them together.
                card = replace(card, results=None)
    return replace(
        card,
        name=source.name,
        base=base,
        library=_LIBRARIES[form],
        opened_by=_USE[form],
        more=[*copied_from(source.model), *notes],
    )
