"""Self-adapting language models: the public names, imported when they are first used (``import
selfedit as se``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from selfedit._version import __version__

if TYPE_CHECKING:
    from selfedit.config import Settings, make_settings, read_settings
    from selfedit.documents.adapt import adapt_documents
    from selfedit.documents.library import Library
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
        StorageFailed,
        StorageFull,
        Unavailable,
        UsageError,
    )
    from selfedit.experiments.knowledge.train import run_knowledge
    from selfedit.experiments.train import results_of, train, train_named
    from selfedit.grading.grader import Grade, Grader, Reply, get_grader
    from selfedit.grading.judge import JudgeGrader
    from selfedit.inner.adapt import adapt
    from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
    from selfedit.lm.chat import chat_prompt, chat_turns
    from selfedit.lm.generate import Completion, generate
    from selfedit.lm.load import LanguageModel, load
    from selfedit.lm.lora import Adapter, LoraSpec
    from selfedit.lm.rules import Decoding, TokenRule
    from selfedit.results.results import Difference, Results, Row
    from selfedit.results.tabular import Column, Table
    from selfedit.rl.evaluate import evaluate
    from selfedit.rl.policy_tokens import policy_sequence
    from selfedit.rl.policy_training import train_policy
    from selfedit.rl.rewards.base import PlainReward, Reward, ScoredRound, TrialReward, Value
    from selfedit.rl.session import Session
    from selfedit.rl.updates.base import PlainUpdate, ScoredEdits, Update
    from selfedit.rl.updates.filtered_sft import FilteredSFT
    from selfedit.run.folder import RunFolder
    from selfedit.run.records import Answer, Phase, Place, Trial
    from selfedit.run.seeds import derive
    from selfedit.sampling.base import Sampler
    from selfedit.sampling.local import LocalSampler
    from selfedit.tasks.knowledge.contexts import load_contexts
    from selfedit.tasks.knowledge.edits import ParsedEdit
    from selfedit.tasks.knowledge.formats import EditFormat, LineFormat
    from selfedit.tasks.knowledge.task import KnowledgeTask
    from selfedit.tasks.task import Context, Note, Question, Task, split_contexts

__all__ = [
    "AdaptJob",
    "Adapter",
    "Answer",
    "Column",
    "Completion",
    "Context",
    "DataError",
    "Decoding",
    "Difference",
    "DocumentError",
    "EditFormat",
    "FilteredSFT",
    "FormatError",
    "Grade",
    "Grader",
    "Interrupted",
    "JudgeGrader",
    "KnowledgeTask",
    "LanguageModel",
    "Library",
    "LineFormat",
    "LocalSampler",
    "LoraSpec",
    "ModelFileError",
    "ModelUnavailable",
    "Note",
    "OptimSpec",
    "ParsedEdit",
    "Phase",
    "Place",
    "PlainReward",
    "PlainUpdate",
    "Question",
    "Reply",
    "Results",
    "Reward",
    "Row",
    "RunFolder",
    "RunFolderError",
    "Sampler",
    "ScoredEdits",
    "ScoredRound",
    "SelfEditError",
    "Session",
    "Settings",
    "SettingsChanged",
    "StorageFailed",
    "StorageFull",
    "Table",
    "Task",
    "TokenRule",
    "TrainSequence",
    "Trial",
    "TrialReward",
    "Unavailable",
    "Update",
    "UsageError",
    "Value",
    "__version__",
    "adapt",
    "adapt_documents",
    "chat_prompt",
    "chat_turns",
    "derive",
    "evaluate",
    "generate",
    "get_grader",
    "load",
    "load_contexts",
    "make_settings",
    "policy_sequence",
    "read_settings",
    "results_of",
    "run_knowledge",
    "split_contexts",
    "train",
    "train_named",
    "train_policy",
]

_NAMES = {
    "config": "Settings make_settings read_settings",
    "documents.adapt": "adapt_documents",
    "documents.library": "Library",
    "experiments.knowledge.train": "run_knowledge",
    "experiments.train": "results_of train train_named",
    "grading.grader": "Grade Grader Reply get_grader",
    "grading.judge": "JudgeGrader",
    "inner.adapt": "adapt",
    "inner.job": "AdaptJob OptimSpec TrainSequence",
    "lm.chat": "chat_prompt chat_turns",
    "lm.generate": "Completion generate",
    "lm.load": "LanguageModel load",
    "lm.lora": "Adapter LoraSpec",
    "lm.rules": "Decoding TokenRule",
    "results.results": "Difference Results Row",
    "results.tabular": "Column Table",
    "rl.evaluate": "evaluate",
    "rl.policy_tokens": "policy_sequence",
    "rl.policy_training": "train_policy",
    "rl.rewards.base": "PlainReward Reward ScoredRound TrialReward Value",
    "rl.session": "Session",
    "rl.updates.base": "PlainUpdate ScoredEdits Update",
    "rl.updates.filtered_sft": "FilteredSFT",
    "run.folder": "RunFolder",
    "run.records": "Answer Phase Place Trial",
    "run.seeds": "derive",
    "sampling.base": "Sampler",
    "sampling.local": "LocalSampler",
    "tasks.knowledge.contexts": "load_contexts",
    "tasks.knowledge.edits": "ParsedEdit",
    "tasks.knowledge.formats": "EditFormat LineFormat",
    "tasks.knowledge.task": "KnowledgeTask",
    "tasks.task": "Context Note Question Task split_contexts",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Import a public name's module at its first use (PEP 562): ``import selfedit`` loads no
    torch.
    """
    if name not in __all__:
        raise AttributeError(f"module 'selfedit' has no attribute {name!r}")
    value = getattr(import_module(f"selfedit.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
