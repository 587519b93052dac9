"""``selfedit export``: an adapter or a policy to where it is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from selfedit.cli.command import say
from selfedit.cli.output import counted, print_json, print_table, write


def export(
    source: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    form: Annotated[Literal["merged", "adapter", "gguf"], Parameter(name="--as")],
    document: str | None = None,
    round: int | None = None,
    model: str | None = None,
    base: str | None = None,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    shard: str = "5GB",
    push: str | None = None,
    private: Annotated[bool, Parameter(negative="--public")] = True,
    existing: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """An adapter, a document or a policy in the form that others load, with a card.

    `--push` puts it onto a hub: selfedit export runs/mine -o policy/ --as merged --push me/policy.

    Args:
        source: the folder of an adapter, a library, or a run that has learned a policy.
        out: the new folder; it appears when it is whole.
        form: merged (a model for transformers and vLLM), adapter (PEFT's files), or gguf (an
            adapter for llama.cpp and Ollama, with a Modelfile).
        document: which document of a library.
        round: which round's policy of a run; its last one if not given.
        model: the base model, where the folder does not say, or says another place.
        base: what a base that was loaded from a folder is called on the hub, owner/name.
        dtype: of merged weights; auto takes that of the base's files. Adding up is in float32.
        shard: the most that one file of merged weights holds.
        push: put the files into this new repository, owner/name (HF_TOKEN, or `hf auth login`).
        private: the repository is seen by its owner alone; --public, by everybody.
        existing: push into a repository that is there already.
        dry_run: with --push: print what would go up, and stop.
        json: print the files, and the commit's address, as JSON.
    """
    from selfedit.export.exportable import read_exportable
    from selfedit.export.push import check_base, check_repository
    from selfedit.export.write import Options, write_export

    if push is not None:
        check_repository(push)
    source_read = read_exportable(source, document=document, round=round, model=model)
    if push is not None and form != "merged":
        check_base(base or source_read.model)
    files = write_export(source_read, out, form, Options(base, dtype, shard))
    if not json:
        rows = [[path.relative_to(out).as_posix(), str(path.stat().st_size)] for path in files]
        print_table(["file", "bytes"], rows, title=f"goes to {push}" if push else f"in {out}")
    address = None if push is None or dry_run else _pushed(out, files, push, private, existing)
    if json:
        names = [path.relative_to(out).as_posix() for path in files]
        print_json({"folder": out, "files": names, "pushed": address})
    elif address:
        write(address)


def _pushed(out: Path, files: Sequence[Path], name: str, private: bool, existing: bool) -> str:
    from selfedit.export.push import push

    say(f"pushing {counted(len(files), 'file')} to {name}, {'private' if private else 'public'}")
    return push(out, files, name, private=private, existing=existing)
