"""Every update against autograd on transformers' own model; whole rounds of each, stopped and not."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from selfedit.errors import Interrupted, UsageError
from selfedit.lm.load import load
from selfedit.lm.lora import Adapter
from selfedit.lm.rules import TokenTree, allowed_tokens
from selfedit.rl import policy_training
from selfedit.rl.advantages import leave_one_out, signed_advantages, standardised
from selfedit.rl.plan import plan_rounds
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rounds import rl_place
from selfedit.rl.sample import sample
from selfedit.rl.updates.base import ScoredEdits, update_of
from selfedit.run.records import RewardRow
from tiny_run import contexts, session_in, tiny_settings

UPDATES = ("filtered_sft", "rloo", "grpo", "exact")
TEXTS = ("yes, all of it", "yes, but half", "no", "never", "a fact", "a rule")
REWARDS = (0.0, 1.0, 0.25, 0.5, 1.0, 0.75, 0.0, 0.125)


def listed(session):
    return TokenTree([session.lm.encode(text) for text in TEXTS])


def opened(folder, small_folder, monkeypatch, *, free=False, **changed):
    lora = {"rank": 3, "alpha": 6, "targets": ["q_proj", "down_proj"]}
    settings = tiny_settings(rl__mstep__lora=lora, **changed)
    at = session_in(folder, load(str(small_folder), device="cpu"), settings)
    if not free:
        monkeypatch.setattr(at.task, "rule", listed(at).row)
    return at


def scored_round(at, count=8):
    """Two contexts' self-edits with made-up rewards; the second context's are all equal."""
    passages, place = contexts(2), rl_place(1)
    edits = sample(at, place, passages, count)
    rewards = [
        RewardRow(
            place=place,
            context_id=row.context_id,
            candidate=row.candidate,
            reward=REWARDS[row.candidate] if row.context_id == "c0" else 0.5,
            accuracy=0.5,
            baseline=0.25,
            kept=row.context_id == "c0" and REWARDS[row.candidate] > 0.4,
        )
        for row in edits
    ]
    return ScoredEdits(1, {c.id: c for c in passages}, edits, rewards)


class Reference:
    """Transformers' model with our adapter's A and B as leaves of autograd."""

    def __init__(self, at, adapter: Adapter):
        self.at = at
        self.model = AutoModelForCausalLM.from_pretrained(at.lm.name, dtype=torch.float32)
        self.leaves = {}
        for name, (a, b) in adapter.tensors.items():
            self.leaves[name] = (
                a.clone().requires_grad_(),
                b.clone().requires_grad_(),
            )
            module = self.model.get_submodule(name)
            module.register_forward_hook(self._add(name, adapter.spec.scale))

    def _add(self, name, scale):
        def hook(module, inputs, output):
            a, b = self.leaves[name]
            return output + scale * (inputs[0] @ a.T) @ b.T

        return hook

    def logs(self, scored, row):
        """Log-probability of each choice of a self-edit, at the sampling's temperature."""
        prompt = self.at.task.prompt(scored.contexts[row.context_id])
        ids, rule = row.sampled.ids, self.at.task.rule()
        logits = self.model(torch.tensor([[*prompt, *ids]])).logits[0]
        temperature = self.at.settings.edit.temperature
        found = []
        every = allowed_tokens(rule, ids, logits.shape[1]) if rule else [None] * len(ids)
        for place, allowed in enumerate(every):
            logit = logits[len(prompt) + place - 1] / temperature
            if allowed is None:
                found.append(F.log_softmax(logit, 0)[ids[place]])
            elif len(allowed) > 1:
                chosen = F.log_softmax(logit[torch.from_numpy(allowed)], 0)
                found.append(chosen[list(allowed).index(ids[place])])
        return torch.stack(found)


def first_gradient(at, scored, monkeypatch):
    """The adapter at the update's first step and its gradient there, flat by module."""
    from selfedit.inner.optimiser import BankAdamW

    seen = {}

    def stop(optimiser, jobs, turns):
        bank = optimiser.bank
        seen["start"] = bank.take(0)
        spec, grads = bank.specs[0], bank.grads[0]
        seen["grad"] = {
            name: tuple(half.clone() for half in bank.matrices(name, grads))
            for name in bank.modules
        }
        seen["spec"] = spec
        raise KeyboardInterrupt

    monkeypatch.setattr(BankAdamW, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        update_of(at.settings).update(at, scored)
    return Adapter(seen["spec"], seen["start"], at.lm.name), seen["grad"]


def expected_loss(name, scored, reference, settings):
    """Each update's formula, written out anew."""
    gradient, loss = settings.rl.gradient, 0.0
    pairs = [
        (row, reward)
        for row, reward in zip(scored.edits, scored.rewards, strict=True)
        if row.context_id == "c0"
    ]
    rewards = torch.tensor([reward.reward for _, reward in pairs])
    if name == "filtered_sft":
        logs = [reference.logs(scored, row) for row, reward in pairs if reward.kept]
        return -torch.cat(logs).mean()
    if name == "exact":
        known = {}
        for row, reward in pairs:
            known.setdefault(row.text, (row, []))[1].append(reward.reward)
        whole = [reference.logs(scored, row).sum() for row, _ in known.values()]
        means = [sum(values) / len(values) for _, values in known.values()]
        probs = torch.stack(whole).exp()
        base = float((probs.detach() * torch.tensor(means)).sum() / probs.detach().sum())
        loss = -sum(p * (mean - base) for p, mean in zip(probs, means, strict=True))
        brake = sum(p * (w - w.detach()) for p, w in zip(probs, whole, strict=True))
        return loss + gradient.kl * brake
    for number, (row, _) in enumerate(pairs):
        logs = reference.logs(scored, row)
        if name == "rloo":
            others = torch.cat([rewards[:number], rewards[number + 1 :]])
            advantage, share = rewards[number] - others.mean(), 1.0
        else:
            advantage = (rewards[number] - rewards.mean()) / rewards.std(correction=0)
            share = 1 / len(logs)
        old = logs.detach()
        ratio = (logs - old).exp()
        bounded = ratio.clamp(1 - gradient.clip, 1 + gradient.clip)
        gain = torch.minimum(ratio * advantage, bounded * advantage)
        k3 = (old - logs).exp() - (old - logs) - 1
        loss = loss + share * (gradient.kl * k3 - gain).sum()
    return loss / len(pairs)


@pytest.mark.parametrize(
    ("name", "free"),
    [*[(name, False) for name in UPDATES], *[(name, True) for name in UPDATES if name != "exact"]],
)
def test_the_gradient_is_that_of_the_formula(tmp_path, small_folder, monkeypatch, name, free):
    temperature = 1.0 if name == "filtered_sft" else 0.7
    changed = {"rl__update": name, "rl__candidates": 8, "edit__temperature": temperature}
    changed |= {"rl__mstep__optim": {"epochs": 1, "lr": 0.05, "batch_size": 99}}
    at = opened(tmp_path / "run", small_folder, monkeypatch, free=free, **changed)
    scored = scored_round(at)
    adapter, grads = first_gradient(at, scored, monkeypatch)
    reference = Reference(at, adapter)
    expected_loss(name, scored, reference, at.settings).backward()
    largest = max(float(b.grad.abs().max()) for _, b in reference.leaves.values())
    assert largest > 1e-5
    for module, (_, b) in reference.leaves.items():
        # At the start B is zero, and so is the gradient of A.
        torch.testing.assert_close(grads[module][1], b.grad, rtol=1e-3, atol=1e-3 * largest)
    at.run.close()


@pytest.mark.parametrize("name", ["rloo", "grpo"])
def test_ratios_beyond_the_clip_pull_no_more(name):
    """In the direction that the advantage asks for; against it they still do."""
    from selfedit.rl.policy_training import StepTokens

    objective = update_of(tiny_settings(rl__update=name, rl__gradient__kl=0.0)).objective
    logs = torch.log(torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1])).requires_grad_()
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    zeros, lengths = torch.zeros(5), torch.tensor([5])
    objective.parts(logs, StepTokens(zeros, zeros, zeros, advantages, lengths)).sum().backward()
    pulls = [bool(value) for value in logs.grad.abs() > 1e-9]
    assert pulls == [False, True, True, False, True]


def test_the_brake_is_schulmans_estimate_and_pulls_back():
    from selfedit.rl.policy_training import StepTokens

    settings = tiny_settings(rl__update="rloo", rl__gradient__kl=2.0)
    logs = torch.tensor([-1.0, -2.0]).requires_grad_()
    reference, zeros = torch.tensor([-1.5, -2.0]), torch.zeros(2)
    tokens = StepTokens(zeros, logs.detach(), reference, zeros, torch.tensor([2]))
    parts = update_of(settings).objective.parts(logs, tokens)
    apart = torch.tensor(-0.5)
    assert float(parts[0].detach()) == pytest.approx(float(2 * (apart.exp() - apart - 1)))
    parts.sum().backward()
    assert logs.grad[0] > 0 and logs.grad[1] == pytest.approx(0.0)


def test_advantages():
    assert leave_one_out([1.0, 0.0, 0.5]) == pytest.approx([0.75, -0.75, 0.0])
    assert standardised([1.0, 0.0]) == pytest.approx([1.0, -1.0])
    nan = float("nan")
    row = RewardRow(place=rl_place(1), context_id="a", candidate=0, reward=1.0, accuracy=1.0,
                    baseline=0.0, kept=True)  # fmt: skip
    rows = [
        row,
        replace(row, candidate=1, reward=nan),
        replace(row, candidate=2, reward=0.0, accuracy=nan),
        replace(row, candidate=3, reward=0.5),
        replace(row, context_id="alone"),
        *[
            replace(row, context_id="equal", candidate=n, reward=0.1 + 0.2 * (n - n))
            for n in (0, 1)
        ],
    ]
    assert signed_advantages(rows, leave_one_out) == {("a", 0): 0.5, ("a", 3): -0.5}


def finished(folder, small_folder, monkeypatch, name, stop=None, **changed):
    """A run of two rounds, begun again as often as it is stopped; what must be equal."""
    for attempt in range(20):
        at = opened(folder, small_folder, monkeypatch, rl__update=name, rl__candidates=4, **changed)
        calls = 0

        def check():
            nonlocal calls
            calls += 1
            if stop is not None and calls > stop:
                raise Interrupted("stopped")

        monkeypatch.setattr(at.interrupt, "check", check)
        try:
            rounds, policy = run_rounds(at, contexts(5), heldout=contexts(2, start=8))
        except Interrupted:
            assert attempt < 19
            continue
        finally:
            at.run.close()
        weights = [value.clone() for value in at.lm.model.parameters()]
        if policy is not None:
            weights += [half for pair in policy.tensors.values() for half in pair]
        return [json.dumps(asdict(one)) for one in rounds], weights, attempt
    raise AssertionError


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("name", UPDATES)
def test_a_stopped_run_ends_with_the_same_bits(tmp_path, small_folder, monkeypatch, name, merge):
    changed = {"rl__mstep__merge": merge, "rl__gradient__reference": "first"}
    whole, weights, _ = finished(tmp_path / "a", small_folder, monkeypatch, name, **changed)
    again, same, attempts = finished(
        tmp_path / "b", small_folder, monkeypatch, name, stop=2, **changed
    )
    assert attempts > 1 and again == whole
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))
    moved = [json.loads(one)["movement"] for one in whole]
    assert any(one["learned"] for one in moved)


def test_every_self_edit_is_tried_and_its_expected_reward_rises(
    tmp_path, small_folder, monkeypatch
):
    """Made-up rewards by text: the policy comes to write what earns, and E[r] is the exact sum."""
    from selfedit.rl.rewards.base import Value

    worth = dict(zip(TEXTS, (0.0, 0.1, 0.0, 1.0, 0.2, 0.1), strict=True))

    class ByText:
        needs = ()

        def check(self, plan, every): ...

        def prepare(self, session, number, chosen, every, policy):
            return chosen

        def values(self, session, scored):
            found = {(c.id, None): Value(0.0) for c in scored.contexts}
            return found | {
                (row.context_id, row.candidate): Value(worth[row.text]) for row in scored.edits
            }

    monkeypatch.setattr("selfedit.rl.session.Session.reward", property(lambda _: ByText()))
    changed = {"rl__update": "exact", "rl__draw": "every", "rl__candidates": 6, "rl__rounds": 3}
    changed |= {"rl__mstep__optim": {"epochs": 6, "lr": 0.01, "batch_size": 18}}
    changed |= {"rl__gradient__kl": 0.0}
    at = opened(tmp_path / "run", small_folder, monkeypatch, **changed)
    rounds, _ = run_rounds(at, contexts(3), heldout=contexts(2, start=5))
    expected = [one.movement.expected for one in rounds]
    assert all(one.exact and one.mass == pytest.approx(1.0, abs=1e-4) for one in expected)
    for one, after in pairwise(expected):
        assert one.after == pytest.approx(after.before, abs=1e-4)
    assert expected[-1].after > expected[0].before + 0.2
    rows = at.run.ledger.self_edits(rl_place(1))
    assert len(rows) == 18 and {row.text for row in rows} == set(TEXTS)
    by_hand = 0.0
    for row in rows:
        by_hand += torch.tensor(row.sampled.logprobs).sum().exp() * worth[row.text] / 3
    assert float(by_hand) == pytest.approx(expected[0].before, abs=1e-4)
    at.run.close()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rl__update": "rloo", "rl__candidates": 1}, "there is one"),
        ({"rl__update": "grpo", "edit__temperature": 0.0}, "sampled"),
        ({"rl__update": "exact", "rl__candidates": 1}, "there is one"),
        ({"rl__update": "nothing"}, "there is no 'nothing'"),
    ],
)
def test_settings_without_signal_are_refused_before_anything_is_written(changed, message):
    with pytest.raises(UsageError, match=message):
        plan_rounds(tiny_settings(**changed), contexts(3))


@pytest.mark.parametrize(
    ("texts", "changed", "message"),
    [
        (["only this"], {}, "one choice"),
        (None, {"rl__update": "exact"}, "can be listed"),
        (None, {"rl__draw": "every"}, "cannot be listed"),
        (["one", "two"], {"rl__draw": "every"}, "there are 2 self-edits, and 3 candidates"),
    ],
)
def test_grammars_without_signal_are_refused_before_anything_is_sampled(
    tmp_path, small_folder, monkeypatch, texts, changed, message
):
    at = opened(tmp_path / "run", small_folder, monkeypatch, free=True, **changed)
    if texts:
        tree = TokenTree([at.lm.encode(text) for text in texts])
        monkeypatch.setattr(at.task, "rule", tree.row)
    with pytest.raises(UsageError, match=message):
        run_rounds(at, contexts(3))
    assert not at.run.ledger.self_edits(rl_place(1))
    at.run.close()


def test_memory_that_ends_loses_nothing(tmp_path, small_folder, monkeypatch):
    from selfedit.errors import Unavailable

    def full(*_, **__):
        raise torch.OutOfMemoryError("no room")

    at = opened(tmp_path / "run", small_folder, monkeypatch, rl__update="rloo", rl__rounds=1)
    monkeypatch.setattr(policy_training, "adapt", full)
    with pytest.raises(Unavailable, match="memory ran out while the policy learned") as caught:
        run_rounds(at, contexts(3))
    assert "nothing is lost" in caught.value.fix
    assert len(at.run.ledger.rewards(rl_place(1))) == 9
    at.run.close()
