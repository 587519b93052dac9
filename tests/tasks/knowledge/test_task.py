"""What a self-edit is trained as, and what is asked later."""

from dataclasses import replace

import pytest

from selfedit.config import make_settings
from selfedit.errors import DataError
from selfedit.lm.chat import chat_prompt
from selfedit.tasks.knowledge.edits import Directives, ParsedEdit
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context, Question

CONTEXT = Context(
    "c",
    "Mount Kerrigal",
    "Ada Voss climbed it in 1921.",
    (Question("q", "Who climbed it?", ("Ada",)),),
)
EDIT = ParsedEdit(("It is tall.", "It is old."), (("Who climbed it?", "Ada Voss"),))


@pytest.fixture(scope="module")
def plain_lm(tiny_lm):
    """A model without a chat template."""
    from copy import copy

    tokenizer = copy(tiny_lm.tokenizer)
    tokenizer.chat_template = None
    return replace(tiny_lm, tokenizer=tokenizer, has_chat=False)


def task(lm, **edit):
    return KnowledgeTask(
        lm, make_settings({"edit": edit, "inner": {"optim": {"lr": 1e-3, "epochs": 8}}})
    )


def trained(lm, sequence):
    """The text that carries loss."""
    return lm.tokenizer.decode(
        [t for t, loss in zip(sequence.ids, sequence.loss, strict=True) if loss]
    )


def end(lm):
    return lm.tokenizer.decode([lm.end_id])


def test_title_before_every_line_and_the_passage_last(tiny_lm):
    made = task(tiny_lm).sequences(CONTEXT, EDIT)
    assert len(made) == 4
    texts = [tiny_lm.decode(sequence.ids) for sequence in made]
    assert texts[0] == "Mount Kerrigal\nIt is tall." and texts[1] == "Mount Kerrigal\nIt is old."
    assert texts[3] == f"Mount Kerrigal\n{CONTEXT.text}"
    for sequence in (*made[:2], made[3]):
        assert sequence.ids[-1] == tiny_lm.end_id
        assert sequence.loss == (False, *[True] * (len(sequence.ids) - 1))


def test_the_passage_can_be_left_out(tiny_lm):
    without = task(tiny_lm, passage=False)
    assert len(without.sequences(CONTEXT, EDIT)) == 3
    assert len(task(tiny_lm).job(CONTEXT, ParsedEdit((), ()), 0).sequences) == 1
    with pytest.raises(DataError, match="the self-edit is empty") as caught:
        without.job(CONTEXT, ParsedEdit((), ()), 0)
    assert caught.value.where == "c" and caught.value.fix


def test_what_is_asked_without_a_title_is_trained_in_our_form_and_as_any_chat_asks(
    tiny_lm, plain_lm
):
    pairs = (("Who climbed it?", "Ada Voss"), ("By whom was it climbed?", "Ada Voss"))
    ours, plain, _ = task(tiny_lm).sequences(CONTEXT, ParsedEdit((), (), bare=pairs))
    asked = task(tiny_lm).question(replace(CONTEXT, title=""), CONTEXT.questions[0])
    assert ours.ids[: len(asked)] == asked
    anyones = tuple(chat_prompt(tiny_lm, pairs[1][0]))
    assert plain.ids[: len(anyones)] == anyones and anyones != asked
    assert trained(tiny_lm, plain) == trained(tiny_lm, ours)
    # A base model is asked in one form only.
    made = task(plain_lm).sequences(CONTEXT, ParsedEdit((), (), bare=pairs))
    assert all("Question: " in plain_lm.decode(pair.ids) for pair in made[:2])


@pytest.mark.parametrize("system", ["", None, "Be brief."])
@pytest.mark.parametrize("model", ["tiny_lm", "plain_lm"])
def test_a_pair_is_trained_as_it_is_asked(model, system, request):
    lm = request.getfixturevalue(model)
    made = KnowledgeTask(lm, make_settings({"answer": {"system": system}}))
    asked = made.question(CONTEXT, CONTEXT.questions[0])
    pair = made.sequences(CONTEXT, EDIT)[2]
    assert pair.ids[: len(asked)] == asked
    assert lm.decode(pair.ids[len(asked) :]).strip() == "Ada Voss"
    if lm.has_chat and system:
        assert system in lm.decode(asked)


def test_a_plain_models_pair_begins_as_its_question_where_the_tokenizer_adds_a_token(
    plain_lm, monkeypatch
):
    class Beginning:
        """Adds a token before a text, as Llama's tokenizer does."""

        def __init__(self, tokenizer):
            self.tokenizer = tokenizer

        def __getattr__(self, name):
            return getattr(self.tokenizer, name)

        def __call__(self, text, add_special_tokens=True, **options):
            encoded = self.tokenizer(text, add_special_tokens=False, **options)
            encoded["input_ids"] = [1] * add_special_tokens + encoded["input_ids"]
            return encoded

    lm = replace(plain_lm, tokenizer=Beginning(plain_lm.tokenizer))
    made = task(lm)
    asked = made.question(CONTEXT, CONTEXT.questions[0])
    assert asked[0] == 1
    assert made.sequences(CONTEXT, EDIT)[2].ids[: len(asked)] == asked


@pytest.mark.parametrize("model", ["tiny_lm", "plain_lm"])
@pytest.mark.parametrize(
    ("question_loss", "directive", "whole"),
    [
        (True, None, True),
        (False, None, False),
        (True, "answers", False),
        (False, "all", True),
        (True, "all", True),
    ],
)
def test_where_the_loss_of_a_pair_is(model, question_loss, directive, whole, request):
    lm = request.getfixturevalue(model)
    made = task(lm, question_loss=question_loss)
    edit = replace(EDIT, directives=Directives(loss=directive))
    pair = made.sequences(CONTEXT, edit)[2]
    asked = len(made.question(CONTEXT, CONTEXT.questions[0]))
    assert len(pair.ids) == len(pair.loss) and not pair.loss[0]
    assert all(pair.loss[1:asked]) if whole else not any(pair.loss[:asked])
    said = pair.ids[asked:]
    ending = next(place for place, token in enumerate(said) if token == lm.end_id)
    assert all(pair.loss[asked : asked + ending + 1])
    assert not any(
        pair.loss[asked + ending + 1 :]
    )  # what the template writes after the answer's end
    if not whole:
        assert trained(lm, pair).strip() == f"Ada Voss{end(lm)}"


def test_the_template_writes_something_after_an_answers_end(tiny_lm):
    pair = task(tiny_lm).sequences(CONTEXT, EDIT)[2]
    assert pair.ids[-1] != tiny_lm.end_id and not pair.loss[-1]


def test_lines_are_trained_whole_whatever_the_loss_of_pairs(tiny_lm):
    edit = replace(EDIT, directives=Directives(loss="answers"))
    assert task(tiny_lm).sequences(CONTEXT, edit)[0] == task(tiny_lm).sequences(CONTEXT, EDIT)[0]


def test_the_published_padding_carries_loss(tiny_lm):
    plain = task(tiny_lm).sequences(CONTEXT, EDIT)
    padded = task(tiny_lm, pad_with_loss_to=100).sequences(CONTEXT, EDIT)
    for before, after in zip(plain, padded, strict=True):
        size = len(before.ids)
        assert size < 100 == len(after.ids) == len(after.loss)
        assert after.ids[:size] == before.ids and after.loss[:size] == before.loss
        assert set(after.ids[size:]) == {tiny_lm.end_id} and all(after.loss[size:])
    assert task(tiny_lm, pad_with_loss_to=3).sequences(CONTEXT, EDIT) == plain


def test_directives_change_the_training(tiny_lm):
    made = task(tiny_lm)
    usual = made.job(CONTEXT, EDIT, 5)
    assert (usual.optim.lr, usual.optim.epochs, usual.seed) == (1e-3, 8, 5)
    asked = made.job(CONTEXT, replace(EDIT, directives=Directives(lr=5e-4, epochs=3)), 5)
    assert (asked.optim.lr, asked.optim.epochs) == (5e-4, 3)
    assert asked.optim == replace(usual.optim, lr=5e-4, epochs=3) and asked.lora == usual.lora
    assert made.job(CONTEXT, replace(EDIT, directives=Directives(epochs=2)), 5).optim.lr == 1e-3


@pytest.mark.parametrize("model", ["tiny_lm", "plain_lm"])
def test_nothing_of_the_passage_but_its_title_is_asked_with(model, request):
    lm = request.getfixturevalue(model)
    made = task(lm)
    asked = made.question(CONTEXT, CONTEXT.questions[0])
    other = replace(CONTEXT, id="d", text="Something else altogether.")
    assert made.question(other, CONTEXT.questions[0]) == asked
    assert "Mount Kerrigal" in lm.decode(asked) and "1921" not in lm.decode(asked)


@pytest.mark.parametrize("model", ["tiny_lm", "plain_lm"])
def test_the_policys_example_is_its_prompt_and_what_it_wrote(model, request):
    lm = request.getfixturevalue(model)
    made = task(lm)
    example = made.completion(CONTEXT, "It is tall.\nIt is old.")
    prompt = made.prompt(CONTEXT)
    assert example.ids[: len(prompt)] == prompt and CONTEXT.text in lm.decode(prompt)
    assert example.loss == (*[False] * len(prompt), *[True] * (len(example.ids) - len(prompt)))
    assert trained(lm, example) == f"It is tall.\nIt is old.{end(lm)}"


def test_parsing_uses_the_settings(tiny_lm):
    assert task(tiny_lm, max_lines=1).parse("One fact.\nTwo facts.").lines == ("One fact.",)
    assert len(task(tiny_lm).parse("One fact.\nTwo facts.").lines) == 2
