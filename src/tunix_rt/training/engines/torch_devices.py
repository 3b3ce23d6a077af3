"""Which devices PyTorch computes on, and what makes its sums the same each time."""

import os
from typing import Any

import torch

from tunix_rt.base.errors import BadInput
from tunix_rt.training.config import MeshChoice

_KINDS = ("auto", "cpu", "gpu", "tpu")
_GET_GPU = (
    "With an NVIDIA driver, install a CUDA build: pip install torch --index-url "
    "https://download.pytorch.org/whl/cu128. On Kaggle: Settings > Accelerator > GPU; on Colab: Runtime > Change "
    "runtime type > GPU."
)
_GET_TPU = "TPUs are computed on by the other engine; set engine: tunix."

_chosen: list[Any] = []  # once they were asked for; a process that shares a training with others has one


def choose(wanted: str) -> list[str]:
    """Compute on devices of a kind from here on; see `Engine.devices`."""
    if wanted not in _KINDS:
        raise BadInput(f"There is no kind of device {wanted!r}. We have: {', '.join(_KINDS)}.")
    there = torch.cuda.is_available()
    if wanted == "tpu" or (wanted == "gpu" and not there):
        found = ", ".join(_described(device) for device in _present())
        raise BadInput(
            f"PyTorch has no {wanted} here. There is: {found}.", hint=_GET_TPU if wanted == "tpu" else _GET_GPU
        )
    _chosen[:] = _gpus() if there and wanted != "cpu" else [torch.device("cpu")]
    return [_described(device) for device in _chosen]


def device() -> Any:
    """The device that computes; of several the first."""
    return _all()[0]


def mesh(choice: MeshChoice) -> tuple[int, int]:
    """How many groups of devices divide the rows, and how many devices of a group the parameters too.

    Of a CPU there are as many as are asked for: processes that share its cores.

    Raises:
        BadInput: there are more or fewer devices than the mesh has.
    """
    found = _all()
    if found[0].type == "cpu":
        return choice.data, choice.fsdp or 1
    fsdp = choice.fsdp or max(1, len(found) // choice.data)
    if choice.data * fsdp != len(found):
        raise BadInput(
            f"The mesh of data {choice.data} x fsdp {fsdp} is of {choice.data * fsdp} devices, and there are "
            f"{len(found)}: {', '.join(map(_described, found))}.",
            hint="Change mesh so that the product is the number of devices, or show fewer by CUDA_VISIBLE_DEVICES; "
            "fsdp: null takes those that are left.",
        )
    return choice.data, fsdp


def take(kind: str, number: int) -> None:
    """Compute on one device of several from here on."""
    _chosen[:] = [torch.device(kind, number) if kind == "cuda" else torch.device(kind)]
    if kind == "cuda":
        torch.cuda.set_device(number)


def make_exact(processes: int = 1) -> None:
    """Make sums come out the same each time: fixed threads, deterministic algorithms, full products of float32.

    Args:
        processes: that share the cores.

    What CUDA has no deterministic algorithm for is told as a warning, not refused. cuBLAS reads its setting when its
    first handle is made, which is later.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(max(1, threads() // processes))
    torch.use_deterministic_algorithms(True, warn_only=device().type == "cuda")
    torch.utils.deterministic.fill_uninitialized_memory = False  # we read nothing that was not written
    torch.set_float32_matmul_precision("highest")


def threads() -> int:
    """Cores that this process may use; sums are divided among as many threads, so they decide the last bits."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


def machine(mesh: tuple[int, int] = (1, 1)) -> dict[str, Any]:
    """What decides the last bits of a training besides its inputs."""
    shape = None if mesh == (1, 1) else {"data": mesh[0], "fsdp": mesh[1]}
    return {"device": _kind(device()), "devices": mesh[0] * mesh[1], "mesh": shape, "threads": threads()}


def _all() -> list[Any]:
    if not _chosen:
        choose("auto")
    return _chosen


def _present() -> list[Any]:
    return [torch.device("cpu"), *_gpus()]


def _gpus() -> list[Any]:
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def _described(device: Any) -> str:
    return f"{'gpu' if device.type == 'cuda' else 'cpu'}:{device.index or 0} {_kind(device)}"


def _kind(device: Any) -> str:
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else "cpu"
