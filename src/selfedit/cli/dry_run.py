"""``--dry-run``: how much work a run is, before a model is fetched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from selfedit.cli.command import say
from selfedit.cli.output import print_json, print_results_table

if TYPE_CHECKING:
    from selfedit.config import Settings


def print_estimate(
    experiment: str, settings: Settings, check_data: Callable[[Settings], object], *, json: bool
) -> None:
    """Print a run's parts with their minutes; what its data still lack is said, not refused: a
    policy may be trained by a run that comes first.
    """
    from selfedit.errors import SelfEditError
    from selfedit.experiments.estimate import estimate

    work = estimate(experiment, settings)
    if json:
        print_json(work.as_dict())
    else:
        print_results_table(work.table())
    try:
        check_data(settings)
    except SelfEditError as error:
        say(f"it cannot start yet: {error}")
