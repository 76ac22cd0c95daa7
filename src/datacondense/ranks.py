"""Processes that share one run: which of them this is, and what they exchange, through `torch.distributed`.

Each process is a rank of the process group that the caller initialised. Without one there is a single rank, and nothing
is exchanged. Texts travel as JSON and numbers as tensors, so that no process reads another's pickle.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from datacondense.errors import InputError

T = TypeVar("T")
TensorsT = TypeVar("TensorsT", bound=tuple[Tensor, ...])


class LostRankError(RuntimeError):
    """Another rank ended, or cannot be reached; what this one has done so far is kept."""

    def __init__(self) -> None:
        super().__init__(
            "Another process of this run ended or cannot be reached: read what it printed, and continue with --resume."
        )


@dataclass(frozen=True)
class Ranks:
    """One of several processes that share a run; every one of them makes the same calls in the same order.

    Attributes:
        rank: Which of them this is, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes files, prints and decides."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """Return which of `total` things are this rank's: shares follow each other, as equal as can be."""
        return range(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    @contextmanager
    def joint(self) -> Iterator[None]:
        """Make an InputError of one rank that of all; nothing is exchanged within."""
        own: InputError | None = None
        try:
            yield
        except InputError as error:
            if self.size == 1:
                raise
            own = error
        if self.size > 1:
            self._raise_first(self._bytes_of_each(b"" if own is None else str(own).encode()), own)

    def of_first(self, compute: Callable[[], T]) -> T:
        """Return plain JSON values that the first rank computes; its InputError is everyone's."""
        if self.size == 1:
            return compute()
        content: dict[str, Any] = {}
        own: InputError | None = None
        if self.is_first:
            try:
                content["value"] = compute()
            except InputError as error:
                own, content = error, {"error": str(error)}
        text = self.bytes_of_first(json.dumps(content).encode())
        if own is not None:
            raise own
        received: dict[str, T] = json.loads(text)
        if "error" in received:
            raise InputError(str(received["error"]))
        return content["value"] if self.is_first else received["value"]

    def bytes_of_first(self, content: bytes) -> bytes:
        """Return the bytes that the first rank has; what the others pass is not looked at."""
        if self.size == 1:
            return content
        length = int(self._sent_by_first(torch.tensor([len(content)])))
        own = _as_tensor(content) if self.is_first else torch.empty(length, dtype=torch.uint8)
        return _as_bytes(self._sent_by_first(own))

    def tensors_of_first(
        self, tensors: Mapping[str, Tensor], device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """Return the tensors by name that the first rank has, on a device of this one."""
        if self.size == 1:
            return {name: tensor.to(device) for name, tensor in tensors.items()}
        kinds: list[Any] = [[name, str(each.dtype), list(each.shape)] for name, each in tensors.items()]
        found: dict[str, Tensor] = {}
        for name, dtype, shape in self.of_first(lambda: kinds):
            kind = getattr(torch, dtype.removeprefix("torch."))
            empty = torch.empty(shape, dtype=kind, device=device)
            own = tensors[name].to(device).contiguous() if self.is_first else empty
            found[name] = self._sent_by_first(own)
        return found

    def gathered(self, total: int, compute: Callable[[range], TensorsT]) -> TensorsT:
        """Share out a computation that returns tensors with one row for each of some positions.

        Args:
            total: How many positions there are.
            compute: From positions that follow each other to the tensors; it exchanges nothing.

        Returns:
            The tensors of all positions, in order, on every rank.

        Raises:
            InputError: That of any rank.
        """
        if self.size == 1:
            return compute(range(total))
        with self.joint():  # nobody waits for rows that will not come
            own = compute(self.share(total))
        return cast(TensorsT, tuple(self._rows_of_all(tensor, total) for tensor in own))

    def of_each(self, value: T) -> list[T]:
        """Return the plain JSON values of all ranks, in order."""
        if self.size == 1:
            return [value]
        return [json.loads(text) for text in self._bytes_of_each(json.dumps(value).encode())]

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Refuse to go on where a rank has other facts, by name, than the first."""
        if self.size == 1:
            return
        first, *others = self.of_each(facts)
        for rank, found in enumerate(others, 1):
            for name in sorted(first.keys() | found.keys()):
                if found.get(name) != first.get(name):
                    raise InputError(
                        f"{name} is {found.get(name)!r} on rank {rank} and {first.get(name)!r} on rank 0, but must be "
                        "the same: start all processes with the same options, data and versions."
                    )

    def _rows_of_all(self, own: Tensor, total: int) -> Tensor:
        """Join the rows of all ranks; they travel in blocks of one size."""
        block = own.new_zeros(-(-total // self.size), *own.shape[1:])
        block[: len(own)] = own
        counts = [len(Ranks(rank, self.size).share(total)) for rank in range(self.size)]
        blocks = self._blocks(block)
        return torch.cat([each[:count] for each, count in zip(blocks, counts, strict=True)])

    def _bytes_of_each(self, own: bytes) -> list[bytes]:
        """Return the bytes of every rank."""
        lengths = [int(length) for length in self._blocks(torch.tensor([len(own)]))]
        if not any(lengths):
            return [b""] * self.size
        blocks = self._blocks(_as_tensor(own.ljust(max(lengths), b"\0")))
        return [_as_bytes(block[:length]) for block, length in zip(blocks, lengths, strict=True)]

    def _raise_first(self, texts: list[bytes], own: InputError | None) -> None:
        """Raise the error of the first rank that has one, and name the rank unless it is the first."""
        failed = [rank for rank, text in enumerate(texts) if text]
        if not failed:
            return
        text = texts[failed[0]].decode()
        if failed[0] > 0:  # many things are the first rank's alone to check
            raise InputError(f"Rank {failed[0]}: {text}")
        raise own if own is not None and str(own) == text else InputError(text)

    def _blocks(self, own: Tensor) -> list[Tensor]:
        """Gather tensors of one shape."""
        moved = _where_exchanged(own)
        blocks = [torch.empty_like(moved) for _ in range(self.size)]
        with _meeting():
            dist.all_gather(blocks, moved)
        return [block.to(own.device) for block in blocks]

    def _sent_by_first(self, own: Tensor) -> Tensor:
        """Fill a tensor with the first rank's numbers, and return it."""
        moved = _where_exchanged(own)
        with _meeting():
            dist.broadcast(moved, 0)
        return own if moved is own else own.copy_(moved)


def current_ranks() -> Ranks:
    """Return this process's rank in the process group, or the only one where there is no group."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


@contextmanager
def _meeting() -> Iterator[None]:
    """Raise LostRankError where an exchange fails."""
    try:
        yield
    except RuntimeError as error:
        raise LostRankError from error


def _where_exchanged(tensor: Tensor) -> Tensor:
    """Return a tensor where the group can read it: NCCL alone knows none outside of a GPU."""
    return tensor.cuda() if dist.get_backend() == "nccl" else tensor


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _as_bytes(tensor: Tensor) -> bytes:
    return bytes(tensor.cpu().numpy().tobytes())
