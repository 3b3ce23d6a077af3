"""Time spent by JAX on tracing and compiling, which happen inside the first call of a program."""

import jax

_spans: list[tuple[float, float]] = []  # (start, stop) since the last `take`, by stop; none lies within another


def take() -> float:
    """Return the seconds spent on compiling since the last call."""
    total = sum(stop - start for start, stop in _spans)
    _spans.clear()
    return total


def _record(event: str, start: float, stop: float, **_: str | int) -> None:
    if not event.startswith("/jax/core/compile/"):
        return
    while _spans and _spans[-1][0] >= start:  # of a function traced within this one
        _spans.pop()
    _spans.append((start, stop))


# Registered once per process: JAX never drops a listener, and one per training would keep that training's arrays.
jax.monitoring.register_event_time_span_listener(_record)
