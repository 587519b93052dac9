"""A task and a self-edit become an inner loop, prompts, marks."""

import pytest
from arc_grids import grid, pair
from hypothesis import given
from hypothesis import strategies as st

from selfedit.config import PrimeSettings
from selfedit.grading.grader import Grader
from selfedit.lm.load import load
from selfedit.rl.rounds import rl_place
from selfedit.run.records import Answer, Trial, answers_in_order
from selfedit.tasks.arc.answering import GridGrader, GridStop, ballots, is_solved
from selfedit.tasks.arc.contexts import arc_context
from selfedit.tasks.arc.few_shot import FewShotTask
from selfedit.tasks.arc.grids import (
    ALPHABET,
    END,
    INPUT,
    OUTPUT,
    ROW,
    AnswerFault,
    encode,
    grid_symbols,
    parse_symbols,
    parse_text,
)
from selfedit.tasks.arc.parse import Reason, Rejection
from selfedit.tasks.arc.priming import priming_job, priming_sequences
from selfedit.tasks.arc.self_edit import ArcSelfEdit
from selfedit.tasks.arc.task import ArcTask
from selfedit.tasks.arc.tokens import GridTokens
from selfedit.tasks.task import Task
from tiny_arc import arc_settings

# two test inputs, the second's answer of another size than the first's
TASK = ArcTask(
    "two",
    (pair("12", "34"), pair("560", "700")),
    (grid("89", "10"), grid("1")),
    (grid("98", "01"), grid("1")),
)
EDIT = ArcSelfEdit(("basic",), "output", 1e-3, 2)


@pytest.fixture(scope="module")
def lm(small_folder):
    return load(str(small_folder), device="cpu")


def made(lm, small_folder, **changes):
    settings = arc_settings(small_folder, small_folder, None, **changes)
    context = arc_context(TASK, 0, settings.arc.answer)
    return FewShotTask(lm, settings, [context]), context


def answered(context, said, score=1.0):
    """A trial: ``said`` maps a test index and a view's name to the text."""
    answers = [
        Answer(
            question_id=q.id,
            tokens=1,
            seconds=0.0,
            text=said(asked.test_index, asked.view),
            score=score,
        )
        for q, asked in zip(context.questions, context.prompts, strict=True)
    ]
    return Trial(place=rl_place(1), context_id=context.id, answers=answers_in_order(answers))


def test_it_is_a_task(lm, small_folder):
    task, _ = made(lm, small_folder)
    as_task: Task = task
    assert as_task.tries == 1 and isinstance(GridGrader(), Grader)


def test_the_inner_loop_is_what_the_self_edit_says(lm, small_folder):
    task, context = made(lm, small_folder)
    job = task.inner_loop(context, EDIT, 7, 3)
    assert (job.optim.lr, job.optim.epochs, job.optim.batch_size, job.optim.schedule) == (
        1e-3,
        2,
        2,
        "cosine",
    )
    assert (job.seed, job.order_seed, job.alphabet) == (7, 3, task.tokens.ids)
    assert len(job.sequences) == 6  # the cap of the settings
    for sequence in job.sequences:
        symbols = task.tokens.to_symbols(sequence.ids)
        start = len(symbols) - symbols[::-1].index(OUTPUT)
        assert sequence.loss == tuple(place >= start for place in range(len(symbols)))
        parse = parse_symbols(symbols[start:])
        assert not isinstance(parse, AnswerFault)
    everything = task.inner_loop(context, ArcSelfEdit((), "all", 1e-3, 1), 7)
    assert all(s.loss == (False, *[True] * (len(s.ids) - 1)) for s in everything.sequences)
    assert (
        made(lm, small_folder, arc__alphabet=False)[0].inner_loop(context, EDIT, 7).alphabet is None
    )


def test_no_training_for_what_is_refused_too_long_or_without_examples(lm, small_folder):
    task, context = made(lm, small_folder, arc__spec__max_steps=5)
    assert task.inner_loop(context, task.parse("{}"), 0) is None
    assert task.inner_loop(context, EDIT, 0) is None  # 3 steps an epoch, two epochs
    assert task.inner_loop(context, ArcSelfEdit((), "all", 1e-3, 1), 0) is not None
    lone = arc_context(
        ArcTask("one", (pair("12"),), (grid("1"),), (grid("1"),)), 0, task.arc.answer
    )
    assert task.inner_loop(lone, EDIT, 0) is None


def test_what_is_noted_of_a_self_edit(lm, small_folder):
    task, _ = made(lm, small_folder, arc__constrained=False, arc__tries=4)
    good, bad = task.parse(f"\n{EDIT.to_json()} "), task.parse('{"a": 1e999}')
    assert good == EDIT and isinstance(bad, Rejection)
    note = task.note([bad, good])
    assert (
        note.rejected is None
        and note.directives["tries"] == 2
        and not note.directives["constrained"]
    )
    assert note.directives["refused"] == {str(reason): 1 for reason in bad.reasons}
    assert note.directives["self_edit"]["epochs"] == 2
    assert str(Reason.MISSING_KEY) in task.note([bad]).rejected


def test_the_prompt_names_tools_values_and_demonstrations(lm, small_folder):
    task, context = made(lm, small_folder)
    text = lm.decode(task.prompt(context))
    for part in (
        "use_basic_augmentations",
        "use_repeat_augmentations",
        "0.001, 0.05",
        "1, 2",
        "I12\n34.",
    ):
        assert part in text
    assert encode(TASK.test[0].output) not in text.replace(encode(TASK.train[0].output), "")
    assert task.completion(context, EDIT.to_json()).ids[: len(task.prompt(context))] == task.prompt(
        context
    )


def test_questions_are_whole_prompts_token_by_token(lm, small_folder):
    task, context = made(lm, small_folder)
    assert len(context.questions) == 2 * 2 * 2  # test inputs, leave-one-out choices, views
    ids = task.question(context, context.questions[0])
    assert (
        "".join(ALPHABET[symbol] for symbol in task.tokens.to_symbols(ids))
        == context.questions[0].text
    )
    assert task.tokens.to_symbols(ids)[-1] == OUTPUT and len({q.id for q in context.questions}) == 8


def test_solved_only_if_all_test_inputs_are(lm, small_folder):
    task, context = made(lm, small_folder)
    right = answered(context, lambda at, view: encode(view.forward(TASK.test[at].output)))
    grader = GridGrader()
    golds = {q.id: q.answers for q in context.questions}
    assert all(grader.grade("", golds[a.question_id], a.text).correct for a in right.answers)
    assert task.marks(right) == [1.0] and is_solved(context, right, 1)
    half = answered(context, lambda at, view: encode(view.forward(TASK.test[0].output)))
    assert task.marks(half) == [0.0]
    assert [ballot.votes for ballot in ballots(context, half, 2)] == [(4,), (4,)]
    # a wrong answer in one view, a right one in the other: with two attempts it is found, with one
    # it is second
    wrong = {"identity": grid("2")}
    mixed = answered(
        context, lambda at, view: encode(wrong.get(view.name, view.forward(TASK.test[at].output)))
    )
    assert is_solved(context, mixed, 2) and not is_solved(context, mixed, 1)
    broken = answered(context, lambda at, view: "12\n3")
    assert task.marks(broken) == [0.0] and ballots(context, broken, 2)[0].faults == {
        AnswerFault.CUT_OFF: 4
    }


def test_the_graded_mark_is_the_mean_share_of_right_cells(lm, small_folder):
    task, context = made(lm, small_folder, arc__reward="cells")
    rows = answered(context, lambda at, view: "1.", score=0.25)
    assert task.marks(rows, graded=True) == [0.25] and task.marks(rows) == [0.0]
    assert made(lm, small_folder)[0].marks(rows, graded=True) == [0.0]
    grade = GridGrader().grade("", ("12\n34.",), "12\n35.")
    assert (grade.correct, grade.score) == (False, 0.75)
    assert GridGrader().grade("", ("12\n34.",), "1234.").score == 0


# ---- where an answer ends

STOP = GridStop(tuple(range(14)))


def ended(symbols):
    """How many symbols are written before the answer ends; None if it does not end in them."""
    return next((n for n in range(1, len(symbols) + 1) if STOP(symbols[:n])), None)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("12\n34.", 6),
        ("12\n34", None),
        ("12\n345", 6),
        ("12\n3\n", 5),
        ("1I", 2),
        ("\n", 1),
        ("12\n\n", 4),
        ("0" * 30, None),
        ("0" * 31, 31),
        ("\n".join("0" * 30), None),
        ("\n".join("0" * 30) + "\n", 60),
    ],
)
def test_an_answer_ends_with_its_grid_or_where_it_can_be_none(text, count):
    assert ended([ALPHABET.index(character) for character in text]) == count


@given(st.lists(st.sampled_from([0, 1, ROW, ROW, END, INPUT]), max_size=60))
def test_ending_early_loses_no_grid(symbols):
    count = ended(symbols)
    whole = parse_symbols(symbols)
    if not isinstance(whole, AnswerFault):
        assert count == len(symbols)
    elif count is not None and symbols[count - 1] != END:
        goes_on = [parse_symbols([*symbols[:n], END]) for n in range(count, len(symbols) + 1)]
        assert all(isinstance(answer, AnswerFault) for answer in goes_on)
        assert parse_symbols(symbols[:count]) is not AnswerFault.CUT_OFF


def test_what_is_cut_is_named_by_what_is_wrong_with_it():
    assert (
        parse_text("12\n3\n") is AnswerFault.RAGGED and parse_text("12\n345") is AnswerFault.RAGGED
    )
    assert parse_text("12\n3") is AnswerFault.CUT_OFF


# ---- priming


def test_priming_is_the_same_every_time_and_within_its_tokens(small_tokenizer):
    tokens = GridTokens.of(small_tokenizer)
    settings = PrimeSettings(tokens=3000)
    one, again = (list(priming_sequences(settings, tokens)) for _ in range(2))
    assert one == again and 2500 < sum(len(s.ids) for s in one) <= 3000
    assert one != list(priming_sequences(settings.model_copy(update={"seed": 1}), tokens))
    job = priming_job(settings, tokens, alphabet=True)
    assert job.alphabet == tokens.ids and job.optim.epochs == 1 and job.lora.rank == 64


def test_priming_learns_every_output_but_the_first(small_tokenizer):
    tokens = GridTokens.of(small_tokenizer)
    for sequence in list(priming_sequences(PrimeSettings(tokens=2000), tokens))[:5]:
        symbols = tokens.to_symbols(sequence.ids)
        outputs = [place for place, symbol in enumerate(symbols) if symbol == OUTPUT]
        inputs = [
            *[place for place, symbol in enumerate(symbols) if symbol == INPUT][1:],
            len(symbols),
        ]
        answers = list(zip(outputs, inputs, strict=True))[1:]
        learnt = {place for start, end in answers for place in range(start + 1, end)}
        assert learnt == {place for place, loss in enumerate(sequence.loss) if loss} and learnt


def test_priming_is_of_its_families_alone(small_tokenizer):
    from itertools import islice

    from selfedit.tasks.arc.rules import rule_tasks, rules_of

    tokens = GridTokens.of(small_tokenizer)
    for families in (PrimeSettings().families, ("cutting",)):
        settings = PrimeSettings(tokens=2000, families=families)
        made = [s.ids for s in priming_sequences(settings, tokens)]
        tasks = list(islice(rule_tasks(0, rules_of(families), side=settings.side), len(made)))
        assert {task.id.split("-")[1] for task in tasks} <= set(rules_of(families))
        for ids, task in zip(made, tasks, strict=True):
            assert tokens.to_ids([INPUT, *grid_symbols(task.train[0].input)]) == list(
                ids[: 1 + len(grid_symbols(task.train[0].input))]
            )
