"""An adapter and the model that it adapts become one Hugging Face folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunix_rt.base import jsontext
from tunix_rt.base.errors import BadInput, Conflict, NotFound
from tunix_rt.training import card, provenance
from tunix_rt.training.engines import lora, model_folder, tensor_files
from tunix_rt.training.engines.whole_folder import forced, whole_folder


@dataclass(frozen=True)
class MergedFolder:
    """What became of a merge.

    Attributes:
        path: the new folder.
        base: the model that was adapted.
        updated: weights that the adapter changed.
        tensors: in all.
        digest_checked: the base was compared with the digest that was written down in training.
    """

    path: Path
    base: Path
    updated: int
    tensors: int
    digest_checked: bool


def merge(folder: Path, output: Path, base: Path | None = None) -> MergedFolder:
    """Write W + (alpha / r) B A, added in float32, in the files and types of the base; whole or not at all.

    Args:
        folder: the adapter, in the PEFT layout.
        output: the new folder; must not be there.
        base: folder of the model that it adapts; None: the one that the adapter names.

    Raises:
        NotFound: no such folder.
        Conflict: `output` is there, or the base is not the one that the adapter was trained on.
        BadInput: no adapter; one of an unknown kind; a base that is not there; tensors that do not fit.
        DiskFull: no space.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no folder {folder}.", hint="Name the model/ of a run that trained an adapter.")
    if not lora.is_adapter(folder):
        raise BadInput(
            f"{folder} holds no adapter: there is nothing to merge.",
            hint=f"An adapter's folder has {lora.CONFIG} and {lora.WEIGHTS}, and no config.json.",
        )
    if output.exists():
        raise Conflict(f"{output} is there already.", hint="Name another folder by --output, or remove that one.")
    opened = lora.open_folder(folder, base)
    assert opened.adapter is not None, "is_adapter said so"
    recorded = _recorded_digest(folder)
    if recorded is not None and (found := provenance.model_digest(opened.base)) != recorded:
        raise Conflict(
            f"{opened.base} is not the model that {folder} was trained on: {found} there, {recorded} then.",
            hint="Name the folder of that model: --base DIR.",
        )
    updated = {f"{module}.weight" for module in opened.adapter.modules()}
    with whole_folder(output) as partial:
        count = sum(_write(file, partial, opened.tensors, updated) for file in model_folder.weight_files(opened.base))
        kept = {path.name: path for path in opened.base.glob("*.json") if not path.name.startswith("tokenizer")}
        own = folder / model_folder.GENERATION
        for name in ("config.json", model_folder.GENERATION, "model.safetensors.index.json"):
            source = own if name == model_folder.GENERATION and own.is_file() else kept.get(name)
            if source is not None:
                with forced(partial / name) as file:
                    file.write(source.read_bytes())
        has_tokenizer = (folder / "tokenizer.json").is_file()
        model_folder.copy_tokenizer(folder if has_tokenizer else opened.base, partial)
    return MergedFolder(output, opened.base, len(updated), count, recorded is not None)


def _write(file: Path, partial: Path, merged: Mapping[str, NDArray[Any]], updated: set[str]) -> int:
    """Write one file of the base again; one tensor at a time is in memory."""
    stored = tensor_files.read(file)
    kinds = {name: (array.shape, array.dtype) for name, array in stored.items()}
    arrays = (
        np.asarray(merged[name]).astype(array.dtype, copy=False) if name in updated else array
        for name, array in stored.items()
    )
    with forced(partial / file.name) as written:
        tensor_files.write(written, kinds, arrays)
    return len(kinds)


def _recorded_digest(folder: Path) -> str | None:
    """The base's digest at the time of training: from the model card, or the run that the folder lies in."""
    known: str | None = card.base_digest(folder)
    if known is not None:
        return known
    path = folder.resolve().parent / "provenance.json"
    if folder.name != "model" or not path.is_file():
        return None
    try:
        found: str | None = jsontext.loads(path.read_bytes())["base_model"]["digest"]
    except (jsontext.NotJson, KeyError, TypeError):
        raise BadInput(
            f"{path} does not name the digest of the base model.", hint="Copy it again from where the run was."
        ) from None
    return found if isinstance(found, str) else None
