"""All settings of a run as one model, read from TOML with dotted overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from selfedit.config.arc import ArcSettings
from selfedit.config.by_name import read_recipe
from selfedit.config.choice import check_name
from selfedit.config.complaints import complaints
from selfedit.config.continual import ContinualSettings
from selfedit.config.documents import DocumentSettings
from selfedit.config.engine import EngineSettings
from selfedit.config.group import Group
from selfedit.config.inner import InnerSettings
from selfedit.config.judge import JudgeSettings
from selfedit.config.knowledge import AnswerSettings, EditSettings
from selfedit.config.measured import EvalSettings
from selfedit.config.retention import RetentionSettings
from selfedit.config.rl import RLSettings
from selfedit.config.run import RunSettings
from selfedit.config.tables import (
    CptSettings,
    CrossedSettings,
    ExternalSettings,
    PublishedReplaySettings,
    SingleSettings,
)
from selfedit.config.vllm import VllmSettings
from selfedit.errors import UsageError

ALSO_CALLED = {"prompting": "model.prompting", "model": "model.name"}
"""Settings of the model stand beside its name, and may be called its own."""

Prompting = Literal["auto", "plain", "chat"]


class Settings(Group):
    """All settings of a run."""

    model: str = Field(
        default="smollm2-135m",
        description="a short name (`selfedit models` lists them), a folder, or a hub id",
    )
    prompting: Prompting = Field(
        default="auto",
        description=(
            "how the model is asked: chat (in its tokenizer's template), plain (a base model, which"
            " goes on with a text), or auto (chat where its tokenizer has a template; base models"
            " with one, such as Qwen2.5's, want plain); model.prompting is the same"
        ),
    )
    device: str = Field(
        default="auto",
        description="where it computes: cpu, cuda, cuda:N, mps, or auto (a GPU if there is one)",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = Field(
        default="auto",
        description="numbers of the weights; auto is bfloat16 on a CUDA device, else float32",
    )
    deterministic: bool = Field(
        default=False,
        description=(
            "equal bytes for equal seeds on a GPU too, by slower kernels; on a CPU they are anyway"
        ),
    )
    workers: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default=1,
        description=(
            "processes that train, answer and write, each with its own model;"
            " auto is one for every GPU, and one on a CPU, which shares the cores out itself"
        ),
    )
    engine: EngineSettings = EngineSettings()
    vllm: VllmSettings = VllmSettings()
    sampler: Annotated[str, AfterValidator(check_name)] = Field(
        default="local",
        description=(
            "what writes self-edits: local (this process), vllm (a vLLM server, as vllm.* says), or"
            " your own as package.module:Name"
        ),
    )
    seed: int = Field(
        default=0, ge=0, description="every random number comes from it; other seeds, other runs"
    )
    task: Annotated[str, AfterValidator(check_name)] = Field(
        default="knowledge",
        description=(
            "what is adapted to: knowledge (passages and their questions), or a task of your own as"
            " package.module:Name"
        ),
    )
    train: str = Field(
        default="corpus:train",
        description=(
            "what self-edits are learned on: a file or folder of passages with questions, or"
            " corpus:PART (invented passages that come with selfedit)"
        ),
    )
    heldout: str | None = Field(
        default="corpus:heldout",
        description="what is measured before and after, named likewise; none measures nothing",
    )
    heldout_contexts: int | None = Field(
        default=None, ge=1, description="the first so many held-out passages; none: all"
    )
    heldout_shuffle: int | None = Field(
        default=None,
        ge=0,
        description="shuffle held-out passages with this seed, then take the first (SEAL: 42)",
    )
    edit: EditSettings = EditSettings()
    inner: InnerSettings = InnerSettings()
    documents: DocumentSettings = DocumentSettings()
    answer: AnswerSettings = AnswerSettings()
    judge: JudgeSettings = JudgeSettings()
    rl: RLSettings = RLSettings()
    eval: EvalSettings = EvalSettings()
    external: ExternalSettings = ExternalSettings()
    single: SingleSettings = SingleSettings()
    replay: PublishedReplaySettings = PublishedReplaySettings()
    cpt: CptSettings = CptSettings()
    crossed: CrossedSettings = CrossedSettings()
    arc: ArcSettings = ArcSettings()
    retention: RetentionSettings = RetentionSettings()
    continual: ContinualSettings = ContinualSettings()
    run: RunSettings = RunSettings()

    @model_validator(mode="before")
    @classmethod
    def _of_the_model(cls, values: Any) -> Any:
        """``model = {name = "...", prompting = "plain"}`` sets both."""
        model = values.get("model") if isinstance(values, Mapping) else None
        if not isinstance(model, Mapping) or not model.keys() <= {"name", "prompting"}:
            return values
        others = {name: value for name, value in values.items() if name != "model"}
        named = {"model": model["name"]} if "name" in model else {}
        return named | {name: model[name] for name in ("prompting",) if name in model} | others


def read_settings(
    recipe: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Defaults, then a recipe (a file, or one of ours by name), then dotted overrides
    (``{"inner.optim.lr": 5e-4}``).

    Raises:
        FormatError: the recipe is missing or not TOML.
        UsageError: an unknown setting or a value out of bounds, each named.
    """
    values = {} if recipe is None else read_recipe(recipe)
    return make_settings(values, recipe or "settings", overrides)


def make_settings(
    values: Mapping[str, Any],
    where: object = "settings",
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Check a tree of settings, with dotted overrides of some.

    Raises:
        UsageError: an unknown setting or a value out of bounds, each named.
    """
    tree = deepcopy(dict(values))
    plainly = {other: name for name, other in ALSO_CALLED.items()}
    for dotted, value in (overrides or {}).items():
        _set(tree, plainly.get(dotted, dotted).split("."), value)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        lines = complaints(error, Settings)
        what = "these settings cannot be used:\n  " + "\n  ".join(lines)
        fix = "`selfedit train --help` lists every setting with its bounds"
        raise UsageError(what, where=where, fix=fix) from None


def _set(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        branch = tree.setdefault(name, {})
        if not isinstance(branch, dict):
            raise UsageError(f"{'.'.join(path)} is not a setting", where="settings")
        tree = branch
    tree[path[-1]] = value
