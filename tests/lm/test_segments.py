"""Packing and padding lose nothing, mix nothing up, and have exact gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from selfedit.lm.segments import MAX_PAD_RATIO, Pad, Segments, Unpad, consecutive, make_segments


@st.composite
def divisions(draw: st.DrawFn) -> tuple[list[list[int]], int]:
    """Rows of some segments, in any order and not all of them used, and how many rows there are."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=7).filter(any))
    spare = draw(st.integers(0, 3))
    total = sum(lengths) + spare
    rows = draw(st.permutations(range(total)))
    return [list(rows[span.start : span.stop]) for span in consecutive(lengths)], total


def packed_rows(total: int, *shape: int) -> Tensor:
    return torch.randn(
        total, *shape, generator=torch.Generator().manual_seed(total), dtype=torch.float64
    )


@given(divisions())
def test_padding_and_back_keeps_every_token_of_a_segment_and_zeros_the_rest(
    case: tuple[list[list[int]], int],
) -> None:
    rows, total = case
    packed = packed_rows(total, 2, 3)
    segments = make_segments(rows, dtype=torch.float64, total=total)
    expected = torch.zeros_like(packed)
    used = [row for segment in rows for row in segment]
    expected[used] = packed[used]
    assert torch.equal(
        segments.unpad([bucket.pad(packed) for bucket in segments.buckets]), expected
    )
    assert segments.partial == (len(used) < total)


@given(divisions())
def test_each_segment_lies_in_one_bucket_in_order_with_zeros_behind(
    case: tuple[list[list[int]], int],
) -> None:
    rows, total = case
    packed = packed_rows(total, 4)
    before = packed.clone()
    segments = make_segments(rows, dtype=torch.float64, total=total)
    seen = []
    for bucket in segments.buckets:
        lengths = [len(rows[i]) for i in bucket.segments.tolist()]
        assert max(lengths) <= MAX_PAD_RATIO * min(lengths)
        assert bucket.segments.tolist() == sorted(bucket.segments.tolist())
        for i, loose, zeroed in zip(
            bucket.segments.tolist(),
            bucket.pad(packed),
            bucket.pad_zero(packed.clone()),
            strict=True,
        ):
            seen.append(i)
            assert torch.equal(loose[: len(rows[i])], packed[rows[i]])
            assert torch.equal(zeroed[: len(rows[i])], packed[rows[i]])
            assert not zeroed[len(rows[i]) :].any()
    assert sorted(seen) == [i for i, segment in enumerate(rows) if segment]
    assert torch.equal(packed, before)
    assert segments.padded_tokens <= MAX_PAD_RATIO * sum(map(len, rows))


RAGGED = [
    [[4, 0, 7], [1, 2], [], [3, 6, 5, 8]],
    [[2, 1, 0]],
    [[0, 1], [2, 3]],
    [[0, 1, 2, 3, 4], [5, 6, 7, 8]],
]


@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("rows", RAGGED)
def test_gradients_are_those_of_finite_differences(rows: list[list[int]], spare: int) -> None:
    total = 1 + max(row for segment in rows for row in segment)
    segments = make_segments(rows, dtype=torch.float64, total=total + spare)
    packed = packed_rows(total + spare, 2, 2).requires_grad_()

    def there_and_back(x: Tensor) -> Tensor:
        # Each segment's rows are mixed by a running sum, as attention mixes them: none sees the
        # padding behind it.
        return Unpad.apply(segments, *(block.cumsum(1).sin() for block in Pad.apply(x, segments)))

    assert torch.autograd.gradcheck(there_and_back, (packed,))


@pytest.mark.parametrize("rows", RAGGED)
def test_unpad_alone_has_exact_gradients(rows: list[list[int]]) -> None:
    total = 1 + max(row for segment in rows for row in segment)
    segments = make_segments(rows, dtype=torch.float64, total=total)
    blocks = [
        packed_rows(b.index.numel(), 3).view(*b.index.shape, 3).requires_grad_()
        for b in segments.buckets
    ]
    assert torch.autograd.gradcheck(lambda *parts: Unpad.apply(segments, *parts), tuple(blocks))


def test_equal_lengths_end_to_end_are_not_copied() -> None:
    packed = packed_rows(6, 2)
    segments: Segments = make_segments(consecutive([3, 3]))
    (bucket,) = segments.buckets
    assert bucket.is_packed
    assert bucket.pad(packed).data_ptr() == packed.data_ptr()
    assert segments.unpad([bucket.pad(packed)]).data_ptr() == packed.data_ptr()


def test_spans_lie_end_to_end() -> None:
    assert consecutive([2, 0, 3]) == [range(0, 2), range(2, 2), range(2, 5)]


def test_together_makes_one_bucket_empty_segments_too() -> None:
    rows = [[0, 3], [], [1, 2, 4]]
    one = make_segments(rows, together=2)
    assert [bucket.segments.tolist() for bucket in one.buckets] == [[0, 1, 2]]
    assert one.buckets[0].run == slice(0, 3)
    packed = torch.arange(10.0).view(5, 2)
    padded = one.buckets[0].pad_zero(packed.clone())
    assert padded[1].abs().sum() == 0 and padded[0, 2].abs().sum() == 0
    torch.testing.assert_close(one.unpad([padded]), packed)
    partial = make_segments(
        [[0], [], [1, 2, 4]], total=6, together=3
    )  # rows 3 and 5 are in no segment
    full = torch.cat((packed, packed[:1]))
    back = partial.unpad([partial.buckets[0].pad_zero(full.clone())])
    torch.testing.assert_close(back, full * torch.tensor([1.0, 1, 1, 0, 1, 0])[:, None])
    assert len(make_segments(rows, together=1.5).buckets) == 2


def test_an_empty_segments_slot_is_not_taken_for_the_row_it_stands_at() -> None:
    # Row 0 is in no segment; the empty segment's padding points at row 0, the other holds row 1.
    (bucket,) = (segments := make_segments([[], [1]], total=2, together=4)).buckets
    assert not bucket.is_packed
    packed = packed_rows(2, 3)
    back = segments.unpad([bucket.pad_zero(packed.clone())])
    torch.testing.assert_close(back, packed * torch.tensor([[0.0], [1.0]], dtype=torch.float64))


def test_a_bucket_knows_whether_its_segments_stand_side_by_side() -> None:
    apart = make_segments([[0, 1, 2], [3], [4, 5, 6]])
    assert {tuple(b.segments.tolist()): b.run for b in apart.buckets} == {
        (0, 2): None,
        (1,): slice(1, 2),
    }
