"""Decoding held to grammars, to an alphabet, to an end of its own."""

import numpy as np
import pytest
import torch

from selfedit.errors import UsageError
from selfedit.lm.generate import generate
from selfedit.lm.load import load


@pytest.fixture(scope="module")
def lm(small_folder):
    return load(str(small_folder), device="cpu", dtype="float64")


PROMPTS = [(5, 9, 30), (7, 7), (40, 41, 42, 43, 44), (5, 9, 30)]
LETTERS = (50, 60, 70, 80)


class Counted:
    """So many tokens of a set, then one that ends it; no token ends the model's own text."""

    def __init__(self, tokens, count, last):
        self.tokens, self.left, self.last, self.done = tokens, count, last, False

    def allowed(self, mask):
        mask[:] = False
        mask[list(self.tokens) if self.left else [self.last]] = True

    def advance(self, token):
        assert token in (self.tokens if self.left else [self.last])
        self.done = not self.left
        self.left -= 1


def greedy(lm, prompt, tokens, count):
    """One token at a time, the likeliest of a set, by the whole model."""
    made = []
    for _ in range(count):
        with torch.inference_mode():
            ids = torch.tensor([*prompt, *made])[None]
            hidden = lm.hidden(ids[0], range(ids.shape[1]), plan(lm, ids.shape[1]))
        logits = (hidden[-1] @ lm.head.T)[list(tokens)]
        made.append(tokens[int(logits.argmax())])
    return tuple(made)


def plan(lm, length):
    from selfedit.lm.attention import Packed
    from selfedit.lm.segments import consecutive, make_segments

    return Packed(make_segments(consecutive([length]), lm.device, lm.dtype))


def test_an_alphabet_is_the_likeliest_of_its_tokens(lm):
    written = generate(lm, PROMPTS, max_new_tokens=5, alphabet=LETTERS)
    assert [w.ids for w in written] == [greedy(lm, prompt, LETTERS, 5) for prompt in PROMPTS]
    assert {w.finish for w in written} == {"length"}


def test_stop_ends_a_row_and_keeps_its_last_token(lm):
    free = [w.ids for w in generate(lm, PROMPTS, max_new_tokens=8, alphabet=LETTERS)]
    until = generate(
        lm, PROMPTS, max_new_tokens=8, alphabet=LETTERS, stop=lambda made: made[-1] == 60
    )
    for whole, cut in zip(free, until, strict=True):
        first = whole.index(60) + 1 if 60 in whole else 8
        assert cut.ids == whole[:first] and cut.finish == ("stop" if 60 in whole else "length")


def test_each_row_is_held_to_its_own_rule(lm):
    rules = [Counted(LETTERS, 2, 90), None, Counted((33,), 4, 34), Counted(LETTERS, 6, 90)]
    written = generate(lm, PROMPTS, max_new_tokens=5, rules=rules)
    assert (
        written[0].ids == (*greedy(lm, PROMPTS[0], LETTERS, 2), 90) and written[0].finish == "stop"
    )
    assert written[1] == generate(lm, PROMPTS[1:2], max_new_tokens=5)[0]
    assert written[2].ids == (33, 33, 33, 33, 34) and written[2].finish == "stop"
    assert written[3].ids == greedy(lm, PROMPTS[3], LETTERS, 5) and written[3].finish == "length"


def test_samples_under_a_rule_depend_on_their_seed_alone(lm):
    def sampled(seeds):
        rules = [Counted(LETTERS, 6, 90) for _ in seeds]
        settings = {"temperature": 3.0, "max_new_tokens": 9, "seeds": seeds, "rules": rules}
        return [w.ids for w in generate(lm, [PROMPTS[0]] * len(seeds), **settings)]

    many = sampled(list(range(12)))
    assert len(set(many)) > 6 and many[3:4] == sampled([3])
    assert all(set(ids[:-1]) <= set(LETTERS) and ids[-1] == 90 for ids in many)


def test_a_model_with_a_wider_head_than_its_rules_is_not_needed_to_be_told(lm):
    class Last:
        done = False

        def allowed(self, mask):
            assert mask.shape == (lm.head.shape[0],) and mask.dtype == np.bool_
            mask[:] = False
            mask[-1] = True

        def advance(self, token):
            assert token == lm.head.shape[0] - 1

    assert (
        generate(lm, [PROMPTS[0]], max_new_tokens=2, rules=[Last()])[0].ids
        == (lm.head.shape[0] - 1,) * 2
    )


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"rules": [None]}, "4 prompts but 1 rules"),
        ({"alphabet": ()}, "empty"),
        ({"alphabet": (1,), "rules": [None] * 4}, "together"),
    ],
)
def test_what_cannot_be_is_refused(lm, wrong, what):
    with pytest.raises(UsageError, match=what):
        generate(lm, PROMPTS, **wrong)
