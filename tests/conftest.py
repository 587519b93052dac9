"""Models that several rooms' tests share, loaded once a session: do not change them in place."""

from __future__ import annotations

import os
from pathlib import Path

# Tests compare to the last digits, on the CPU, in the dtype that `auto` comes to there; `make
# test-gpu` uses the GPU.
if not os.environ.get("SELFEDIT_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest
import torch
from transformers import AutoTokenizer

from selfedit.lm.load import LanguageModel, load
from selfedit.models.names import list_models
from tiny_llama import made_tokenizer, tiny_llama

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
THREADS = max(1, torch.get_num_threads() // WORKERS)
SUBSETS = Path(__file__).resolve().parents[2] / "shared" / "data" / "arc" / "task_ids.json"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the real model begin first, then slow ones: a long file that begins last keeps one
    worker busy while the others have nothing left (``--no-loadscope-reorder``).
    """
    heavy = dict.fromkeys((item.path for item in items), 0)
    for item in items:
        weight = (
            2 if item.get_closest_marker("model") else 1 if item.get_closest_marker("slow") else 0
        )
        heavy[item.path] = max(heavy[item.path], weight)
    items.sort(key=lambda item: -heavy[item.path])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Small products are no quicker on several threads, and on a busy machine far slower."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device; make test-gpu on a machine with one")
    torch.set_num_threads(1 if item.get_closest_marker("model") is None else THREADS)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``tiny_lm``: with SmolLM2's tokenizer where that model is in the cache, else
    with a small one.
    """
    folder = tmp_path_factory.mktemp("models") / "tiny"
    cached = next(info for info in list_models() if info.alias == "smollm2-135m")
    tokenizer = AutoTokenizer.from_pretrained(cached.where) if cached.cached else made_tokenizer()
    tokenizer.save_pretrained(folder)
    tiny_llama(len(tokenizer)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_lm(tiny_folder: Path) -> LanguageModel:
    """A random two-layer Llama on the CPU in float32: for tests that need a model, not its
    knowledge.
    """
    return load(str(tiny_folder), device="cpu")


@pytest.fixture(scope="session")
def smollm2() -> LanguageModel:
    """The real SmolLM2-135M-Instruct on the CPU, fetched once; tests that use it are marked
    ``model``.
    """
    return load("smollm2-135m", device="cpu")


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of a few hundred tokens: loaded and saved in no time."""
    folder = tmp_path_factory.mktemp("models") / "small"
    tokenizer = made_tokenizer()
    tokenizer.save_pretrained(folder)
    tiny_llama(len(tokenizer)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def subsets_file() -> Path:
    """The published lists of task ids; they lie beside the repository, not in it."""
    if not SUBSETS.is_file():
        pytest.skip(f"needs the published lists of task ids in {SUBSETS}")
    return SUBSETS
