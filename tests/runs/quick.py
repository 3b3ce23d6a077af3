"""`tunix-rt` that is ready at once: its workers look for no devices, which takes a process that loads an engine.

    python quick.py trained serve ...    as tunix-rt, and its trainings find no PyTorch
    python quick.py played serve ...     and its trainings are played
    python quick.py play FOLDER          a played training, what its workers start

A played training does 20 steps a second, makes a checkpoint every 5 and on SIGUSR1, answers its samples every 20, goes
on from the newest checkpoint, stops on SIGTERM, and writes a file `overlap` where it meets another one in its folder.
"""

import fcntl
import functools
import sys
import time
from pathlib import Path

from tunix_rt import worker
from tunix_rt.cli import main, supervise
from tunix_rt.cli import worker as worker_command
from tunix_rt.training import lifeline, signals
from tunix_rt.training.events import EventLog
from tunix_rt.training.folder import RunFolder

BARE = str(Path(__file__).parents[1] / "training" / "bare.py")
STEP_SECONDS = 0.05
CHECKPOINT_STEPS = 5
SAMPLE_STEPS = 20


def play(path: Path) -> int:
    """Train nothing, as a training does."""
    stopping, saving = signals.install(), signals.install_saving()
    lifeline.hold()
    folder = RunFolder(path)
    lock = (path / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        (path / "overlap").touch()
    checkpoints = folder.checkpoints()
    step = int(checkpoints[-1].name.removeprefix("step-")) if checkpoints else 0
    total, log = folder.config.steps or 0, EventLog(folder.events)
    log.emit("plan", steps=total, resumed_from=checkpoints[-1].name if checkpoints else None)
    while step < total:
        time.sleep(STEP_SECONDS)
        step += 1
        log.emit("step", step=step, loss=1 / step, step_seconds=STEP_SECONDS)
        print(f"step {step}", flush=True)
        if folder.config.samples and step % SAMPLE_STEPS == 0:
            log.emit("eval", step=step, loss=1 / step + 0.1, tokens=100)
            answer(log, step, folder.config.samples)
        if stopping() or saving() or step % CHECKPOINT_STEPS == 0 or step == total:
            (path / "checkpoints" / f"step-{step:08d}").mkdir(parents=True, exist_ok=True)
        if stopping():
            log.emit("end", reason="stopped", step=step)
            return 130
    log.emit("end", reason="completed", step=step)
    return 0


def answer(log: EventLog, step: int, samples: int) -> None:
    """What a training that has learnt nothing yet answers."""
    for number in range(samples):
        said = f"Reasoning:\n1. {number} + 1 = {number + step}\nAnswer: {number + step}"
        log.emit("sample", step=step, prompt=f"What is {number} + 1?", output=said, finish_reason="stop")


def played(folder: Path, dry: bool) -> list[str]:
    """What a worker starts to play a training."""
    return [sys.executable, "-P", __file__, "play", str(folder)]


def trained(folder: Path, dry: bool) -> list[str]:
    """What a worker starts to train."""
    return [sys.executable, "-P", BARE, "tunix_rt.training.process", str(folder), *(["--plan"] if dry else [])]


async def no_probe(_: object) -> None:
    """In place of looking for devices."""


def serve(kind: str) -> None:
    """As `tunix-rt`."""
    supervise.command = lambda name, parent_fd: [
        *(sys.executable, __file__, kind, "worker", "--name", name, "--parent-fd", str(parent_fd))
    ]
    vars(worker_command)["main"] = functools.partial(worker.main, command=played if kind == "played" else trained)
    worker._Worker._probe = no_probe  # type: ignore[assignment,method-assign]  # a stand-in
    main.main()


if __name__ == "__main__":
    first = sys.argv.pop(1)
    if first == "play":
        sys.exit(play(Path(sys.argv[1])))
    serve(first)
