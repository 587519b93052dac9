"""Questions asked with the passage in the prompt: what a perfect search would give a model that
learned nothing.
"""

from __future__ import annotations

from selfedit.lm.chat import chat_prompt
from selfedit.tasks.knowledge.prompts import question_prompt
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context, Question


class ShownTask(KnowledgeTask):
    """The knowledge task with the passage before every question."""

    def question(self, context: Context, question: Question) -> tuple[int, ...]:
        """Token ids that show the passage and ask a question."""
        prompt = question_prompt(context.title, question.text, self.lm.has_chat)
        text = f"Passage:\n{context.title}\n{context.text}\n\n{prompt}"
        return tuple(chat_prompt(self.lm, text, self._system(self.settings.answer.system)))
