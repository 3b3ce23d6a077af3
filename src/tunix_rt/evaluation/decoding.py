"""The decoding of predictions: its digest, which is part of a board, its label, and what file and caller say of it."""

from dataclasses import dataclass

from tunix_rt.base.errors import Conflict, Fault
from tunix_rt.evaluation.files import Predictions
from tunix_rt.evaluation.schemas import Decoding
from tunix_rt.evaluation.sidecar import Sidecar
from tunix_rt.training import decoding as training

UNKNOWN = "unknown"
"""The digest of the decoding of predictions that say nothing of it."""
ACROSS = "If that is your question, compare them with --across-decodings (HTTP: across_decodings=true)."


def digest(decoding: Decoding) -> str:
    """See `training.decoding.digest`; `UNKNOWN` if no parameter is stated."""
    return training.digest(decoding.parameters) if decoding.parameters else UNKNOWN


@dataclass(frozen=True)
class Decoded:
    """The decoding of a set of predictions.

    Attributes:
        decoding: its parameters; none where only its digest is known, or nothing is.
        digest: `UNKNOWN` where nothing is known.
    """

    decoding: Decoding
    digest: str

    @property
    def label(self) -> str:
        """The decoding as people read it: `greedy, at most 256 new tokens`."""
        of = self.decoding
        words = []
        if of.temperature is not None:
            words.append("greedy" if of.temperature == 0 else f"temperature {of.temperature:g}")
        if of.top_p is not None:
            words.append(f"top-p {of.top_p:g}")
        if of.top_k is not None:
            words.append(f"top-k {of.top_k}")
        if of.max_new_tokens is not None:
            words.append(f"at most {of.max_new_tokens:,} new tokens")
        if of.samples is not None and of.samples > 1:
            words.append(f"{of.samples:,} samples an item")
        if words and of.samples is None:
            words.append("samples not stated")
        if words or of.samples is not None:
            return ", ".join(words) or "1 sample an item"
        return "decoding unknown" if self.digest == UNKNOWN else f"decoding {self.digest[:19]}"


def stated(decoding: Decoding) -> Decoded:
    """The decoding that has these parameters."""
    return Decoded(decoding, digest(decoding))


def resolve(given: Decoding, predictions: Predictions, sidecar: Sidecar | None, recorded: Decoding | None) -> Decoded:
    """Work out the decoding of uploaded predictions.

    Args:
        given: the parameters that the caller states.
        predictions: whose lines may name a digest.
        sidecar: that of the predictions, see `sidecar.check`.
        recorded: the parameters that an earlier evaluation has for the lines' digest.

    Raises:
        Conflict: the caller contradicts the file, or the file holds another number of samples than is stated.
    """
    known = sidecar.sampling if sidecar else recorded
    if known is not None:
        _check_given(given, known)
        if known.seed is None and known.temperature:
            known = known.model_copy(update={"seed": given.seed})
        found = stated(known)
    elif predictions.decoding is None:
        found = stated(given)
    elif not given.parameters:
        found = Decoded(Decoding(), predictions.decoding)
    else:
        found = _recovered(given, predictions)
    samples = found.decoding.samples
    if samples is not None and samples != predictions.samples:
        raise Conflict(
            f"The decoding has {samples:,} samples an item, but the predictions hold {predictions.samples:,}.",
            hint="Evaluate the file as it was generated, or state the number of samples that it holds.",
            faults=[Fault("samples", f"{samples:,} are stated; the highest `sample` is {predictions.samples - 1:,}")],
        )
    return found


def _check_given(given: Decoding, known: Decoding) -> None:
    """Refuse parameters that contradict the file's; a seed only where the file has one."""
    faults = [
        Fault(name, f"{value:g} was given, but the file " + ("has none" if of_file is None else f"has {of_file:g}"))
        for name, value in given.model_dump(exclude_none=True).items()
        for of_file in (getattr(known, name),)
        if value != of_file and not (name == "seed" and of_file is None)
    ]
    if faults:
        raise Conflict(
            f"What was given contradicts how the predictions were decoded: {stated(known).label}.",
            hint="Leave these parameters out: the file says how it was decoded.",
            faults=faults,
        )


def _recovered(given: Decoding, predictions: Predictions) -> Decoded:
    """The parameters behind the lines' digest, where the caller states them all."""
    complete = given if given.samples is not None else given.model_copy(update={"samples": predictions.samples})
    for decoding in (given, complete):
        if digest(decoding) == predictions.decoding:
            return stated(decoding)
    raise Conflict(
        f"What was given ({stated(given).label}) is not the decoding that the lines name: {predictions.decoding}.",
        hint="Leave these parameters out: the digest in the lines says which board the predictions belong to.",
    )


# --- two sets of predictions ------------------------------------------------------------------------------------


def check_alike(base: tuple[str, Decoded], other: tuple[str, Decoded]) -> None:
    """Check that two sets of predictions, by name, are not known to be decoded differently.

    Raises:
        Conflict: they are.
    """
    if len({base[1].digest, other[1].digest} - {UNKNOWN}) > 1:
        raise Conflict(
            f"{base[0]} and {other[0]} were decoded differently: {base[1].label}, and {other[1].label}.", hint=ACROSS
        )


def caveat(base: tuple[str, Decoded], other: tuple[str, Decoded]) -> str | None:
    """What their decodings mean for a comparison of two sets of predictions, by name.

    Returns:
        A sentence; None if both have the same known decoding.
    """
    if base[1].digest == other[1].digest == UNKNOWN:
        known = "The decoding of both is unknown"
    elif base[1].digest == other[1].digest:
        return None
    elif UNKNOWN in (base[1].digest, other[1].digest):
        (unknown, _), (name, decoded) = (base, other) if base[1].digest == UNKNOWN else (other, base)
        known = f"The decoding of {unknown} is unknown, that of {name} is {decoded.label}"
    else:
        known = f"Compared across decodings: {base[0]} is {base[1].label}, {other[0]} is {other[1].label}"
    return f"{known}; a difference may come from the decoding instead of the model."
