"""What Ollama needs beside a GGUF adapter: the base, the adapter, and the form it is asked in."""

from __future__ import annotations

from selfedit.documents.asking import asking_messages
from selfedit.errors import ModelFileError
from selfedit.lm.chat import prompt_text
from selfedit.lm.chat_guard import Message
from selfedit.lm.load import LanguageModel
from selfedit.storage.neutral import in_line

_MARK = "\U000f0000"
"""Stands for what the user says; of a private use plane: no template has it."""
BASE, ADAPTER = "base.gguf", "adapter.gguf"


def modelfile(lm: LanguageModel, *, base: str, in_form: bool) -> str:
    """The Modelfile of an adapter, for one question at a time.

    Args:
        lm: the base model, its weights or only its tokenizer.
        base: what it is called elsewhere.
        in_form: whether questions are asked in the form that adapters of documents are trained on.

    Raises:
        ModelFileError: the model's template cannot stand in a Modelfile.
    """
    lines = [
        "# The base model as GGUF, made by llama.cpp of the weights that the adapter stands on:",
        f"#   python convert_hf_to_gguf.py FOLDER_OF_THE_MODEL --outfile {BASE} --outtype f32",
        f"#   (the model: {in_line(base, 120)})",
        "# Then: ollama create NAME -f Modelfile",
        f"# Or with llama.cpp alone: llama-server -m {BASE} --lora {ADAPTER}",
        f"FROM ./{BASE}",
        f"ADAPTER ./{ADAPTER}",
        f'TEMPLATE """{_template(lm, in_form)}"""',
        *(f'PARAMETER stop "{_control_token(lm, number)}"' for number in sorted(lm.eos_ids)),
        "PARAMETER temperature 0",
    ]
    return "\n".join(lines) + "\n"


def _template(lm: LanguageModel, in_form: bool) -> str:
    """The model's own template around one question, in the language of Go's templates."""
    messages: list[Message] = [{"role": "user", "content": _MARK}]
    text = prompt_text(lm, asking_messages(messages, chat=lm.has_chat) if in_form else messages)
    # Where the tokenizer begins every text with it, llama.cpp does so of itself.
    if lm.bos:
        text = text.removeprefix(str(lm.tokenizer.bos_token))
    if '"""' in text or text.count(_MARK) != 1:
        what = "the model's chat template cannot be written into a Modelfile"
        raise ModelFileError(what, where=lm.name, fix="export it merged: --as merged")
    before, after = (part.replace("{{", '{{ "{{" }}') for part in text.split(_MARK))
    return f"{before}{{{{ .Prompt }}}}{after}"


def _control_token(lm: LanguageModel, number: int) -> str:
    return in_line(lm.tokenizer.convert_ids_to_tokens(number)).replace('"', '\\"')
