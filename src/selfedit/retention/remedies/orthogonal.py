"""Orthogonal LoRA: a new edit's update stays outside of what earlier ones span (`inner.outside`).

O-LoRA (Wang et al. 2023, arXiv 2310.14152) asks for it with a penalty; here the projection is
exact.
"""

from __future__ import annotations

from dataclasses import replace

from selfedit.inner.job import AdaptJob
from selfedit.retention.remedies.base import Remedy


class Orthogonal(Remedy):
    """The update is kept orthogonal to the merged adapter that it starts from."""

    turn = 50

    def shape(self, job: AdaptJob) -> AdaptJob:
        """See `Remedy`."""
        return replace(job, outside=job.start)


REMEDY = Orthogonal
