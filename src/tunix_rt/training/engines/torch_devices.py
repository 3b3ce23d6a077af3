"""Which device PyTorch computes on, and what makes its sums the same each time."""

import os
from typing import Any

import torch

from tunix_rt.base.errors import BadInput

_KINDS = ("auto", "cpu", "gpu", "tpu")
_GET_GPU = (
    "With an NVIDIA driver, install a CUDA build: pip install torch --index-url "
    "https://download.pytorch.org/whl/cu128. On Kaggle: Settings > Accelerator > GPU; on Colab: Runtime > Change "
    "runtime type > GPU."
)
_GET_TPU = "TPUs are computed on by the other engine; set engine: tunix."

_chosen: list[Any] = []  # the one device, once it was asked for


def choose(wanted: str) -> list[str]:
    """Compute on a device of a kind from here on; see `Engine.devices`. Of several GPUs the first one is taken."""
    if wanted not in _KINDS:
        raise BadInput(f"There is no kind of device {wanted!r}. We have: {', '.join(_KINDS)}.")
    there = torch.cuda.is_available()
    if wanted == "tpu" or (wanted == "gpu" and not there):
        found = ", ".join(_described(device) for device in _present())
        raise BadInput(
            f"PyTorch has no {wanted} here. There is: {found}.", hint=_GET_TPU if wanted == "tpu" else _GET_GPU
        )
    _chosen[:] = [torch.device("cuda:0" if there and wanted != "cpu" else "cpu")]
    return [_described(_chosen[0])]


def device() -> Any:
    """The device that computes."""
    if not _chosen:
        choose("auto")
    return _chosen[0]


def make_exact() -> None:
    """Make sums come out the same each time: fixed threads, deterministic algorithms, full products of float32.

    What CUDA has no deterministic algorithm for is told as a warning, not refused. cuBLAS reads its setting when its
    first handle is made, which is later.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads())
    torch.use_deterministic_algorithms(True, warn_only=device().type == "cuda")
    torch.utils.deterministic.fill_uninitialized_memory = False  # we read nothing that was not written
    torch.set_float32_matmul_precision("highest")


def threads() -> int:
    """Cores that this process may use; sums are divided among as many threads, so they decide the last bits."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


def machine() -> dict[str, Any]:
    """What decides the last bits of a training besides its inputs."""
    return {"device": _kind(device()), "devices": 1, "threads": threads()}


def _present() -> list[Any]:
    return [torch.device("cpu")] + [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def _described(device: Any) -> str:
    return f"{'gpu' if device.type == 'cuda' else 'cpu'}:{device.index or 0} {_kind(device)}"


def _kind(device: Any) -> str:
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else "cpu"
