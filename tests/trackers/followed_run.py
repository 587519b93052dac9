"""A whole run in small that trackers follow: python followed_run.py FOLDER MODEL TRACKER [KILL].

With KILL the process ends itself (SIGKILL) when that row of metrics has been handed over.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from selfedit.lm.load import load
from selfedit.rl.opening import open_run
from selfedit.rl.rest_em import run_rounds
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.trackers.following import Following
from tiny_run import HashGrader, contexts, tiny_settings

PAUSES = {"wandb": 1.5}
"""Seconds before the end for those whose offline files are written twice a second."""


def followed(folder: Path, model: str, tracker: str, kill: int | None = None) -> None:
    changed = {"run__trackers": [tracker], "judge__endpoint__key_env": "MY_KEY"}
    settings = tiny_settings(
        model=model, rl__rounds=1, rl__contexts=2, rl__candidates=2, rl__movement__prompts=0,
        **changed,
    )  # fmt: skip
    if kill is not None:
        send = Following.send

        def send_and_end(self: Following, number: int, row: dict) -> None:
            send(self, number, row)
            if number == kill:
                time.sleep(PAUSES.get(tracker, 0))
                os.kill(os.getpid(), signal.SIGKILL)

        Following.send = send_and_end
    with open_run(
        folder, settings, {}, HashGrader(), KnowledgeTask, kind="knowledge",
        lm=load(model, device="cpu"),
    ) as session:  # fmt: skip
        run_rounds(session, contexts(2))
        session.run.write_results({"experiment": "knowledge", "settings": {}})


if __name__ == "__main__":
    words = sys.argv[1:]
    followed(Path(words[0]), words[1], words[2], int(words[3]) if len(words) > 3 else None)
