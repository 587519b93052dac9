"""What the policy is taught: the tokens it sampled, no end where it wrote none, its choices alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from selfedit.errors import RunFolderError, UsageError
from selfedit.lm.generate import generate
from selfedit.lm.load import load
from selfedit.lm.rules import TokenTree, allowed_tokens
from selfedit.lm.token_logs import Choosing, divergences, token_logs
from selfedit.rl import policy_training
from selfedit.rl.evaluate import evaluate, held_out
from selfedit.rl.policy_tokens import policy_sequence, read_logs
from selfedit.rl.policy_training import MaskedLikelihood, train_policy
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rounds import rl_place
from selfedit.rl.sample import sample
from selfedit.run.records import Sampled
from selfedit.storage.files import fingerprint
from selfedit.tasks.arc.constrained import SelfEditGrammar
from selfedit.tasks.arc.self_edit import SelfEditSpec
from tiny_run import contexts, session_in, tiny_settings


@pytest.fixture
def at(small_folder, tmp_path):
    session = session_in(
        tmp_path / "run", load(str(small_folder), device="cpu"), tiny_settings(rl__rounds=1)
    )
    yield session
    session.run.close()


def test_a_self_edit_that_was_cut_off_is_taught_no_end(at, monkeypatch):
    """The random model writes to its limit nearly always."""
    taught = []
    adapt = policy_training.adapt

    def noted(lm, jobs, *args, **options):
        taught.extend(jobs[0].sequences)
        return adapt(lm, jobs, *args, **options)

    monkeypatch.setattr(policy_training, "adapt", noted)
    (done,), _ = run_rounds(at, contexts(3))
    rows, kept = at.run.ledger.self_edits(rl_place(1)), at.run.ledger.rewards(rl_place(1))
    learned = [row for row, reward in zip(rows, kept, strict=True) if reward.kept]
    cut = [row for row in learned if row.finish == "length"]
    assert cut and len(taught) == len(learned)
    by_id = {context.id: context for context in contexts(3)}
    for row, sequence in zip(learned, taught, strict=True):
        prompt = at.task.prompt(by_id[row.context_id])
        written = sequence.ids[len(prompt) :]
        assert written == row.sampled.ids and sequence.ids[: len(prompt)] == prompt
        assert sequence.loss == (False,) * len(prompt) + (True,) * len(written)
        assert (written[-1] in at.lm.eos_ids) == (row.finish == "stop")
    assert done.cut_off.count == sum(row.finish == "length" for row in rows)
    assert done.cut_off.kept == len(cut)


def test_cut_off_self_edits_can_be_dropped(small_folder, tmp_path):
    settings = tiny_settings(rl__rounds=1, rl__cut_off="drop", rl__candidates=6)
    at = session_in(tmp_path / "run", load(str(small_folder), device="cpu"), settings)
    # A third of the vocabulary ends a text, so that some do.
    at.lm = replace(at.lm, eos_ids=frozenset(range(3, 300, 8)))
    at.sampler.lm = at.lm
    (done,), _ = run_rounds(at, contexts(3))
    ledger = at.run.ledger
    rows, earned = ledger.self_edits(rl_place(1)), ledger.rewards(rl_place(1))
    assert 0 < done.cut_off.count < len(rows) and done.cut_off.kept == 0 and done.kept > 0
    for row, reward in zip(rows, earned, strict=True):
        assert np.isnan(reward.reward) == row.cut_off and not np.isnan(reward.accuracy)
        assert not (row.cut_off and reward.kept)
    at.run.close()


def test_sampled_log_probabilities_are_the_policys(at):
    """By reading the same tokens in one pass, at the sampling's temperature, the nucleus uncut."""
    passages = contexts(2)
    rows = sample(at, rl_place(1), passages, 3)
    by_id = {context.id: context for context in passages}
    sequences = [policy_sequence(at, by_id[row.context_id], row) for row in rows]
    again = read_logs(at.lm, sequences, None, at.settings.edit.temperature)
    for sequence, logs in zip(sequences, again, strict=True):
        assert sequence.old == pytest.approx(logs, abs=2e-5) and len(logs) == sum(sequence.loss)
    colder = read_logs(at.lm, sequences, None, 0.5)
    assert colder[0] != pytest.approx(again[0], abs=1e-2)


def test_a_text_from_outside_is_encoded_and_ends(at):
    (row, *_) = sample(at, rl_place(1), contexts(1), 1)
    outside = replace(row, text="A fact of its own.", sampled_json=None)
    sequence = policy_sequence(at, contexts(1)[0], outside)
    assert sequence.ids == at.task.completion(contexts(1)[0], "A fact of its own.").ids
    assert sequence.ids[-1] == at.lm.end_id and sequence.old == ()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"sampled_json": "{"}, "sampled tokens cannot be read"),
        ({"sampled_json": '{"ids": ["x"]}'}, "sampled tokens cannot be read"),
        ({"sampled_json": Sampled((5, 6), (-1.0,)).as_json()}, "2 sampled tokens have 1"),
        ({"sampled_json": Sampled((10**6,), ()).as_json()}, "not one that this model wrote"),
        ({"prompt_hash": "another"}, "not one that this model wrote"),
    ],
)
def test_a_damaged_record_is_refused(at, damage, message):
    (row, *_) = sample(at, rl_place(1), contexts(1), 1)
    with pytest.raises(RunFolderError, match=message):
        policy_sequence(at, contexts(1)[0], replace(row, **damage))


def test_token_logs_are_those_of_autograd():
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(6, 8, generator=generator, dtype=torch.float64)
    head = torch.randn(40, 8, generator=generator, dtype=torch.float64)
    targets = torch.tensor([3, 7, 7, 1, 39, 0])
    allowed = [np.array([3, 4]), None, np.array([1, 7, 30]), None, np.array([0, 39]), None]
    pulls = torch.randn(6, generator=generator, dtype=torch.float64)
    ours, theirs = (hidden.clone().requires_grad_() for _ in range(2))
    logs = token_logs(ours, head, targets, Choosing(0.7, allowed))
    (logs * pulls).sum().backward()
    logits = theirs @ head.T / 0.7
    mask = torch.zeros(6, 40, dtype=torch.bool)
    for row, ids in enumerate(allowed):
        mask[row, ids if ids is not None else slice(None)] = True
    expected = F.log_softmax(logits.masked_fill(~mask, -torch.inf), 1)
    picked = expected.gather(1, targets[:, None]).squeeze(1)
    (picked * pulls).sum().backward()
    torch.testing.assert_close(logs, picked)
    torch.testing.assert_close(ours.grad, theirs.grad)
    old = torch.randn(6, 8, generator=generator, dtype=torch.float64)
    kl, entropy, entropy_old = divergences(hidden, old, head, Choosing(0.7, allowed))
    before = F.log_softmax((old @ head.T / 0.7).masked_fill(~mask, -torch.inf), 1)
    probs = expected.detach().exp()
    each = torch.where(probs > 0, probs * (expected.detach() - before), 0.0).sum(1)
    torch.testing.assert_close(kl, each)
    torch.testing.assert_close(entropy, torch.distributions.Categorical(probs).entropy())
    torch.testing.assert_close(entropy_old, torch.distributions.Categorical(before.exp()).entropy())


TEXTS = ("yes, all of it", "yes, but half", "no", "never")


def listed(session):
    return TokenTree([session.lm.encode(text) for text in TEXTS])


def test_only_choices_carry_loss(at, monkeypatch):
    """One of four texts: forced tokens carry none, and π is a distribution over the four."""
    tree = listed(at)
    monkeypatch.setattr(at.task, "rule", tree.row)
    passage = contexts(1)[0]
    rows = sample(at, rl_place(1), [passage], 8)
    assert {row.text for row in rows} <= set(TEXTS) and len({row.text for row in rows}) > 1
    sequences = [policy_sequence(at, passage, row) for row in rows]
    for row, sequence in zip(rows, sequences, strict=True):
        choices = [len(ids) for ids in allowed_tokens(tree.row(), row.sampled.ids, 400)]
        assert sum(sequence.loss) == sum(count > 1 for count in choices)
    assert any(sum(s.loss) < len(r.sampled.ids) for r, s in zip(rows, sequences, strict=True))
    by_hand = {}
    for text in tree.texts:
        row = replace(rows[0], sampled_json=Sampled(text).as_json())
        sequence = policy_sequence(at, passage, row)
        (logs,) = read_logs(at.lm, [sequence], None, 1.0)
        by_hand[text] = sum(logs)
    assert sum(np.exp(list(by_hand.values()))) == pytest.approx(1.0, abs=1e-5)


def test_the_masked_likelihood_is_that_of_autograd(at, monkeypatch):
    """The first step's loss, from transformers' own logits with the others' masked."""
    monkeypatch.setattr(at.task, "rule", listed(at).row)
    passage = contexts(1)[0]
    rows = sample(at, rl_place(1), [passage], 4)[:2]
    sequences = [policy_sequence(at, passage, row) for row in rows]
    adapter = train_policy(at, 1, sequences, MaskedLikelihood())
    losses = []
    for row in rows:
        prompt, ids = at.task.prompt(passage), row.sampled.ids
        logits = logits_of(at.lm, (*prompt, *ids))
        for place, allowed in enumerate(allowed_tokens(listed(at).row(), ids, len(at.lm.head))):
            if len(allowed) > 1:
                kept = logits[len(prompt) + place - 1][torch.from_numpy(allowed)]
                own = list(allowed).index(ids[place])
                losses.append(-float(F.log_softmax(kept, 0)[own]))
    assert adapter.losses[0] == pytest.approx(sum(losses) / len(losses), abs=1e-5)


def logits_of(lm, ids):
    """By transformers' model, loaded anew."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(lm.name, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def test_what_is_trained_on_is_not_the_text_encoded_again(at):
    """A random model's text comes back as other tokens when it is encoded."""
    passages = contexts(3)
    by_id = {context.id: context for context in passages}
    differ = 0
    for row in sample(at, rl_place(1), passages, 3):
        sequence = policy_sequence(at, by_id[row.context_id], row)
        again = at.task.completion(by_id[row.context_id], row.text)
        differ += again.ids[: len(sequence.ids)] != sequence.ids
    assert differ > 0


def test_a_grammar_is_replayed_over_what_was_sampled_under_it(small_folder):
    """What was forced was certain when it was sampled; what was not sampled under it is refused."""
    lm = load(str(small_folder), device="cpu")
    grammar = SelfEditGrammar(lm.tokenizer, SelfEditSpec(), vocabulary=len(lm.head))
    prompt = lm.encode("A task")
    made = generate(
        lm,
        [prompt] * 6,
        max_new_tokens=300,
        temperature=50.0,
        seeds=range(6),
        rules=[grammar.row() for _ in range(6)],
    )
    for one in made:
        allowed = allowed_tokens(grammar.row(), one.sampled, len(lm.head))
        assert len(allowed) == len(one.sampled) == len(one.logprobs)
        forced = [log for log, ids in zip(one.logprobs, allowed, strict=True) if len(ids) == 1]
        assert forced == pytest.approx([0.0] * len(forced), abs=1e-6)
    with pytest.raises(UsageError, match="not allowed by the grammar"):
        allowed_tokens(grammar.row(), lm.encode("A task"), len(lm.head))


@pytest.mark.parametrize("texts", [[], [()], [(1, 2), (1, 2)], [(1,), (1, 2)], [(1, 2), (1,)]])
def test_a_list_that_is_no_choice(texts):
    with pytest.raises(UsageError, match="self-edit"):
        TokenTree(texts)


@pytest.mark.parametrize("retention", [0.0, 0.5])
def test_a_policy_kept_apart_means_the_same_as_a_merged_one(small_folder, tmp_path, retention):
    """Samples, baseline, inner loops and M-step of the second round, and held-out passages after
    it, are of the same θ_t.
    """
    lora = {"rank": 2, "alpha": 16}
    found = []
    for merge in (True, False):
        settings = tiny_settings(
            rl__mstep__merge=merge,
            rl__mstep__lora=lora | {"targets": ["q_proj", "down_proj", "v_proj"]},
            rl__reward__retention=retention,
            inner__group=4,
        )
        lm = load(str(small_folder), device="cpu")
        at = session_in(tmp_path / f"{merge}", lm, settings)
        rounds, policy = run_rounds(at, contexts(6))
        evaluate(at, "seal", contexts(2, start=6), policy)
        ledger = at.run.ledger
        texts = [row.text for n in (1, 2) for row in ledger.self_edits(rl_place(n))]
        trials = [*ledger.trials(rl_place(2)), *ledger.trials(held_out("seal"))]
        losses = [trial.training.final_loss for trial in trials if trial.training]
        answers = [[answer.text for answer in trial.answers] for trial in trials]
        weights = {n: m.weight.detach().clone() for n, m in lm.model.named_modules()
                   if n.endswith(("q_proj", "down_proj", "v_proj"))}  # fmt: skip
        if policy is not None:
            assert policy.spec.rank == 4
            weights = {name: value + policy.delta(name) for name, value in weights.items()}
        found.append((texts, losses, answers, [r.baseline for r in rounds], weights))
        at.run.close()
    (texts, losses, answers, baselines, weights), apart = found
    assert (texts, answers, baselines) == (apart[0], apart[2], apart[3])
    assert losses == pytest.approx(apart[1], rel=1e-4)
    for name, value in weights.items():
        torch.testing.assert_close(value, apart[4][name], rtol=1e-3, atol=1e-4)


def test_the_ledger_gives_sampled_tokens_back(at):
    rows = sample(at, rl_place(1), contexts(2), 2)
    for row in at.run.ledger.self_edits(rl_place(1)):
        assert at.lm.decode(row.sampled.ids) == row.text
        assert len(row.sampled.logprobs) == len(row.sampled.ids)
        assert row.prompt_hash == fingerprint(
            at.task.prompt(next(c for c in contexts(2) if c.id == row.context_id))
        )
    assert len(rows) == 4
