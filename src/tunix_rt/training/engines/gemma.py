"""What Gemma 2 and 3 say in config.json beyond Llama: windows, soft caps, the scale of queries, a second rope."""

from collections.abc import Mapping
from typing import Any

from tunix_rt.base.errors import Fault

_SLIDING, _FULL = "sliding_attention", "full_attention"
# Defaults of transformers' classes, which published configs leave out.
_PATTERN = {"gemma2": 2, "gemma3_text": 6}
_GLOBAL_THETA = {"gemma2": 10_000.0, "gemma3_text": 1_000_000.0}
_LOCAL_THETA = 10_000.0
_ATTENTION_SOFTCAP, _FINAL_SOFTCAP = 50.0, 30.0
_HEAD_SIZE, _QUERY_SCALAR, _WINDOW = 256, 256.0, 4096
_SCRATCH_WINDOW = {"gemma2": 4096, "gemma3_text": 512}


def pattern(family: str, layers: int, every: int | None = None) -> tuple[bool, ...]:
    """Which layers see a window alone: all but every so-manyth."""
    return tuple(bool((index + 1) % (every or _PATTERN[family])) for index in range(layers))


def from_scratch(family: str, layers: int, head_size: int) -> dict[str, Any]:
    """Fields of `Dimensions` for an untrained model, as the published ones have them."""
    capped = family == "gemma2"
    return {
        "query_scalar": float(head_size),
        "window": _SCRATCH_WINDOW[family],
        "sliding": pattern(family, layers),
        "attention_softcap": _ATTENTION_SOFTCAP if capped else None,
        "final_softcap": _FINAL_SOFTCAP if capped else None,
        "local_rope_theta": None if capped else _LOCAL_THETA,
    }


def from_json(family: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `Dimensions`, once `faults` found none."""
    full, local = _ropes(family, content)
    capped = family == "gemma2"
    attention = content.get("attn_logit_softcapping", _ATTENTION_SOFTCAP if capped else None)
    final = content.get("final_logit_softcapping", _FINAL_SOFTCAP if capped else None)
    return {
        "head_size": int(content.get("head_dim") or _HEAD_SIZE),
        "rope_theta": float(full.get("rope_theta") or content.get("rope_theta") or _GLOBAL_THETA[family]),
        "rope_factor": float(full.get("factor") or 1.0) if _kind(full) == "linear" else 1.0,
        "local_rope_theta": None
        if capped
        else float(local.get("rope_theta") or content.get("rope_local_base_freq") or _LOCAL_THETA),
        "tied": bool(content.get("tie_word_embeddings", True)),
        "query_scalar": float(content.get("query_pre_attn_scalar", _QUERY_SCALAR)),
        "window": int(content.get("sliding_window", _WINDOW)),
        "sliding": _sliding(family, content),
        "attention_softcap": None if attention is None else float(attention),
        "final_softcap": None if final is None else float(final),
    }


def faults(family: str, content: Mapping[str, Any]) -> list[Fault]:
    """What we would compute wrongly."""
    found = []
    activation = content.get("hidden_activation") or "gelu_pytorch_tanh"
    if activation != "gelu_pytorch_tanh":
        found.append(Fault("hidden_activation", f"is {activation!r}; we have 'gelu_pytorch_tanh' alone"))
    if content.get("use_bidirectional_attention"):
        found.append(Fault("use_bidirectional_attention", "is true; a token sees those before it alone"))
    if family == "gemma3_text" and content.get("attn_logit_softcapping") is not None:
        found.append(Fault("attn_logit_softcapping", "is set; gemma3_text has none"))
    window = content.get("sliding_window", _WINDOW)
    if not isinstance(window, int) or window < 1:
        found.append(Fault("sliding_window", f"is {window!r}, not a positive number"))
    kinds = content.get("layer_types")
    if kinds is not None and (
        not isinstance(kinds, list)
        or len(kinds) != content.get("num_hidden_layers")
        or not set(map(str, kinds)) <= {_SLIDING, _FULL}
    ):
        found.append(Fault("layer_types", f"is not one of {_SLIDING!r} and {_FULL!r} for each layer"))
    full, local = _ropes(family, content)
    allowed = ("default", "linear") if family == "gemma3_text" else ("default",)
    for rope, kinds_allowed in ((full, allowed), (local, ("default",))):
        if _kind(rope) not in kinds_allowed:
            known = ", ".join(kinds_allowed)
            found.append(Fault("rope_scaling", f"type {_kind(rope)!r} is not supported. We have: {known}."))
    if _kind(full) == "linear" and not full.get("factor"):
        found.append(Fault("rope_scaling.factor", "missing"))
    return found


def to_json(d: Any) -> dict[str, Any]:
    """What config.json says of a model from scratch, besides what every family says.

    Args:
        d: its `Dimensions`.
    """
    kinds = [_SLIDING if sliding else _FULL for sliding in d.sliding]
    content: dict[str, Any] = {
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "query_pre_attn_scalar": int(d.query_scalar) if d.query_scalar == int(d.query_scalar) else d.query_scalar,
        "sliding_window": d.window,
        "layer_types": kinds,
        "attn_logit_softcapping": d.attention_softcap,
        "final_logit_softcapping": d.final_softcap,
    }
    if d.family == "gemma3_text":
        plain = {"rope_type": "default"}
        content |= {
            "rope_local_base_freq": d.local_rope_theta,
            "sliding_window_pattern": _PATTERN[d.family],
            "rope_parameters": {
                _SLIDING: {**plain, "rope_theta": d.local_rope_theta},
                _FULL: {**plain, "rope_theta": d.rope_theta},
            },
        }
    return content


def _sliding(family: str, content: Mapping[str, Any]) -> tuple[bool, ...]:
    if content.get("layer_types"):
        return tuple(kind == _SLIDING for kind in content["layer_types"])
    return pattern(family, content["num_hidden_layers"], content.get("sliding_window_pattern"))


def _ropes(family: str, content: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Of the layers that see everything, and of those with a window."""
    # transformers 5 nests them by layer type for Gemma 3; before, two thetas stood beside `rope_scaling`.
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    if family == "gemma2":
        return rope, rope
    if _FULL in rope or _SLIDING in rope:
        return rope.get(_FULL) or {}, rope.get(_SLIDING) or {}
    return rope, {}


def _kind(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")
