"""What a module's forward does with its input, observed while it runs.

In: a torch module, the submodules to take as wholes, and probe spikes. Out: the calls and
operations that lead from the input to the output, as a list of :class:`Node`. Any Python is allowed
in ``forward``: it is run, not read. What is not on that path (logs, counts) does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.overrides import TorchFunctionMode

from pipeline.errors import UnsupportedLayerError

_ADDING = {"add", "add_", "__add__", "__radd__", "__iadd__"}
_JOINING = {"cat", "concat", "concatenate"}
# they give their operand on, at most reshaped before its time axis; that they did is checked
_PASSING = {
    "reshape", "view", "view_as", "flatten", "unflatten", "unsqueeze", "squeeze", "contiguous",
    "clone", "detach", "float", "to", "type", "dropout", "dropout1d", "dropout2d", "dropout3d",
    "alias", "requires_grad_", "__get__", "expand_as", "type_as", "cpu",
}

Kind = Literal["input", "call", "add", "concat", "pass", "other"]


@dataclass(frozen=True)
class Node:
    """One value on its way.

    Attributes
    ----------
    name : of the submodule that was called, or of the operation
    sources : positions of the nodes it was made from
    shape : without batch and time
    """

    kind: Kind
    name: str
    sources: tuple[int, ...]
    shape: tuple[int, ...]


def observe(
    module: torch.nn.Module, leaves: dict[str, torch.nn.Module], spikes: torch.Tensor
) -> list[Node]:
    """Return the nodes from the input, the first, to the output, the last.

    Parameters
    ----------
    leaves : submodules by name that are calls, not to be looked into
    spikes : (1, *input_shape, t) float

    Raises
    ------
    UnsupportedLayerError
        If the output is not made from the input by calls, sums, concatenation and reshaping.
    """
    observer = _Observer(spikes)
    hooks = []
    for name, leaf in leaves.items():
        hooks.append(leaf.register_forward_pre_hook(observer.enter(name)))
        hooks.append(leaf.register_forward_hook(observer.leave(name)))
    try:
        with torch.no_grad(), observer:
            returned = module(spikes)
    finally:
        for hook in hooks:
            hook.remove()
    output = returned[0] if isinstance(returned, tuple) and returned else returned
    if not isinstance(output, torch.Tensor):
        raise UnsupportedLayerError(
            f"after '{observer.nodes[-1].name}': the module's forward returns a "
            f"{type(returned).__name__}; it must return the output spikes, alone or first"
        )
    return _path(observer.nodes, observer.position(output, "the module's output"))


class _Observer(TorchFunctionMode):
    """Records what is done to values that come from the input."""

    def __init__(self, spikes: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[Node] = []
        self._position: dict[int, int] = {}
        # an id is only unique while its object lives; the copy tells if it was altered later
        self._held: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._depth = 0
        self._received: tuple[int, ...] = ()
        self._called: set[str] = set()
        self._add(Node("input", "input", (), tuple(spikes.shape[1:-1])), spikes)

    def position(self, tensor: torch.Tensor, what: str) -> int:
        """Return the node of a value."""
        if id(tensor) not in self._position:
            raise UnsupportedLayerError(
                f"{what} is not made from the module's input by operations that could be followed"
            )
        position = self._position[id(tensor)]
        if not torch.equal(*self._held[position]):
            raise UnsupportedLayerError(
                f"{what} was altered in place after '{self.nodes[position].name}'; write the "
                "operation with its result, y = f(x), so that it can be followed"
            )
        return position

    def enter(self, name: str) -> Callable[..., None]:
        """Return the hook that a call begins with."""
        def hook(_: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            self._depth += 1  # what is done in here is not the module's doing
            if self._depth == 1:
                if name in self._called:
                    raise UnsupportedLayerError(
                        f"layer '{name}': called more than once in the module's forward; shared "
                        "layers are not supported, use one block per call"
                    )
                self._called.add(name)
                self._received = tuple(
                    self.position(given, f"layer '{name}': its input")
                    for given in args if isinstance(given, torch.Tensor))

        return hook

    def leave(self, name: str) -> Callable[..., None]:
        """Return the hook that a call ends with."""
        def hook(_: torch.nn.Module, __: Any, output: Any) -> None:
            if self._depth == 1:
                node = Node("call", name, self._received, tuple(output.shape[1:-1]))
                self._add(node, output)
            self._depth -= 1

        return hook

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation, and record it if it works on a value that is followed."""
        kwargs = kwargs or {}
        if self._depth:
            return func(*args, **kwargs)
        operands = [t for t in _tensors((args, kwargs)) if id(t) in self._position]
        sources = tuple(self.position(t, f"the operand of '{func.__name__}'") for t in operands)
        # in-place operations change their operand: what is compared is compared with a copy
        before = operands[0].clone() if len(operands) == 1 else None
        result = func(*args, **kwargs)
        if operands and isinstance(result, torch.Tensor) and result.dim() > 1:
            kind = _kind(func.__name__, args, kwargs, operands, before, result)
            self._add(Node(kind, func.__name__, sources, tuple(result.shape[1:-1])), result)
        return result

    def _add(self, node: Node, tensor: torch.Tensor) -> None:
        self._position[id(tensor)] = len(self.nodes)
        self._held.append((tensor, tensor.clone()))
        self.nodes.append(node)


def _kind(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], operands: list[torch.Tensor],
    before: torch.Tensor | None, result: torch.Tensor,
) -> Kind:
    """Return what an operation is to the network; ``other`` for what it cannot express."""
    if name in _JOINING and len(operands) == len(args[0]):
        axis = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0))
        return "concat" if axis % result.dim() == 1 and result.dim() > 2 else "other"
    if name in _ADDING and kwargs.get("alpha", 1) == 1:
        if len(operands) == 2 and operands[0].shape == operands[1].shape == result.shape:
            return "add"
        others = [a for a in (*args, *kwargs.values()) if not isinstance(a, torch.Tensor)]
        # sum([a, b]) begins with 0 + a
        return "pass" if len(operands) == 1 and others == [0] else "other"
    if name in _PASSING and before is not None and result.dim() > 2 \
            and result.shape[0] == before.shape[0] and result.shape[-1] == before.shape[-1] \
            and math.prod(result.shape) == math.prod(before.shape) \
            and torch.equal(result.flatten(1, -2), before.flatten(1, -2)):
        return "pass"
    return "other"


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def _path(nodes: list[Node], output: int) -> list[Node]:
    """Return the nodes that the output is made from, in order, with new positions."""
    used, waiting = set(), [output]
    while waiting:
        position = waiting.pop()
        if position not in used:
            used.add(position)
            waiting.extend(nodes[position].sources)
    kept = sorted(used)
    new = {position: index for index, position in enumerate(kept)}
    path = [
        Node(nodes[p].kind, nodes[p].name, tuple(new[s] for s in nodes[p].sources), nodes[p].shape)
        for p in kept
    ]
    for node in path:
        if node.kind == "other":
            before = path[node.sources[0]]
            raise UnsupportedLayerError(
                f"after '{before.name}': the module's forward applies '{node.name}', which no "
                "neuron core can; supported between blocks are sums, concatenation of channels "
                "and reshaping before the time axis"
            )
    return path
