"""What every stage of a run needs at hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from selfedit.config import Settings
from selfedit.engine.base import Engine
from selfedit.engine.local import LocalEngine
from selfedit.grading.grader import Grader
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink
from selfedit.run.records import Place, TimingRow
from selfedit.sampling.base import SAMPLERS, Sampler
from selfedit.sampling.local import LocalSampler
from selfedit.sampling.shared import SharedSampler
from selfedit.tasks.task import AnyTask

if TYPE_CHECKING:
    from selfedit.rl.rewards.base import Reward
    from selfedit.rl.updates.base import Update

T = TypeVar("T", bound=AnyTask)


@dataclass
class Session(Generic[T]):
    """One process's work on a run of one kind of task.

    Attributes:
        run: the run's folder.
        lm: the model; its weights are the current policy's.
        task: turns contexts and self-edits into prompts and inner loops.
        settings: the run's settings.
        grader: says whether an answer is right.
        progress: where progress goes.
        interrupt: asked between steps whether the user wants to stop.
        engine: where inner loops run; this process unless said otherwise.
        sampler: what writes self-edits and the unadapted model's answers; as ``sampler`` says
            unless given.
        weights: names the model's present weights: its fingerprint, or the hash of the policy
            merged last.
        policy: the policy's adapter on these weights, where it is kept apart from them
            (``rl.mstep.merge = false``); its hash is ``policy_name``.
        start: a frozen adapter that inner loops start on top of; None is the model itself. It is
            the policy's unless something else is stood on.
    """

    run: RunFolder
    lm: LanguageModel
    task: T
    settings: Settings
    grader: Grader
    progress: ProgressSink = SILENT
    interrupt: Interrupt = field(default_factory=Interrupt)
    engine: Engine = None  # pyright: ignore[reportAssignmentType] - set below, from the model
    sampler: Sampler = None  # pyright: ignore[reportAssignmentType] - set below, from the settings
    weights: str = ""
    policy: Adapter | None = None
    policy_name: str = ""
    start: Adapter | None = None
    start_name: str = ""

    def __post_init__(self) -> None:
        # Only a test or an example leaves it out.
        self.engine = self.engine or LocalEngine(self.lm)
        if self.sampler is None:  # pyright: ignore[reportUnnecessaryComparison]
            self.sampler = SAMPLERS.load(self.settings.sampler)(self.lm, self.settings)
            # A sampler of one's own may not be shared: what it holds is unknown.
            if self.engine.workers > 1 and isinstance(self.sampler, LocalSampler):
                self.sampler = SharedSampler(self.engine, self.sampler)
        self.weights = self.weights or self.lm.fingerprint

    @property
    def reward(self) -> Reward:
        """What self-edits are rewarded for, as ``rl.reward`` says."""
        # Here, since rewards import sessions.
        from selfedit.rl.rewards.base import reward_of

        return reward_of(self.settings)

    @property
    def update(self) -> Update:
        """How the policy learns from scored trials, as ``rl.update`` says."""
        from selfedit.rl.updates.base import update_of

        # As above.
        return update_of(self.settings)

    def stand_on(self, start: Adapter | None, name: str = "") -> None:
        """Start inner loops, and ask the base, on top of an adapter; None goes back to the policy.

        ``name`` tells it from others.
        """
        # "Nothing" is the policy itself, which may be an adapter.
        self.start = self.policy if start is None else start
        self.start_name = self.policy_name if start is None else name

    def adopt(self, policy: Adapter | None, name: str = "") -> None:
        """Go on with the policy that is this adapter on the model's weights, or these alone."""
        self.policy, self.policy_name = policy, name if policy is not None else ""
        self.stand_on(None)

    @property
    def base(self) -> str:
        """Names what the base's answers come from: the weights, and the adapter they are under."""
        # Answers under another adapter are other answers: the name tells them apart in the ledger.
        return f"{self.weights}+{self.start_name}" if self.start is not None else self.weights


AnySession = Session[Any]
"""A session, whatever its task is."""


@contextmanager
def timed(rows: list[TimingRow], place: Place, part: str, count: int) -> Iterator[None]:
    """Append what the block took to ``rows``."""
    start = time.perf_counter()
    yield
    rows.append(TimingRow(place=place, part=part, seconds=time.perf_counter() - start, count=count))
