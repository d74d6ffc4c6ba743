"""Files that can't be read as the image that they are said to be, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusionzoo.errors import FusionZooError


class UnreadableImage(FusionZooError):
    """A file that can't be read as what it is said to be; `code` is E05, E06 or E07."""

    def __init__(self, path: Path, code: str, text: str, remedy: str):
        self.path, self.code, self.text, self.remedy = path, code, text, remedy
        super().__init__(f"{code} {path}: {text}. {remedy}")


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into E05: damaged files make decoders fail in many ways."""
    try:
        yield
    except (FusionZooError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).replace(str(path), path.name).split())
        reason = f"{type(error).__name__}: {reason[:160]}"
        text = f"the file can't be decoded, it is damaged or cut off ({reason})"
        raise UnreadableImage(path, "E05", text, "Copy or export it again.") from error
