"""A process's part in a training: all of it, by one device. `torch_team` has what several devices share."""

from typing import Any

from numpy.typing import NDArray

from tunix_rt.training.engines import Batch


class Alone:
    """A training by one device.

    Attributes:
        mesh: groups of devices, and devices of each.
        size: devices in all.
        first: whether this process is the one that tells and writes.
    """

    def __init__(self, mesh: tuple[int, int] = (1, 1), number: int = 0) -> None:
        self.mesh, self.size, self.first = mesh, mesh[0] * mesh[1], number == 0

    def divide(self, whole: Any, layers: Any) -> None:
        """Keep this device's part of a module's parameters, and put its layers together when they are called."""

    def share(self, batch: Batch) -> Batch:
        """This process's rows of a batch."""
        return batch

    def sum(self, values: Any) -> Any:
        """The sum of all processes' values."""
        return values

    def rows(self, array: NDArray[Any]) -> NDArray[Any]:
        """This device's rows of a parameter's numbers."""
        return array

    def own(self, value: Any) -> Any:
        """This device's rows of a parameter, or of what belongs to one, in place."""
        return value

    def whole(self, value: Any) -> Any:
        """All rows of what is divided."""
        return value


ALONE = Alone()
