"""Small random models of every kind that transformers has a causal language model of: does selfedit
compute each as transformers does, or refuse it with one message?

``python tools/sweep_models.py [KIND ...]`` prints a line a kind:

- ``equal``: last hidden states, greedy tokens, and the losses of a training in PEFT agree;
- ``refused``: one message (shown), before anything was computed;
- ``not built``: its settings cannot be made small (why), so nothing is known of it here;
- ``DIFFERS`` or ``TRACEBACK``: a fault; the exit status is then 1.

Every weight is drawn anew, wide enough for a mistake to show; biases, too.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
)

import selfedit as se
from benchmarks.careful import initial_values, train_with_peft
from selfedit.errors import SelfEditError
from selfedit.inner.job import TrainSequence
from selfedit.lm.attention import Packed
from selfedit.lm.families import CAPPED, WINDOWED
from selfedit.lm.segments import consecutive, make_segments
from selfedit.models.config import read_config

WORDS, ROWS = 256, 288
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads",
                     "encoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "n_inner", "decoder_ffn_dim", "encoder_ffn_dim",
                     "ffn_hidden_size", "moe_intermediate_size", "shared_expert_intermediate_size"), 48),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("head_dim", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "d_kv", "d_head", "rotary_dim",
                     "attention_head_size"), 8),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "context_length", "max_sequence_length",
                     "max_target_positions"), 128),
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 1),
    **dict.fromkeys(("n_group", "topk_group"), 1),
    "sliding_window": None, "use_sliding_window": False, "num_key_value_heads": 2, "num_experts_per_tok": 2,
    "vocab_size": ROWS, "state_size": 8, "layer_types": None,
    "first_k_dense_replace": 1,
}  # fmt: skip
"""What a kind's settings are set to where they have such a name."""
WINDOWS = {
    "sliding_window": 5, "use_sliding_window": True, "max_window_layers": 1,
    "layer_types": ["sliding_attention", "full_attention"],
}  # fmt: skip
"""The same of kinds whose windows are computed: shorter than the sequences below."""
CAP = 1.5
OPTIONAL = ((), ("layer_types",), ("sliding_window",), ("layer_types", "sliding_window"), ("num_key_value_heads",),
            ("layer_types", "sliding_window", "num_hidden_layers"))  # fmt: skip
"""Of these, what a kind may want to choose itself, in the order in which it is tried."""
MOST = 20_000_000
"""Weights of a small model at the most."""
SECONDS = 60
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}


class Line(NamedTuple):
    """What became of a kind."""

    kind: str
    verdict: str
    why: str = ""


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte: kinds with a tokenizer class of their own rebuild it from that."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({char: number for number, char in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<end>"])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>")


def settings_of(kind: str) -> Any:
    """Small settings of a kind; with windows and caps where selfedit computes the kind's."""
    config_class = CONFIG_MAPPING[kind]
    known = config_class().to_dict()
    sizes: dict[str, Any] = (
        SIZES | (WINDOWS if kind in WINDOWED else {}) | dict.fromkeys(CAPPED.get(kind, ()), CAP)
    )
    values = {name: value for name, value in sizes.items() if name in known}
    for left_out in OPTIONAL:  # kinds check their settings against each other
        chosen = {name: value for name, value in values.items() if name not in left_out}
        with contextlib.suppress(Exception):
            config = config_class(**chosen)
            with torch.device("meta"):
                AutoModelForCausalLM.from_config(config)
            return config
    return config_class(**values)


def build(kind: str, folder: Path) -> Any:
    """A small random model of a kind, saved with a tokenizer."""
    config = settings_of(kind)
    with torch.device("meta"):
        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if size > MOST:
        raise ValueError(f"{size:,} weights")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            wide = torch.randn_like(parameter) * (0.12 if parameter.ndim > 1 else 0.05)
            parameter.copy_(wide if parameter.ndim > 1 else parameter + wide)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    again = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    )
    return again.eval()


def sequences() -> list[list[int]]:
    """Token ids: two of different length."""
    return [[(7 * n + 3) % WORDS for n in range(19)], [(11 * n + 5) % WORDS for n in range(11)]]


def hidden_apart(lm: se.LanguageModel, theirs: Any) -> float:
    """Largest difference of last hidden states, packed and one by one, over the largest value."""
    ids = sequences()
    lengths = [len(each) for each in ids]
    plan = Packed(make_segments(consecutive(lengths)))
    with torch.no_grad():
        ours = lm.hidden(
            [t for each in ids for t in each], [n for k in lengths for n in range(k)], plan
        )
        expected = torch.cat(
            [
                theirs.base_model(input_ids=torch.tensor([each]), use_cache=False)[0][0]
                for each in ids
            ]
        )
    return float((ours - expected).abs().max() / expected.abs().max())


def greedy_apart(lm: se.LanguageModel, theirs: Any) -> str | None:
    """The first place at which ours and theirs choose different next tokens, ties apart."""
    for ids, done in zip(sequences(), se.generate(lm, sequences(), max_new_tokens=12), strict=True):
        text = list(ids)
        for place, token in enumerate(done.sampled):
            with torch.no_grad():
                logits = theirs(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1]
            if logits.max() - logits[token] > 1e-3 * logits.abs().max():
                return f"token {place}: {token} instead of {int(logits.argmax())}"
            text.append(token)
    return None


def losses_apart(lm: se.LanguageModel, theirs: Any) -> float:
    """Largest relative difference of the losses of a few steps of training, PEFT's to ours."""
    head = theirs.get_output_embeddings()
    linear = [n for n, m in theirs.named_modules() if type(m) is torch.nn.Linear and m is not head]
    leaves = {name.rsplit(".", 1)[-1] for name in linear}
    if any(name.endswith("experts") for name, _ in theirs.named_modules()):
        leaves &= ATTENTION  # other names PEFT takes for the experts' own matrices
    targets = tuple(sorted(leaves))
    if not targets:
        return 0.0
    whole = [TrainSequence(tuple(ids), (False, *[True] * (len(ids) - 1))) for ids in sequences()]
    optim = se.OptimSpec(lr=5e-3, epochs=4, batch_size=2)
    spec = se.LoraSpec(rank=2, alpha=8, targets=targets)
    job = se.AdaptJob(sequences=whole, lora=spec, optim=optim, seed=0)
    ours = se.adapt(lm, [job])[0].losses
    _, losses = train_with_peft(theirs, job, initial_values(theirs, spec, 0))
    return max(abs(a - b) / abs(b) for a, b in zip(ours, losses, strict=True))


def verdict(kind: str, folder: Path) -> Line:
    """What becomes of a kind."""
    try:
        theirs = build(kind, folder)
    except Exception as error:  # whatever settings nobody made for this size raise
        if (said := refused_by_settings(kind, folder)) is not None:
            return Line(kind, "refused", said)
        return Line(kind, "not built", one_line(error))
    try:
        lm = se.load(str(folder), device="cpu", dtype="float32")
    except SelfEditError as error:
        return Line(kind, "refused", one_line(error.what))
    checks: tuple[Callable[[], str | None], ...] = (
        lambda: over("hidden states", hidden_apart(lm, theirs)),
        lambda: greedy_apart(lm, theirs),
        lambda: over("losses", losses_apart(lm, theirs)),
    )
    fault = next((text for check in checks if (text := check())), None)
    return Line(kind, "DIFFERS", fault) if fault else Line(kind, "equal")


def refused_by_settings(kind: str, folder: Path) -> str | None:
    """What is said of a kind by its settings alone, before any weight is read; None for nothing."""
    try:
        CONFIG_MAPPING[kind]().save_pretrained(folder)
    except Exception:  # settings that transformers itself refuses: no such folder is written
        return None
    try:
        read_config(folder)
    except SelfEditError as error:
        return one_line(error.what)
    return None


def over(what: str, difference: float) -> str | None:
    """What to say of a difference that is none of rounding."""
    return None if difference < 2e-3 else f"{what} by {difference:.2g}"


def one_line(error: object) -> str:
    """A message without its line breaks, cut."""
    return " ".join(f"{error}".split())[:110]


def sweep(kinds: list[str]) -> int:
    """Print a line a kind and the sums; how many faults there were."""
    counts = Counter[str]()
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            signal.alarm(SECONDS)
            try:
                line = verdict(kind, Path(folder))
            except Exception as error:  # a traceback for the user: what this program looks for
                line = Line(kind, "TRACEBACK", f"{type(error).__name__}: {one_line(error)}")
            finally:
                signal.alarm(0)
        counts[line.verdict] += 1
        print(f"{line.kind:28} {line.verdict:10} {line.why}", flush=True)
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    return counts["DIFFERS"] + counts["TRACEBACK"]


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def all_kinds() -> list[str]:
    """The model types that have a causal language model."""
    causal = {config.model_type for config in MODEL_FOR_CAUSAL_LM_MAPPING}
    return sorted(causal & set(CONFIG_MAPPING))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "kinds", nargs="*", help="model types; all of transformers' if none is named"
    )
    warnings.simplefilter("ignore")
    from transformers.utils import logging as quiet

    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    signal.signal(signal.SIGALRM, _too_long)
    sys.exit(sweep(parser.parse_args().kinds or all_kinds()) > 0)
