"""The extras of the package: what each is for, and which of its packages are not here."""

from __future__ import annotations

import re
from importlib import metadata

EXTRAS = {
    "documents": "PDF, Word, PowerPoint, HTML and EPUB as documents",
    "serve": "selfedit serve, an endpoint with OpenAI's API",
    "arc": "few-shot ARC",
    "endpoint": "a judge or a writer behind an endpoint",
    "fit": "fitting a grader on verdicts of your own",
    "bench": "selfedit bench, beside PEFT",
    "ray": "runs over many machines",
    "trackio": "run.trackers = trackio",
    "wandb": "run.trackers = wandb",
    "mlflow": "run.trackers = mlflow",
    "tensorboard": "run.trackers = tensorboard",
}
"""What each extra of the package is for."""


def lacking(extra: str) -> list[str]:
    """The packages of an extra that are not installed, as the installed selfedit states them."""
    # What the wheel says of itself, so that this list cannot fall behind pyproject.toml.
    missing: list[str] = []
    for line in metadata.requires("selfedit") or []:
        stated = re.match(r"([\w.-]+).*extra == ['\"](\w+)['\"]", line)
        # An extra may hold another, which is named by itself.
        if stated and stated[2] == extra and stated[1] != "selfedit" and not _is_here(stated[1]):
            missing.append(stated[1])
    return missing


def _is_here(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
