"""Blocks as torch's allocator would hand them out, and what a budget leaves for them."""

import pytest

from gimstage.errors import BudgetError
from gimstage.plan.allocator import MIB, CachingAllocator
from gimstage.plan.memory import Budget


def test_small_blocks_share_segments_and_are_rounded() -> None:
    allocator = CachingAllocator()
    first, second = allocator.allocate(1), allocator.allocate(MIB)
    assert (first.size, second.size) == (512, MIB)
    assert second.address == first.address + 512
    assert allocator.reserved == 2 * MIB
    allocator.allocate(MIB)  # half a kilobyte too much for the rest
    assert allocator.reserved == 4 * MIB


def test_large_blocks_have_segments_by_size() -> None:
    allocator = CachingAllocator()
    allocator.allocate(MIB + 1)
    assert allocator.reserved == 20 * MIB
    allocator.allocate(10 * MIB)  # fits into what is left of those 20
    assert allocator.reserved == 20 * MIB
    allocator.allocate(11 * MIB)
    assert allocator.reserved == 32 * MIB


def test_a_large_block_is_split_only_for_more_than_a_mebibyte() -> None:
    allocator = CachingAllocator()
    assert allocator.allocate(11 * MIB).size == 12 * MIB
    assert allocator.allocate(13 * MIB - 512).size == 13 * MIB - 512
    assert allocator.reserved == 26 * MIB
    allocator.free(allocator.allocate(30 * MIB))
    allocator.allocate(28 * MIB)
    allocator.allocate(2 * MIB)
    assert allocator.reserved == 56 * MIB


def test_the_smallest_free_block_that_fits_is_taken_again() -> None:
    allocator = CachingAllocator()
    large, small = allocator.allocate(40 * MIB), allocator.allocate(20 * MIB)
    allocator.free(large)
    allocator.free(small)
    assert allocator.allocate(19 * MIB + 512).address == small.address
    assert allocator.allocate(20 * MIB).address == large.address
    assert allocator.reserved == 60 * MIB


def test_free_neighbours_merge_within_a_segment_only() -> None:
    allocator = CachingAllocator()
    blocks = [allocator.allocate(5 * MIB) for _ in range(8)]
    assert allocator.reserved == 40 * MIB
    for index in (0, 2, 1, 3, 7, 6, 5, 4):
        allocator.free(blocks[index])
    assert {allocator.allocate(20 * MIB).address for _ in range(2)} == {
        blocks[0].address,
        blocks[4].address,
    }
    assert allocator.reserved == 40 * MIB


def budget(total_bytes: int) -> Budget:
    return Budget(
        total_bytes, context_bytes=500 * 10**6, workspace_bytes=128 * 10**6, margin_share=0.1
    )


def test_a_budget_leaves_what_is_not_set_aside() -> None:
    assert budget(2 * 10**9).margin_bytes == 137_200_000
    assert budget(2 * 10**9).for_tensors == 2_000_000_000 - 628_000_000 - 137_200_000


@pytest.mark.parametrize("total_mb", [628, 100])
def test_a_budget_of_which_nothing_is_left_is_refused(total_mb: int) -> None:
    with pytest.raises(BudgetError) as caught:
        budget(total_mb * 10**6).for_tensors  # noqa: B018
    assert str(caught.value) == (
        f"GPU memory of {total_mb} MB: nothing left for tensors: 628 MB set aside for CUDA's "
        "context and workspaces, 10% of the rest as margin; expected more than 628 MB; allow more "
        "memory, or set less aside"
    )
