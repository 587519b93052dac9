"""A disk that is full, fails, or is mounted read-only: each is named as what it is."""

import errno
import os
import sqlite3

import pytest
import torch

from selfedit.cli import app
from selfedit.errors import StorageFailed, StorageFull
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.storage.database_errors import explained
from selfedit.storage.files import folder_atomic, write_atomic
from small_disk import largest_file

KINDS = {
    errno.ENOSPC: (StorageFull, "no room"),
    errno.EDQUOT: (StorageFull, "no room"),
    errno.EIO: (StorageFailed, "input/output error"),
    errno.EROFS: (StorageFailed, "read-only"),
}


@pytest.fixture(params=KINDS, ids=[errno.errorcode[number] for number in KINDS])
def failing(request, monkeypatch):
    """A disk that fails when it is waited for; what that should be called."""

    def fsync(_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "fsync", fsync)
    return KINDS[request.param]


def test_a_file(failing, tmp_path):
    kind, words = failing
    with pytest.raises(kind, match=words) as caught:
        write_atomic(tmp_path / "one", b"x")
    assert caught.value.exit_code == 4 and not list(tmp_path.iterdir())


def test_the_ledger(failing, tmp_path):
    kind, words = failing
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"x" * 10)
    found = explained(error, path, "ledger")
    assert isinstance(found, kind) and words in found.what
    assert list(tmp_path.iterdir()) == [path]


def test_the_ledgers_limit_on_file_size(tmp_path):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"x" * 200_000)
    with largest_file(200_001):
        assert isinstance(explained(error, path, "ledger"), StorageFull)


def test_an_adapter(tmp_path):
    tensors = {"m.q_proj": (torch.zeros(4, 5000), torch.zeros(5000, 4))}
    adapter = Adapter(LoraSpec(4, 8, ("q_proj",)), tensors)
    with largest_file(50_000):
        with pytest.raises(StorageFull):
            adapter.save(tmp_path / "plain")
        with pytest.raises(StorageFull), folder_atomic(tmp_path / "whole") as new:
            adapter.save(new)
    assert not (tmp_path / "whole").exists() and not list(tmp_path.glob(".selfedit-*"))


@pytest.mark.parametrize("number", KINDS)
def test_any_verb(monkeypatch, capsys, number):
    def verb(*_, **__):
        raise OSError(number, os.strerror(number), "/some/where")

    monkeypatch.setattr(app, "app", verb)
    assert app.main(["doctor"]) == 4
    assert KINDS[number][1] in capsys.readouterr().err
