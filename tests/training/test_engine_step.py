"""The loss, the schedule and the optimizer, against slower ways to the same numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests.training.make_engine import ROWS, VOCABULARY, WIDTH, CountingRows, config
from tunix_rt.training.batches import RowBatches
from tunix_rt.training.engines import architecture, jax_folder, jax_loss, jax_memory, jax_step, model_folder
from tunix_rt.training.engines.jax_model import Decoder, decoder
from tunix_rt.training.engines.memory import Shape
from tunix_rt.training.engines.schedule import learning_rate
from tunix_rt.training.render import Row


@pytest.fixture(scope="module")
def model() -> Decoder:
    made = Decoder(architecture.from_scratch(config().model, VOCABULARY, WIDTH))
    return jax_folder.fill(made, model_folder.start(made.dimensions, 0))


def test_the_loss_is_the_surprise_at_supervised_tokens_alone(model: Decoder) -> None:
    batch = CountingRows().training(1, 0)
    logits = np.asarray(jax.jit(lambda tokens: model(tokens))(batch.tokens)).astype(np.float64)
    expected, counted = 0.0, 0
    for row in range(ROWS):
        for place in range(1, WIDTH):
            if batch.supervised[row, place]:
                before = logits[row, place - 1]
                expected += np.log(np.exp(before).sum()) - before[batch.tokens[row, place]]
                counted += 1
    assert counted == batch.supervised.sum() == batch.weight
    mean, total = jax.jit(lambda inputs: jax_loss.loss(model, **inputs))(jax_step.inputs(batch))
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert float(mean) == pytest.approx(expected / counted, rel=1e-5)


def test_a_rows_first_token_is_never_a_target(model: Decoder) -> None:
    batch = CountingRows().training(1, 0)
    inputs = jax_step.inputs(batch)
    loss = jax.jit(lambda inputs: jax_loss.loss(model, **inputs)[0])
    supervised = inputs["supervised"].copy()
    supervised[:, 0] = True
    assert float(loss(inputs)) == float(loss({**inputs, "supervised": supervised}))


SAVINGS = {"loss_chunk": 7, "activation_checkpointing": True}


@pytest.mark.parametrize(("family", "savings"), [("llama", {}), ("llama", SAVINGS), ("gemma2", SAVINGS)])
def test_the_gradient_is_that_of_the_surprise_written_out(family: str, savings: dict[str, Any]) -> None:
    definition, state = _parts(
        {"model": {"family": family, "tie_embeddings": family == "gemma2", "layers": 2}}, savings
    )
    inputs = jax_step.inputs(CountingRows().training(1, 0))

    def plain(state: Any) -> Any:
        made = jax.nn.log_softmax(nnx.merge(definition, state)(inputs["tokens"]))[:, :-1]
        surprise = -jnp.take_along_axis(made, inputs["tokens"][:, 1:, None], axis=-1)[..., 0]
        return jnp.sum(surprise * inputs["supervised"][:, 1:]) / inputs["weight"]

    written_out, ours = (
        jax.jit(jax.value_and_grad(way))(state)
        for way in (plain, lambda state: jax_loss.loss(nnx.merge(definition, state), **inputs)[0])
    )
    for one, two in zip(jax.tree.leaves(ours), jax.tree.leaves(written_out), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6 * float(np.abs(two).max()))


def _parts(changes: dict[str, Any], savings: dict[str, Any]) -> tuple[Any, Any]:
    chosen = config(**changes, **savings)
    made = decoder(chosen, architecture.from_scratch(chosen.model, VOCABULARY, WIDTH))
    return nnx.split(jax_folder.fill(made, model_folder.start(made.dimensions, 0)))  # type: ignore[no-any-return]  # flax is untyped


def test_what_saves_memory_does() -> None:
    shape = {"model": {"layers": 2}, "batch_size": 8}
    d = architecture.from_scratch(config(**shape).model, 4096, 95)

    def held(**savings: Any) -> int:
        step = jax_memory.lowered(config(**shape, **savings), d, Shape(8, 95))
        return int(step.compile().memory_analysis().temp_size_in_bytes)

    logits = (128 - 16) * 4096 * 4
    weights = 8 * 4 * 95 * 95 * 4  # bytes of one layer's attention: 8 rows, 4 heads
    assert held(loss_chunk=128) - held(loss_chunk=16, activation_checkpointing=True) > 0.9 * (logits + weights)


def test_rows_in_pieces_give_the_same_loss_and_gradient(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = jax_step.inputs(CountingRows().training(1, 0))
    definition, state = nnx.split(model)

    def of() -> Any:
        return jax.jit(jax.value_and_grad(lambda state: jax_loss.loss(nnx.merge(definition, state), **inputs)[0]))(
            state
        )

    whole = of()
    monkeypatch.setattr(jax_loss, "ACTIVATION_BYTES", WIDTH * config().model.hidden * 4 * ROWS // 2)
    pieces = of()
    for one, two in zip(jax.tree.leaves(whole), jax.tree.leaves(pieces), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", [0.5, 1.0, 1.0, 0.1 + 0.9 * (1 + 0.5**0.5) / 2, 0.55, 0.1 + 0.9 * (1 - 0.5**0.5) / 2]),
        ("linear", [0.5, 1.0, 1.0, 0.775, 0.55, 0.325]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_rate_goes_up_and_down_as_configured(schedule: str, expected: list[float]) -> None:
    chosen = config(learning_rate=2.0, schedule=schedule, warmup_steps=2, final_learning_rate_share=0.1)
    rates = [learning_rate(chosen, 6, step) / 2 for step in range(1, 7)]
    assert rates == pytest.approx(expected)


def test_a_warm_up_longer_than_the_training_just_ends_early() -> None:
    chosen = config(learning_rate=1.0, warmup_steps=10)
    assert [learning_rate(chosen, 3, step) for step in (1, 2, 3)] == pytest.approx([0.1, 0.2, 0.3])


def test_a_single_step_has_the_peak() -> None:
    assert learning_rate(config(learning_rate=1.0, warmup_steps=0), 1, 1) == 1.0


def test_three_steps_are_adamw_by_hand() -> None:
    chosen = config(weight_decay=0.1, clip_norm=2.0, beta1=0.8, beta2=0.9, epsilon=1e-3)
    optimizer = jax_step.optimizer(chosen)
    weights: dict[str, Any] = {"kernel": np.full((2, 2), 3.0, np.float32), "norm": np.full(2, 5.0, np.float32)}
    state = optimizer.init(weights)
    hand = {name: value.astype(np.float64) for name, value in weights.items()}
    first, second = ({name: np.zeros_like(value) for name, value in hand.items()} for _ in range(2))
    for step, rate in ((1, 0.1), (2, 0.2), (3, 0.05)):
        gradient = {"kernel": np.full((2, 2), 0.5 * step, np.float32), "norm": np.full(2, -2.0, np.float32)}
        state = (*state[:-1], jax_step.Scaling(np.float32(rate)))
        update, state = optimizer.update(gradient, state, weights)
        weights = optax.apply_updates(weights, update)
        norm = np.sqrt(sum((value.astype(np.float64) ** 2).sum() for value in gradient.values()))
        assert float(state[0].norm) == pytest.approx(norm)
        for name in hand:
            clipped = gradient[name] * min(1.0, 2.0 / norm)
            first[name] = 0.8 * first[name] + 0.2 * clipped
            second[name] = 0.9 * second[name] + 0.1 * clipped**2
            direction = (first[name] / (1 - 0.8**step)) / (np.sqrt(second[name] / (1 - 0.9**step)) + 1e-3)
            decay = 0.1 * hand[name] if name == "kernel" else 0.0
            hand[name] = hand[name] - rate * (direction + decay)
            np.testing.assert_allclose(weights[name], hand[name], rtol=1e-5)


@pytest.mark.parametrize(("changes", "savings"), [({}, SAVINGS), ({"family": "gemma3_text"}, {})])
def test_packed_rows_have_the_loss_and_gradient_of_the_rows_alone(
    changes: dict[str, Any], savings: dict[str, Any]
) -> None:
    definition, state = _parts({"model": changes}, savings)
    rows = [Row(str(n), [(n + 3 * t) % VOCABULARY for t in range(n)], 0 if n % 2 else 2, n) for n in (3, 7, 9, 11, 20)]

    def of(batching: str) -> Any:
        choice = config(batching=batching, batch_size=8)
        batch = RowBatches(rows, [], choice, padding=0).training(1, 0)
        assert (batch.segments is not None) == (batching == "packed")
        inputs = jax_step.inputs(batch)
        return jax.jit(jax.value_and_grad(lambda state: jax_loss.loss(nnx.merge(definition, state), **inputs)[0]))(
            state
        )

    packed, alone = of("packed"), of("padded")
    for one, two in zip(jax.tree.leaves(packed), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6 * float(np.abs(two).max()))
