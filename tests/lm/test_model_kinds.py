"""Models that our attention or loss would silently get wrong are refused at load."""

import pytest
import torch
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
)
from transformers.models.olmo2.modeling_olmo2 import Olmo2MLP

from selfedit.errors import ModelFileError
from selfedit.lm.attention import Packed
from selfedit.lm.load import load
from selfedit.lm.segments import make_segments
from tiny_llama import made_tokenizer

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}

IDS = {"pad_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}


def saved(folder, config, kind):
    tokenizer = made_tokenizer()
    tokenizer.save_pretrained(folder)
    kind(config(vocab_size=len(tokenizer), **SIZES)).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("config", "kind", "reason"),
    [
        (lambda **k: Cohere2Config(sliding_window=4, **IDS, **k), Cohere2ForCausalLM, "every earlier token"),
        (lambda **k: CohereConfig(logit_scale=0.5, **IDS, **k), CohereForCausalLM, "logit_scale"),
        (lambda **k: Gemma3TextConfig(use_bidirectional_attention=True, **k), Gemma3ForCausalLM, "later tokens"),
        (lambda **k: MixtralConfig(num_local_experts=2, **k), MixtralForCausalLM, "mixture of experts"),
        (lambda **k: Qwen3MoeConfig(num_experts=2, **IDS, **k), Qwen3MoeForCausalLM, "mixture of experts"),
    ],
)  # fmt: skip
def test_what_is_not_computed_here_is_refused_with_its_reason(
    tmp_path, monkeypatch, config, kind, reason
):
    folder = saved(tmp_path / "model", config, kind)
    # By the settings alone: nobody waits for 60 GB to be read first.
    monkeypatch.setattr("selfedit.lm.load.check_weight_types", pytest.fail)
    with pytest.raises(ModelFileError, match=reason):
        load(folder)


def test_an_output_head_with_a_bias_is_refused(tmp_path):
    def config(**sizes):
        return PhiConfig(**{**sizes, "num_key_value_heads": 2})

    with pytest.raises(ModelFileError, match="output head has a bias"):
        load(saved(tmp_path / "phi", config, PhiForCausalLM))


@pytest.mark.parametrize(
    ("name", "config", "kind", "reason"),
    [
        ("gpt2", lambda **k: GPT2Config(n_embd=16, n_head=2, vocab_size=k["vocab_size"]), GPT2LMHeadModel, ""),
        ("stablelm", StableLmConfig, StableLmForCausalLM, ""),
        ("granite", lambda **k: GraniteConfig(embedding_multiplier=3.0, **k), GraniteForCausalLM, None),
        ("cohere", CohereConfig, CohereForCausalLM, "scaled"),
        ("olmo2", Olmo2Config, Olmo2ForCausalLM, None),
        ("smollm3", lambda **k: SmolLM3Config(**IDS, **k), SmolLM3ForCausalLM, None),
    ],
)  # fmt: skip
def test_another_kind_is_computed_right_or_refused_with_one_message(
    tmp_path, name, config, kind, reason
):
    folder = saved(tmp_path / name, config, kind)
    try:
        lm = load(folder)
    except ModelFileError as error:
        assert reason is not None and name[:4] in error.what and reason in error.what
        return
    ids = list(range(3, 40))
    plan = Packed(make_segments([range(len(ids))]))
    ours = lm.hidden(ids, list(range(len(ids))), plan) @ lm.head.T
    theirs = kind.from_pretrained(folder, dtype="float32")(input_ids=torch.tensor([ids])).logits[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def _zero_logits(model, ids, positions, plan):
    return torch.zeros(len(ids), model.get_input_embeddings().weight.shape[0])


def _leaking(lengths):
    """Sequences that see the ones before them."""
    return [range(sum(lengths))]


def _deaf(self, layer, q, k, v, scale):
    """A decoding token that sees itself alone."""
    return v.repeat_interleave(q.shape[1] // v.shape[1], 1)


def _no_gradient(gradients, bucket, part):
    """Gradients that are lost."""


@pytest.mark.parametrize(
    ("where", "broken", "what"),
    [
        ("selfedit.lm.comparison._logits", _zero_logits, "its logits come out otherwise"),
        ("selfedit.lm.comparison.consecutive", _leaking, "its logits come out otherwise"),
        ("selfedit.lm.attention.Decode.attend", _deaf, "what it decodes come out otherwise"),
        ("selfedit.lm.bank_product._put", _no_gradient, "its gradients come out otherwise"),
    ],
)
def test_a_kind_that_comes_out_otherwise_is_refused(tmp_path, monkeypatch, where, broken, what):
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    folder = saved(tmp_path / "olmo", Olmo2Config, Olmo2ForCausalLM)
    monkeypatch.setattr(where, broken)
    with pytest.raises(ModelFileError, match=what):
        load(folder)


def test_a_module_that_runs_twice_is_refused(tmp_path, monkeypatch):
    """The bank sets a module's gradient once a step: of two uses it would keep one."""
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    folder = saved(tmp_path / "olmo", Olmo2Config, Olmo2ForCausalLM)
    forward = Olmo2MLP.forward
    monkeypatch.setattr(Olmo2MLP, "forward", lambda self, x: (self.up_proj(x), forward(self, x))[1])
    with pytest.raises(ModelFileError, match="up_proj does not run once"):
        load(folder)


def test_what_was_compared_is_not_compared_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "cache"))
    folder = saved(tmp_path / "olmo", Olmo2Config, Olmo2ForCausalLM)
    other = saved(tmp_path / "other", Olmo2Config, Olmo2ForCausalLM)
    load(folder)
    monkeypatch.setattr("selfedit.lm.comparison._logits", _zero_logits)
    load(folder)
    with pytest.raises(ModelFileError, match="come out otherwise"):
        load(other)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "longest",
        ),
        ({"attention_chunk_size": 8}, "every earlier token"),
        ({"window_size": 8}, "every earlier token"),
    ],
)
def test_settings_that_look_at_lengths_are_refused(tmp_path, settings, reason):
    folder = saved(tmp_path / "llama", lambda **k: LlamaConfig(**settings, **k), LlamaForCausalLM)
    with pytest.raises(ModelFileError, match=reason):
        load(folder)


def test_plain_attention_is_not(tmp_path):
    assert (
        load(saved(tmp_path / "qwen", Qwen2Config, Qwen2ForCausalLM)).model.config.model_type
        == "qwen2"
    )
    plain = saved(
        tmp_path / "mistral",
        lambda **k: MistralConfig(sliding_window=None, **k),
        MistralForCausalLM,
    )
    assert load(plain).model.config.model_type == "mistral"
