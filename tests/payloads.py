"""Names that a task, a method, a document or a folder could have, and what must never come out of a
program raw.
"""

from __future__ import annotations

PAYLOADS = {
    "a terminal's title and colour": "\x1b]0;PWNED\x07\x1b[31mRED",
    "a terminal's link": "\x1b]8;;http://elsewhere\x1b\\here\x1b]8;;\x1b\\",
    "one-letter control": "a\x9b31mb\rc\x08d",
    "markup that closes nothing": "[/]",
    "markup": "[bold red]x[/bold red] [link=http://elsewhere]y[/link]",
    "a path upwards": "x/../../../../outside",
    "an absolute path": "/tmp/outside",
    "a script": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "a link that runs": "[x](javascript:alert(1)) ![y](http://elsewhere/z.png)",
    "a table's cell": "a | b\n| c",
    "a formula": "=1+1",
    "a picture's formula": "$\\frac{",
    "braces": "{0} {name} %s %(x)d",
    "text that runs backwards": "abc\u202edef",
    "half a character": "x\ud800y",
    "zero": "a\0b",
    "300 letters": "n" * 300,
    "nothing to see": " ",
}


def raw_in(text: str) -> list[str]:
    """What of a program's output could steer a terminal, other than line breaks and rich's own
    colours.
    """
    bare = text
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[3m"):
        bare = bare.replace(code, "")
    return sorted({letter for letter in bare if not (letter.isprintable() or letter in "\n")})
