import io

import pytest

from selfedit.run.progress import (
    SILENT,
    Pace,
    PlainProgress,
    RichProgress,
    duration,
    printable,
    progress_to,
)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def plain():
    clock, stream = Clock(), io.StringIO()
    return PlainProgress(stream, clock=clock), clock, stream


def test_rate_and_time_left_do_not_count_what_was_resumed():
    clock = Clock()
    pace = Pace(total=120, done=100, clock=clock)
    assert pace.rate is None and pace.left is None and pace.describe("self-edits") == ""
    clock.now += 50
    pace.advance(10)
    assert pace.rate == 0.2 and pace.left == 50.0
    assert pace.describe("self-edits") == "12.0 self-edits/min, 50 s left"
    clock.now += 30
    assert pace.rate == 0.2 and pace.left == 20.0  # between two advances the time left counts down
    clock.now += 90
    assert pace.left == 0.0


def test_a_log_gets_a_start_bounded_lines_and_an_end():
    sink, clock, stream = plain()
    with sink.task("adapting", total=120, unit="self-edits", done=60) as task:
        for _ in range(60):
            clock.now += 10
            task.advance(note="c7")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "adapting: 60/120 self-edits (50%), going on"
    assert lines[
        1
    ] == "adapting: 63/120 self-edits (52%), 6.0 self-edits/min, 9 min 30 s left, c7".replace(
        "ad", "  ad", 1
    )
    assert lines[-1] == "adapting: done, 120/120 self-edits (100%) in 10 min 00 s"
    assert len(lines) == 2 + 19


def test_a_quick_task_does_not_flood_the_log():
    sink, clock, stream = plain()
    with sink.task("grading", total=10_000) as task:
        for _ in range(10_000):
            clock.now += 0.001
            task.advance()
    assert len(stream.getvalue().splitlines()) <= 2 + 10_000 * 0.001 / 3


def test_a_tenth_is_told_before_the_half_minute():
    sink, clock, stream = plain()
    with sink.task("grading", total=10) as task:
        for _ in range(5):
            clock.now += 4
            task.advance()
    assert [line.split(" (")[0].strip() for line in stream.getvalue().splitlines()[1:-1]] == [
        f"grading: {n}/10" for n in range(1, 6)
    ]


def test_nested_tasks_are_indented_and_a_stop_is_called_one():
    sink, _, stream = plain()
    with (
        pytest.raises(KeyError),
        sink.task("round", total=2),
        sink.task("adapting", total=3) as task,
    ):
        task.advance()
        raise KeyError
    assert [line.split(" in ")[0] for line in stream.getvalue().splitlines()] == [
        "round: 0/2 (0%)",
        "  adapting: 0/3 (0%)",
        "  adapting: stopped, 1/3 (33%)",
        "round: stopped, 0/2 (0%)",
    ]


def test_an_empty_task():
    for sink in (plain()[0], RichProgress(Terminal()), SILENT):
        with sink.task("nothing", total=0) as task:
            task.advance(0)


def test_what_a_stream_gets(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert isinstance(progress_to(io.StringIO()), PlainProgress)
    assert isinstance(progress_to(Terminal()), RichProgress)
    terminal = Terminal()
    with progress_to(terminal, quiet=True).task("adapting", total=3) as task:
        task.advance(2, note="x")
    assert terminal.getvalue() == ""


def test_bars_show_counts_and_leave_the_terminal_as_it_was(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    sink = progress_to(terminal)
    with sink.task("round", total=2) as outer:
        for _ in range(2):
            with sink.task("adapting", total=10, unit="self-edits", done=4) as task:
                task.advance(3, note="[red]context\x1b[31m 7")
            outer.advance()
    shown = terminal.getvalue()
    assert "  adapting" in shown and "2/2" in shown
    assert (
        shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
    )  # the cursor is hidden once and shown again
    assert "\x1b[31m 7" not in shown


def test_a_models_text_cannot_steer_the_terminal():
    assert printable("a\x1b[2J\nb\r\x07\u202ec\ud800") == "a [2J b c"
    assert printable("[red]x[/red]") == "[red]x[/red]"
    assert len(printable("x" * 500)) == 60 and printable("x" * 500).endswith("…")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.9, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
