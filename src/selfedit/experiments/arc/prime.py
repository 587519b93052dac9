"""The priming of a model, done once for equal models and settings: a folder in the cache."""

from __future__ import annotations

from pathlib import Path

from selfedit.config import Settings
from selfedit.errors import ModelFileError
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob
from selfedit.lm.load import LanguageModel, load_for
from selfedit.models.quiet import quiet
from selfedit.rl.policy import merge
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink, count_up
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.cache import cache_dir
from selfedit.storage.files import JsonObject, canonical_json, fingerprint, folder_atomic
from selfedit.tasks.arc.priming import priming_job
from selfedit.tasks.arc.tokens import GridTokens

RECORD = "primed.json"
"""What a primed model's folder says of itself."""


def primed_model(
    settings: Settings,
    *,
    lm: LanguageModel | None = None,
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
) -> Path:
    """The folder of the primed model: a whole model that `load` takes; made if the cache does not
    have it.

    Its name is made from the model's weights and from every sequence and setting of the training,
    so another model, rule or setting gives another folder. A priming that is stopped begins anew.

    Args:
        settings: ``model``, ``device``, ``dtype``, ``arc.alphabet`` and ``arc.prime`` are used.
        lm: the model as it is, if it is loaded already; it is primed in place.
        progress: where progress goes.
        interrupt: how the user stops it.
    """
    lm = lm or load_for(settings)
    job = priming_job(settings.arc.prime, GridTokens.of_model(lm), alphabet=settings.arc.alphabet)
    key = fingerprint([lm.fingerprint, str(lm.dtype), job])
    folder = cache_dir() / "primed" / key[:32]
    if not (folder / RECORD).exists():
        _prime(
            lm, job, folder, _prime_record(settings, lm, job), progress, interrupt or Interrupt()
        )
    return folder


def _prime(
    lm: LanguageModel,
    job: AdaptJob,
    folder: Path,
    record: JsonObject,
    progress: ProgressSink,
    interrupt: Interrupt,
) -> None:
    total = sum(len(sequence.ids) for sequence in job.sequences if not isinstance(sequence, str))
    with progress.task("priming the model", total=total, unit="tokens") as counter:
        (adapter,) = adapt(lm, [job], count_up(counter, interrupt.check))
    merge(lm, adapter)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_atomic(folder) as new, quiet():
        lm.model.save_pretrained(new)
        lm.tokenizer.save_pretrained(new)
        record |= {"first_loss": adapter.losses[0], "last_loss": adapter.losses[-1]}
        (new / RECORD).write_bytes(canonical_json(record))


def _prime_record(settings: Settings, lm: LanguageModel, job: AdaptJob) -> JsonObject:
    return {
        "model": {"name": settings.model, "fingerprint": lm.fingerprint},
        "settings": settings.arc.prime.model_dump(mode="json"),
        "sequences": len(job.sequences),
        "tokens": sum(
            len(sequence.ids) for sequence in job.sequences if not isinstance(sequence, str)
        ),
        "steps": job.steps,
    }


def primed_record(folder: Path) -> JsonObject:
    """What a primed model's folder says of itself."""
    return BoundedReader("the primed model's record", error=ModelFileError).json(folder / RECORD)
