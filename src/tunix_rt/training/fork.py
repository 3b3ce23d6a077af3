"""A run that goes on from another one's parameters with a changed config, on purpose.

Parameters alone are taken. The optimizer, the schedule and the order of rows begin anew at step 0: momentum and a
learning rate that were gathered under another config would fit neither run, and could not be told from the figures.
"""

from pathlib import Path

from tunix_rt.base import jsontext, store
from tunix_rt.base.errors import BadInput, Conflict, NotFound
from tunix_rt.training import config as configs
from tunix_rt.training import provenance
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import manifests
from tunix_rt.training.folder import START, RunFolder, link_all, removed_on_error

_SHAPE = ("engine", "method", "lora", "model_id", "model", "tokenizer")
"""What decides the names, shapes and meaning of the parameters."""
_SOURCE_DATA = ("train_split", "eval_split")


def fork(path: Path, source: Path, config: TrainingConfig, device: str) -> RunFolder:
    """Write a run directory that starts from the newest whole checkpoint of another one, with its data and tokenizer.

    provenance.json names what it was: `forked_from: {run, step, digest}`.

    Args:
        path: a folder that does not exist yet, or is empty.
        source: the run directory to start from; it stays as it is.
        config: of the new run.
        device: what was asked for.

    Raises:
        NotFound: `source` holds no run, or no checkpoint.
        BadInput: none of its checkpoints is whole.
        Conflict: `path` holds something; or the config changes what a fork cannot change, each difference named.
    """
    if not (source / "config.yaml").exists():
        raise NotFound(f"{source} holds no run to fork.", hint="Name the folder of a run, with its config.yaml.")
    if path.exists() and any(path.iterdir()):
        raise Conflict(f"{path} holds other files already.", hint="Name another folder by --output.")
    old = RunFolder(source)
    _refuse_other_parameters(old, config)
    checkpoint, step = _newest(source)
    known = old.provenance
    kept = {name: known[name] for name in ("dataset", "train", "eval", "tokenizer") if name in known}
    origin = {
        "run": str(source.resolve()),
        "step": step,
        "digest": jsontext.loads((checkpoint / manifests.MANIFEST).read_bytes())["digest"],
    }
    with removed_on_error(path):
        for part, target in ((source / "data", "data"), (old.tokenizer, "tokenizer"), (checkpoint, START)):
            link_all(part, path / target)
        made = provenance.document(config, old.base, device)
        with store.whole(path / "provenance.json") as file:
            file.write(jsontext.dumps(kept | made | {"base_model": known["base_model"], "forked_from": origin}))
        with store.whole(path / "config.yaml") as file:  # last: a folder with one is ready to be trained
            file.write(configs.dump(config).encode())
    return RunFolder(path)


def _newest(source: Path) -> tuple[Path, int]:
    damage: BadInput | None = None
    for path in reversed(manifests.listed(source)):
        try:
            return path, manifests.verify(path).step
        except BadInput as error:
            damage = damage or error
    if damage:
        raise damage
    raise NotFound(
        f"{source} has no checkpoint to fork.",
        hint=f"Start from its result, where it has one: model_id: {source}/model",
    )


def _refuse_other_parameters(old: RunFolder, config: TrainingConfig) -> None:
    before, asked = old.config.model_dump(mode="json"), config.model_dump(mode="json")
    there = {name: before[name] for name in _SHAPE} | {"data": {name: before["data"][name] for name in _SOURCE_DATA}}
    here = {name: asked[name] for name in _SHAPE} | {"data": {name: asked["data"][name] for name in _SOURCE_DATA}}
    stored, wanted = configs.flat(there), configs.flat(here)
    changed = [f"{key}: {stored[key]!r} there, {wanted[key]!r} asked" for key in stored if stored[key] != wanted[key]]
    dataset = old.provenance["dataset"]["dataset_key"]
    if config.dataset not in (None, dataset, old.config.dataset):
        changed.append(f"dataset: {dataset!r} there, {config.dataset!r} asked")
    if changed:
        raise Conflict(
            f"A fork of {old.path} keeps its model, method, tokenizer and data:\n  " + "\n  ".join(changed),
            hint=f"To train its result on other data or by another method: model_id: {old.path}/model",
        )
