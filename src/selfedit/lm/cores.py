"""Work shared out among a CPU's cores: every thread does a part of it with cores of its own.

A product of a few hundred rows gains little from a second core: it has to be split, and its parts
wait for each other thousands of times a step. Inner loops and answers have nothing to wait for. A
part runs on a twin of the model, modules of its own over the same weights, so that it can attach
a bank of its own.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TypeVar

import torch

from selfedit.lm.load import LanguageModel

T = TypeVar("T")

IMBALANCE = 1.2
"""Load of the largest part over the mean, at the most: no core is to wait for the others."""
LOOK_SECONDS = 0.1
"""Between two looks at progress, once the calling thread has done its own part."""

OnTokens = Callable[[int], None]
"""Called with the tokens done since the last call."""
Part = Callable[[LanguageModel, Sequence[int], OnTokens], T]
"""Does the work at these places."""


class PartStopped(Exception):
    """Ends a part because another one has failed or was interrupted."""


def share_out(lm: LanguageModel, loads: Sequence[int], most: int) -> list[list[int]]:
    """The places that are worked on together, one list a part; a single part where more do not pay.

    Args:
        lm: the model; only on a CPU is there more than one part.
        loads: the work at each place.
        most: parts at the most; no more than torch has threads.
    """
    threads = torch.get_num_threads() if lm.device.type == "cpu" else 1
    for count in range(min(threads, len(loads), most), 1, -1):
        # The most parts first: fewer are tried only where the loads cannot be balanced.
        parts = balanced(loads, count)
        largest = max(_load(part, loads) for part in parts)
        if largest <= IMBALANCE * sum(loads) / count:
            return parts
    return [list(range(len(loads)))]


def _load(part: Sequence[int], loads: Sequence[int]) -> int:
    return sum(loads[index] for index in part)


def balanced(loads: Sequence[int], count: int) -> list[list[int]]:
    """The largest load first, each to the part that has least (Graham 1969)."""
    parts: list[list[int]] = [[] for _ in range(count)]
    # Ties by number everywhere: the parts, and so the sums, are the same each time.
    filled = [0] * count
    for index in sorted(range(len(loads)), key=lambda k: (-loads[k], k)):
        least = min(range(count), key=lambda part: (filled[part], part))
        parts[least].append(index)
        filled[least] += loads[index]
    # In the caller's order within a part, whatever order the loads were dealt out in.
    return [sorted(part) for part in parts]


def places_by_key(keys: Sequence[Hashable]) -> list[list[int]]:
    """The places of equal keys, one list a key, in the order in which keys come first."""
    units: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        units.setdefault(key, []).append(index)
    return list(units.values())


def places_of_units(
    units: Sequence[Sequence[int]], parts: Sequence[Sequence[int]]
) -> list[list[int]]:
    """The places in each part's units, in the units' order: what `places_by_key` put together."""
    return [list(chain.from_iterable(map(units.__getitem__, part))) for part in parts]


def in_order(parts: Sequence[Sequence[int]], results: Sequence[Sequence[T]]) -> list[T]:
    """What every part came to at its places, in the order of all places."""
    by_place: dict[int, T] = {}
    for part, values in zip(parts, results, strict=True):
        by_place.update(zip(part, values, strict=True))
    return [by_place[index] for index in range(len(by_place))]


def on_cores(
    lm: LanguageModel, parts: Sequence[Sequence[int]], work: Part[T], on_tokens: OnTokens
) -> list[T]:
    """Do every part on a thread of its own; what each came to, in their order.

    The first part is the calling thread's, and only that thread calls ``on_tokens``: an interrupt
    raised there stops the others the next time they tell of tokens.

    Args:
        lm: the model.
        parts: from `share_out`.
        work: does one part.
        on_tokens: told of progress.
    """
    if len(parts) == 1:
        return [work(lm, parts[0], on_tokens)]
    threads = torch.get_num_threads()
    # At least one: with more parts than threads they take turns.
    each = max(1, threads // len(parts))
    stop, done = threading.Event(), _Count()

    def elsewhere(model: LanguageModel, part: Sequence[int]) -> T:
        torch.set_num_threads(each)  # for products that this thread asks for
        try:
            return work(model, part, watched)
        # BaseException: an interrupt in one part has to end the others too.
        except BaseException:
            stop.set()
            raise

    def watched(tokens: int) -> None:
        if stop.is_set():
            # Raised from within the work, at the next token: threads cannot be stopped from
            # outside.
            raise PartStopped
        done.add(tokens)

    def here(tokens: int) -> None:
        watched(tokens)
        # What the other threads did since the last call is told along: only this thread may raise
        # here.
        on_tokens(done.take())

    with ThreadPoolExecutor(len(parts) - 1) as pool, _torch_threads(each, threads):
        # The first part needs no twin: it runs on the model itself.
        others = [pool.submit(elsewhere, _twin(lm), part) for part in parts[1:]]
        try:
            first = work(lm, parts[0], here)
            _wait(others, lambda: on_tokens(done.take()))
        # This part was stopped because another failed: that one's error is what the caller must
        # see.
        except PartStopped:
            _raise_first(others)
            raise
        finally:
            # Before the pool's exit waits for its threads, or an error here would wait for their
            # whole work.
            stop.set()
    return [first, *[future.result() for future in others]]


def _raise_first(others: Sequence[Future[T]]) -> None:
    """What ended the parts: the error of the one that failed, not of those it stopped."""
    for future in others:
        error = future.exception()
        if error is not None and not isinstance(error, PartStopped):
            raise error


class _Count:
    """Tokens that other threads have done and nobody was told of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = 0

    def add(self, tokens: int) -> None:
        with self._lock:
            self._tokens += tokens

    def take(self) -> int:
        with self._lock:
            # Swapped under the lock: a token counted between reading and resetting would be lost.
            tokens, self._tokens = self._tokens, 0
        return tokens


def _wait(others: Sequence[Future[T]], look: Callable[[], None]) -> None:
    pending = set(others)
    while pending:
        finished, pending = wait(pending, LOOK_SECONDS, return_when="FIRST_EXCEPTION")
        for future in finished:
            future.result()  # raises what the part raised
        look()


@contextmanager
def _torch_threads(count: int, after: int) -> Iterator[None]:
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(after)


def _twin(lm: LanguageModel) -> LanguageModel:
    # Weights are shared, modules are not: a bank is attached to modules.
    shared = [*lm.model.parameters(), *lm.model.buffers()]
    return replace(lm, model=copy.deepcopy(lm.model, {id(tensor): tensor for tensor in shared}))
