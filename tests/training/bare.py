"""A module as a program of a machine where neither PyTorch nor transformers is installed.

    python -P tests/training/bare.py MODULE ARGUMENT ...

A training by JAX computes the same there. It starts in half the time, for Tunix loads a TensorBoard that loads PyTorch,
and compares nothing with transformers when it ends, which takes as long again as a small training.
"""

import runpy
import sys

COMMAND = [sys.executable, "-P", __file__]
ABSENT = ("peft", "torch", "transformers")


if __name__ == "__main__":
    sys.modules.update(dict.fromkeys(ABSENT))  # type: ignore[arg-type]  # None is Python's word for absent
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
