"""A training's memory by formula: exact in what is held throughout, by shapes alone; imports no framework.

Axes: B rows, T tokens of a row, D width, V vocabulary.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Batch, architecture, lora, model_folder
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.memory import Memory, Shape

TRAINED_BYTES = 4  # parameters that are trained, their gradients and the optimizer stay float32
LOGITS_BYTES = 256 * 2**20  # where loss_chunk is left open, both engines hold at most so much of the logits
PLAIN_TOKENS = 256  # PyTorch's attention to so many on a CPU keeps its weights
_LOGIT_COPIES = 3  # logits, their exponentials and their gradient

# A deeper model than this is looked at with two small numbers of layers instead, and continued in a straight line,
# which is within 1.5 % of the whole. The compiler takes 2 s and 0.3 s a layer.
_DEEPEST = 8
_FEW, _MORE = 1, 3


def dimensions(config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None) -> Dimensions:
    """Of the model that will be trained.

    Raises:
        BadInput: a base that does not read.
    """
    if base is None:
        return architecture.from_scratch(config.model, vocabulary, shape.width)
    return architecture.from_json(architecture.read_json(base), base)


def compute_bytes(config: TrainingConfig) -> int:
    """Of a number of the computation."""
    return 2 if config.precision == "bfloat16" else 4


def held(config: TrainingConfig, d: Dimensions, *, in_place: bool = False) -> dict[str, int]:
    """Bytes of parameters, gradients and optimizer: exact, by shapes alone.

    With `in_place` a micro-batch's gradients are added to the sum one by one, as they come.
    """
    whole = sum(math.prod(shape) for shape in model_folder.tensor_shapes(d).values())
    trained, frozen = whole, 0
    if config.method == "lora":
        trained, frozen = sum(math.prod(shape) for shape in lora.tensor_shapes(d, config.lora).values()), whole
    weights = trained * TRAINED_BYTES
    return {
        "parameters": weights + frozen * compute_bytes(config),
        "gradients": weights * (2 if config.accumulation > 1 and not in_place else 1),
        "optimizer": 2 * weights,
    }


def logits_bytes(config: TrainingConfig, d: Dimensions, shape: Shape) -> int:
    """Bytes of the logits that PyTorch holds at once: float32, their products' type, and the slope of capped ones."""
    chunk = config.loss_chunk or max(1, LOGITS_BYTES // (4 * d.vocabulary))
    size = 4 + (2 if config.precision == "bfloat16" else 0) + (4 if d.final_softcap else 0)
    return size * min(shape.rows * shape.width, chunk) * d.vocabulary


def torch_formula(config: TrainingConfig, d: Dimensions, shape: Shape, available: int | None) -> Memory:
    """The memory of a PyTorch step by formula: 0.91 to 1.2 of what fake tensors say, on 160 configs of five families.

    Small models with activation checkpointing, and narrow ones with an adapter in bfloat16, come out higher.

    Of a layer and token are kept for going back: what each norm is given, and what it gives where a product follows,
    queries, keys and values, what attention mixed by trace and together, four inner vectors of the MLP, and where
    attention is not fused a row of weights a head, capped two. Gradients come as these go: the most is held when the
    loss is taken, which makes that of the output table, or at the end.
    """
    tokens, size = shape.rows * shape.width, compute_bytes(config)
    heads, keys = d.heads * d.head_size, d.kv_heads * d.head_size
    stream = 4 * d.width * tokens  # float32 whatever the computation is in
    seen = 0
    if d.attention_softcap:
        seen = tokens * d.heads * shape.width * (2 * size + (2 if size == 2 else 0))
        keys = heads  # each query head is given its own
    elif size == 4 and (shape.packed or shape.width <= PLAIN_TOKENS):
        seen = tokens * d.heads * min(shape.width, PLAIN_TOKENS) * size
        keys = heads
    inner = 3 * heads + 2 * keys + 4 * d.hidden + (3 * heads if d.attention_softcap else 0)
    normed = (6 if d.gemma else 4) * stream + ((heads + keys) * tokens * size if d.qk_norm else 0)
    layer = normed + tokens * size * inner + seen + (2 * stream if size == 2 else 0)
    kept = stream * d.layers if config.activation_checkpointing else layer * d.layers
    if config.activation_offload:
        kept = layer  # which is going away, or has come back
    parts, logits = held(config, d, in_place=True), logits_bytes(config, d, shape)
    accumulated = parts["gradients"] if config.accumulation > 1 else 0
    table = 4 * d.vocabulary * d.width if config.method == "full" else 0
    at_the_loss = accumulated + kept + 6 * stream + logits + table * (1 if size == 4 else 2)
    going_back = 6 * stream + seen + (layer + kept if config.activation_checkpointing else 0)
    # A tied table's gradients come from both ends of the model, and are added up in a place of their own.
    tables = d.tied * table * (3 if config.accumulation > 1 else 2)
    rest = max(at_the_loss, accumulated + kept + going_back, parts["gradients"] + max(going_back, tables))
    rough = Memory("formula", **parts, activations=kept, logits=logits, temporary=9 * tokens, available=available)
    return split(rough, parts["parameters"] + parts["optimizer"] + rough.temporary + rest, "formula")


def jax_formula(
    config: TrainingConfig,
    d: Dimensions,
    shape: Shape,
    available: int | None,
    *,
    pieces: int = 1,
    chunk: int | None = None,
    shards: int = 1,
) -> Memory:
    """The memory of a JAX step by formula: exact in what is held throughout, rather too much than too little else.

    Of a layer and token are kept for going back: the residual stream and both norms' outputs, queries, keys and values
    before and after they are turned, what attention mixed, four inner vectors of the MLP, and a row of attention
    weights a head, three times while it is differentiated. With activation checkpointing the residual stream alone is
    kept, and one layer's rest.

    Args:
        config: the training's.
        d: of the model.
        shape: of a device's rows.
        available: bytes that the device has free.
        pieces: the rows go through the model in so many, one after the other.
        chunk: supervised tokens whose logits are held at once, where the config leaves that open.
        shards: devices that divide the parameters.
    """
    tokens, size = shape.rows * shape.width // pieces, compute_bytes(config)
    heads, keys = d.heads * d.head_size, d.kv_heads * d.head_size
    vectors = 6 * d.width + 3 * heads + 4 * keys + 5 * d.hidden
    layer = tokens * size * (vectors + d.heads * shape.width)
    working = tokens * size * (2 * d.heads * shape.width + 2 * d.hidden)
    kept = tokens * size * d.width * d.layers + layer if config.activation_checkpointing else layer * d.layers
    parts = {name: value // shards for name, value in held(config, d).items()}
    weights = parts["optimizer"] // 2
    parts["gradients"] += weights if pieces > 1 else 0  # a piece's beside their sum
    logits = _LOGIT_COPIES * min(tokens, config.loss_chunk or chunk or tokens) * d.vocabulary * 4
    return Memory(
        method="formula",
        **parts,
        activations=kept + working + 3 * tokens * size * d.width,
        logits=logits,
        temporary=9 * tokens * pieces + weights,
        available=available,
    )


def by_layers(
    sizes: Callable[[Dimensions], tuple[int, ...]], d: Dimensions, method: str
) -> tuple[tuple[int, ...], str]:
    """Sizes that take time by the layer: a deep model's are continued from two shallow ones'.

    Returns:
        bytes, and the method with what was left out.
    """
    if d.layers <= _DEEPEST:
        return sizes(d), method
    few, more = (sizes(replace(d, layers=layers, sliding=d.sliding[:layers])) for layers in (_FEW, _MORE))
    whole = tuple(y + (y - x) * (d.layers - _MORE) // (_MORE - _FEW) for x, y in zip(few, more, strict=True))
    return whole, f"{method}, by {_FEW} and {_MORE} of {d.layers} layers"


def split(rough: Memory, peak: int, method: str) -> Memory:
    """A peak in terms: exact in what is held throughout.

    Gradients, logits and activations are not all held at once: each has the share of what is left that the formula
    gives it, and what the formula does not explain counts as activations.
    """
    rest = max(0, peak - rough.parameters - rough.optimizer - rough.temporary)
    share = min(1, rest / (rough.gradients + rough.logits + rough.activations))
    gradients, logits = int(rough.gradients * share), int(rough.logits * share)
    return replace(rough, method=method, gradients=gradients, logits=logits, activations=rest - gradients - logits)


def full_batch(shape: Shape) -> Batch:
    """The largest micro-batch, as full as a batch can be."""
    size = (shape.rows, shape.width)
    places = np.broadcast_to(np.arange(shape.width, dtype=np.int32), size)
    return Batch(
        tokens=np.ones(size, np.int32),
        supervised=np.ones(size, np.bool_),
        lengths=np.full(shape.rows, shape.width, np.int32),
        weight=1.0,
        segments=1 + places // PLAIN_TOKENS if shape.packed else None,
        positions=places % PLAIN_TOKENS if shape.packed else None,
    )
