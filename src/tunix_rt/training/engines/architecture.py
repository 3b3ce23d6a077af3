"""A decoder's dimensions, from our config or from a folder's config.json, and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunix_rt.base.errors import BadInput, Fault, NotFound, nearest
from tunix_rt.training.config import ModelDimensions
from tunix_rt.training.engines import gemma

_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}
FAMILIES = tuple(_ARCHITECTURES)
"""Every family that we read, train and write."""
_GEMMA = ("gemma2", "gemma3_text")
_NORM_EPSILON = 1e-6
_LEAST_POSITIONS = 2048


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3.1's stretching of slow rotations (`rope_type: llama3` of transformers)."""

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_positions: int


@dataclass(frozen=True)
class Dimensions:
    """Everything that decides a decoder's shape and function; what only Gemma has comes last.

    Attributes:
        rope_factor: angles are divided by it (`rope_type: linear`), but not where a layer has a window.
        local_rope_theta: where a layer has a window; None: `rope_theta` there too.
        query_scalar: scores are divided by its root; None: by the root of `head_size`.
        window: keys that a layer with a window sees, the token's own among them.
        sliding: which layers have the window; empty: none.
        attention_softcap: scores s become c tanh(s / c).
        final_softcap: the same of the logits.
    """

    family: str
    vocabulary: int
    width: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    rope_theta: float
    rope_scaling: RopeScaling | None
    norm_epsilon: float
    tied: bool
    max_positions: int
    rope_factor: float = 1.0
    local_rope_theta: float | None = None
    query_scalar: float | None = None
    window: int | None = None
    sliding: tuple[bool, ...] = ()
    attention_softcap: float | None = None
    final_softcap: float | None = None

    def window_of(self, layer: int) -> int | None:
        """Keys that a layer sees; None: all up to the token."""
        return self.window if self.sliding and self.sliding[layer] else None

    @property
    def gemma(self) -> bool:
        return self.family in _GEMMA

    @property
    def qkv_bias(self) -> bool:
        return self.family == "qwen2"

    @property
    def qk_norm(self) -> bool:
        return self.family in ("qwen3", "gemma3_text")


def from_scratch(model: ModelDimensions, vocabulary: int, width: int) -> Dimensions:
    """Dimensions of an untrained model for rows of up to `width` tokens."""
    head_size = model.head_size or model.width // model.heads
    return Dimensions(
        family=model.family,
        vocabulary=vocabulary,
        width=model.width,
        hidden=model.hidden,
        layers=model.layers,
        heads=model.heads,
        kv_heads=model.kv_heads,
        head_size=head_size,
        rope_theta=model.rope_theta,
        rope_scaling=None,
        norm_epsilon=_NORM_EPSILON,
        tied=model.tie_embeddings,
        max_positions=max(_LEAST_POSITIONS, width),
        **(gemma.from_scratch(model.family, model.layers, head_size) if model.family in _GEMMA else {}),
    )


def to_json(d: Dimensions) -> dict[str, Any]:
    """What config.json says of a model from scratch, in words that transformers 4 and 5 read."""
    content: dict[str, Any] = {
        "architectures": [_ARCHITECTURES[d.family]],
        "model_type": d.family,
        "vocab_size": d.vocabulary,
        "hidden_size": d.width,
        "intermediate_size": d.hidden,
        "num_hidden_layers": d.layers,
        "num_attention_heads": d.heads,
        "num_key_value_heads": d.kv_heads,
        "head_dim": d.head_size,
        "max_position_embeddings": d.max_positions,
        "rms_norm_eps": d.norm_epsilon,
        "rope_theta": d.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": d.rope_theta},
        "tie_word_embeddings": d.tied,
        "attention_dropout": 0.0,
        "use_cache": True,
    }
    if d.gemma:
        return content | gemma.to_json(d)
    content["hidden_act"] = "silu"
    if d.family == "llama":
        content |= {"attention_bias": False, "mlp_bias": False}
    else:
        content |= {"use_sliding_window": False, "sliding_window": None}
    if d.family == "qwen3":
        content["attention_bias"] = False
    return content


def read_json(folder: Path) -> dict[str, Any]:
    """Read a folder's config.json.

    Raises:
        NotFound: no such folder.
        BadInput: no config.json in it, or not a JSON object.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no model folder {folder}.")
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{folder} is not a Hugging Face model folder: it has no config.json.") from None
    except ValueError as error:
        raise BadInput(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: not a JSON object.")
    return content


def from_json(content: Mapping[str, Any], where: Path) -> Dimensions:
    """Dimensions of a folder's model.

    Raises:
        BadInput: a family that we do not have, a key that is missing, or something that we would compute wrongly.
    """
    family = content.get("model_type")
    if family not in _ARCHITECTURES:
        raise BadInput(f"{where}: model_type {family!r} is not supported.{nearest(str(family), _ARCHITECTURES)}")
    faults = _unsupported(family, content)
    needed = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    faults += [
        Fault(key, f"is {content.get(key)!r}, not a positive number")
        for key in needed
        if not isinstance(content.get(key), int) or content[key] < 1
    ]
    if faults:
        raise BadInput(f"{where / 'config.json'}: {len(faults)} setting(s) that we cannot honour", faults=faults)
    heads = content["num_attention_heads"]
    # transformers 5 keeps both in `rope_parameters`; before, `rope_theta` stood beside `rope_scaling`.
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    common: dict[str, Any] = {
        "family": family,
        "vocabulary": content["vocab_size"],
        "width": content["hidden_size"],
        "hidden": content["intermediate_size"],
        "layers": content["num_hidden_layers"],
        "heads": heads,
        "kv_heads": content.get("num_key_value_heads") or heads,
        "norm_epsilon": float(content.get("rms_norm_eps", _NORM_EPSILON)),
        "max_positions": int(content.get("max_position_embeddings", _LEAST_POSITIONS)),
    }
    if family in _GEMMA:
        return Dimensions(**common, rope_scaling=None, **gemma.from_json(family, content))
    return Dimensions(
        **common,
        head_size=content.get("head_dim") or content["hidden_size"] // heads,
        rope_theta=float(rope.get("rope_theta") or content.get("rope_theta") or 10_000.0),
        rope_scaling=_scaling(rope),
        tied=bool(content.get("tie_word_embeddings", False)),
    )


def _unsupported(family: str, content: Mapping[str, Any]) -> list[Fault]:
    faults = gemma.faults(family, content) if family in _GEMMA else []
    if family not in _GEMMA:
        for key, only in (("hidden_act", "silu"), ("mlp_bias", False), ("use_sliding_window", False)):
            if content.get(key, only) != only:
                faults.append(Fault(key, f"is {content[key]!r}; we have {only!r} alone"))
    heads, kv_heads = content.get("num_attention_heads"), content.get("num_key_value_heads")
    if isinstance(heads, int) and kv_heads is not None and (not isinstance(kv_heads, int) or heads % kv_heads):
        faults.append(Fault("num_key_value_heads", f"is {kv_heads!r}, which does not divide {heads} heads"))
    if family != "qwen2" and content.get("attention_bias"):
        faults.append(Fault("attention_bias", f"is true; {family} has none here"))
    if content.get("quantization_config"):
        faults.append(Fault("quantization_config", "quantized weights are not trained here; take the full ones"))
    if content.get("partial_rotary_factor", 1.0) != 1.0:
        faults.append(Fault("partial_rotary_factor", "is not 1"))
    if family in _GEMMA:
        return faults
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    kind = _rope_type(rope)
    if kind not in ("default", "llama3"):
        faults.append(Fault("rope_scaling", f"type {kind!r} is not supported. We have: default, llama3."))
    if kind == "llama3":
        keys = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        faults += [Fault(f"rope_scaling.{key}", "missing") for key in keys if key not in rope]
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        faults.append(Fault("partial_rotary_factor", "is not 1"))
    return faults


def _rope_type(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _scaling(rope: Mapping[str, Any]) -> RopeScaling | None:
    if _rope_type(rope) == "default":
        return None
    return RopeScaling(
        factor=float(rope["factor"]),
        low_frequency_factor=float(rope["low_freq_factor"]),
        high_frequency_factor=float(rope["high_freq_factor"]),
        original_positions=int(rope["original_max_position_embeddings"]),
    )
