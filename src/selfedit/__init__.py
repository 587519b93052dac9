"""Self-adapting language models: the public names, imported when they are first used (``import selfedit as se``)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from selfedit._version import __version__

if TYPE_CHECKING:
    from selfedit.config import Settings, read_settings
    from selfedit.errors import (
        DataError,
        DocumentError,
        FormatError,
        Interrupted,
        ModelFileError,
        ModelUnavailable,
        RunFolderError,
        SelfEditError,
        SettingsChanged,
        StorageFull,
        Unavailable,
        UsageError,
    )
    from selfedit.experiments.knowledge.train import run_knowledge
    from selfedit.inner.adapt import adapt
    from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
    from selfedit.lm.generate import Completion, generate
    from selfedit.lm.load import LanguageModel, load
    from selfedit.lm.lora import Adapter, LoraSpec
    from selfedit.tasks.knowledge.contexts import load_contexts
    from selfedit.tasks.task import Context, Question

__all__ = [
    "AdaptJob",
    "Adapter",
    "Completion",
    "Context",
    "DataError",
    "DocumentError",
    "FormatError",
    "Interrupted",
    "LanguageModel",
    "LoraSpec",
    "ModelFileError",
    "ModelUnavailable",
    "OptimSpec",
    "Question",
    "RunFolderError",
    "SelfEditError",
    "Settings",
    "SettingsChanged",
    "StorageFull",
    "TrainSequence",
    "Unavailable",
    "UsageError",
    "__version__",
    "adapt",
    "generate",
    "load",
    "load_contexts",
    "read_settings",
    "run_knowledge",
]

_MODULES = {
    "config": ("Settings", "read_settings"),
    "experiments.knowledge.train": ("run_knowledge",),
    "inner.adapt": ("adapt",),
    "inner.job": ("AdaptJob", "OptimSpec", "TrainSequence"),
    "lm.generate": ("Completion", "generate"),
    "lm.load": ("LanguageModel", "load"),
    "lm.lora": ("Adapter", "LoraSpec"),
    "tasks.knowledge.contexts": ("load_contexts",),
    "tasks.task": ("Context", "Question"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name's module at its first use (PEP 562): ``import selfedit`` loads no torch."""
    if name not in __all__:
        raise AttributeError(f"module 'selfedit' has no attribute {name!r}")
    value = getattr(import_module(f"selfedit.{_HOME.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
