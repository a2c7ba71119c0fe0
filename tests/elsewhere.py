"""An accelerator that is none: what is moved to ``mps`` stays in the processor's memory, but is told apart from what was not.

As on a real one, tensors of both places cannot be mixed, what lies there cannot be made an array of, and double precision is not known.
Numbers are the processor's, so that what is computed there can be compared with what is computed here. Which operations a real one
knows, and how fast it is, nothing here can tell.
"""

import torch
from torch.overrides import TorchFunctionMode

KIND = "mps"

#: Operations that take tensors of both places: copies, and indices that lie on the processor.
MIXING = {"copy_", "__set__", "_has_compatible_shallow_copy_type", "__getitem__", "__setitem__"}


def tensors(value):
    """Yield the tensors in a value."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


class Elsewhere(TorchFunctionMode):
    """As long as it is entered, ``mps`` is such a place."""

    def __init__(self):
        super().__init__()
        self.storages = {}  # held, so that no other gets their number

    def holds(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor lies there."""
        return tensor.untyped_storage()._cdata in self.storages

    def bring(self, value):
        """Note that what is in a value lies there."""
        for tensor in tensors(value):
            if tensor.dtype == torch.float64:
                raise TypeError("double precision is not known elsewhere")
            storage = tensor.untyped_storage()
            self.storages[storage._cdata] = storage
        return value

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        given = list(tensors([args, kwargs]))
        far = [tensor for tensor in given if self.holds(tensor)]
        # a single number is taken from anywhere
        near = [tensor for tensor in given if tensor.dim() and not self.holds(tensor)]
        if func == torch.Tensor.device.__get__:
            return torch.device(KIND) if far else func(*args)
        if name in ("to", "cpu"):
            return self._moved(name, *args, **kwargs)
        if name in ("numpy", "__array__") and far:
            raise TypeError("what lies elsewhere is no array")
        if far and near and (name not in MIXING or (name.endswith("item__") and not self.holds(args[0]))):
            raise RuntimeError(f"{name}: tensors lie on the processor and elsewhere")
        asked = kwargs.get("device") if name != "_parse_to" else None
        if asked is not None:
            kwargs["device"] = "cpu"
        said = func(*args, **kwargs)
        there = (
            torch.device(asked).type == KIND if asked is not None else bool(far) and name not in ("copy_", "__set__")
        )
        return self.bring(said) if there else said

    def _moved(self, name, tensor, *words, device=None, dtype=None, **_):
        if name == "cpu":
            device = "cpu"
        for word in words:
            device = word if isinstance(word, (str, torch.device)) else device
            dtype = word if isinstance(word, torch.dtype) else dtype
        there = self.holds(tensor) if device is None else torch.device(device).type == KIND
        said = tensor if dtype is None else tensor.to(dtype)
        if said is tensor and there != self.holds(tensor):
            said = tensor.clone()
        return self.bring(said) if there else said
