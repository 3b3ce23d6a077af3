"""The decoder against transformers, in both directions, and what a token may depend on."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.make_engine import CountingRows, config, train
from tunix_rt.training.engines import architecture, jax_folder, jax_generation, model_folder
from tunix_rt.training.engines.jax_attention import attend, attend_causally
from tunix_rt.training.engines.jax_model import Decoder

VOCABULARY = 40
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
FOLDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"num_hidden_layers": 2, "tie_word_embeddings": False, "rope_parameters": LLAMA3}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    "qwen3": (
        "qwen3",
        {
            "tie_word_embeddings": False,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6},
        },
    ),
    # Rows of 60 tokens are longer than the windows; soft caps small enough to bend.
    "gemma2": (
        "gemma2",
        {
            "num_hidden_layers": 2,
            "head_dim": 16,
            "query_pre_attn_scalar": 24,
            "sliding_window": 7,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "gemma3_text": (
        "gemma3_text",
        {
            "num_hidden_layers": 3,
            "head_dim": 16,
            "query_pre_attn_scalar": 24,
            "sliding_window": 7,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e5},
            },
        },
    ),
}
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (3, 60)).astype(np.int32)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, NDArray[Any]]]:
    """Folders that transformers made, of random weights with spread-out biases and norms, and its logits."""
    import torch  # slow to load, and of these tests alone
    import transformers

    made = {}
    for name, (family, settings) in FOLDERS.items():
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(family, **(SMALL | settings))
        )
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight) * 0.1)
        model.save_pretrained(folder)
        made[name] = folder, _their_logits(folder)
    return made


def _their_logits(folder: Path) -> NDArray[Any]:
    import torch
    import transformers

    # `eager` is transformers' one attention with soft caps.
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        logits: NDArray[Any] = model(torch.from_numpy(TOKENS).long()).logits.numpy()
    return logits


def _our_logits(folder: Path) -> NDArray[Any]:
    return np.asarray(jax.jit(lambda tokens: jax_generation.load(folder)(tokens))(TOKENS))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_transformers_gives_its_logits(theirs: dict[str, tuple[Path, NDArray[Any]]], name: str) -> None:
    folder, logits = theirs[name]
    assert np.abs(logits).max() > 0.5
    np.testing.assert_allclose(_our_logits(folder), logits, atol=1e-4)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_we_trained_gives_our_logits_in_transformers(
    theirs: dict[str, tuple[Path, NDArray[Any]]], name: str, tmp_path: Path
) -> None:
    before, logits = theirs[name]
    chosen = config(steps=2, eval_every_steps=100, warmup_steps=0)
    train(tmp_path, base=before, config=chosen, batches=CountingRows(evaluation=0))
    ours = _our_logits(tmp_path / "model")
    assert np.abs(ours - logits).max() > 0.01
    np.testing.assert_allclose(ours, _their_logits(tmp_path / "model"), atol=1e-4)


@pytest.mark.parametrize("family", architecture.FAMILIES)
def test_a_model_from_scratch_gives_our_logits_in_transformers(family: str, tmp_path: Path) -> None:
    shape = {"family": family, "head_size": 8, "tie_embeddings": False, "rope_theta": 5e4}
    train(tmp_path, config=config(steps=0, model=shape), vocabulary=VOCABULARY)
    np.testing.assert_allclose(_our_logits(tmp_path / "model"), _their_logits(tmp_path / "model"), atol=1e-4)


@pytest.fixture(scope="module")
def model() -> Decoder:
    """An untrained decoder whose tokens attend to each other."""
    made = Decoder(architecture.from_scratch(config(model={"layers": 2}).model, VOCABULARY, 64))
    return jax_folder.fill(made, {name: 2 * value for name, value in model_folder.start(made.dimensions, 0).items()})


def test_a_token_depends_on_itself_and_those_before_it(model: Decoder) -> None:
    changed = TOKENS.copy()
    changed[:, 30] = (changed[:, 30] + 1) % VOCABULARY
    logits = jax.jit(lambda tokens: model(tokens))
    before, after = np.asarray(logits(TOKENS)), np.asarray(logits(changed))
    np.testing.assert_array_equal(before[:, :30], after[:, :30])
    assert np.abs(before[:, 30:] - after[:, 30:]).max(axis=(0, 2)).min() > 0


def test_what_pads_a_row_changes_neither_the_loss_nor_its_gradient(tmp_path: Path) -> None:
    class Scribbled(CountingRows):
        def training(self, step: int, micro: int) -> Any:
            batch = super().training(step, micro)
            padding = np.arange(self.width)[None] >= batch.lengths[:, None]
            assert padding.any()
            return dataclasses.replace(batch, tokens=np.where(padding, 7, batch.tokens).astype(np.int32))

    settings = config(steps=2, eval_every_steps=100)
    plain = train(tmp_path / "plain", config=settings, batches=CountingRows(evaluation=0))[1]
    scribbled = train(tmp_path / "scribbled", config=settings, batches=Scribbled(evaluation=0))[1]
    assert plain.losses() == scribbled.losses()
    assert [s["grad_norm"] for s in plain.of("step")] == [s["grad_norm"] for s in scribbled.of("step")]


@pytest.mark.parametrize("length", [5, 110])
def test_attention_in_blocks_is_attention(length: int) -> None:
    random = np.random.default_rng(0)
    q, weights = random.standard_normal((2, 2, 3, length, 8), np.float32)
    k, v = random.standard_normal((2, 2, length, 8), np.float32)
    seen = np.tril(np.ones((length, length), bool))

    def both(*rows: Any) -> Any:
        ways = (attend_causally, functools.partial(attend, seen=seen))
        return [
            jax.value_and_grad(lambda *rows, way=way: (way(*rows) * weights).sum(), argnums=(0, 1, 2))(*rows)
            for way in ways
        ]

    ours, plain = (jax.tree.leaves(found) for found in jax.jit(both)(q, k, v))
    for one, two in zip(ours, plain, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-4)
