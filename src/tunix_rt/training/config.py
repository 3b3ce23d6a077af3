"""The whole configuration of a training, in one class that goes as it is from the request to the trainer.

An empty file is a valid config: a small model from scratch that trains in under a minute on a CPU.
"""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tunix_rt.base.errors import BadInput, Fault, NotFound, cut, nearest
from tunix_rt.training import examples

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelDimensions(_Section):
    """Dimensions of a model from scratch; ignored where `model_id` names a folder, which has its own."""

    family: Literal["llama", "qwen2", "qwen3", "gemma2", "gemma3_text"] = Field(
        "llama", description="layout of the Hugging Face folder"
    )
    layers: int = Field(2, ge=1, le=200, description="decoder layers")
    width: int = Field(64, ge=8, le=65_536, description="size of the residual stream")
    hidden: int = Field(192, ge=8, le=262_144, description="size of the MLP's inner layer")
    heads: int = Field(4, ge=1, le=512, description="query heads")
    kv_heads: int = Field(4, ge=1, le=512, description="key and value heads; divides `heads`")
    head_size: int | None = Field(None, ge=2, le=1024, description="size of a head; default width / heads")
    rope_theta: Positive = Field(10_000.0, description="base of the rotary positions")
    tie_embeddings: bool = Field(True, description="the output projection is the embedding")

    @model_validator(mode="after")
    def _fits(self) -> "ModelDimensions":
        if self.head_size is None and self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}; set head_size")
        if (self.head_size or self.width // self.heads) % 2:
            raise ValueError("the size of a head must be even: rotary positions turn pairs")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        return self


class TokenizerChoice(_Section):
    """Where the tokenizer comes from."""

    kind: Literal["auto", "character", "bpe", "model"] = Field(
        "auto",
        description="character or bpe: trained on the data set; model: the folder's own; "
        "auto: model where `model_id` names a folder, else character",
    )
    vocab_size: int = Field(512, ge=64, le=262_144, description="entries of a trained BPE")


class DataChoice(_Section):
    """Which rows are trained and how they are rendered."""

    template: Literal["reasoning", "answer"] = Field(
        "reasoning", description="what the completion holds: the steps and the answer, or the answer alone"
    )
    train_split: str = Field("train", description="split that is trained")
    eval_split: str = Field("eval", description="split of the evaluation loss; none is fine")
    max_length: int | None = Field(None, ge=8, le=1_048_576, description="tokens of a row; default: the longest row")
    overlong: Literal["raise", "truncate", "drop"] = Field(
        "raise",
        description="rows over max_length: raise refuses the data set; truncate cuts the prompt's start; "
        "drop leaves the row out, counted",
    )


Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class LoraChoice(_Section):
    """Low-rank updates of some projections (arXiv:2106.09685), where `method` is lora; all else stays as it is."""

    rank: int = Field(8, ge=1, le=1024, description="inner size of an update")
    alpha: Positive = Field(16.0, description="an update is scaled by alpha / rank")
    targets: tuple[Projection, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="projections of every layer that are updated",
    )


class MeshChoice(_Section):
    """How several devices share the work: data x fsdp x tensor of them; of a CPU, torch makes as many as these say."""

    data: int = Field(1, ge=1, description="groups that divide the rows; each holds all parameters")
    fsdp: int | None = Field(
        None, ge=1, description="devices of a group that divide the rows and the parameters; null: those that are left"
    )
    tensor: int = Field(1, ge=1, description="devices that divide a layer's heads and inner sizes, for the same rows")


class TrainingConfig(_Section):
    """Everything that decides a training's result."""

    engine: Literal["tunix", "torch"] = Field("tunix", description="who computes: JAX or PyTorch")
    method: Literal["full", "lora"] = Field("full", description="which parameters are trained: all, or an adapter's")
    lora: LoraChoice = Field(default_factory=LoraChoice)
    model_id: str = Field("scratch", min_length=1, description="`scratch`, or a Hugging Face model folder")
    model: ModelDimensions = Field(default_factory=ModelDimensions)
    tokenizer: TokenizerChoice = Field(default_factory=TokenizerChoice)
    dataset: str | None = Field(None, description="key of the data set")
    data: DataChoice = Field(default_factory=DataChoice)

    seed: int = Field(0, ge=0, lt=2**31, description="of the initial weights and the order of rows")
    steps: int | None = Field(None, ge=0, le=100_000_000, description="optimizer steps; default 600 or by epochs")
    epochs: Positive | None = Field(None, description="passes over the training split, instead of steps")
    batching: Literal["bucketed", "padded", "packed"] = Field(
        "bucketed",
        description="bucketed: rows of like length share a batch, padded to one of a few widths; padded: all to one "
        "width; packed: several rows share one, none sees another",
    )
    batch_size: int = Field(32, ge=1, le=65_536, description="rows of a micro-batch")
    batch_tokens: int | None = Field(
        None, ge=8, le=2**30, description="tokens of a micro-batch, padding included, instead of batch_size"
    )
    accumulation: int = Field(1, ge=1, le=4096, description="micro-batches of an optimizer step")

    learning_rate: Positive = Field(4e-3, le=10, description="peak, after the warm-up")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="from the peak to the end")
    warmup_steps: int = Field(50, ge=0, description="steps of linear warm-up from 0")
    final_learning_rate_share: Share = Field(0.0, description="end of the schedule, as a share of the peak")
    weight_decay: float = Field(0.01, ge=0, le=10, allow_inf_nan=False, description="decoupled, on matrices only")
    beta1: Share = Field(0.9, description="AdamW")
    beta2: Share = Field(0.99, description="AdamW")
    epsilon: Positive = Field(1e-8, description="AdamW")
    clip_norm: Positive | None = Field(1.0, description="largest global norm of the gradient; null: none")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the computation and of model/; parameters and optimizer are trained in float32"
    )

    loss_chunk: int | None = Field(
        None, ge=1, le=2**24, description="tokens whose logits are held at once; null: chosen by the engine"
    )
    activation_checkpointing: bool = Field(
        False, description="layers are computed again going back: less memory, about a third more time"
    )
    activation_offload: bool = Field(
        False, description="what is kept for going back waits in the host's memory: less of a GPU's, for the copying"
    )

    mesh: MeshChoice = Field(default_factory=MeshChoice)

    eval_every_steps: int = Field(100, ge=1, description="steps between two evaluation losses")
    samples: int = Field(
        0,
        ge=0,
        le=64,
        description="prompts of the evaluation split that are answered, greedily, at each evaluation: one text each, "
        "of at most 128 tokens; 0: none",
    )
    checkpoint_every_steps: int = Field(200, ge=1, description="steps between two checkpoints")
    keep_checkpoints: int = Field(2, ge=1, le=1000, description="newest checkpoints that are kept")
    keep_best: bool = Field(False, description="keep the checkpoint of the lowest evaluation loss too; model/ is it")
    early_stopping_evals: int | None = Field(
        None, ge=1, description="evaluations in a row without a new lowest loss after which the training ends"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingConfig":
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs exclude each other; leave one out")
        if (self.keep_best or self.early_stopping_evals or self.samples) and self.steps == 0:
            raise ValueError("keep_best, early_stopping_evals and samples need steps: without one nothing is evaluated")
        if self.beta1 >= 1 or self.beta2 >= 1:
            raise ValueError("beta1 and beta2 are below 1")
        if self.model_id == "scratch" and self.method == "lora":
            raise ValueError("method lora adapts a model that is there; set model_id to its folder, or method: full")
        if self.model_id == "scratch" and self.tokenizer.kind == "model":
            raise ValueError("a model from scratch has no tokenizer of its own; set tokenizer.kind to character or bpe")
        return self

    def total_steps(self, micro_batches: int) -> int:
        """Optimizer steps over a training split of that many micro-batches an epoch."""
        if self.epochs is not None:
            return max(1, round(self.epochs * micro_batches / self.accumulation))
        return 600 if self.steps is None else self.steps


def resolve(text: str, where: str, overrides: tuple[str, ...] = ()) -> TrainingConfig:
    """Read a config from YAML and `a.b=c` overrides.

    Args:
        text: YAML (or JSON, which is YAML).
        where: what the text is called in errors.
        overrides: each `key.subkey=value`, the value in YAML.

    Raises:
        BadInput: not YAML, an unknown key (with the nearest known one), a value out of range; every fault named.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise BadInput(
            f"{where}{line}: not YAML: {cut(str(getattr(error, 'problem', None) or error))}",
            hint="A config is lines of `key: value`; see one: tunix-rt init example.yaml",
        ) from None
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise BadInput(f"{where}: a config is a mapping of keys to values, not {type(raw).__name__}.")
    for override in overrides:
        _apply(raw, override)
    return validate(raw, where)


def validate(raw: dict[Any, Any], where: str) -> TrainingConfig:
    """Check a config that was read already.

    Args:
        raw: its keys and values.
        where: what it is called in errors.

    Raises:
        BadInput: every fault named, as `resolve` does.
    """
    try:
        return TrainingConfig.model_validate(raw)
    except ValidationError as error:
        faults = [_fault(item) for item in error.errors()]
        raise BadInput(f"{where}: {len(faults)} error(s) in the config", faults=faults) from None


def load(path: Path, overrides: tuple[str, ...] = ()) -> TrainingConfig:
    """Read a config file; see `resolve`.

    Raises:
        NotFound: no such file.
        BadInput: as `resolve`, or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        example = f" --example {path.stem}" if path.stem in examples.names() else ""
        written = shlex.join(["tunix-rt", "init", str(path)]) + example
        raise NotFound(f"There is no config file {path}.", hint=f"Write it: {written}") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder; a config is a YAML file.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 at byte {error.start}.") from None
    return resolve(text, str(path), overrides)


def dump(config: TrainingConfig) -> str:
    """The whole resolved config as YAML, in the order of the class."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """A nested config as one level of keys: `data.max_length` -> 512."""
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= flat(inner, f"{prefix}.{key}" if prefix else key)
    return found


def _apply(raw: dict[Any, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise BadInput(f"--set {cut(override, 60)!r} is not key=value.", hint="Example: --set data.max_length=512")
    *sections, last = key.split(".")
    place = raw
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise BadInput(f"--set {key}: {section!r} is a value, not a section.")
        place = inner
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise BadInput(f"--set {key}: {cut(value, 60)!r} is not YAML.") from None


def _fault(item: Any) -> Fault:
    path = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden":
        section: type[BaseModel] = TrainingConfig
        for part in path[:-1]:
            section = section.model_fields[part].annotation  # type: ignore[assignment]  # a section's annotation is its class
        return Fault(".".join(path), f"unknown key.{nearest(path[-1], section.model_fields)}")
    message = str(item["msg"]).removeprefix("Value error, ")
    given = item.get("input")
    shown = "" if isinstance(given, dict) else f" (given: {cut(repr(given), 60)})"
    return Fault(".".join(path) or "config", message + shown)
