"""Steps of static shapes on a GPU: planned and uploaded beforehand, replayed as CUDA graphs,
without a wait.

A step's tokens, its sequences and the tokens that carry loss are padded up to one of a few shapes.
Everything a step needs, the optimiser's settings of every row included, is one *record*, a row of
32-bit numbers on the device; a step copies its record to a fixed place and runs the operations that
read from there. Adapters and attention go by offsets (`selfedit.lm.grouped`,
`selfedit.lm.attention.Ragged`), so the same launches serve every step of a shape: from its second
time on they are one CUDA graph. Padding tokens are sequences of their own at the end, carry no loss
and count to the last row, whose gradient they leave as it is: theirs is exactly zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfedit.inner.job import AdaptJob
from selfedit.inner.optimiser import Hyper
from selfedit.inner.plan import step_arrays
from selfedit.inner.step_records import SMALLEST, StaticShape, record, static_shapes
from selfedit.inner.trainer import TrainingGroup
from selfedit.lm.attention import Ragged
from selfedit.lm.block import run_layers
from selfedit.lm.families import has_capped_scores
from selfedit.lm.grouped import Offsets
from selfedit.lm.load import LanguageModel
from selfedit.lm.loss import head_loss
from selfedit.lm.shape import Shape

GRID = 8
"""Token counts are rounded up to this share of the largest step's: at most so many shapes, and
little padding.
"""
GRAPH_FLOPS = 60e12
"""Operations of a step from which on the device takes longer than the host needs to launch it."""
GRAPH_TIMES = 3
"""Steps of a shape that are worth a graph."""
AHEAD = 32
"""Steps that the host may be ahead of the device."""


def can_be_static(lm: LanguageModel, jobs: Sequence[AdaptJob]) -> bool:
    """Whether these jobs train in static shapes: on CUDA in bfloat16, without what is drawn or
    taught step by step.
    """
    return (
        lm.device.type == "cuda"
        and lm.dtype == torch.bfloat16
        and lm.known
        and not has_capped_scores(lm.model)
        and not any(job.lora.dropout or job.outside is not None for job in jobs)
        and not any(
            s.teacher is not None for job in jobs for s in job.sequences if not isinstance(s, str)
        )
    )


@dataclass
class _Runs:
    """The steps of one shape."""

    shape: StaticShape
    records: Tensor  # [steps, size] int32
    current: Tensor  # [size] int32: the record of the step that runs
    losses: Tensor  # [K]: its losses
    times: int
    done: int = 0
    graph: torch.cuda.CUDAGraph | None = None


class StaticSteps:
    """See `selfedit.inner.trainer.StepRunner`."""

    # A look costs a wait for the device; sixteen steps hide it.
    every = 16

    def __init__(self, training: TrainingGroup) -> None:
        self.training = training
        self.longest = max(len(m.ids) for of_job in training.data for m in of_job)
        self._step_losses = torch.zeros(
            len(training.steps), len(training.bank.values), device=training.lm.device
        )  # [steps, K]
        self._places: list[tuple[_Runs, int]] = []
        self._plan()
        self._stream = (
            torch.cuda.Stream(training.lm.device) if training.lm.device.type == "cuda" else None
        )
        # Graphs of all shapes share one pool: only one of them runs at a time.
        self._pool = torch.cuda.graph_pool_handle() if self._stream else None
        self._events: list[torch.cuda.Event] = []

    def _plan(self) -> None:
        """Every step's arrays, padded to its shape and uploaded."""
        training, rows = self.training, len(self.training.bank.values)
        # No padding to one length here: shapes are padded as a whole, by offsets.
        arrays = [step_arrays(step, training.data, 0.0) for step in training.steps]
        most = max(len(step.ids) for step in arrays)
        # A graph is for one shape, so there are to be few; without graphs a shape costs nothing.
        shapes = static_shapes(
            arrays, self.longest, rows, GRID if self._graphed(most) else most // SMALLEST
        )
        by_shape: dict[StaticShape, list[NDArray[np.int32]]] = {shape: [] for shape in shapes}
        for step, step_data, shape in zip(training.steps, arrays, shapes, strict=True):
            by_shape[shape].append(record(step, step_data, shape, training, self.longest))
        device = training.lm.device
        runs: dict[StaticShape, _Runs] = {}
        for shape, records in by_shape.items():
            stacked = torch.from_numpy(np.stack(records))
            if device.type == "cuda":
                # Pinned and uploaded in one piece: afterwards no step waits for the host.
                stacked = stacked.pin_memory().to(device, non_blocking=True)
            current = torch.zeros(shape.size, dtype=torch.int32, device=device)
            runs[shape] = _Runs(
                shape, stacked, current, torch.zeros(rows, device=device), len(records)
            )
        self._shapes = set(shapes)
        used: Counter[StaticShape] = Counter()
        for shape in shapes:
            self._places.append((runs[shape], used[shape]))
            used[shape] += 1

    def run(self, number: int) -> None:
        """See `StepRunner`."""
        runs, row = self._places[number]
        if self._stream is None:
            self._one(runs, row, number)
            return
        # The side stream begins after what was asked of the main one, and the other way round
        # below.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._one(runs, row, number)
            # An event a step, to know how far the device has come.
            self._events.append(torch.cuda.Event())
            self._events[-1].record()
        torch.cuda.current_stream().wait_stream(self._stream)

    def _one(self, runs: _Runs, row: int, number: int) -> None:
        # The record to its fixed place: that is where the graph reads.
        runs.current.copy_(runs.records[row])
        # Not the first time of a shape: kernels choose and load themselves then.
        if runs.graph is None and runs.done and self._pays(runs):
            runs.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(runs.graph, pool=self._pool, stream=self._stream):
                self._operations(runs)
        if runs.graph is not None:
            runs.graph.replay()
        else:
            self._operations(runs)
        runs.done += 1
        self._step_losses[number].copy_(runs.losses)

    def _graphed(self, tokens: int) -> bool:
        """Whether launching a step of so many tokens takes the host longer than the device needs
        for it.
        """
        # Forward and backward through frozen weights: 4 operations a weight and token.
        shape = Shape.of(self.training.lm.model.config)
        return 4 * (shape.weights + shape.head) * tokens < GRAPH_FLOPS

    def _pays(self, runs: _Runs) -> bool:
        graphed = self._graphed(max(shape.tokens for shape in self._shapes))
        return self._stream is not None and runs.times >= GRAPH_TIMES and graphed

    def _operations(self, runs: _Runs) -> None:
        """One step, from the record at its fixed place: the same operations on the same memory for
        a whole shape.
        """
        lm, bank = self.training.lm, self.training.bank
        part = runs.shape.parts(runs.current)
        # Each token's scale by its slot: a lookup on the device instead of a list from the host.
        scale = bank.scale.flatten().to(lm.dtype).index_select(0, part["slot"])[:, None]  # [T, 1]
        bank.assign(Offsets(part["slot_ends"], scale))
        lower = self.training.lower
        states = (
            lm.embed(part["ids"]) if lower is None else lower.states.index_select(0, part["lower"])
        )
        plan = Ragged(part["sequence_ends"], self.longest)
        hidden = run_layers(
            lm.model, states, part["positions"], plan, first=0 if lower is None else lower.first
        )
        # The same 32 bits read as floats: a record has one type.
        weights = part["weights"].view(torch.float32)
        predicting = hidden.index_select(0, part["rows"])
        loss, losses = head_loss(
            predicting, self.training.head, part["targets"].long(), weights, lm.cap
        )
        loss.backward()
        weighted = (losses * weights).detach()
        runs.losses.copy_(
            torch.segment_reduce(weighted, "sum", lengths=part["counts"].long(), unsafe=True)
        )
        table = part["hyper"].view(torch.float32).view(-1, len(Hyper._fields))
        self.training.optimiser.step_on_device(table)

    def wait(self) -> None:
        """See `StepRunner`."""
        if len(self._events) > AHEAD:
            self._events[-AHEAD].synchronize()
            # Events that are past are forgotten; the newest AHEAD stay.
            del self._events[:-AHEAD]

    def state(self) -> dict[str, Tensor]:
        """See `StepRunner`."""
        return {"losses": self._step_losses}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `StepRunner`."""
        self._step_losses.copy_(state["losses"])

    def losses(self) -> list[list[float]]:
        """See `StepRunner`."""
        rows = self._step_losses.tolist()
        return [
            [row[turn.slot] for turn in step.turns]
            for row, step in zip(rows, self.training.steps, strict=True)
        ]
