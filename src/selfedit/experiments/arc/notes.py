"""What has to be said beside every number of a few-shot run: the filter, and where it departs from
the paper.
"""

from __future__ import annotations

from collections.abc import Mapping

from selfedit.config import ArcSettings, OracleSettings, Settings, TTTDataSettings

PAPER_ANSWER = {"orders": 2, "per_view": None, "attempts": 2}


def notes(settings: Settings, filtered: Mapping[str, bool]) -> list[str]:
    """The sentences under the run's table."""
    sentences = [_filter(filtered), *_departures(settings)]
    return [sentence for sentence in sentences if sentence]


def _filter(filtered: Mapping[str, bool]) -> str:
    if not filtered:
        return "The tasks were not filtered in this run."
    solved = sum(filtered.values())
    return (
        f"Only tasks that Oracle TTT solves with this model: {solved} of {len(filtered)} candidates"
        " (in `filter`)."
    )


def _departures(settings: Settings) -> list[str]:
    arc = settings.arc
    sentences = []
    if arc.prime.tokens:
        tokens = arc.prime.tokens
        sentences.append(
            f"Departure: every row is of a model primed on {tokens} tokens of tasks made from"
            f" rules ({', '.join(arc.prime.families)}); no held-out task shows one of them."
        )
    if arc.alphabet:
        sentences.append("Departure: loss and answers are restricted to the 14 grid tokens.")
    if not arc.constrained:
        sentences.append(
            f"Self-edits were sampled freely, at most {arc.tries} tries each."
            if arc.tries > 1
            else "Self-edits were sampled freely; an unusable one counts as no training."
        )
    else:
        sentences.append("Self-edits were sampled under their grammar.")
    if arc.spec.learning_rates or arc.spec.epochs:
        sentences.append(f"Departure: self-edits choose among {_spec_choices(arc)}.")
    if arc.reward == "cells":
        sentences.append(
            "Departure: the reward is the share of right cells (a graded partial score), not"
            " solved."
        )
    if arc.oracle != OracleSettings():
        oracle = arc.oracle
        training = f"loss on {oracle.loss_on}, {oracle.learning_rate:g} × {oracle.epochs} epochs"
        sentences.append(
            f"Departure: Oracle TTT is {'+'.join(oracle.families) or 'no tools'}, {training}."
        )
    if arc.data != TTTDataSettings():
        sentences.append(
            "Departure: test-time training's data are capped otherwise than published"
            " (settings.arc.data)."
        )
    if changed := [
        name for name, value in PAPER_ANSWER.items() if getattr(arc.answer, name) != value
    ]:
        sentences.append(f"Departure: answering differs from the paper in {', '.join(changed)}.")
    return sentences


def _spec_choices(arc: ArcSettings) -> str:
    rates, epochs = arc.spec.learning_rates, arc.spec.epochs
    parts = [f"the rates {', '.join(f'{rate:g}' for rate in rates)}"] if rates else []
    parts += [f"{', '.join(map(str, epochs))} epochs"] if epochs else []
    return " and ".join(parts)
