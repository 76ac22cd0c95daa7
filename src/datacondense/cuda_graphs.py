"""Work that a CUDA GPU does without waiting for Python: captured functions, streams side by side, copies ahead.

A CUDA graph is a list of kernels with the addresses they read and write. Replaying one costs a single launch, but only
works on tensors that stay where they are, and repeats no Python. On other devices every function is called as it is.
"""

import warnings
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

T = TypeVar("T")
Capture: TypeAlias = Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]
"""From a function over fixed tensors to its replay, and the tensors that each replay writes."""

MOST_SIDE_BY_SIDE = 32  # streams that torch has of one priority
_WARM_UP_CALLS = 3  # before capture, for what libraries allocate and decide in their first calls
_free_streams: dict[torch.device, list[torch.cuda.Stream]] = {}


class Captured:
    """A function over tensors that stay where they are, to be run again and again.

    Attributes:
        inputs: The tensors, as they were given; what is copied into them is what the next replay sees.
    """

    def __init__(self, function: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
        self.inputs = inputs
        # Kept beside a graph too, which knows the addresses of what the function refers to but keeps nothing alive.
        self._function = function
        self._graph: tuple[Callable[[], None], Any] | None = None

    def replay(self) -> Any:
        """Run it once; return its outputs, which hold until anything of the same `CudaGraphs` is replayed."""
        if self._graph is None:
            return self._function(*self.inputs)
        replay, outputs = self._graph
        replay()
        return outputs


class CudaGraphs:
    """The functions that one run has captured.

    Arguments and results of functions are tensors, or tuples, lists and dicts of these. A function must not wait for
    the device, depend on Python beside its key, or be called by two threads at once; a tensor that is no argument
    remains that of the first call. Where capture fails the function is called as it is.

    Attributes:
        eager: Why a function is called as it is although the device captures, by key.
    """

    def __init__(self, device: torch.device | str, *, capture: Capture | None = None) -> None:
        device = torch.device(device)
        if capture is None and device.type == "cuda":
            capture = _CudaCapture(device)
        self.eager: dict[Hashable, str] = {}
        self._capture = capture
        self._static: dict[Hashable, list[Tensor]] = {}
        self._captured: dict[Hashable, Captured] = {}

    @property
    def captures(self) -> bool:
        """Whether this device captures at all."""
        return self._capture is not None

    def replay(self, key: Hashable, function: Callable[..., T], *arguments: Any) -> T:
        """Return the result of a pure function, captured at the first call for this key and these shapes and dtypes.

        Args:
            key: What the function is, and every constant in it.
            function: The function of the arguments; it changes none of them.
            *arguments: On this device; their values are copied into the tensors that the graph reads.

        Returns:
            The result, in new tensors.
        """
        if self._capture is None or key in self.eager:
            return function(*arguments)
        captured = self.captured(key, function, *self.static(key, arguments))
        return cast(T, tree_map(torch.clone, captured.replay()))

    def static(self, key: Hashable, values: T) -> T:
        """Return tensors of these values that stay where they are: the same ones for a key, structure and shapes.

        Args:
            key: What they are for.
            values: Tensors on this device; copied.

        Returns:
            The tensors, which a later call for the same key overwrites; the values themselves where nothing captures.
        """
        if self._capture is None:
            return values
        leaves, structure = tree_flatten(values)
        signature = (key, repr(structure), tuple((leaf.shape, leaf.dtype) for leaf in leaves))
        with torch.no_grad():
            if signature not in self._static:
                self._static[signature] = [leaf.detach().clone() for leaf in leaves]
            elif leaves:
                torch._foreach_copy_(self._static[signature], leaves)
        return cast(T, tree_unflatten(self._static[signature], structure))

    def captured(self, key: Hashable, function: Callable[..., Any], *inputs: Any) -> Captured:
        """Return a function captured over these very tensors, which it may change in place.

        Args:
            key: What the function is, and every constant in it.
            function: The function of the inputs.
            *inputs: Tensors that stay where they are, such as from `static`; capture leaves their values alone.

        Returns:
            The captured function, the same one for the same tensors.
        """
        if self._capture is None:
            return Captured(function, inputs)
        leaves, structure = tree_flatten(inputs)
        signature = (key, repr(structure), tuple(map(id, leaves)))
        if signature not in self._captured:
            captured = Captured(function, inputs)
            if key not in self.eager:
                captured._graph = self._graph(key, partial(function, *inputs), leaves, self._capture)
            self._captured[signature] = captured
        return self._captured[signature]

    def _graph(
        self, key: Hashable, run: Callable[[], Any], leaves: list[Tensor], capture: Capture
    ) -> tuple[Callable[[], None], Any] | None:
        """Capture a function; None where that fails."""
        # Capture calls the function a few times, which may change its inputs.
        before = [leaf.detach().clone() for leaf in leaves]
        try:
            return capture(run)
        except RuntimeError as error:
            self.eager[key] = str(error).partition("\n")[0]
            return None
        finally:
            for leaf, value in zip(leaves, before, strict=True):
                leaf.detach().copy_(value)


def side_by_side(functions: Sequence[Callable[[], T]], device: torch.device | str) -> list[T]:
    """Return the results of functions that do not depend on each other; on CUDA each runs on a stream of its own.

    Within a captured function they become branches of its graph. What each computes is the same as one by one.

    Args:
        functions: The functions.
        device: Where they compute.

    Returns:
        Their results, in order.
    """
    device = torch.device(device)
    if device.type != "cuda" or len(functions) == 1:
        return [function() for function in functions]
    current = torch.cuda.current_stream(device)
    streams = [_branch(device, number) for number in range(min(len(functions), MOST_SIDE_BY_SIDE))]
    for stream in streams:
        stream.wait_stream(current)
    results = []
    for number, function in enumerate(functions):
        with torch.cuda.stream(streams[number % len(streams)]):
            results.append(function())
    for stream in streams:
        current.wait_stream(stream)
    return results


def fitting(run: Callable[[], object], device: torch.device) -> int:
    """Return how many calls of a function fit side by side into half of the memory that a GPU has free; at least 1.

    Args:
        run: The function; called once where the device is a GPU.
        device: Where it computes.

    Returns:
        The number, `MOST_SIDE_BY_SIDE` at most.
    """
    if device.type != "cuda":
        return MOST_SIDE_BY_SIDE
    before = torch.cuda.memory_stats(device)
    run()
    after = torch.cuda.memory_stats(device)
    # All that was allocated on the way: more than the peak, but the peak itself is somebody else's to reset.
    taken: int = after["allocated_bytes.all.allocated"] - before["allocated_bytes.all.allocated"]
    unused: int = after["reserved_bytes.all.current"] - after["allocated_bytes.all.current"]
    free = torch.cuda.mem_get_info(device)[0] + unused
    return max(1, min(MOST_SIDE_BY_SIDE, free // 2 // max(1, taken)))


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return a CPU tensor on a device, without waiting for what that device is computing."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class _CudaCapture:
    """What touches CUDA: captures functions on one device as graphs that share memory.

    They may share it because they never run at once, and no output is read after another one's replay.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None

    def __call__(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        with torch.cuda.device(self._device):
            if self._stream is None:
                self._stream = self._own_stream()
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            stream, current = self._stream, torch.cuda.current_stream()
            stream.wait_stream(current)
            try:
                # On the stream of the capture: some libraries set themselves up for each stream.
                with torch.cuda.stream(stream):
                    for _ in range(_WARM_UP_CALLS - 1):
                        run()
                    with _refused_waiting():
                        run()
            finally:
                current.wait_stream(stream)
            return self._graph(run, stream)

    def _graph(self, run: Callable[[], Any], stream: torch.cuda.Stream) -> tuple[Callable[[], None], Any]:
        graph, pool = torch.cuda.CUDAGraph(), self._pool
        # Memory that a failed capture was recording to takes no other.
        self._pool = None
        # The outer context restores the stream where a failed capture does not reach the end of the inner one.
        with torch.cuda.stream(stream), torch.cuda.graph(graph, pool=pool, stream=stream):
            # Without what autograd saved, whose memory the graph can use again.
            outputs = tree_map(Tensor.detach, run())
        self._pool = pool
        return graph.replay, outputs

    def _own_stream(self) -> torch.cuda.Stream:
        """Return a stream on which no other live graph was captured.

        Some releases of torch free a stream's workspaces with the first of its graphs (pytorch issue 193402).
        """
        free = _free_streams.setdefault(self._device, [])
        # Of another priority than the branches, because streams of one priority are reused.
        stream = free.pop() if free else torch.cuda.Stream(priority=-1)
        weakref.finalize(self, free.append, stream)
        return stream


@contextmanager
def _refused_waiting() -> Iterator[None]:
    """Raise where a function waits for the device: a capture that fails at it would leave torch in disorder."""
    before = torch.cuda.get_sync_debug_mode()
    _set_sync_debug_mode("error")
    try:
        yield
    finally:
        _set_sync_debug_mode(before)


def _set_sync_debug_mode(mode: int | str) -> None:
    with warnings.catch_warnings(action="ignore"):  # torch calls this mode a prototype
        torch.cuda.set_sync_debug_mode(mode)


@cache
def _branch(device: torch.device, number: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
