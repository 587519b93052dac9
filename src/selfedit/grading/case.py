"""A reply that states a gold answer, and what it says besides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from selfedit.grading.grader import Reply
from selfedit.grading.rivals import Rivals, find_rivals
from selfedit.grading.statement import Statement, content_words, states
from selfedit.grading.text import contains_gold, normalise, usable_golds

_ABOUT_ANSWERS = frozenset(
    content_words("answers correct possible options questions following one")
)


@dataclass(frozen=True)
class Case:
    """A reply whose answer states one of its gold answers.

    Attributes:
        reply: what is graded.
        gold: the gold answer that is stated.
        statement: where.
    """

    reply: Reply
    gold: str
    statement: Statement

    @cached_property
    def asked(self) -> frozenset[str]:
        """Content words of the question that the gold answer has not."""
        return frozenset(content_words(self.reply.question)) - frozenset(content_words(self.gold))

    @cached_property
    def wanted(self) -> frozenset[str]:
        """Content words of every gold answer, and those that talk of answers as such."""
        golds = frozenset(word for gold in self.reply.golds for word in content_words(gold))
        return golds | _ABOUT_ANSWERS

    @cached_property
    def new(self) -> list[str]:
        """Content words of the statement that neither the question nor a gold answer has."""
        known = self.asked | self.wanted
        return [
            word
            for word in dict.fromkeys(content_words(self.statement.beside))
            if word not in known
        ]

    @cached_property
    def taken_up(self) -> int:
        """Question words that the statement takes up."""
        return len(self.asked & set(content_words(self.statement.beside)))

    @cached_property
    def rivals(self) -> Rivals:
        """Items beside the gold answer; where the question offers the gold answer, those that it
        offers too.
        """
        offered = frozenset(content_words(self.gold)) <= frozenset(
            content_words(self.reply.question)
        )
        ruled_out = frozenset[str]() if offered else self.asked
        return find_rivals(self.statement, ruled_out, ruled_out | self.wanted)

    @cached_property
    def others(self) -> list[str]:
        """The passage's other gold answers, those apart that the question or a gold answer says, or
        that say one.
        """
        golds = usable_golds(self.reply.golds)
        others = [other for other in self.reply.others if normalise(other)]
        others = [other for other in others if not contains_gold(self.reply.question, [other])]
        return [
            other
            for other in others
            if not any(states(other, gold) or states(gold, other) for gold in golds)
        ]
