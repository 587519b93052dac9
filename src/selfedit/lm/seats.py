"""Adapters that take turns in one bank: K at once, and the one unused for longest gives its row to
the next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from selfedit.lm.bank import AdapterBank
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, distinct_adapters


class Seats:
    """The rows of a bank and who has them. Adapters are told apart by identity.

    Args:
        lm: the model.
        count: adapters at once, K.

    Attributes:
        bank: the bank; None until an adapter has come. It is another one after an adapter came
            whose rank or modules the one before had no room for.
    """

    def __init__(self, lm: LanguageModel, count: int) -> None:
        self._lm = lm
        self.bank: AdapterBank | None = None
        self._adapters: list[Adapter | None] = [None] * count
        self._last_used = [0] * count
        self._clock = 0

    def has_room(self, adapters: Iterable[Adapter | None], busy: Collection[int]) -> bool:
        """Whether all of these can have rows while the busy ones keep theirs."""
        new = [a for a in distinct_adapters(adapters) if self._row(a) not in busy]
        return len(new) <= len(self._adapters) - len(busy)

    def take(self, adapter: Adapter | None, busy: Collection[int]) -> int:
        """The row of an adapter, −1 for none; it is loaded into the longest unused row that is not
        busy where it has none yet.

        Raises:
            UsageError: the model has no such module, or one of another size.
        """
        if adapter is None:
            return -1
        self._clock += 1
        row = self._row(adapter)
        if row is None:
            free = [row for row in range(len(self._adapters)) if row not in busy]
            row = min(free, key=lambda each: self._last_used[each])
            self._load(row, adapter)
        self._last_used[row] = self._clock
        return row

    def _row(self, adapter: Adapter) -> int | None:
        rows = (row for row, each in enumerate(self._adapters) if each is adapter)
        return next(rows, None)

    def _load(self, row: int, adapter: Adapter) -> None:
        self._adapters[row] = None  # whatever goes wrong, the row is nobody's
        bank = self.bank
        if bank is None or adapter.spec.rank > bank.rank or adapter.tensors.keys() - bank.slots:
            self.bank = bank = self._wider(adapter)
        bank.put(row, adapter)
        self._adapters[row] = adapter

    def _wider(self, adapter: Adapter) -> AdapterBank:
        """A bank with room for this adapter too, the seated ones in their rows."""
        # A free row has to have a spec; the newcomer's makes room for it.
        specs = [adapter.spec if each is None else each.spec for each in self._adapters]
        bank = AdapterBank(self._lm.model, specs, masters=self._lm.device.type == "cpu")
        for row, each in enumerate(self._adapters):
            if each is not None:
                bank.put(row, each)
        return bank


def check_adapter(lm: LanguageModel, adapter: Adapter) -> None:
    """See that a model can answer under an adapter.

    Raises:
        UsageError: the model has no such module, or one of another size.
    """
    AdapterBank(lm.model, [adapter.spec], masters=False).put(0, adapter)
