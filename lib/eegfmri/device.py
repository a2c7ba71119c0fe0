"""Where networks are computed: on the processor, or on an accelerator where one is there and asked for.

Weights are always drawn on the processor and then moved, so that they begin alike on every device; sums are done in another order
there, and results differ in their last digits. Hence a device other than the processor is part of what results are kept under.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

from eegfmri import machine
from eegfmri.errors import RequestError

if TYPE_CHECKING:
    import torch

#: What can be asked for; ``auto`` is the first of cuda, mps and cpu that is there.
DEVICES = ("auto", "cpu", "cuda", "mps")

#: Environment variable that says which device is meant where nobody names one; ``eegfmri run --device`` sets it for the chapter.
VARIABLE = "EEGFMRI_DEVICE"


def resolve(device: str | None = None, where: str = "device") -> str:
    """Return the device that is meant.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"} or None
        What is asked for. None: what the environment variable `VARIABLE` says; cpu where it says nothing.
    where : str, default="device"
        What asks for it, for the sentence that refuses it.

    Returns
    -------
    {"cpu", "cuda", "mps"}
        Never ``auto``.

    Raises
    ------
    RequestError
        If there is no such device, or not here.

    Examples
    --------
    >>> resolve("cpu")
    'cpu'
    """
    if not device:
        device, where = os.environ.get(VARIABLE) or "cpu", VARIABLE
    if device not in DEVICES:
        raise RequestError(f"{where} must be one of {', '.join(DEVICES)}, not {device!r}.")
    if device == "cpu":
        return device
    # Nobody who asks for the processor waits for torch.
    import torch

    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device == "auto":
        return next((name for name, is_there in there.items() if is_there()), "cpu")
    if not there[device]():
        raise RequestError(
            f"{where}: torch finds no {device} device on this machine: ask for cpu, or for auto, which takes what is there."
        )
    return device


@contextmanager
def by_default(device: str) -> Iterator[None]:
    """Mean a device wherever nobody names one, here and in the processes that are started in the block."""
    with machine.variable(VARIABLE, device):
        yield


def described(device: str) -> str:
    """Return a resolved device as it stands beside results: ``cpu``, or the kind with the name of the card."""
    if device != "cuda":
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name()})"


def moved(value, device: "str | torch.device"):
    """Move tensors, in mappings too, to a device; what is no tensor stays as it is.

    Parameters
    ----------
    value : torch.Tensor, mapping of str to torch.Tensor, or None
        What is moved; on the device already, it is the same afterwards.
    device : str or torch.device
        Where to.

    Returns
    -------
    torch.Tensor, dict of str to torch.Tensor, or None
        As the value was.
    """
    if isinstance(value, Mapping):
        return {name: moved(part, device) for name, part in value.items()}
    return value.to(device) if hasattr(value, "to") else value


def of(module: "torch.nn.Module") -> "torch.device":
    """Return the device where a module's weights lie."""
    return next(chain(module.parameters(), module.buffers())).device


def wait(device: str) -> None:
    """Wait until an accelerator has done what it was given: before a clock is read."""
    if device == "cpu":
        return
    import torch

    getattr(torch, device).synchronize()
