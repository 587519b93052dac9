import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from selfedit.errors import Interrupted
from selfedit.run.interrupt import Interrupt
from selfedit.run.ledger import Ledger
from selfedit.run.progress import progress_to


def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_lets_the_step_end(number):
    told, steps = [], []
    with (
        pytest.raises(Interrupted) as caught,
        Interrupt(resume="selfedit train -o r", notify=told.append) as interrupt,
    ):
        for step in range(5):
            interrupt.check()
            if step == 2:
                send(number)
            steps.append(step)
    assert steps == [0, 1, 2]
    assert told == ["stopping after this step; once more to stop at once"]
    assert caught.value.exit_code == 130 and caught.value.fix == "to go on: selfedit train -o r"


def test_the_second_signal_stops_at_once_and_the_ledger_is_whole(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.finish_step("one", {})
        with pytest.raises(Interrupted, match="stopped at once"), Interrupt():
            send()
            try:
                with ledger.transaction():
                    ledger.finish_step("two", {})
                    send(signal.SIGTERM)
                    pytest.fail("it went on after the second signal")
            except Exception:
                pytest.fail("something on the way swallowed it")
        assert [row.name for row in ledger.steps()] == ["one"]
        ledger.finish_step("two", {})


def test_the_handlers_of_before_come_back():
    def mine(number, frame):
        raise ZeroDivisionError

    # A library that another test used in this process may have left a handler of its own.
    of_before = signal.getsignal(signal.SIGTERM)
    before = signal.signal(signal.SIGINT, mine)
    try:
        with Interrupt():
            assert signal.getsignal(signal.SIGINT) is not mine
            assert signal.getsignal(signal.SIGTERM) is not of_before
        assert signal.getsignal(signal.SIGINT) is mine
        with pytest.raises(ValueError), Interrupt():
            raise ValueError
        assert signal.getsignal(signal.SIGINT) is mine
        with pytest.raises(ZeroDivisionError):
            send()
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) == of_before


def test_a_signal_after_the_last_check_does_not_fail_a_finished_run():
    with Interrupt() as interrupt:
        interrupt.check()
        send()
    assert interrupt.requested


def test_outside_the_main_thread_it_does_nothing():
    seen = []

    def work():
        with Interrupt() as interrupt:
            interrupt.check()
            seen.append(interrupt.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_a_second_signal_in_a_finaliser_stops_a_moment_later_without_a_traceback(capsys):
    class Finalised:
        def __del__(self):
            send()
            for _ in range(100):  # Python looks for signals between two of these
                pass

    with pytest.raises(Interrupted, match="stopped at once"), Interrupt():
        send()
        one = Finalised()
        del one
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            time.sleep(0.001)
    assert capsys.readouterr().err == ""
    assert time.monotonic() < deadline


def test_nohup_stays_in_force():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            send(signal.SIGHUP)
            interrupt.check()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_stream_that_loses_its_reader_is_written_to_no_more():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        sink = progress_to(stream)
        with sink.task("one", total=2) as task:
            os.close(reader)
            task.advance()
        stream.write("to nowhere, and Python does not complain when it closes it")


ENDING = """
import os, signal, sys, time
from selfedit.run.interrupt import Interrupt, end_at_signals, ignore_signals

def send(): os.kill(os.getpid(), signal.SIGTERM)

class Finalised:
    def __del__(self):
        send()
        for _ in range(100): pass

end_at_signals()
try:
    {body}
    time.sleep(5)
    sys.exit("it went on")
except (KeyboardInterrupt, SystemExit): pass
try:
    ignore_signals()
    send()
except KeyboardInterrupt: sys.exit("not ignored")
sys.exit(130)
"""


@pytest.mark.parametrize(
    "body",
    [
        "send()",
        "one = Finalised(); del one",
        "one = [Finalised(), Finalised()]; del one",
        "with Interrupt(): pass\n    one = Finalised(); del one",
    ],
)
def test_a_signal_outside_of_a_run_ends_the_process_without_a_traceback(body):
    command = [sys.executable, "-c", ENDING.replace("{body}", body)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
