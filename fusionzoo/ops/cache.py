"""Where built kernels and passed self-tests are kept between runs: the user's cache folder."""

import functools
import hashlib
import os
import platform
import tempfile
from pathlib import Path


@functools.cache
def folder() -> Path:
    """`$XDG_CACHE_HOME/fusionzoo` or `~/.cache/fusionzoo`; one of this process if not writable."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    path = Path(home) / "fusionzoo"
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError:
        return Path(tempfile.mkdtemp(prefix="fusionzoo-"))


def digest(*parts: object) -> str:
    """A short name for what `parts` say."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:16]


@functools.cache
def machine() -> str:
    """The processor and what it can do, so that a cache shared by machines serves each its own."""
    listing = Path("/proc/cpuinfo")
    if not listing.is_file():
        return f"{platform.machine()} {platform.processor()}"
    lines = listing.read_text(errors="replace").splitlines()
    wanted = ("model name", "flags", "Features", "CPU part")
    return platform.machine() + "".join(sorted({x for x in lines if x.startswith(wanted)}))


__all__ = ["digest", "folder", "machine"]
