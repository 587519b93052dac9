"""What asks for a self-edit, in the languages that passages are asked about in.

The English ones are the originals, and what every published figure was measured with; the others
say the same. Each keeps the marks that a self-edit is read by (`selfedit.tasks.knowledge.edits`
knows them in every language).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from selfedit.config import Format, Language


class Wording(NamedTuple):
    """One language's.

    Attributes:
        passage: what stands before a passage.
        instructions: what asks for a self-edit in each format; empty for none.
        cues: what a base model goes on from; self-qa's ends with a space.
    """

    passage: str
    instructions: Mapping[Format, str]
    cues: Mapping[Format, str]


def _cues(implications: str, rewritten: str, question: str, thoughts: str) -> dict[Format, str]:
    kinds: tuple[Format, ...] = ("implications", "implications-long", "implications-very-long")
    return {
        **dict.fromkeys(kinds, implications),
        "rewrite": rewritten,
        "self-qa": question,
        "none": "",
        "chain-of-thought": thoughts,
    }


ENGLISH = Wording(
    "Passage:",
    {
        "implications": "Read the passage and write a list of short facts, one fact per line.",
        "implications-long": (
            "Read the passage and write a long list of short facts, one fact per line. Say each"
            " thing in more than one way."
        ),
        "implications-very-long": (
            "Read the passage and write a very long list of short facts, one fact per line. Cover"
            " every detail, say each thing in several ways, and say how the facts belong together."
        ),
        "rewrite": (
            "Rewrite the passage several times, each time in other words. Write each version on"
            " one line."
        ),
        "self-qa": (
            "Write a quiz about this passage: ten short questions, each with a short answer. Use"
            " this form:\nQuestion: ...\nAnswer: ..."
        ),
        "none": "",
        "chain-of-thought": (
            "Read the passage. First think about what is important in it and how it belongs"
            ' together. Then write a line that says only "Facts:", and below it the facts, one per'
            " line."
        ),
    },
    _cues("Implications:", "Rewritten:", "Question 1: ", "Thoughts:"),
)

GERMAN = Wording(
    "Text:",
    {
        "implications": (
            "Lies den Text und schreibe eine Liste kurzer Fakten, einen Fakt pro Zeile."
        ),
        "implications-long": (
            "Lies den Text und schreibe eine lange Liste kurzer Fakten, einen Fakt pro Zeile. Sage"
            " alles auf mehr als eine Weise."
        ),
        "implications-very-long": (
            "Lies den Text und schreibe eine sehr lange Liste kurzer Fakten, einen Fakt pro Zeile."
            " Lass keine Einzelheit aus, sage alles auf mehrere Weisen, und sage, wie die Fakten"
            " zusammenhängen."
        ),
        "rewrite": (
            "Schreibe den Text mehrmals um, jedes Mal mit anderen Worten. Schreibe jede Fassung in"
            " eine Zeile."
        ),
        "self-qa": (
            "Schreibe ein Quiz über diesen Text: zehn kurze Fragen, jede mit einer kurzen Antwort."
            " Halte dich an diese Form:\nFrage: ...\nAntwort: ..."
        ),
        "none": "",
        "chain-of-thought": (
            "Lies den Text. Überlege zuerst, was darin wichtig ist und wie es zusammenhängt."
            " Schreibe dann eine Zeile, in der nur „Fakten:“ steht, und darunter die Fakten, einen"
            " pro Zeile."
        ),
    },
    _cues("Fakten:", "Umgeschrieben:", "Frage 1: ", "Überlegungen:"),
)

SPANISH = Wording(
    "Texto:",
    {
        "implications": ("Lee el texto y escribe una lista de hechos breves, un hecho por línea."),
        "implications-long": (
            "Lee el texto y escribe una lista larga de hechos breves, un hecho por línea. Di cada"
            " cosa de más de una manera."
        ),
        "implications-very-long": (
            "Lee el texto y escribe una lista muy larga de hechos breves, un hecho por línea."
            " Recoge todos los detalles, di cada cosa de varias maneras y explica cómo se"
            " relacionan los hechos."
        ),
        "rewrite": (
            "Reescribe el texto varias veces, cada vez con otras palabras. Escribe cada versión en"
            " una línea."
        ),
        "self-qa": (
            "Escribe un cuestionario sobre este texto: diez preguntas breves, cada una con una"
            " respuesta breve. Usa esta forma:\nPregunta: ...\nRespuesta: ..."
        ),
        "none": "",
        "chain-of-thought": (
            "Lee el texto. Piensa primero qué es importante en él y cómo se relaciona. Después"
            " escribe una línea que diga solo «Hechos:» y, debajo, los hechos, uno por línea."
        ),
    },
    _cues("Hechos:", "Reescrito:", "Pregunta 1: ", "Reflexiones:"),
)

FRENCH = Wording(
    "Texte :",
    {
        "implications": ("Lis le texte et écris une liste de faits courts, un fait par ligne."),
        "implications-long": (
            "Lis le texte et écris une longue liste de faits courts, un fait par ligne. Dis chaque"
            " chose de plus d'une façon."
        ),
        "implications-very-long": (
            "Lis le texte et écris une très longue liste de faits courts, un fait par ligne."
            " N'oublie aucun détail, dis chaque chose de plusieurs façons et dis comment les faits"
            " sont liés."
        ),
        "rewrite": (
            "Réécris le texte plusieurs fois, chaque fois avec d'autres mots. Écris chaque version"
            " sur une ligne."
        ),
        "self-qa": (
            "Écris un quiz sur ce texte : dix questions courtes, chacune avec une réponse courte."
            " Respecte cette forme :\nQuestion : ...\nRéponse : ..."
        ),
        "none": "",
        "chain-of-thought": (
            "Lis le texte. Réfléchis d'abord à ce qui y est important et à la façon dont tout se"
            " tient. Écris ensuite une ligne qui dit seulement « Faits : », et en dessous les"
            " faits, un par ligne."
        ),
    },
    _cues("Faits :", "Réécrit :", "Question 1 : ", "Réflexions :"),
)

KOREAN = Wording(
    "지문:",
    {
        "implications": "지문을 읽고 짧은 사실들의 목록을 한 줄에 하나씩 쓰세요.",
        "implications-long": (
            "지문을 읽고 짧은 사실들의 긴 목록을 한 줄에 하나씩 쓰세요. 각 내용을 두 가지 이상의"
            " 방식으로 말하세요."
        ),
        "implications-very-long": (
            "지문을 읽고 짧은 사실들의 아주 긴 목록을 한 줄에 하나씩 쓰세요. 모든 세부 내용을"
            " 다루고, 각 내용을 여러 방식으로 말하고, 사실들이 서로 어떻게 이어지는지 말하세요."
        ),
        "rewrite": ("지문을 매번 다른 말로 여러 번 다시 쓰세요. 각 글을 한 줄에 하나씩 쓰세요."),
        "self-qa": (
            "이 지문에 대한 퀴즈를 쓰세요. 짧은 질문 열 개와 각각의 짧은 답을 쓰세요. 다음 형식을"
            " 쓰세요:\n질문: ...\n답: ..."
        ),
        "none": "",
        "chain-of-thought": (
            "지문을 읽으세요. 먼저 무엇이 중요하고 어떻게 이어지는지 생각하세요. 그런 다음 “사실:”"
            "이라고만 적힌 줄을 쓰고, 그 아래에 사실들을 한 줄에 하나씩 쓰세요."
        ),
    },
    _cues("사실:", "다시 쓴 글:", "질문 1: ", "생각:"),
)

CHINESE = Wording(
    "文章：",
    {
        "implications": "阅读文章，写出一份简短事实的清单，每行一个事实。",
        "implications-long": (
            "阅读文章，写出一份很长的简短事实清单，每行一个事实。每件事都用不止一种方式来说。"
        ),
        "implications-very-long": (
            "阅读文章，写出一份非常长的简短事实清单，每行一个事实。写到每个细节，每件事都用几种方式"
            "来说，并说明这些事实之间的联系。"
        ),
        "rewrite": "把文章改写几遍，每遍用不同的说法。每个版本写成一行。",
        "self-qa": (
            "就这篇文章写一份小测验：十个简短的问题，每个问题附一个简短的答案。请用这种格式：\n"
            "问题：...\n答案：..."
        ),
        "none": "",
        "chain-of-thought": (
            "阅读文章。先想一想其中什么重要、彼此有什么联系。然后写一行，只写“事实：”，在它下面写出"
            "事实，每行一个。"
        ),
    },
    _cues("事实：", "改写：", "问题1：", "思考："),
)

JAPANESE = Wording(
    "文章：",
    {
        "implications": "文章を読み、短い事実を一行に一つずつ並べて書いてください。",
        "implications-long": (
            "文章を読み、短い事実を一行に一つずつ、たくさん並べて書いてください。同じことを二通り"
            "以上の言い方で書いてください。"
        ),
        "implications-very-long": (
            "文章を読み、短い事実を一行に一つずつ、できるだけたくさん並べて書いてください。細かい点"
            "もすべて取り上げ、同じことをいくつもの言い方で書き、事実どうしのつながりも書いてくださ"
            "い。"
        ),
        "rewrite": (
            "文章を何度か、毎回別の言葉で書き直してください。それぞれを一行に書いてください。"
        ),
        "self-qa": (
            "この文章についてのクイズを書いてください。短い質問を十個、それぞれに短い答えを付けて"
            "ください。次の形で書いてください：\n質問：...\n答え：..."
        ),
        "none": "",
        "chain-of-thought": (
            "文章を読んでください。まず、何が大切で、どうつながっているかを考えてください。次に「事"
            "実：」とだけ書いた行を書き、その下に事実を一行に一つずつ書いてください。"
        ),
    },
    _cues("事実：", "書き直し：", "質問1：", "考え："),
)

WORDINGS: dict[Language, Wording] = {
    "en": ENGLISH,
    "ko": KOREAN,
    "zh": CHINESE,
    "de": GERMAN,
    "es": SPANISH,
    "fr": FRENCH,
    "ja": JAPANESE,
}
"""Each language's, the same formats in all."""
QUESTION_MARKS = ("question", "q", "frage", "pregunta", "질문", "问题", "質問", "問題")
ANSWER_MARKS = (
    "answer",
    "a",
    "antwort",
    "respuesta",
    "réponse",
    "답",
    "답변",
    "答案",
    "答え",
    "回答",
)
FACTS_MARKS = ("facts", "implications", "fakten", "hechos", "faits", "사실", "事实", "事実")
"""What stands before a question, an answer and the facts, in any of the languages."""
