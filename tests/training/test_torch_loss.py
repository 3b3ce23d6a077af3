"""The loss of a batch in PyTorch, whose traces stand in one row and attend to themselves alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional

from tests.training.test_engine_model import FOLDERS, SMALL, VOCABULARY
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import (
    Batch,
    architecture,
    memory_formula,
    torch_attention,
    torch_loss,
    torch_norm,
    torch_offload,
)

LENGTHS = (20, 3, 11, 20)  # of four traces; Gemma's windows are 7
WIDTH = 32


@pytest.fixture(params=sorted(FOLDERS))
def model(request: pytest.FixtureRequest) -> Any:
    """A model of each family as transformers makes it, of random weights large enough to attend unevenly."""
    family, settings = FOLDERS[request.param]
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(family, **(SMALL | settings)), attn_implementation="eager"
    )
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return made


def traces() -> list[tuple[Any, Any]]:
    """Tokens, and which of them are supervised, of each trace."""
    random = np.random.default_rng(1)
    return [(random.integers(0, VOCABULARY, n), random.random(n) < 0.6) for n in LENGTHS]


def batch(rows: list[list[int]], *, packed: bool) -> Batch:
    """Rows that hold these traces."""
    tokens = np.full((len(rows), WIDTH), 7, np.int32)  # what pads is a token like others
    supervised, segments = np.zeros(tokens.shape, np.bool_), np.zeros(tokens.shape, np.int32)
    positions, lengths = np.zeros(tokens.shape, np.int32), np.zeros(len(rows), np.int32)
    for row, numbers in enumerate(rows):
        for segment, number in enumerate(numbers, start=1):
            ids, counted = traces()[number]
            place = slice(lengths[row], lengths[row] + len(ids))
            tokens[row, place], supervised[row, place], segments[row, place] = ids, counted, segment
            positions[row, place] = np.arange(len(ids))
            lengths[row] += len(ids)
    more: dict[str, Any] = {"segments": segments, "positions": positions} if packed else {}
    return Batch(tokens=tokens, supervised=supervised, lengths=lengths, weight=1.0, **more)


def alone(model: Any) -> Any:
    """The summed loss of each trace in a call of its own, by transformers' attention."""
    sums = []
    for ids, counted in traces():
        logits = model(torch.from_numpy(ids)[None]).logits[0]
        wanted = torch.from_numpy(np.where(counted, ids, -100))[1:]
        sums.append(functional.cross_entropy(logits[:-1], wanted, reduction="sum"))
    return torch.stack(sums).sum()


def gradient(model: Any, loss: Any) -> list[Any]:
    model.zero_grad()
    loss.backward()
    return [value.grad.clone() for value in model.parameters()]


@pytest.mark.parametrize("plain_tokens", [256, 12], ids=["plain", "plain and fused"])
def test_padded_and_packed_traces_have_the_loss_and_gradient_of_each_alone(
    model: Any, plain_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_formula, "PLAIN_TOKENS", plain_tokens)
    d = architecture.from_json(model.config.to_dict(), Path("here"))
    loss = alone(model)
    expected = gradient(model, loss)
    torch_attention.attend_by_trace(model)
    torch_norm.put_norms(model, d)
    padded, packed = (
        torch_loss.total(model, d, each)
        for each in (batch([[0], [1], [2], [3]], packed=False), batch([[0, 1], [2, 3]], packed=True))
    )
    torch.testing.assert_close(padded, loss, rtol=1e-5, atol=0)
    for ours, theirs in zip(gradient(model, padded), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    assert packed.item() == padded.item()  # to the bit: nothing is computed of padding or of how they were packed


def test_logits_in_chunks_have_the_same_loss_and_gradient(model: Any) -> None:
    torch_attention.attend_by_trace(model)
    d, rows = architecture.from_json(model.config.to_dict(), Path("here")), batch([[0, 1], [2, 3]], packed=True)
    whole, parts = torch_loss.total(model, d, rows), torch_loss.total(model, d, rows, loss_chunk=5)
    with torch.no_grad():
        assert torch_loss.total(model, d, rows, loss_chunk=5).item() == parts.item()
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=0)
    # A scaled loss has a scaled gradient.
    for one, other in zip(gradient(model, 2 * parts), gradient(model, whole), strict=True):
        torch.testing.assert_close(one, 2 * other, rtol=1e-4, atol=1e-5)


def test_tokens_that_have_no_probability_in_float32_have_their_loss(model: Any) -> None:
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1000)
        expected = alone(model)
        torch_attention.attend_by_trace(model)
        d = architecture.from_json(model.config.to_dict(), Path("here"))
        loss = torch_loss.total(model, d, batch([[0, 1], [2, 3]], packed=True))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)
    assert loss.isfinite()


def test_a_share_that_is_padding_alone_has_no_loss_and_a_gradient_of_zero(model: Any) -> None:
    torch_attention.attend_by_trace(model)
    d = architecture.from_json(model.config.to_dict(), Path("here"))
    loss = torch_loss.total(model, d, batch([[], []], packed=False))
    assert loss.item() == 0
    assert all(not each.any() for each in gradient(model, loss))


def test_what_is_offloaded_comes_back_as_it_was(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, from which a copy is what moves there; a GPU was not at hand."""
    monkeypatch.setattr(torch_offload, "_SMALLEST_BYTES", 0)
    to, moved = torch.Tensor.to, []

    def copied(tensor: Any, *where: Any, **more: Any) -> Any:
        if where != ("cpu",):
            return to(tensor, *where, **more)
        moved.append(tensor)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "to", copied)
    torch_attention.attend_by_trace(model)
    d, rows = architecture.from_json(model.config.to_dict(), Path("here")), batch([[0, 1], [2, 3]], packed=True)
    plain = gradient(model, torch_loss.total(model, d, rows))
    with torch_loss.computing(TrainingConfig(engine="torch", activation_offload=True), torch.device("cpu")):
        loss = torch_loss.total(model, d, rows)
    own = {value.untyped_storage().data_ptr() for value in model.parameters()}
    assert moved
    assert not own & {tensor.untyped_storage().data_ptr() for tensor in moved}
    for one, other in zip(gradient(model, loss), plain, strict=True):
        assert torch.equal(one, other)


def test_a_model_that_trains_by_trace_still_takes_padded_rows(model: Any) -> None:
    ids = torch.from_numpy(traces()[0][0])[None]
    before = model(ids).logits
    torch_attention.attend_by_trace(model)
    with torch_attention.padded(model):
        torch.testing.assert_close(model(ids).logits, before, rtol=1e-4, atol=1e-5)
    with pytest.raises(TypeError, match="trace_lengths"):
        model(ids)
