"""A model's weights as files: exchanged in place for a policy's, told apart by their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import load_file
from torch import Tensor

from selfedit.errors import ModelFileError
from selfedit.lm.kinds import unreadable_model
from selfedit.models import manifest

if TYPE_CHECKING:
    from selfedit.lm.load import LanguageModel


def load_weights(lm: LanguageModel, folder: Path) -> None:
    """Give a loaded model the weights in another folder's safetensors, in place.

    Raises:
        ModelFileError: the files cannot be read or are another model's.
    """
    paths = weight_files(folder)
    _copy_weights(lm, map(load_file, paths), folder)


def load_weight_bytes(lm: LanguageModel, files: Mapping[str, bytes], where: object) -> None:
    """The same from the bytes of such files, by name.

    Raises:
        ModelFileError: they cannot be read or are another model's.
    """
    _copy_weights(lm, map(load_bytes, files.values()), where)


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder, in the order of their names.

    Raises:
        ModelFileError: it has none.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise ModelFileError(
            "there are no weights here", where=folder, fix="give a folder with *.safetensors"
        )
    return paths


def _copy_weights(lm: LanguageModel, shards: Iterable[dict[str, Tensor]], where: object) -> None:
    parameters = dict(lm.model.named_parameters())
    try:
        with torch.no_grad():
            for shard in shards:  # one after the other: a shard is read when it is copied
                for name, value in shard.items():
                    parameters[name].copy_(value)
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        raise unreadable_model("The policy", where, error) from error


def weights_fingerprint(folder: Path) -> str:
    """SHA-256 over the SHA-256s of a folder's weight files, in the order of their names."""
    recorded = manifest.read(folder, fix="").files if (folder / manifest.NAME).exists() else {}
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        total.update(
            (recorded[path.name].sha256 if path.name in recorded else _digest(path)).encode()
        )
    return total.hexdigest()


def _digest(path: Path) -> str:
    """The hub's cache names a weight file by its SHA-256 already: no need to read 15 GB again."""
    blob = path.resolve().name
    is_blob = path.is_symlink() and len(blob) == 64 and set(blob) <= set("0123456789abcdef")
    return blob if is_blob else manifest.digest(path)
