"""Kernels in plain C, compiled on first use with the compiler that is there.

Any C compiler that knows GNU vectors (gcc, clang) builds one within a few seconds, once per machine
and version; a kernel includes no headers of PyTorch or Python. What can't be built is no error of
the user's: a caller catches `NotBuiltError` and does without.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from fusionzoo.ops import cache

#: No -ffast-math: infinities and what is not a number must come out as PyTorch gives them.
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
#: Tried in turn: some compilers have no OpenMP, some no -march=native.
OPTIONAL_FLAGS = (("-march=native", "-fopenmp"), ("-fopenmp",), ("-march=native",), ())


class NotBuiltError(RuntimeError):
    """Why there is no kernel here."""


def library(source: Path, *defines: str) -> ctypes.CDLL:
    """The library of a C file, built unless it is in the cache.

    Its OpenMP is PyTorch's, which is loaded already under the same name: one pool of threads.

    Args:
        source: The C file.
        defines: More flags, such as `-DNAME`; each combination is a library of its own.

    Raises: NotBuiltError with the reason, in words that end a sentence.
    """
    compiler = _compiler()
    key = cache.digest(*_texts(source), FLAGS, defines, compiler, cache.machine())
    path = cache.folder() / f"{source.stem}-{key}.so"
    if not path.is_file():
        _build(compiler, source, defines, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NotBuiltError(f"the kernel {str(path)!r} can't be loaded ({error})") from error


def address(x: Tensor | None) -> ctypes.c_void_p:
    """Where a tensor's numbers begin, as a kernel takes it; null for None."""
    return ctypes.c_void_p(None if x is None else x.data_ptr())


def num_threads(work: int, worth_a_thread: int) -> int:
    """How many of PyTorch's threads a kernel should use; a small task is quicker with one.

    Args:
        work: How much there is to do.
        worth_a_thread: How much of it a further thread is worth.
    """
    return max(1, min(torch.get_num_threads(), work // worth_a_thread))


def _texts(source: Path) -> list[str]:
    """The C file's text, and that of the headers beside it."""
    return [path.read_text() for path in (source, *sorted(source.parent.glob("*.h")))]


def _compiler() -> str:
    names = filter(None, (os.environ.get("CC"), "cc", "gcc", "clang"))
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise NotBuiltError("no C compiler was found (cc, gcc, clang, or the one that CC names)")
    return found


def _build(compiler: str, source: Path, defines: tuple[str, ...], path: Path) -> None:
    """Compile into a file of its own and move it, so that no other process meets half of it."""
    said = ""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / path.name
        for optional in OPTIONAL_FLAGS:
            command = [compiler, *FLAGS, *optional, *defines, str(source), "-o", str(built)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            except (OSError, subprocess.SubprocessError) as error:
                said = str(error)
                continue
            if done.returncode == 0:
                built.replace(path)
                return
            said = (done.stderr.strip().splitlines() or ["no reason given"])[0]
    raise NotBuiltError(f"{compiler} can't compile the kernel ({said})")


__all__ = ["NotBuiltError", "address", "library", "num_threads"]
