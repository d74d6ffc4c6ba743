"""Code blocks of the pages, and the commands in them."""

import re
import shlex
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: `<!-- not run: reason -->` before a block that tests leave alone.
_MARK = r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n+)?"
_FENCE = re.compile(
    rf"^{_MARK}(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
        page: Path of its page below the repository.
        number: Which one of the page, from 1.
        language: What the fence says.
        text: What is inside.
        reason: Why it isn't run; empty where it is.
    """

    page: str
    number: int
    language: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"

    @property
    def commands(self) -> list[list[str]]:
        """Words of every command after a prompt, comments left out, continued lines joined."""
        lines = re.sub(r"\\\n\s*>?", " ", self.text).splitlines()
        prompts = [line.strip() for line in lines]
        if self.language == "console":
            prompts = [line[2:] for line in prompts if line.startswith("$ ")]
        found = []
        for line in prompts:
            line = re.sub(r"^for .*?; do (.*?);? done$", r"\1", line)
            words = [re.sub(r"\$\w+", "1", word) for word in shlex.split(line, comments=True)]
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]  # a variable of the environment
            found += [words] if words else []
        return found


def pages() -> list[Path]:
    """Every page that users read, those of plugins that are installed included."""
    own = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
    docs = [p for p in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in p.parts]
    plugins = [p for p in sorted((ROOT / "plugins").glob("*/README.md")) if _installed(p.parent)]
    return [*own, *docs, *plugins]


def blocks_of(text: str, page: str) -> list[Block]:
    """The blocks of one page."""
    return [
        Block(page, number, found["language"], found["text"], (found["reason"] or "").strip())
        for number, found in enumerate(_FENCE.finditer(text), 1)
    ]


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [
        block
        for path in pages()
        for block in blocks_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]


def _installed(plugin: Path) -> bool:
    project = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    try:
        return bool(distribution(project["name"]))
    except PackageNotFoundError:
        return False
