"""SEAL's own continual self-edits: the numbers to hold ours against.

Source: Zweiger, Pari et al. 2025 (arXiv 2506.10943), section 5, and the recorded results of its
public code: Qwen2.5-7B after two rounds of RL, 64 sequences of 8 SQuAD passages, graded by GPT-4.1.
Row r is after r edits, column c is passage c; row 0 is the unedited model on all of them. Standard
errors were recorded as deviations over the 64 sequences.
"""

from __future__ import annotations

from typing import Any

SEQUENCES = 64
SOURCE = (
    "SEAL, arXiv 2506.10943, section 5: Qwen2.5-7B after two rounds of RL, SQuAD, graded by GPT-4.1"
)

MATRIX: tuple[tuple[float, ...], ...] = (
    (0.331, 0.321, 0.276, 0.326, 0.330, 0.337, 0.287, 0.253),
    (0.383,),
    (0.364, 0.499),
    (0.288, 0.434, 0.446),
    (0.272, 0.365, 0.366, 0.440),
    (0.235, 0.295, 0.281, 0.354, 0.376),
    (0.233, 0.287, 0.222, 0.278, 0.360, 0.449),
    (0.186, 0.229, 0.218, 0.246, 0.281, 0.356, 0.385),
    (0.189, 0.219, 0.164, 0.237, 0.221, 0.275, 0.335, 0.340),
)


def published() -> dict[str, Any]:
    """The published matrix with its summary, in the form of a run's results."""
    last, base = MATRIX[-1], MATRIX[0]
    just = [MATRIX[step][step - 1] for step in range(1, len(MATRIX))]
    return {
        "sequences": SEQUENCES,
        "matrix": [list(row) for row in MATRIX],
        "unedited": sum(base) / len(base),
        "just_edited": sum(just) / len(just),
        "final": sum(last) / len(last),
    }
