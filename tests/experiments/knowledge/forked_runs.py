"""A warm process that runs experiments in forked children and kills them when told: python
forked_runs.py MODEL.

Reads one JSON request a line: ``{"folder", "settings", "steps", "delay"}``. A child runs
`run_knowledge`; it is killed ``delay`` seconds after its step number ``steps`` began (step 0 is its
start), or left alone where ``steps`` is null.
Answers one JSON line: ``{"code", "steps", "seconds", "error"}``; code −9 is killed.
"""

import json
import os
import signal
import sys
import time
import traceback
import warnings

import torch

from selfedit.config import make_settings
from selfedit.errors import SelfEditError
from selfedit.experiments.knowledge import train
from selfedit.lm.load import LanguageModel, load
from selfedit.rl import opening, sample
from selfedit.run.interrupt import Interrupt
from tiny_run import HashGrader


class Steps(Interrupt):
    """Says through a pipe that a step begins."""

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self.pipe = pipe

    def check(self) -> None:
        os.write(self.pipe, b".")
        super().check()


def child(request: dict, lm: LanguageModel, steps: int, errors: int) -> None:
    try:
        train.run_knowledge(
            request["folder"], make_settings(request["settings"]), interrupt=Steps(steps), lm=lm
        )
        code = 0
    except SelfEditError as error:
        os.write(errors, f"{type(error).__name__}: {error}".encode())
        code = error.exit_code
    except BaseException:
        os.write(errors, traceback.format_exc().encode())
        code = 1
    os._exit(code)


def answer(request: dict, lm: LanguageModel) -> dict:
    steps_out, steps_in = os.pipe()
    errors_out, errors_in = os.pipe()
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        child(request, lm, steps_in, errors_in)
    os.close(steps_in)
    os.close(errors_in)
    wanted, seen = request["steps"], 0
    while (wanted is None or seen < wanted) and (got := os.read(steps_out, 1)):
        seen += len(got)
    if wanted is not None:
        time.sleep(request["delay"])
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    seconds = time.monotonic() - start
    while got := os.read(steps_out, 4096):  # those begun between the last one seen and the kill
        seen += len(got)
    with os.fdopen(errors_out) as said:
        error = said.read()
    os.close(steps_out)
    return {"code": code, "steps": seen, "seconds": seconds, "error": error}


def main() -> None:
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    lm = load(sys.argv[1], device="cpu")
    opening.get_grader = lambda *_: HashGrader()
    sample.ROWS = 3  # a step of sampling is one passage's candidates
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), lm)), flush=True)


if __name__ == "__main__":
    main()
