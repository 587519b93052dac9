"""``--dry-run``: how much work a run is, before a model is fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from selfedit.cli.command import say
from selfedit.cli.output import print_json, print_results_table

if TYPE_CHECKING:
    from selfedit.config import Settings
    from selfedit.lm.load import LanguageModel
    from selfedit.rl.work import WorkEstimate
    from selfedit.tasks.task import Context


def print_estimate(
    experiment: str, settings: Settings, check_data: Callable[[Settings], object], *, json: bool
) -> None:
    """Print a run's parts with their minutes; what its data still lack is said, not refused: a
    policy may be trained by a run that comes first.
    """
    from selfedit.errors import SelfEditError
    from selfedit.experiments.estimate import estimate
    from selfedit.models.names import resolve
    from selfedit.rl.opening import check_named

    work = estimate(experiment, settings)
    if json:
        print_json(work.as_dict())
    else:
        print_results_table(work.table())
    try:
        resolve(settings.model)
        check_named(settings)
        check_data(settings)
    except SelfEditError as error:
        say(f"it cannot start yet: {error}")


def print_documents_estimate(
    contexts: Sequence[Context], settings: Settings, samples: int, *, json: bool
) -> None:
    """Print what learning documents comes to: its parts with their minutes, what is fetched, the
    memory it takes. A model that is on this machine is loaded, to measure a few steps.
    """
    from selfedit.documents.estimate import estimate_documents, needed_memory, sized_prices
    from selfedit.errors import ModelUnavailable
    from selfedit.lm.load import load_for
    from selfedit.models.names import ALIASES, model_path

    # Only a short name has a size that is known without the hub.
    alias = ALIASES.get(settings.model.lower())
    about: dict[str, object] = {"passages": len(contexts), "fetched_bytes": 0}
    try:
        model_path(settings.model, fetch=False)
        lm = load_for(settings)
        work = documents_estimate(lm, contexts, settings, samples)
        about["memory_bytes"] = needed_memory(lm, settings, contexts)
    except ModelUnavailable:
        about["fetched_bytes"] = alias.size if alias else None
        # Two bytes a weight, as models are stored; SmolLM2's wheel is packed more tightly.
        parameters = alias.size / 2 if alias and alias.wheel is None else 135e6
        work = estimate_documents(contexts, settings, samples, sized_prices(parameters))
    if json:
        print_json(work.as_dict() | about)
        return
    print_results_table(work.table())
    _say_needs(settings.model, about)


def documents_estimate(
    lm: LanguageModel, contexts: Sequence[Context], settings: Settings, samples: int
) -> WorkEstimate:
    """The estimate with prices that are measured on this machine."""
    from selfedit.documents.estimate import estimate_documents, measured_prices

    prices = measured_prices(lm, settings, contexts)
    return estimate_documents(contexts, settings, samples, prices, "this machine")


def _say_needs(model: str, about: dict[str, object]) -> None:
    fetched, memory = about["fetched_bytes"], about.get("memory_bytes")
    if fetched is None:
        say(f"{model} is not on this machine: it will be fetched")
    elif isinstance(fetched, int) and fetched:
        say(f"{model} is not on this machine: {fetched / 1e6:,.0f} MB will be fetched")
    if isinstance(memory, int):
        say(f"memory: about {memory / 1e9:.1f} GB")
