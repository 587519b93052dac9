"""One training of continued pretraining: an adapter merged into the weights, or all weights; its
losses are kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from selfedit.inner.adapt import adapt
from selfedit.inner.full import FullSpec
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.weights import load_weights
from selfedit.models.names import model_path
from selfedit.rl.finetune import finetune
from selfedit.rl.policy import merge
from selfedit.rl.session import Session
from selfedit.run.progress import count_up


def train_into(session: Session, name: str, documents: Sequence[TrainSequence], seed: int) -> None:
    """Train, leave the result in the session's model, and put what the training was like into the
    ledger.
    """
    train = _train_full if session.settings.cpt.update == "full" else _train_lora
    losses, tokens = train(session, name, documents, seed)
    if session.run.ledger.step(f"trained:{name}") is None:
        done = {"documents": len(documents), "tokens": tokens, "seed": seed, "losses": losses}
        session.run.ledger.finish_step(f"trained:{name}", done)


def _train_full(
    session: Session, name: str, documents: Sequence[TrainSequence], seed: int
) -> tuple[list[float], int]:
    full = session.settings.cpt.full
    spec = FullSpec(
        OptimSpec(**full.optim.model_dump()), full.warmup, full.rows, full.compute, seed
    )
    with _counter(session, name, documents, spec.optim) as count:
        done = finetune(
            model_path(session.settings.model),
            documents,
            spec,
            _place(session, name),
            every=full.checkpoint,
            processes=full.processes,
            device=session.lm.device.type,
            on_step=lambda _, tokens, __: count(tokens),
            check=session.interrupt.check,
        )
    load_weights(session.lm, done.model)
    return list(done.losses), done.tokens


def _train_lora(
    session: Session, name: str, documents: Sequence[TrainSequence], seed: int
) -> tuple[list[float], int]:
    job = AdaptJob(documents, session.task.lora, session.task.optim, seed)

    with _counter(session, name, documents, job.optim) as count:

        def on_step(tokens: int, _: int) -> None:
            session.interrupt.check()
            count(tokens)

        adapter = adapt(session.lm, [job], on_step)[0]
    merge(session.lm, adapter)
    return list(adapter.losses), adapter.tokens


@contextmanager
def _counter(
    session: Session, name: str, documents: Sequence[TrainSequence], optim: OptimSpec
) -> Iterator[Callable[[int], None]]:
    """Progress of a training, told with the tokens done so far."""
    total = optim.epochs * sum(len(d.ids) for d in documents)
    with session.progress.task(f"training ({name})", total=total, unit="tokens") as task:
        yield count_up(task)


def forget(session: Session, name: str) -> None:
    """Remove a training's checkpoint and weights: its answers are stored."""
    shutil.rmtree(_place(session, name), ignore_errors=True)


def _place(session: Session, name: str) -> Path:
    return session.run.path / "training" / name
