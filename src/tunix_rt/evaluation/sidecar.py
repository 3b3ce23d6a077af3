"""The sidecar of a file of predictions, `FILE.meta.json`: how they were decoded, by which model, for which eval set."""

from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, ValidationError, field_validator

from tunix_rt.base import jsontext, store
from tunix_rt.base.errors import BadInput, Conflict, Fault, cut
from tunix_rt.base.http import Body
from tunix_rt.evaluation import files
from tunix_rt.evaluation.schemas import Decoding, Digest, PlainText
from tunix_rt.training import decoding as training

SUFFIX = ".meta.json"
MAX_BYTES = 2**20


class Model(Body):
    """The model that made the predictions.

    Attributes:
        digest: of its weights and their config.
        tokenizer: digest of everything that decides token ids, the chat template included.
    """

    name: Annotated[PlainText, Field(max_length=200)]
    digest: Digest | None = None
    tokenizer: Digest | None = None


class Engine(Body):
    """What computed the predictions.

    Attributes:
        packages: versions of everything whose change may change the bits.
    """

    name: Annotated[PlainText, Field(max_length=200)]
    packages: dict[str, str] = Field(default_factory=dict)


class Sidecar(Body):
    """What a file of predictions says of itself.

    Attributes:
        predictions: digest of the bytes of the file, which binds the sidecar to it.
        decoding: the parameters.
        decoding_digest: digest of the parameters, as each line has it.
        seed: of the draws.
        eval_set: digest of the eval set that was answered.
    """

    predictions: Digest
    decoding: Decoding
    decoding_digest: Digest | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    eval_set: Digest | None = None
    model: Model | None = None
    engine: Engine | None = None

    @field_validator("decoding")
    @classmethod
    def _stated(cls, value: Decoding) -> Decoding:
        if not value.parameters:
            raise ValueError("states no parameter, such as temperature")
        return value

    @property
    def sampling(self) -> Decoding:
        """The decoding, with the seed where answers were drawn."""
        return self.decoding.model_copy(update={"seed": self.seed if self.decoding.temperature else None})


def path_of(predictions: Path) -> Path:
    """The path of the sidecar of a file of predictions."""
    return predictions.with_name(predictions.name + SUFFIX)


def write(predictions: Path, sidecar: Sidecar) -> None:
    """Write the sidecar of a file of predictions."""
    with store.whole(path_of(predictions)) as file:
        file.write(dump(sidecar))


def dump(sidecar: Sidecar) -> bytes:
    """A sidecar as its file has it."""
    return jsontext.dumps(sidecar.model_dump(mode="json", exclude_none=True)) + b"\n"


def read(predictions: Path) -> Sidecar | None:
    """Read the sidecar of a file of predictions; None if there is none.

    Raises:
        BadInput: it cannot be read, or is not a sidecar.
    """
    path = path_of(predictions)
    if not path.exists():
        return None
    with files.opened(path) as file:
        return parse(file.read(MAX_BYTES + 1), str(path))


def parse(content: bytes, name: str) -> Sidecar:
    """Parse a sidecar.

    Args:
        content: of the file.
        name: of the file, for errors.

    Raises:
        BadInput: it is not a sidecar.
    """
    reason = f"it is over {MAX_BYTES:,} bytes" if len(content) > MAX_BYTES else None
    if reason is None:
        try:
            return Sidecar.model_validate(jsontext.loads(content))
        except jsontext.NotJson as error:
            reason = error.detail
        except ValidationError as error:
            reason = files.explain(error)
    raise BadInput(
        f"{name} is not the meta file of predictions: {reason}.",
        hint="Without it, predictions are placed by the digest in their lines.",
    )


def check(sidecar: Sidecar, name: str, predictions: files.Predictions, predictions_name: str, eval_set: str) -> None:
    """Check that a sidecar belongs to a file of predictions and to the eval set that they are judged on.

    Args:
        sidecar: as parsed.
        name: of its file.
        predictions: as parsed.
        predictions_name: of their file.
        eval_set: digest.

    Raises:
        Conflict: it does not.
    """
    own = training.digest(sidecar.decoding.parameters)
    remove = f"If {predictions_name} was changed on purpose, remove {name}"
    remove += "." if predictions.decoding is None else ": the lines name their decoding too."
    for field, stated, actual, of, hint in (
        ("decoding_digest", sidecar.decoding_digest, own, "its own parameters", remove),
        ("decoding", own, predictions.decoding, f"the lines of {predictions_name}", remove),
        ("predictions", sidecar.predictions, predictions.digest, f"the bytes of {predictions_name}", remove),
        (
            "eval_set",
            sidecar.eval_set,
            eval_set,
            "the eval set that is evaluated",
            f"Evaluate {predictions_name} on the eval set that it was generated for; or remove {name} if this one is "
            "meant.",
        ),
    ):
        if None not in (stated, actual) and stated != actual:
            raise Conflict(
                f"{name} does not belong to {predictions_name}: {field} is {stated}, but {of} "
                f"{'have' if field == 'predictions' else 'has'} {actual}.",
                hint=hint,
            )


# --- models -----------------------------------------------------------------------------------------------------


def model_name(folder: str) -> str:
    """The name of a model by its folder's path; of a training's result, which is called `model`, that of the run."""
    path = PurePosixPath(folder)
    name = (path.parent.name or path.name) if path.name == "model" else path.name
    return cut("".join(char if char.isprintable() else "?" for char in name) or "model")


def model_of(given: str | None, sidecar: Sidecar | None) -> str | None:
    """The model of a set of predictions: as given, else as the sidecar has it.

    Raises:
        Conflict: the two differ.
    """
    of_file = sidecar.model.name if sidecar and sidecar.model else None
    if given is None or of_file is None or of_file in (given, model_name(given)):
        return given or of_file
    raise Conflict(
        f"The model {cut(given, 100)!r} was given, but the predictions are those of {of_file!r}.",
        hint="Leave the model out: the meta file names it.",
        faults=[Fault("model_id", f"{cut(given, 100)} was given; the file says {of_file}")],
    )
