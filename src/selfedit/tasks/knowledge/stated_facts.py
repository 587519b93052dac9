"""Facts that an English passage states: numbers, names, days, places, colours, each in its clause.

Read by rule, without a model: what is asked for later stands in the passage word for word. A clause
whose subject is a pronoun is passed over, since a question about "it" asks about nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Literal

from selfedit.grading.lexicon import STOP_WORDS, word_set
from selfedit.grading.statement import content_words
from selfedit.tasks.knowledge.units import cut_sentences
from selfedit.tasks.task import Context

FactKind = Literal["money", "count", "time", "year", "rank", "day", "name", "place", "colour"]

_CARDINAL = (
    r"(?:\d[\d.,]*\d|\d|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty"
    r"|sixty|seventy|eighty|ninety)"
)
_RANK_WORD = (
    r"(?:\d+(?:st|nd|rd|th)|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)"
)
_MONEY = r"(?:euros?|dollars?|pounds?|crowns?|francs?|yen|cents?|percent)"
_DAY = (
    r"(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?|January|February|March|April|May|June|July"
    r"|August|September|October|November|December)"
)
_COLOUR = r"(?:red|blue|green|yellow|black|white|brown|grey|gray|orange|purple|violet|pink)"
_CAPITAL = r"[A-ZÀ-ÖØ-Þ][\w’'-]+"
_PATTERNS: tuple[tuple[FactKind, str], ...] = (
    ("time", rf"{_CARDINAL}(?: o'clock| in the (?:morning|afternoon|evening)|:\d\d| [ap]m)"),
    ("time", rf"(?<=\bat ){_CARDINAL}(?=$|[,;.]| on\b| in\b)"),
    ("money", rf"{_CARDINAL} {_MONEY}"),
    ("year", r"(?<=\bin )(?:1\d|20)\d\d(?!\d)"),
    ("rank", rf"(?<=\bthe ){_RANK_WORD} (?!of\b|time\b)[A-Za-z]{{3,}}"),
    (
        "count",
        rf"(?<![A-Z]\w )(?<!\bthe ){_CARDINAL}(?: (?:square|large|small|more))? [a-zà-ÿ]{{3,}}",
    ),
    ("day", rf"(?<=\b(?:on|in) )(?:every )?{_DAY}|(?<=\bevery ){_DAY}"),
    ("name", rf"the (?!{_DAY}\b){_CAPITAL} [a-z]{{4,}}(?=$|[,;]| (?:in|of|and|on)\b)"),
    ("name", rf"(?:Mrs?|Dr) {_CAPITAL}|(?!{_DAY}\b){_CAPITAL}(?: (?:of )?(?!{_DAY}\b){_CAPITAL})*"),
    (
        "place",
        r"(?<=\b(?:in|at|to) )(?<!next to )the (?!time|end|middle)[a-z-]+(?: [a-z-]+)?"
        r"(?=$|,| (?:and|of|by|with)\b)",
    ),
    ("place", r"(?<=\b(?:on) )the [a-z-]+ (?:floor|side|roof|door|wall)\b"),
    ("place", r"(?<=\binto )the [a-z-]+ [a-z-]+$"),
    ("colour", rf"(?:(?<=\bis )|(?<=\bare )|(?<=\bwas )){_COLOUR}\b"),
)
_CLAUSES = re.compile(
    r"[,;:]? (?:and|but|so that|because|since|if|when|where|until it|before it|after it)"
    r" (?=(?:the|a|an|its|it|he|she|they|we|you|nobody|everybody|each|every)\b)"
    r"|[;:] |, (?=(?:who|which|whose|where|when|because|since|except|although|though)\b)|\?|!"
)
_UNRESOLVED = word_set(
    "it he she they we you i this that these those there here what whoever who which whose whom"
    " where when because since except although though and or but"
)
_SECOND_PREDICATE = re.compile(
    r"^((?:\S+ ){1,6}?)((?:is|are|was|were|may|must|can|has|have|costs|begins|takes|runs)\b.*?),?"
    r" (?:and|but) ((?:is|are|was|were|may|must|can|has|have|ends|costs|holds|sells|closes)\b.*)$"
)
_OPENERS = word_set(
    "in on at after before during by from with for once if when while as only ask put read write"
)


@dataclass(frozen=True)
class Fact:
    """Words of a clause that can be asked for.

    Attributes:
        kind: what they are.
        answer: the words.
        before, after: the clause's words before and after them.
    """

    kind: FactKind
    answer: str
    before: str
    after: str

    @property
    def golds(self) -> tuple[str, ...]:
        """Acceptable answers: the words, and a number without what it counts."""
        if self.kind in ("money", "count"):
            return (self.answer, self.answer.split()[0])
        if self.kind == "time":
            return (self.answer, self.answer.split()[0].partition(":")[0])
        return (self.answer,)


def stated_facts(context: Context, most: int) -> list[Fact]:
    """At most so many facts, from as many clauses as there are, in the passage's order."""
    if not _is_english(context.text):
        return []
    title = {*content_words(context.title)}
    # Clause by clause: what is asked for needs a subject and a verb around it.
    by_clause: list[list[Fact]] = []
    for sentence in cut_sentences(context.text):
        for clause in _clauses(sentence):
            facts = [fact for fact in _facts(clause) if not {*content_words(fact.answer)} <= title]
            by_clause.append(facts)
    # One of each clause, then the second of each, ...
    rounds = (fact for each in zip_longest(*by_clause) for fact in each if fact is not None)
    chosen = set(islice(dict.fromkeys(rounds), most))
    return [fact for facts in by_clause for fact in facts if fact in chosen]


def _is_english(text: str) -> bool:
    """Whether one word of seven is a common one of English, such as "the", "is" or "of"."""
    words = re.findall(r"\w+", text.casefold())
    return sum(word in STOP_WORDS for word in words) >= 0.15 * len(words)


def _clauses(sentence: str) -> Iterator[str]:
    """The main clauses of a sentence, those that begin with their subject."""
    for part in _CLAUSES.split(sentence.strip().rstrip(".!?")):
        clause = " ".join(part.split()).strip(" ,;")
        # Only verbs that handbooks and rules are full of: others leave the clause whole.
        both = _SECOND_PREDICATE.match(clause)
        # "The lathe is called Gerda and was given to us": the subject of either is the first's.
        for each in [both[1] + both[2], both[1] + both[3]] if both else [clause]:
            words = each.split()
            if len(words) > 2 and _has_subject(each):
                yield each


def _facts(clause: str) -> Iterator[Fact]:
    spans_read: list[range] = []
    for kind, pattern in _PATTERNS:
        for match in re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", clause):
            span = range(*match.span())
            # What a stricter pattern has read is not read again.
            if any(span.start < other.stop and other.start < span.stop for other in spans_read):
                continue
            spans_read.append(span)
            # What another clause says before or after would make two questions of one.
            before = clause[: span.start].rpartition(", and ")[2].strip()
            after = re.split(r",| and ", clause[span.stop :])[0].strip()
            named = not before and kind == "name" and _is_name(match.group(), after)
            if named or _has_subject(before):
                yield Fact(kind, match.group(), before, after)


def _has_subject(clause: str) -> bool:
    """Whether a clause's first words may be its subject, one that it names."""
    return bool(clause) and clause.split()[0].casefold() not in _UNRESOLVED | _OPENERS


def _is_name(words: str, after: str) -> bool:
    """Whether a clause's first words are a name, not just its first word with a capital."""
    return " " in words and bool(after)
