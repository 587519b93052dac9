# ruff: noqa: E501 - a template is one line
"""Chat templates are rendered as transformers renders them, and none can hang, recurse or fill the
memory.
"""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

import pytest
from jinja2 import TemplateError

from selfedit.lm.load import LanguageModel
from selfedit.lm.template import OverLimit, render
from tiny_llama import CHATML

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  Who & <what>\nwas it?\t"},
    {"role": "assistant", "content": "It was {{ nobody }}. 100000 % sure"},
]
TEMPLATES = {
    "chatml": CHATML,
    "trimmed": "{{ bos_token }}{% for m in messages %}\n    {%- if m.role == 'user' %}\n{{ m['content'] | trim }}\n{% endif %}{% endfor %}",
    "namespace": "{% set ns = namespace(seen=0) %}{% for m in messages %}{% set ns.seen = ns.seen + 1 %}{{ ns.seen ~ m.role }}{% endfor %}",
    "loop": "{% for m in messages %}{{ loop.index0 }}{{ loop.last }}{{ loop.length }}{{ loop.previtem is defined }};{% endfor %}",
    "controls": "{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{{ m.content }}{% endfor %}",
    "macro": "{% macro say(m, end='!') %}{{ m.role | upper + end }}{% endmacro %}{% for m in messages %}{{ say(m) }}{% endfor %}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "filters": "{{ messages | tojson }}{{ messages | map(attribute='role') | join(', ') }}{{ messages | length }}",
    "methods": "{{ messages[1].content.strip().split('\n')[-1] }}{{ '%s of %d' % ('a', 3) }}{{ ', '.join(['a', 'b']) }}",
    "slices": "{% for m in messages[1:] %}{{ m.content[:3] }}{% else %}none{% endfor %}{{ 'ab' * 3 }}{{ 7 % 4 }}{{ 2 ** 5 }}",
    "sets": "{% set text %}a{{ messages[0].content }}{% endset %}{{ text }}{% for k, v in messages[0].items() %}{{ k }}{% endfor %}",
    "recursive": "{% for m in messages recursive %}{{ m.role }}{% endfor %}{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
    "defined": "{% if tools is defined and tools is not none %}t{% endif %}{{ date_string }}{{ eos_token }}{{ add_generation_prompt }}",
    "replaced": "{{ messages[2].content.replace('It', 'He') | replace('was', 'is') }}{{ range(3) | list }}{{ 'x'.center(9) }}",
}  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("opened", [True, False])
def test_rendered_as_transformers_renders_it(
    tiny_lm: LanguageModel, template: str, opened: bool
) -> None:
    tokenizer = deepcopy(tiny_lm.tokenizer)
    tokenizer.chat_template = template
    expected = tokenizer.apply_chat_template(
        MESSAGES, tokenize=False, add_generation_prompt=opened, date_string="26 Jul 2024"
    )
    values: dict[str, Any] = {"messages": MESSAGES, "tools": None, "add_generation_prompt": opened}
    values |= dict(tokenizer.special_tokens_map) | {"date_string": "26 Jul 2024"}
    assert render(template, values) == expected


NESTED = "{% set ns = namespace(l=[1]) %}{% for i in range(40) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
LOOP = "{% for i in range(99999) %}"
HOSTILE = {
    "two loops": f"{LOOP}{LOOP}{{% endfor %}}{{% endfor %}}",
    "loops that write nothing": f"{LOOP}{{% for j in range(99999) if j < 0 %}}{{% endfor %}}{{% endfor %}}",
    "a counter of its own": "{% set step = 0 %}" + f"{LOOP}{LOOP}{{% set step = 0 %}}{{% endfor %}}{{% endfor %}}",
    "a macro that calls itself": "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "a macro that calls itself quietly": "{% macro m(n) %}{% if m(n) %}{% endif %}{% endmacro %}{{ m(1) }}",
    "a loop that calls itself": "{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "doubled by +": "{% set x = 'a' * 99 %}" + "{% set x = x + x %}" * 40 + "{{ x }}",
    "doubled by ~": "{% set x = 'a' * 99 %}" + "{% set x = x ~ x %}" * 40,
    "doubled by a block": "{% set x = 'a' * 99 %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
    "doubled by join": "{% set x = 'a' * 99 %}" + "{% set x = [x, x] | join(x) %}" * 40,
    "doubled by str.join": "{% set x = 'a' * 99 %}" + "{% set x = x.join([x, x]) %}" * 40,
    "doubled by format": "{% set x = 'a' * 99 %}" + "{% set x = '{0}{0}'.format(x) %}" * 40,
    "doubled by %": "{% set x = 'a' * 99 %}" + "{% set x = '%s%s' % (x, x) %}" * 40,
    "doubled by replace": "{% set x = 'a' * 99 %}" + "{% set x = x.replace('a', x) %}" * 9,
    "doubled by a filter": "{% set x = 'a' * 99 %}" + "{% set x = x | replace('a', x) %}" * 9,
    "a doubled list": "{% set x = [1] * 99 %}" + "{% set x = x + x %}" * 40,
    "multiplied": "{{ 'a' * 9999999999 }}",
    "a list multiplied": "{{ [1] * 9999999999 }}",
    "a tower of powers": "{{ 9 ** 9 ** 9 ** 9 }}",
    "squares of squares": "{% set x = 99999 %}" + "{% set x = x * x %}" * 40 + "{{ x }}",
    "centred": "{{ 'a' | center(9999999999) }}",
    "justified": "{{ 'a'.ljust(9999999999) }}",
    "formatted": "{{ '{:>9999999999}'.format(1) }}",
    "formatted by %": "{{ '%9999999999d' % 1 }}",
    "formatted by *": "{{ '%*d' % (999999999, 1) }}",
    "indented": "{{ ('\n' * 99999) | indent(99999) }}",
    "lorem ipsum": "{{ lipsum(n=100000) }}",
    "wrapped": "{{ ('a' * 1000000) | wordwrap(1) }}",
    "translated": "{{ ('a' * 100000).translate({97: 'b' * 100000}) }}",
    "tabs": "{{ ('\\t' * 100000).expandtabs(99999) }}",
    "looked for in a long list": "{% set l = range(99999) | list %}" + "{% for i in l %}{% if 'x' in l %}{% endif %}{% endfor %}",
    "added up again and again": "{% set l = range(99999) | list %}{% for i in l %}{% set y = l | sum %}{% endfor %}",
    "a list of itself twice": NESTED + "{{ ns.l }}",
    "a list of itself twice, compared": NESTED + "{{ ns.l == [[1]] }}",
    "a list of itself twice, as text": NESTED + "{% set x = ns.l | string %}",
    "a table of itself twice": NESTED.replace("[ns.l, ns.l]", "{'a': ns.l, 'b': ns.l}") + "{{ ns.l | tojson }}",
    "a name of itself twice": NESTED.replace("[ns.l, ns.l]", "namespace(a=ns.l, b=ns.l)") + "{{ ns.l }}",
    "a key of itself twice": NESTED.replace("[ns.l, ns.l]", "(ns.l, ns.l)").replace("[1]", "(1, 1)") + "{{ {ns.l: 1} }}",
    "division": "{{ 1 / 0 }}",
    "types": "{{ 1 + 'a' }}",
    "includes": "{% include '/etc/passwd' %}",
    "imports": "{% import '/etc/passwd' as x %}",
    "reaches out": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "no template": "{% for %}",
    "nested": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "brackets": "{{ " + "[" * 3000 + "]" * 3000 + " }}",
    "long": "x" * 300_000,
}  # fmt: skip


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_fails_at_once(template: str) -> None:
    started = time.monotonic()
    with pytest.raises(Exception) as caught:
        render(template, {"messages": MESSAGES})
    assert time.monotonic() - started < 5
    assert not isinstance(caught.value, AssertionError)


def test_a_template_may_refuse(tiny_lm: LanguageModel) -> None:
    with pytest.raises(TemplateError, match="no system"):
        render("{{ raise_exception('no system') }}", {})


def test_dates_are_the_same_tomorrow() -> None:
    assert render("{{ strftime_now('%d %b %Y') }}", {}) == "26 Jul 2024"


def test_the_budget_begins_anew_with_each_rendering() -> None:
    template = "{% for i in range(40000) %}{% endfor %}"
    for _ in range(5):
        render(template, {})
    with pytest.raises(OverLimit):
        render(template * 3, {})
