"""The model card, README.md of a result: what it is, from what, with which figures over how much; from the run alone.

The text of users (names, paths, prompts) is hostile: it stands escaped, in code or in YAML.
"""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tunix_rt.base import store
from tunix_rt.training import config as configs
from tunix_rt.training import events
from tunix_rt.training.folder import RunFolder

NAME = "README.md"
_LOADING = {
    "full": (
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        'model = AutoModelForCausalLM.from_pretrained("PATH")',
    ),
    "lora": (
        "from peft import AutoPeftModelForCausalLM",
        "from transformers import AutoTokenizer",
        'model = AutoPeftModelForCausalLM.from_pretrained("PATH")  # finds the base by adapter_config.json',
    ),
}


def write(folder: RunFolder, parity: Mapping[str, Any] | None = None) -> None:
    """Write the card of a finished training into its model/.

    Args:
        folder: the run.
        parity: the fields of its `parity` event.
    """
    with store.whole(folder.model / NAME) as file:
        file.write(text(folder, parity).encode())


def text(folder: RunFolder, parity: Mapping[str, Any] | None = None) -> str:
    """The card: YAML front matter for Hugging Face, then Markdown."""
    config, known = folder.config, folder.provenance
    adapter, base, dataset = config.method == "lora", known["base_model"], known["dataset"]
    key = str(dataset.get("dataset_key") or "unnamed")
    name = _base_name(known)
    front: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tunix-rt", "reasoning", *(["lora"] if adapter else [])],
        "datasets": [key],
    }
    if name is not None:
        front["base_model"] = name
        front["base_model_digest"] = base["digest"]
    start = f"from {_code(name)}" if name is not None else "from scratch"
    sections = [
        f"# {'An adapter' if adapter else 'A model'} trained {start} on {_code(key)}",
        "## Data and inputs\n\n" + _table(("what", "which", "digest"), _inputs(known, key)),
        "## Figures\n\n" + _table(("figure", "value", "over (n)"), _figures(folder)),
        "## Served as trained\n\n" + "\n".join(f"- {line}" for line in _parity(parity)),
        "## Loading\n\n" + _fenced("python", _loading(config.method)) + "\n\n" + _serving(adapter),
        "## Reproducing\n\n" + _fenced("sh", f"tunix-rt train config.yaml --dataset {shlex.quote(key)}"),
        "config.yaml:\n\n" + _fenced("yaml", configs.dump(config)),
        "## Versions\n\n" + _table(("package", "version"), sorted(known["packages"].items())),
    ]
    # Quoted on one line each: no name can end the front matter.
    head = yaml.safe_dump(front, sort_keys=False, default_style='"', width=2**31)
    return f"---\n{head}---\n\n" + "\n\n".join(sections) + "\n"


def base_digest(folder: Path) -> str | None:
    """The digest of the base model that a folder's card names; None where there is no such card."""
    try:
        parts = (folder / NAME).read_text(encoding="utf-8").split("---\n", 2)
        front = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else None
    except (FileNotFoundError, UnicodeDecodeError, yaml.YAMLError):
        return None
    found = front.get("base_model_digest") if isinstance(front, dict) else None
    return found if isinstance(found, str) else None


def _inputs(known: Mapping[str, Any], key: str) -> list[tuple[Any, ...]]:
    base = known["base_model"]
    return [
        ("data set", key, known["dataset"].get("digest")),
        ("training split", "data/train.jsonl", known["train"]["digest"]),
        ("evaluation split", "data/eval.jsonl", known["eval"]["digest"]),
        ("tokenizer and chat template", "tokenizer/", known["tokenizer"]["digest"]),
        ("completion template", known["template"]["name"], known["template"]["digest"]),
        ("base model", _base_name(known) or "scratch", base["digest"]),
    ]


def _base_name(known: Mapping[str, Any]) -> str | None:
    """What the training started from: a version of the registry by its name, else a folder; None: from scratch."""
    name: str | None = known["registry"]["model_id"] if "registry" in known else known["base_model"].get("path")
    return name


def _figures(folder: RunFolder) -> list[tuple[Any, ...]]:
    steps = events.steps(folder.events)
    by_step = {event["step"]: event for event in events.read(folder.events) if event["event"] == "eval"}
    found: list[tuple[Any, ...]] = [
        ("optimizer steps", f"{len(steps):,}", f"{folder.config.engine}, seed {folder.config.seed}")
    ]
    if steps:
        tokens = sum(step["tokens"] for step in steps)
        found.append(("tokens fed", f"{tokens:,}", f"{len(steps):,} steps"))
        found.append(("training loss of the last step", _loss(steps[-1]), f"{steps[-1]['tokens']:,} tokens"))
    finite = [event for event in by_step.values() if math.isfinite(events.number(event["loss"]))]
    if finite:
        last, best = max(finite, key=lambda event: event["step"]), min(finite, key=lambda event: event["loss"])
        for name, event in (("final", last), ("best", best)):
            over = f"{event['tokens']:,} supervised tokens"
            found.append((f"{name} evaluation loss (step {event['step']})", _loss(event), over))
    return found


def _parity(parity: Mapping[str, Any] | None) -> list[str]:
    tokens, logits = (parity or {}).get("tokens"), (parity or {}).get("logits")
    lines = []
    if tokens and tokens["checked"]:
        lines.append(
            f"Token ids of {tokens['prompts']:,} prompts and {tokens['rows']:,} whole rows ({tokens['source']} split): "
            f"training, generation and transformers' `apply_chat_template` differ in {tokens['differences']:,}."
        )
    else:
        lines.append(f"Token ids were not checked{_why(tokens)}.")
    if logits and logits["checked"]:
        lines.append(
            f"Logits in float32, {logits['engine']} against transformers: largest difference "
            f"{logits['largest_difference']:.2g} over {logits['tokens']:,} tokens."
        )
    else:
        lines.append(f"Logits were not checked{_why(logits)}.")
    return lines


def _why(part: Mapping[str, Any] | None) -> str:
    return f": {_code(part['reason'])}" if part else ""


def _loading(method: str) -> str:
    return "\n".join(
        [
            *_LOADING[method],
            'tokenizer = AutoTokenizer.from_pretrained("PATH")',
            'messages = [{"role": "user", "content": "..."}]',
            'inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")',
        ]
    )


def _serving(adapter: bool) -> str:
    if adapter:
        return (
            "vLLM: merge it into a whole folder, then serve that.\n\n"
            + _fenced("sh", "tunix-rt models merge PATH --output MERGED\nvllm serve MERGED")
        )  # fmt: skip
    return "vLLM:\n\n" + _fenced("sh", "vllm serve PATH")


def _loss(event: Mapping[str, Any]) -> str:
    return f"{events.number(event['loss']):.4f}"


def _code(text: Any) -> str:
    """Text that nobody renders: one line, in as many backticks as it takes."""
    line = " ".join(str(text).split())
    ticks = "`" * (1 + max((len(run) for run in _runs(line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def _runs(text: str) -> list[str]:
    return ["".join(run) for run in "".join(char if char == "`" else " " for char in text).split()]


def _fenced(language: str, content: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in _runs(content)), default=0))
    return f"{fence}{language}\n{content.rstrip()}\n{fence}"


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [_code(str(cell).replace("|", "\\|")) if cell is not None else "-" for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
