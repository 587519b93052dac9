"""The SQL of the index: its tables, how they are filled from the ledger's, what is read of them."""

from __future__ import annotations

TABLES = """
CREATE TEMP TABLE view_places (
    id INTEGER PRIMARY KEY, phase TEXT, method TEXT, round INTEGER, UNIQUE (phase, method, round));
CREATE TEMP TABLE view_contexts (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TEMP TABLE view_edits (
    id INTEGER PRIMARY KEY, place INTEGER, context INTEGER, candidate INTEGER, tokens INTEGER,
    cut INTEGER, rejected INTEGER, reward REAL, accuracy REAL, baseline REAL, kept INTEGER,
    trials INTEGER DEFAULT 0, loss REAL DEFAULT 0, correct INTEGER DEFAULT 0,
    judged INTEGER DEFAULT 0);
CREATE UNIQUE INDEX view_edits_key ON view_edits (context, place, candidate);
CREATE TEMP TABLE view_texts (id INTEGER PRIMARY KEY, lowered TEXT)
"""
# A place without a round is -1 here: to SQL, NULL is equal to nothing.
NEW_NAMES = (
    "INSERT OR IGNORE INTO view_places (phase, method, round) SELECT DISTINCT phase, method,"
    " ifnull(round, -1) FROM main.{0} WHERE rowid > ?1 AND rowid <= ?2",
    "INSERT OR IGNORE INTO view_contexts (name) SELECT DISTINCT context_id FROM main.{0} WHERE"
    " rowid > ?1 AND rowid <= ?2",
)
_JOINED = (
    " FROM main.{0} AS r JOIN view_places AS p ON p.phase = r.phase AND p.method = r.method"
    " AND p.round = ifnull(r.round, -1) JOIN view_contexts AS c ON c.name = r.context_id WHERE"
    " r.rowid > ?1 AND r.rowid <= ?2"
)
# Where a row of the ledger belongs in the index.
_SAME_EDIT = (
    " WHERE view_edits.context = new.context AND view_edits.place = new.place AND"
    " view_edits.candidate = new.candidate"
)
FILL: dict[str, tuple[str, ...]] = {
    "self_edits": (
        "INSERT INTO view_edits (id, place, context, candidate, tokens, cut, rejected) SELECT"
        " r.rowid, p.id, c.id, candidate, tokens, finish = 'length', rejected IS NOT NULL"
        f"{_JOINED}",
        "INSERT INTO view_texts SELECT rowid, lower(text) FROM main.self_edits WHERE rowid > ?1 AND"
        " rowid <= ?2",
    ),
    "rewards": (
        "UPDATE view_edits SET reward = new.reward, accuracy = new.accuracy, baseline ="
        " new.baseline, kept = new.kept FROM (SELECT p.id AS place, c.id AS context, candidate,"
        f" reward, accuracy, baseline, kept{_JOINED}) AS new{_SAME_EDIT}",
    ),
    # A loss of NaN is no JSON to every SQLite.
    "trials": (
        "UPDATE view_edits SET trials = trials + new.n, loss = view_edits.loss + new.loss, correct"
        " = view_edits.correct + new.correct, judged = view_edits.judged + new.judged FROM (SELECT"
        " p.id AS place, c.id AS context, candidate, count(*) AS n, total(CASE WHEN"
        " json_valid(training) THEN training ->> 'final_loss' END) AS loss, sum((SELECT"
        " total(value ->> 'correct') FROM json_each(answers))) AS correct, sum((SELECT count(value"
        f" ->> 'correct') FROM json_each(answers))) AS judged{_JOINED} AND candidate IS NOT NULL"
        f" GROUP BY 1, 2, 3) AS new{_SAME_EDIT}",
    ),
}
# Of the answers with a verdict; NULL where none has one.
SHARE = "CASE WHEN e.judged THEN e.correct * 1.0 / e.judged END"
COLUMNS = {
    "id": "e.id", "place": "e.place", "context": "e.context", "candidate": "e.candidate",
    "tokens": "e.tokens", "cut": "e.cut", "rejected": "e.rejected", "reward": "e.reward",
    "accuracy": "e.accuracy", "baseline": "e.baseline", "kept": "e.kept", "trials": "e.trials",
    "loss": "CASE WHEN e.trials THEN e.loss / e.trials END", "right": SHARE,
}  # fmt: skip
ORDERS: dict[str, str] = {
    "ledger": "e.id",
    "best": f"e.reward DESC NULLS LAST, {SHARE} DESC NULLS LAST, e.id",
    "worst": f"e.reward NULLS LAST, {SHARE} NULLS LAST, e.id",
    "longest": "e.tokens DESC, e.id",
    "loss": "e.loss / e.trials DESC NULLS LAST, e.id",
}
