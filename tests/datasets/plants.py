"""Questions, and traces that hold them as they are, in other clothes, or with words changed."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from tunix_rt.datasets.contamination import Check, Findings
from tunix_rt.traces import sources

NAMES = ["Ada", "Boris", "Carla", "Dmitri", "Esther", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Keiko", "Lamar"]
GOODS = [
    "lemons",
    "kettles",
    "ribbons",
    "candles",
    "tyres",
    "saddles",
    "violins",
    "crates",
    "melons",
    "bricks",
    "mirrors",
]
PLACES = ["harbour", "market", "orchard", "workshop", "library", "station", "bakery", "valley", "theatre", "garage"]
VERBS = ["carries", "borrows", "paints", "repairs", "counts", "delivers", "hides", "polishes", "trades", "wraps"]
FILLERS = [
    "quietly",
    "before",
    "dawn",
    "after",
    "storms",
    "near",
    "an",
    "old",
    "bridge",
    "while",
    "it",
    "rains",
    "gladly",
]
STRANGE = [
    "tundra",
    "quartz",
    "velvet",
    "cobalt",
    "nimbus",
    "harvest",
    "pylon",
    "saffron",
    "cipher",
    "anchor",
    "willow",
]


def question(random: Random) -> str:
    """A question of some 45 words and five numbers, of no template: its words are drawn anew."""
    pick = random.choice
    told = []
    for _ in range(4):
        told.append(
            f"{pick(NAMES)} {pick(VERBS)} {random.randint(2, 990)} {pick(GOODS)} {' '.join(random.sample(FILLERS, 3))} "
            f"{pick(VERBS)} the {pick(PLACES)}."
        )
    return " ".join(told) + f" How many {pick(GOODS)} does {pick(NAMES)} have at {random.randint(2, 11)}?"


def questions(count: int, seed: int) -> list[str]:
    """Different questions."""
    random = Random(seed)
    return [question(random) for _ in range(count)]


def trace(number: int, prompt: str, *steps: str, answer: str = "7") -> dict[str, Any]:
    """A trace."""
    return {
        "id": f"trace-{number}",
        "prompt": prompt,
        "steps": [{"i": i, "type": "step", "content": step} for i, step in enumerate(steps)],
        "final_answer": answer,
    }


def changed(text: str, random: Random, how: str, share: float = 0.15) -> str:
    """Change a share of the words: `replace`, `delete`, `insert`, or `mix`."""
    words = text.split()
    places = random.sample(range(len(words)), max(1, round(share * len(words))))
    for place in sorted(places, reverse=True):
        match random.choice(("replace", "delete", "insert")) if how == "mix" else how:
            case "replace":
                words[place] = random.choice(STRANGE)
            case "delete":
                del words[place]
            case _:
                words.insert(place, random.choice(STRANGE))
    return " ".join(words)


def generated(source: str, count: int, seed: int, **options: Any) -> list[dict[str, Any]]:
    """Traces of a source, each another problem."""
    found = sources.load(source)
    made = found.generate(count, seed, found.options.model_validate(options))
    return [{"id": f"{source}-{number}", **made_trace} for number, made_trace in enumerate(made)]


def look(items: Sequence[str], traces: Iterable[dict[str, Any]]) -> Findings:
    """Look for questions in traces."""
    check = Check(items)
    check.add(traces)
    return check.findings()
