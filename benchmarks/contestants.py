"""What a contestant's process can be asked to do; each request and each answer is plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from benchmarks import answering
from benchmarks.careful import initial_values, train_with_peft
from benchmarks.memory import peak_bytes, start_peak
from benchmarks.published import timed_steps
from benchmarks.rate import matrix_rate, now
from benchmarks.work import BenchWork, longest_step, read_work
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm.load import DTYPES, LanguageModel, load
from selfedit.lm.lora import LoraSpec
from selfedit.lm.memory import keep_memory
from selfedit.models.names import model_path
from selfedit.models.quiet import quiet

Answer = dict[str, Any]


class Contestant:
    """One process's part: a model, loaded the way this contestant loads it.

    Args:
        ours: load with this library, else with transformers.
        model, device, dtype: as `selfedit.load` takes them.
        threads: torch's.
        work: the file of the work.
        keep: tell the allocator to keep freed memory, as our command line does; not for the
            published recipe.
    """

    def __init__(
        self,
        *,
        ours: bool,
        model: str,
        device: str,
        dtype: str,
        threads: int,
        work: str,
        keep: bool = True,
    ) -> None:
        torch.set_num_threads(threads)
        self.work: BenchWork = read_work(Path(work))
        self.lm: LanguageModel | None = load(model, device=device, dtype=dtype) if ours else None
        self.base: Any = None if ours else _plain(model, device, dtype)
        self.device: torch.device = self.lm.device if self.lm else self.base.device
        self.dtype: torch.dtype = self.lm.dtype if self.lm else self.base.dtype
        if keep:
            # after the loading, whose buffers would else count as free memory of what is measured
            keep_memory()
        self.counted = start_peak(self.device)

    def rate(self, size: int, times: int) -> Answer:
        """Operations a second of the product of two ``[size, size]`` matrices, the median of
        ``times``.
        """
        return {"flops": matrix_rate(self.device, self.dtype, size, times)}

    def published(
        self, job: int, lora: dict[str, Any], optim: dict[str, Any], steps: int, pad_to: int
    ) -> Answer:
        """Seconds of some steps of the published recipe."""
        end = self.base.config.eos_token_id
        end = end if isinstance(end, int) else end[0]
        seconds = timed_steps(self.base, self._job(job, lora, optim), steps, pad_to, end)
        return {"step_seconds": seconds, **self._peak()}

    def careful(self, jobs: Sequence[int], lora: dict[str, Any], optim: dict[str, Any]) -> Answer:
        """The jobs one after another by a careful PEFT loop."""
        made = [self._job(n, lora, optim) for n in jobs]
        train_with_peft(
            self.base, longest_step(made[0]), initial_values(self.base, made[0].lora, made[0].seed)
        )
        seconds, losses = 0.0, []
        with _tokens_seen(self.base.get_input_embeddings()) as seen:
            for job in made:
                initial = initial_values(
                    self.base, job.lora, job.seed
                )  # off the clock: a loop of one's own draws any
                start = now(self.device)
                losses.append(train_with_peft(self.base, job, initial)[1])
                seconds += now(self.device) - start
        return {"seconds": seconds, **_counts(made, losses, seen), **self._peak()}

    def warm_up(self, group: Sequence[int], lora: dict[str, Any], optim: dict[str, Any]) -> Answer:
        """One step of a whole group, before the clock runs."""
        assert self.lm is not None
        adapt(self.lm, [longest_step(self._job(n, lora, optim)) for n in group])
        return {}

    def together(
        self, groups: Sequence[Sequence[int]], lora: dict[str, Any], optim: dict[str, Any]
    ) -> Answer:
        """The groups one after another, each group's jobs together, by this library."""
        assert self.lm is not None
        made = [[self._job(n, lora, optim) for n in group] for group in groups]
        with _tokens_seen(self.lm.model.get_input_embeddings()) as seen:
            start = now(self.device)
            losses = [adapter.losses for group in made for adapter in adapt(self.lm, group)]
            seconds = now(self.device) - start
        return {
            "seconds": seconds,
            **_counts([job for group in made for job in group], losses, seen),
            **self._peak(),
        }

    def answer(
        self, rows: Sequence[Sequence[int]], lora: dict[str, Any], new_tokens: int
    ) -> Answer:
        """Prompts decoded by this library in one call: rows of (adapter or −1, prompt's inner loop,
        question).
        """
        assert self.lm is not None
        return answering.ours(
            self.lm, self.work, rows, _spec(lora), new_tokens, lambda: now(self.device)
        )

    def generate(
        self, batches: Sequence[Sequence[Sequence[int]]], lora: dict[str, Any], new_tokens: int
    ) -> Answer:
        """The same by transformers' ``generate``, batch after batch, each under one PEFT adapter or
        none.
        """
        return answering.theirs(
            self.base, self.work, batches, _spec(lora), new_tokens, lambda: now(self.device)
        )

    def _job(self, index: int, lora: dict[str, Any], optim: dict[str, Any]) -> AdaptJob:
        return self.work.job(index, _spec(lora), OptimSpec(**optim))

    def _peak(self) -> Answer:
        return {"peak": peak_bytes(self.device), "peak_of": self.counted}


def _spec(lora: dict[str, Any]) -> LoraSpec:
    return LoraSpec(**{**lora, "targets": tuple(lora["targets"])})


def _plain(model: str, device: str, dtype: str) -> Any:
    """transformers' own model, as anybody would load it."""
    with quiet():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            model_path(model, fetch=False),
            dtype=DTYPES[dtype],
            use_safetensors=True,
            local_files_only=True,
        )
    return loaded.to(device).eval().requires_grad_(False)


def _counts(jobs: Sequence[AdaptJob], losses: Sequence[Sequence[float]], seen: list[int]) -> Answer:
    epochs = jobs[0].optim.epochs
    sequences = [s for job in jobs for s in job.sequences if not isinstance(s, str)]
    last = [own[-(job.steps // epochs) :] for job, own in zip(jobs, losses, strict=True)]
    return {
        "loops": len(jobs),
        "tokens": epochs * sum(len(s.ids) for s in sequences),
        "predicted": epochs * sum(sum(s.loss[1:]) for s in sequences),
        "computed": sum(seen),
        "largest_step": max(seen),
        "final_losses": [sum(own) / len(own) for own in last],
    }


@contextmanager
def _tokens_seen(embedding: torch.nn.Module) -> Iterator[list[int]]:
    """The tokens, padding included, of every pass through the model within the block."""
    seen: list[int] = []

    def count(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].numel())

    hook = embedding.register_forward_pre_hook(count)
    try:
        yield seen
    finally:
        hook.remove()


ACTIONS: dict[str, Callable[..., Answer]] = {
    "rate": Contestant.rate,
    "published": Contestant.published,
    "careful": Contestant.careful,
    "warm_up": Contestant.warm_up,
    "together": Contestant.together,
    "answer": Contestant.answer,
    "generate": Contestant.generate,
}
"""What can be asked for, by name."""
