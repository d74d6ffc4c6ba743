"""Writes a run's card as Markdown and HTML."""

from __future__ import annotations

from pathlib import Path

from fusionzoo.api import FinishedRun
from fusionzoo.card.blocks import Picture
from fusionzoo.card.html import to_html
from fusionzoo.card.markdown import to_markdown
from fusionzoo.card.page import INTENDED, card_blocks
from fusionzoo.storage import write_atomic

MARKDOWN, HTML = "card.md", "card.html"


def write_card(
    run: FinishedRun,
    folder: str | Path | None = None,
    *,
    intended_use: str = INTENDED,
    dataset: str | None = None,
) -> list[Path]:
    """Write `card.md` with its figures, and `card.html`, which holds them.

    Args:
        run: The run.
        folder: Where to write; the run's own folder where not given.
        intended_use: What the model is meant for, and not meant for.
        dataset: Where the run's data are now, if they have moved.

    Returns:
        The files.
    """
    target = run.folder if folder is None else Path(folder)
    blocks = card_blocks(run, intended_use=intended_use, dataset=dataset)
    texts = {
        MARKDOWN: to_markdown(blocks),
        HTML: to_html(f"Model card: {run.record.run_id}", blocks),
    }
    figures = [block for block in blocks if isinstance(block, Picture)]
    written = [write_atomic(target / figure.name, figure.content) for figure in figures]
    return [*(write_atomic(target / name, text) for name, text in texts.items()), *written]
