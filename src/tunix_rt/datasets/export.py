"""The records of an export, one function a format: each a pure function of a trace, so exports are byte-identical."""

from collections.abc import Callable
from typing import Any

from tunix_rt.base import jsontext
from tunix_rt.training.render import completion

Record = dict[str, Any]
GEMMA_TURNS = ("<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<pad>")


def _trace(trace: Record) -> Record:
    return trace


def _messages(trace: Record) -> Record:
    reasoning = "\n\n".join(step["content"] for step in trace["steps"])
    answer = {"role": "assistant", "content": trace["final_answer"], "reasoning_content": reasoning}
    return {
        "id": trace["id"],
        "messages": [{"role": "user", "content": trace["prompt"]}, answer],
        "meta": trace["meta"],
    }


def _prompt_completion(trace: Record) -> Record:
    said = completion(trace, "reasoning")
    return {"id": trace["id"], "prompt": trace["prompt"], "completion": said, "meta": trace["meta"]}


def _tunix_sft(trace: Record) -> Record:
    said = completion(trace, "reasoning")
    turns = f"<start_of_turn>user\n{trace['prompt']}<end_of_turn>\n<start_of_turn>model\n{said}<end_of_turn>\n"
    return {"id": trace["id"], "prompts": turns, "final_answer": trace["final_answer"], "metadata": trace["meta"]}


def _stepwise(trace: Record) -> Record:
    return {
        "id": trace["id"],
        "prompt": trace["prompt"],
        "completions": [step["content"] for step in trace["steps"]],
        "labels": [step.get("meta", {}).get("label") for step in trace["steps"]],
    }


def _eval_set(trace: Record) -> Record:
    return {"id": trace["id"], "prompt": trace["prompt"], "expected_answer": trace["final_answer"]}


FORMATS: dict[str, Callable[[Record], Record]] = {
    "trace": _trace,
    "messages": _messages,
    "prompt-completion": _prompt_completion,
    "tunix_sft": _tunix_sft,
    "stepwise": _stepwise,
    "eval-set": _eval_set,
}
CONTROL: dict[str, tuple[str, ...]] = {"tunix_sft": GEMMA_TURNS}
"""Texts that a format's own template gives a meaning to; a trace that holds one is refused for that format."""


def line(trace: Record, name: str) -> bytes:
    """A trace as a line of the format `name`."""
    return jsontext.dumps(FORMATS[name](trace)) + b"\n"
