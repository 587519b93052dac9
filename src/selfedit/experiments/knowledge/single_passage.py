"""Single passages: every row of the paper's first table, for one format of self-edit or a sweep
over several.

With one format the run's folder is that of `run_knowledge`. A sweep makes one such run a format,
below ``formats/``; what does not depend on the format (base, passage in the prompt, passage only,
another writer, gold) is measured once, in the first of them. Rows of the sweep are named
``own:rewrite``, ``seal-2:rewrite``.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Unpack

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.experiments.knowledge.methods import check_settings, is_seal
from selfedit.experiments.knowledge.train import run_knowledge
from selfedit.results.compare import compare
from selfedit.results.results import Published, Reference, Results
from selfedit.rl.opening import RunOptions, open_folder
from selfedit.tasks.knowledge.published import SOURCE

KIND = "single-passage"
Scores = dict[str, Mapping[str, float]]


def run_single_passage(
    folder: str | Path, settings: Settings, **options: Unpack[RunOptions]
) -> dict[str, Any]:
    """Start the experiment, or go on with it where it stopped; returns what is written to
    ``results.json``.

    Args:
        folder: the run's folder; made if it is not there.
        settings: frozen in the folder at the first start; ``single.formats`` makes it a sweep.
        options: see `RunOptions`.

    Raises:
        UsageError, DataError, SettingsChanged, RunFolderError, StorageFull, Interrupted: see
        `selfedit.errors`.
    """
    formats = settings.single.formats
    if not formats:
        return run_knowledge(folder, settings, **options)
    if len(set(formats)) < len(formats):
        raise UsageError(
            "a format stands there twice", where="single.formats", fix="name each once"
        )
    check_settings(settings)
    if settings.rl.rounds:
        options["lm"] = None  # RL changes the weights: each format begins with the model as it was
    with open_folder(folder, settings.model_dump(mode="json"), {}, kind=KIND) as run:
        parts: dict[str, dict[str, Any]] = {}
        for number, format in enumerate(formats):
            of_format = _settings(settings, format, first=number == 0)
            parts[format] = run_knowledge(run.path / "formats" / format, of_format, **options)
        results = _all_formats(settings, parts)
        run.write_results(results)
    return results


def _settings(settings: Settings, format: str, *, first: bool) -> Settings:
    """One format's own run: after the first, only the rows that depend on the format."""
    methods = [m for m in settings.eval.methods if first or m == "own" or is_seal(m)]
    changed = settings.model_dump()
    changed["edit"] |= {"format": format}
    changed["eval"] |= {"methods": methods}
    changed["single"] |= {"formats": ()}
    return Settings.model_validate(changed)


def _all_formats(settings: Settings, parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The rows of all formats as one table: what they share first, then format by format."""
    shared: Scores = {}
    by_format: dict[str, Scores] = {format: {} for format in parts}
    seeds: dict[str, list[float]] = {}
    published: dict[str, Reference] = {}
    second: Scores = {}
    words: dict[str, float] = {}
    for format, part in parts.items():
        for method, scores in part["contexts"].items():
            by_format_only = method == "own" or is_seal(method)
            name = f"{method}:{format}" if by_format_only else method
            (by_format[format] if by_format_only else shared)[name] = scores
            seeds[name] = part["by_seed"][method]
            second[name] = part["second"]["contexts"][method]
            words[name] = part["answer_words"][method]
            if reference := part["published"]["rows"].get(method):
                published[name] = Reference(**reference)
    rows: Scores = {
        name: scores for name, scores in shared.items() if name not in ("external", "gold")
    }
    for of_format in by_format.values():
        rows |= of_format
    rows |= {name: scores for name, scores in shared.items() if name not in rows}
    first = next(iter(parts.values()))
    compared = compare(rows, _format_pairs(shared, by_format))
    more = {
        "by_seed": seeds,
        "costs": {format: part["costs"] for format, part in parts.items() if part["costs"]},
        "rounds": {format: part["rounds"] for format, part in parts.items()},
        "self_edits": [
            {**shape, "policy": f"{shape['policy']} [{format}]"}
            for format, part in parts.items()
            for shape in part["self_edits"]
        ],
        "canary": first["canary"],
        "answer_words": words,
        "second": {**first["second"], "contexts": second},
    }
    return Results(
        experiment=KIND,
        rows=compared.rows,
        paired=compared.paired,
        published=Published(SOURCE, published),
        contexts=rows,
        model=first["model"],
        grader=settings.answer.grader,
        data={format: part["data"] for format, part in parts.items()},
        settings=settings.model_dump(mode="json"),
        more=more,
    ).as_dict()


def _format_pairs(shared: Scores, by_format: Mapping[str, Scores]) -> list[tuple[str, str]]:
    """Each format's rows with the passage alone, with their neighbours, and the last with the
    first.
    """
    plain = [name for name in ("base", "passage") if name in shared]
    pairs = list(pairwise(plain))
    for names in (list(of_format) for of_format in by_format.values()):
        pairs += [("passage", names[0])] if names and "passage" in shared else []
        pairs += list(pairwise(names))
        pairs += [(names[0], names[-1])] if len(names) > 2 else []
    return pairs
