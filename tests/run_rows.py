"""Records for tests: everything but the place has a value of its own, made from the place."""

from selfedit.run.records import Answer, Phase, Place, RewardRow, SelfEditRow, Training, Trial
from selfedit.run.seeds import derive


def rl(round=0):
    return Place(Phase.RL, round=round)


HERE = rl()


def self_edit(context="c0", candidate=0, *, place=HERE, text="one\ntwo", **other):
    return SelfEditRow(
        place=place, context_id=context, candidate=candidate, text=text, prompt_hash="p",
        seed=derive(0, "sample", str(place), context, candidate), tokens=12, seconds=0.5, finish="stop", **other,
    )  # fmt: skip


def training(context="c0", candidate=0, repeat=0, *, place=HERE, **other):
    seed = derive(0, "inner", str(place), context, candidate, repeat)
    values = {
        "seed": seed,
        "steps": 80,
        "tokens": 5000,
        "final_loss": 0.25,
        "seconds": 25.0,
        "settings_hash": "s",
    }
    return Training(**values | other)


def answer(question="q0", text="an answer", **other):
    return Answer(question_id=question, text=text, tokens=3, seconds=0.1, **other)


def trial(context="c0", candidate=0, repeat=0, *, place=HERE, answers=(), trained=None):
    made = training(context, candidate, repeat, place=place) if trained is None else trained
    return Trial(
        place=place,
        context_id=context,
        candidate=candidate,
        repeat=repeat,
        training=made,
        answers=tuple(answers),
    )


def base_trial(context="c0", *, place=HERE, answers=()):
    return Trial(place=place, context_id=context, answers=tuple(answers))


def reward(context="c0", candidate=0, *, place=HERE, reward=1.0, kept=True):
    return RewardRow(
        place=place,
        context_id=context,
        candidate=candidate,
        reward=reward,
        accuracy=0.5,
        baseline=1 / 3,
        kept=kept,
    )
