"""When an answer has ended, how one answer is graded, and the vote of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfedit.grading.grader import Grade, Grader
from selfedit.run.records import Trial
from selfedit.tasks.arc.contexts import ArcContext
from selfedit.tasks.arc.grids import END, MAX_SIDE, ROW, AnswerFault, decode, parse_text
from selfedit.tasks.arc.vote import Ballot, share_of_right_cells, solved, vote


@dataclass(frozen=True)
class GridStop:
    """Ends an answer where its grid ends, or as soon as it can no longer become one.

    That loses nothing: what is cut there is no grid however it goes on. A row longer than the
    first, or than 30 cells, a finished row shorter than the first, a row after the thirtieth, and
    anything but digits and row separators are such places. The true answer's size plays no part.

    Attributes:
        ids: the token of each symbol.
    """

    ids: tuple[int, ...]

    def __call__(self, tokens: Sequence[int]) -> bool:
        """Whether the answer made of these tokens, of which only the last is new, has ended."""
        row, end = self.ids[ROW], self.ids[END]
        last = tokens[-1]
        # Anything but digits and separators ends it: what follows cannot make it a grid again.
        if last == end or last not in self.ids[: ROW + 1]:
            return True
        if last != row:
            return not self._has_room(tokens, row)
        first, current = tokens.index(row), self._length(tokens[:-1], row)
        # A row was just finished: as long as the first, which may not be empty, and not the 31st.
        return current != first or first == 0 or tokens.count(row) >= MAX_SIDE

    def _has_room(self, tokens: Sequence[int], row: int) -> bool:
        current = self._length(tokens, row)
        # Within the first row any length up to 30; later ones may not outgrow it.
        return current <= MAX_SIDE and (current == len(tokens) or current <= tokens.index(row))

    @staticmethod
    def _length(tokens: Sequence[int], row: int) -> int:
        """Cells of the row that is being written."""
        length = 0
        for token in reversed(tokens):
            if token == row:
                break
            length += 1
        return length


class GridGrader(Grader):
    """Right if the answer is the solution, cell by cell; the score is the share of right cells."""

    name = "grid"

    def grade(self, question: str, golds: Sequence[str], answer: str) -> Grade:
        """Grade one answer in the compact text form, seen from the same side as the gold one."""
        solution, grid = decode(golds[0]), parse_text(answer)
        # Cell by cell: equal shapes and equal colours.
        right = not isinstance(grid, AnswerFault) and np.array_equal(grid, solution)
        return Grade(right, share_of_right_cells(grid, solution), self.name)


def ballots(context: ArcContext, trial: Trial, attempts: int) -> list[Ballot]:
    """The vote on each test input, from all answers of one trial."""
    texts = {answer.question_id: answer.text for answer in trial.answers}
    answers = [
        (prompt.test_index, prompt.map_back(parse_text(texts[question.id])))
        for prompt, question in zip(context.prompts, context.questions, strict=True)
    ]
    return [
        # Of this test input alone: views and orders of one input vote together.
        vote([a for at, a in answers if at == index], attempts)
        for index in range(len(context.task.inputs))
    ]


def is_solved(context: ArcContext, trial: Trial, attempts: int) -> bool:
    """Whether the vote's attempts hold the solution of every test input."""
    attempts_made = [ballot.attempts for ballot in ballots(context, trial, attempts)]
    return solved(attempts_made, [pair.output for pair in context.task.test])
