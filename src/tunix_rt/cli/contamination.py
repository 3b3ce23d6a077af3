"""`tunix-rt datasets contamination`: which questions of an eval set stand in a data set's training traces."""

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import click

from tunix_rt.base import jsontext
from tunix_rt.cli import door, show

BATCH = 1000


@click.command()
@click.argument("key")
@click.option("--eval-set", "eval_set", required=True, type=click.Path(path_type=Path), help="JSONL file of items.")
@click.option("--split", default="train", show_default=True, help="Where to look.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Items to name in the table.")
@show.json_option
@click.pass_obj
def contamination(obj: dict[str, Any], key: str, eval_set: Path, split: str, limit: int, as_json: bool) -> None:
    """Find items of an eval set in the traces of data set KEY: copied, or with words changed."""
    from tunix_rt.datasets.contamination import Check  # numpy and more, which no other command needs to load
    from tunix_rt.evaluation import files

    items = files.read_eval_set(eval_set)
    check = Check([item.prompt for item in items])

    async def work() -> None:
        params = {"format": "trace", "split": split}
        path = f"/api/datasets/{door.quote(key)}/export.jsonl"
        async with door.client(obj["url"]) as api, door.stream(api, path, params=params) as chunks:
            batch: list[Any] = []
            size = 0
            async for _, line in jsontext.alines(chunks):
                batch.append(jsontext.loads(line or b""))
                size += len(line or b"")
                if len(batch) == BATCH or size > 2**20:
                    check.add(batch)
                    batch, size = [], 0
            check.add(batch)

    door.run(work())
    findings = check.findings()
    rows = [{"id": items[at].id, **asdict(overlap)} for at, overlap in findings.overlaps.items()]
    summary = findings.summary()
    if as_json:
        head = {"dataset_key": key, "split": split, "eval_set": files.digest(items)}
        show.document(head | summary | {"items": rows})
        return
    show.table(
        ["overlap", "items"],
        [*([kind, count] for kind, count in summary["kinds"].items()), ["of all", summary["n_items"]]],
        right=["items"],
    )
    if rows:
        click.echo()
        show.table(
            ["item", "overlap", "share", "trace"],
            [[row["id"], row["kind"], f"{row['share']:.0%}", row["trace"]] for row in islice(rows, limit)],
            right=["share"],
        )
    show.say(
        f"{len(rows)} of {summary['n_items']} items stand in {summary['n_traces']} traces of {key} ({split})"
        + (f"; {limit} are named, --limit shows more." if len(rows) > limit else ".")
    )
