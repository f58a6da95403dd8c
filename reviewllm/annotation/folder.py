"""The folder of an export: a page for each annotator, and the key; whole or not at all."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from reviewllm.annotation.key import Key, annotation_folder, write_key
from reviewllm.annotation.page import render_page
from reviewllm.annotation.pairs import Draw
from reviewllm.errors import InputError
from reviewllm.files import write_text
from reviewllm.table_files import replace_folder


def refuse_existing(out: Path) -> None:
    """Stop before an earlier export is lost, with which the answers given to it would be lost too.

    Raises:
        InputError: there is one.
    """
    folder = annotation_folder(out)
    if folder.exists():
        raise InputError(
            f"{folder}: an export is there already, and without its key the answers given to it are lost; move it away, or "
            "pass --replace if nobody needs them"
        )


def write_export(draw: Draw, key: Key, out: Path) -> Path:
    """Write pages and key aside, then put them in the place of what is there; returns the folder."""
    folder = annotation_folder(out)
    aside = folder.with_name(".annotation.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    order = random.SystemRandom()
    for annotator in key.annotators:
        page = render_page(draw.pairs, export_id=key.export_id, annotator=annotator, order=order)
        write_text(page, aside / f"{annotator}.html")
    write_key(key, aside)
    replace_folder(aside, folder)
    return folder
