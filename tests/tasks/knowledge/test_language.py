"""A self-edit is asked for in the passage's language, and read in it; English stays as it was."""

from __future__ import annotations

import pytest

from selfedit.config import FORMATS, LANGUAGES, EditSettings, Language
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.edits import parse_edit
from selfedit.tasks.knowledge.formats import edit_request
from selfedit.tasks.knowledge.language import edit_language, language_of
from selfedit.tasks.knowledge.translations import WORDINGS
from selfedit.tasks.task import Context

TEXTS: dict[str, str] = {
    "en": "The lighthouse at Port Sel was built in 1874, after two storms had taken the old one. It"
    " is still lit every night by its keeper.",
    "de": "Der Leuchtturm von Port Sel wurde 1874 gebaut, nachdem zwei Stürme den alten zerstört"
    " hatten. Noch heute zündet ihn der Wärter jede Nacht an.",
    "es": "El faro de Port Sel se construyó en 1874, después de que dos tormentas se llevaran el"
    " antiguo. Todavía lo enciende cada noche su guardián.",
    "fr": "Le phare de Port Sel a été construit en 1874, après que deux tempêtes eurent emporté"
    " l'ancien. Son gardien l'allume encore chaque nuit.",
    "ko": "포트셀 등대는 두 차례 폭풍이 옛 등대를 무너뜨린 뒤 1874년에 지어졌다. 지금도 등대지기가 매일 밤 불을 켠다.",
    "zh": "塞尔港灯塔建于1874年，此前两场风暴摧毁了旧灯塔。直到今天，守塔人仍每晚点亮它。",
    "ja": "ポートセルの灯台は、二度の嵐で古い灯台が失われた後、1874年に建てられた。今も灯台守が毎晩明かりをともす。",
    "it": "Il faro di Port Sel fu costruito nel 1874, dopo che due tempeste avevano portato via il"
    " vecchio. Il guardiano lo accende ancora ogni notte.",
    "pt": "O farol de Port Sel foi construído em 1874, depois que duas tempestades levaram o"
    " antigo. O faroleiro ainda o acende todas as noites, e não há outro no porto.",
    "nl": "De vuurtoren van Port Sel is in 1874 gebouwd, nadat twee stormen de oude hadden"
    " weggeslagen. De wachter steekt hem nog elke nacht aan.",
}
FACTS = ("Ada Voss?", "Verra.")


@pytest.mark.parametrize("language", TEXTS)
def test_a_language_is_told_by_a_few_sentences(language: str) -> None:
    assert language_of(TEXTS[language]) == language
    asked_in = edit_language(EditSettings(), TEXTS[language])
    assert asked_in == (language if language in LANGUAGES else "en")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1874; 2.5; 17 %",
        "Teams: Los Angeles Rams, Los Angeles Lakers, Los Angeles Dodgers, and LA Galaxy in la MLS.",
        "def main(argv): return run(argv)",
        "Ada Voss (에이다 보스) was the engineer who built the harbour and lived in the town for years.",
        "Гавань Верры была построена в 1874 году, и до сих пор маяк горит каждую ночь.",
    ],
)
def test_what_is_not_sure_is_asked_about_in_english(text: str) -> None:
    assert edit_language(EditSettings(), text) == "en"


@pytest.mark.parametrize("source", ["corpus:train", "corpus:heldout"])
def test_every_passage_of_the_english_corpus_is_asked_about_as_before(source: str) -> None:
    contexts = load_contexts([source])
    assert len(contexts) > 5
    for context in contexts:
        assert edit_language(EditSettings(), context.text) == "en", context.id
    asked = edit_request(contexts[0], EditSettings(), True)
    assert asked.startswith("Read the passage and write a list of short facts, one fact per line.")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_format_has_words_of_its_own_in_every_language(language: Language) -> None:
    wording = WORDINGS[language]
    asked = [wording.instructions[format] for format in FORMATS if format != "none"]
    assert all(asked) and len(set(asked)) == len(asked)
    assert wording.cues["self-qa"].rstrip()[:-1] and wording.instructions["none"] == ""
    if language != "en":
        assert language_of(" ".join(asked)) == language
        assert not set(asked) & set(WORDINGS["en"].instructions.values())


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_the_request_is_in_the_passages_language(language: Language, chat: bool) -> None:
    context = Context("id", "Port Sel", TEXTS[language])
    wording = WORDINGS[language]
    text = edit_request(context, EditSettings(), chat)
    assert wording.instructions["implications"] in text and context.text in text
    assert text.endswith(wording.cues["implications"]) is not chat
    in_english = edit_request(context, EditSettings(language="en"), chat)
    assert "Read the passage" in in_english and "Read the passage" not in text
    chosen = EditSettings(language="fr", format="rewrite")
    assert WORDINGS["fr"].instructions["rewrite"] in edit_request(context, chosen, chat)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_quiz_and_a_chain_of_thought_are_read_in_every_language(language: Language) -> None:
    form = WORDINGS[language].instructions["self-qa"].splitlines()[-2:]
    question, answer = (line.replace("...", fact) for line, fact in zip(form, FACTS, strict=True))
    quiz = EditSettings(format="self-qa")
    assert parse_edit(f"{question}\n{answer}", quiz).pairs == (FACTS,)
    # As a base model goes on from its cue.
    cue = WORDINGS[language].cues["self-qa"]
    assert parse_edit(f"{cue}{FACTS[0]}\n{answer}", quiz).pairs == (FACTS,)
    thinking = EditSettings(format="chain-of-thought")
    head = WORDINGS[language].cues["implications"] if language != "en" else "Facts:"
    assert parse_edit(f"Hm.\n{head}\nVerra.", thinking).lines == ("Verra.",)
