"""A whole run in small: python killable_run.py FOLDER LOG [--pause SECONDS] [--max-file BYTES].

Everything a real run does to its folder, with hashes for a model. LOG, outside the folder, gets a
line before and after
everything that must happen once: it is the witness of what was repeated.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

from run_rows import answer, base_trial, reward, rl, self_edit, training, trial
from selfedit.errors import SelfEditError
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.records import TimingRow
from selfedit.run.seeds import derive
from selfedit.storage.files import folder_atomic, hash_folder

ROUNDS, CONTEXTS, CANDIDATES, QUESTIONS, BATCH = 3, 5, 4, 3, 3
SETTINGS = {"seed": 5, "inner": {"lr": 1e-3, "rank": 8}, "rounds": ROUNDS}


class SmallRun:
    def __init__(self, run: RunFolder, interrupt: Interrupt, log: Path, pause: float) -> None:
        self.run, self.ledger, self.interrupt, self.pause = run, run.ledger, interrupt, pause
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def say(self, *words: object) -> None:
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    def step(self) -> None:
        self.interrupt.check()
        time.sleep(self.pause)

    def everything(self) -> None:
        for round in range(ROUNDS):
            self.sample(round)
            self.answer_base(round)
            self.adapt(round)
            self.select(round)
            self.learn(round)
        self.run.write_results(self.results())

    def sample(self, round: int) -> None:
        there = {row.context_id for row in self.ledger.self_edits(rl(round))}
        for context in sorted({f"c{i}" for i in range(CONTEXTS)} - there):
            self.step()
            self.say("begin", "sample", round, context)
            edits = [
                self_edit(context, i, place=rl(round), text="x\n" * (40 + i))
                for i in range(CANDIDATES)
            ]
            self.ledger.add_self_edits(edits)
            self.say("stored", "sample", round, context)

    def answer_base(self, round: int) -> None:
        done = self.ledger.done(rl(round))
        for context in (f"c{i}" for i in range(CONTEXTS)):
            if (context, None, 0) not in done:
                self.step()
                self.say("begin", "base", round, context)
                answers = self.answers(round, context, -1)
                self.ledger.add_trials([base_trial(context, place=rl(round), answers=answers)])
                self.say("stored", "base", round, context)

    def adapt(self, round: int) -> None:
        done = self.ledger.done(rl(round))
        edits = self.ledger.self_edits(rl(round))
        todo = [row for row in edits if (row.context_id, row.candidate, 0) not in done]
        for start in range(0, len(todo), BATCH):
            self.step()
            batch = todo[start : start + BATCH]
            for row in batch:
                self.say("begin", "inner", round, row.context_id, row.candidate)
            self.ledger.add_trials(
                [self.trial(round, row.context_id, row.candidate) for row in batch],
                [TimingRow(place=rl(round), part="adapting", seconds=1.0, count=len(batch))],
            )
            for row in batch:
                self.say("stored", "inner", round, row.context_id, row.candidate)

    def trial(self, round: int, context: str, candidate: int):
        loss = derive(5, "inner", round, context, candidate) / 2**63
        trained = training(context, candidate, place=rl(round), final_loss=loss)
        answers = self.answers(round, context, candidate)
        return trial(context, candidate, place=rl(round), answers=answers, trained=trained)

    def answers(self, round: int, context: str, candidate: int):
        scores = [
            derive(5, "grade", round, context, candidate, q) / 2**63 for q in range(QUESTIONS)
        ]
        return [
            answer(f"q{q}", "y" * 300, correct=score > 0.5, score=score, grader="hash")
            for q, score in enumerate(scores)
        ]

    def select(self, round: int) -> None:
        if self.ledger.step(f"selection/{round}") is not None:
            return
        self.step()
        self.say("begin", "select", round)
        trials = {trial.key[:2]: trial for trial in self.ledger.trials(rl(round))}
        with self.ledger.transaction():
            for row in self.ledger.self_edits(rl(round)):
                scores = [a.score for a in trials[row.context_id, row.candidate].answers]
                mean = sum(score or 0.0 for score in scores) / len(scores)
                self.ledger.add_rewards(
                    [
                        reward(
                            row.context_id,
                            row.candidate,
                            place=rl(round),
                            reward=mean,
                            kept=mean > 0.5,
                        )
                    ]
                )
            self.ledger.finish_step(f"selection/{round}", {})
        self.say("stored", "select", round)

    def learn(self, round: int) -> None:
        name, policy = f"policy/{round}", self.run.policy(round)
        if self.ledger.step(name) is None:
            self.step()
            self.say("begin", "learn", round)
            with folder_atomic(policy) as new:
                for shard in range(3):
                    (new / f"shard-{shard}").write_text(
                        f"{derive(5, 'policy', round, shard)}\n" * 200
                    )
            self.ledger.finish_step(
                name, {"path": f"policy/round-{round}", "sha256": hash_folder(policy)}
            )
            self.say("stored", "learn", round)
        self.run.append_metric(
            {"round": round, "rewards": len(self.ledger.rewards(rl(round)))}, once=name
        )

    def results(self) -> dict[str, object]:
        rounds = {}
        for round in range(ROUNDS):
            rewards = [row.reward for row in self.ledger.rewards(rl(round))]
            losses = [t.training.final_loss for t in self.ledger.trials(rl(round)) if t.training]
            rounds[round] = {
                "reward": sum(rewards) / len(rewards),
                "loss": sum(losses) / len(losses),
            }
        return {"rounds": rounds, "policy": self.ledger.step(f"policy/{ROUNDS - 1}")}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--max-file", type=int)
    given = parser.parse_args()
    if given.max_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.max_file, given.max_file))
    try:
        with (
            Interrupt(resume="the same command") as interrupt,
            RunFolder.open(given.folder, SETTINGS, kind="rl") as run,
        ):
            SmallRun(run, interrupt, given.log, given.pause).everything()
    except SelfEditError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
