"""The model of the caching allocator, held against its rules written out as plain loops."""

from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from gimstage.plan.allocator import BLOCK, MIB, Block, CachingAllocator, rounded_up

# Bytes, with some round every threshold of the allocator.
near = st.sampled_from([1, BLOCK, MIB, 2 * MIB, 10 * MIB, 20 * MIB])
sizes = st.builds(lambda base, off: max(1, base + off), near, st.integers(-BLOCK - 1, BLOCK + 1))
# What to do in turn: request so many bytes, or free the n-th block that is held.
turns = st.lists(sizes | st.integers(-20, -1), max_size=30)


@dataclass
class Plain:
    """Segments as lists of (size, held) in the order of their addresses; all looked at each time.

    Attributes:
        segments: of each, whether it is of small blocks, and its stretches.
    """

    segments: list[tuple[bool, list[list[int]]]] = field(default_factory=list)
    reserved: int = 0

    def allocate(self, nbytes: int) -> tuple[int, int]:
        """The numbers of the segment and the first byte of a block."""
        size = -(-nbytes // BLOCK) * BLOCK
        small = size <= MIB
        fitting = self._fitting(size, small)
        if not fitting:
            total = 2 * MIB if small else 20 * MIB
            if size >= 10 * MIB:
                total = -(-size // (2 * MIB)) * 2 * MIB
            self.segments.append((small, [[total, 0]]))
            self.reserved += total
            fitting = self._fitting(size, small)
        _, number, at = min(fitting)
        stretches = self.segments[number][1]
        rest = stretches[at][0] - size
        if rest >= BLOCK if small else rest > MIB:
            stretches[at : at + 1] = [[size, 1], [rest, 0]]
        stretches[at][1] = 1
        return number, sum(length for length, _ in stretches[:at])

    def size(self, number: int, first: int) -> int:
        """The size of the block that begins there."""
        begins = 0
        for length, _ in self.segments[number][1]:
            if begins == first:
                return length
            begins += length
        raise AssertionError("no block begins there")

    def _fitting(self, size: int, small: bool) -> list[tuple[int, int, int]]:
        return [
            (length, number, at)
            for number, (kind, stretches) in enumerate(self.segments)
            for at, (length, held) in enumerate(stretches)
            if kind == small and not held and length >= size
        ]

    def free(self, number: int, first: int) -> None:
        """Free the block that begins there, and merge it with free neighbours."""
        stretches, begins = self.segments[number][1], 0
        for stretch in stretches:
            if begins == first:
                stretch[1] = 0
            begins += stretch[0]
        for at in range(len(stretches) - 1, 0, -1):
            if not stretches[at][1] and not stretches[at - 1][1]:
                stretches[at - 1][0] += stretches.pop(at)[0]


@given(turns)
@example([MIB, MIB - BLOCK, 1])  # the rest of a segment of small blocks is one unit
@example([9 * MIB, 10 * MIB, MIB + 1])  # that of larger ones just enough not to be split off
def test_it_reserves_and_gives_what_a_plain_search_through_all_segments_does(
    turns: list[int],
) -> None:
    model, plain, held = CachingAllocator(), Plain(), []
    for turn in turns:
        if turn > 0:
            held.append((model.allocate(turn), plain.allocate(turn)))
            assert held[-1][0].size == plain.size(*held[-1][1])
        elif held:
            block, place = held.pop(turn % len(held))
            model.free(block)
            plain.free(*place)
        assert model.reserved == plain.reserved


@given(turns)
def test_blocks_that_are_held_never_overlap(turns: list[int]) -> None:
    model = CachingAllocator()
    held: list[Block] = []
    for turn in turns:
        if turn > 0:
            held.append(model.allocate(turn))
        elif held:
            model.free(held.pop(turn % len(held)))
    held.sort(key=lambda block: block.address)
    for before, after in zip(held, held[1:], strict=False):
        assert before.address + before.size <= after.address


@given(st.lists(sizes, min_size=1, max_size=20))
def test_once_all_is_freed_any_one_of_the_requests_fits_again(requests: list[int]) -> None:
    model = CachingAllocator()
    for block in [model.allocate(size) for size in requests]:
        model.free(block)
    reserved = model.reserved
    for size in requests:
        model.free(model.allocate(size))
    assert model.reserved == reserved


@given(sizes)
def test_a_block_holds_what_was_asked_for_in_whole_units(nbytes: int) -> None:
    block = CachingAllocator().allocate(nbytes)
    assert block.size >= nbytes
    assert block.size % BLOCK == 0


@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_rounding_up_gives_the_smallest_multiple(count: int, unit: int) -> None:
    found = rounded_up(count, unit)
    assert found % unit == 0
    assert count <= found < count + unit
