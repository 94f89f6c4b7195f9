"""How PyTorch's caching allocator for CUDA rounds requests up and reserves segments.

This file imports nothing of gimstage.
"""

from bisect import bisect_left, insort
from typing import NamedTuple

MIB = 2**20
BLOCK = 512  # bytes


def rounded_up(count: int, unit: int) -> int:
    """The smallest multiple of a unit that is at least `count`."""
    return -(-count // unit) * unit


class Block(NamedTuple):
    """A stretch of a segment, of so many bytes from an address on."""

    size: int
    address: int
    small: bool


class CachingAllocator:
    """A model of PyTorch's caching allocator for CUDA: one stream, default settings.

    Requests up to 1 MiB come from segments of 2 MiB, those below 10 MiB from segments of 20 MiB,
    larger ones from segments of their own, in multiples of 2 MiB. The smallest free block that fits
    is taken, and split unless the rest is little; free neighbours merge; segments stay.

    Attributes:
        reserved: bytes of all segments.
    """

    def __init__(self) -> None:
        self.reserved = 0
        self._free: dict[bool, list[Block]] = {True: [], False: []}  # smallest first
        # The free ones by their first address, and by the address behind them.
        self._starts, self._ends = dict[int, Block](), dict[int, Block]()
        self._unused = 0  # address

    def allocate(self, nbytes: int) -> Block:
        """A block of at least so many bytes, more than none."""
        size = rounded_up(nbytes, BLOCK)
        small = size <= MIB
        free, fits = self._free[small], Block(size, 0, small)
        if not free or free[-1] < fits:
            segment = (
                2 * MIB if small else 20 * MIB if size < 10 * MIB else rounded_up(size, 2 * MIB)
            )
            self._keep(Block(segment, self._unused, small))
            self.reserved += segment
            self._unused += segment + BLOCK  # the gap keeps segments from merging
        block = free[bisect_left(free, fits)]
        self._take(block)
        rest = block.size - size
        if rest >= BLOCK if small else rest > MIB:
            self._keep(Block(rest, block.address + size, small))
            block = Block(size, block.address, small)
        return block

    def free(self, block: Block) -> None:
        """Take a block back into its pool."""
        size, address, small = block
        if after := self._starts.get(address + size):
            self._take(after)
            size += after.size
        if before := self._ends.get(address):
            self._take(before)
            size, address = size + before.size, before.address
        self._keep(Block(size, address, small))

    def _keep(self, block: Block) -> None:
        insort(self._free[block.small], block)
        self._starts[block.address] = self._ends[block.address + block.size] = block

    def _take(self, block: Block) -> None:
        free = self._free[block.small]
        del free[bisect_left(free, block)]
        del self._starts[block.address], self._ends[block.address + block.size]
