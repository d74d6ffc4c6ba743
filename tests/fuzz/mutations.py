"""Damage to files, the same for the same seed."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from fusionzoo.conformance.quiet import watch
from fusionzoo.errors import FusionZooError

_NUMBERS = (0x00, 0x01, 0x20, 0x7F, 0x80, 0xFE, 0xFF)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A damaged copy: one to four changes, of one kind each."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        rng.choice(_CHANGES)(data, rng)
    return bytes(data)


def _place(data: bytearray, rng: random.Random) -> int:
    """Somewhere; headers are where most goes wrong, so half of the time near the beginning."""
    return rng.randrange(min(len(data), 600) if rng.random() < 0.5 else len(data))


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: random.Random) -> None:
    if data:
        at, length = _place(data, rng), rng.randint(1, 8)
        data[at : at + length] = bytes([rng.choice(_NUMBERS)]) * len(data[at : at + length])


def _cut(data: bytearray, rng: random.Random) -> None:
    if data:
        del data[_place(data, rng) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    if data:
        at = _place(data, rng)
        del data[at : at + rng.randint(1, 16)]


def _insert(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng) if data else 0
    data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 16)))


def _double(data: bytearray, rng: random.Random) -> None:
    if data:
        at = _place(data, rng)
        data[at:at] = data[at : at + rng.randint(1, 64)]


def _swap_digits(data: bytearray, rng: random.Random) -> None:
    digits = [k for k, byte in enumerate(data[:4000]) if 0x30 <= byte <= 0x39]
    if digits:
        data[rng.choice(digits)] = rng.choice(b"0123456789-.eE,")


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip,
    _overwrite,
    _cut,
    _remove,
    _insert,
    _double,
    _swap_digits,
)


def damaged_files(source: Path, folder: Path, count: int, seed: int = 0) -> Iterator[Path]:
    """Damaged copies of a file, one after the other under the same name."""
    rng, content = random.Random(seed), source.read_bytes()
    path = folder / source.name
    for _ in range(count):
        path.write_bytes(mutated(content, rng))
        yield path


def survives(read: Callable[[Path], object], path: Path) -> bool:
    """Whether a file was read; nothing but an error of the package may come of one that wasn't.

    Nothing is written while it is read.
    """
    kept = path.read_bytes()
    with watch(may_read=True) as deeds:
        refusal = None
        try:
            read(path)
        except FusionZooError as error:
            refusal = str(error)
        except Exception as error:
            copy = path.with_name(f"crash{path.suffix}")
            raise AssertionError(f"{type(error).__name__}: {error}; kept in {copy}") from error
    assert refusal != "", "an error without a text"
    writes = [deed for deed in deeds if not deed.startswith(("prints", "changes environment"))]
    assert writes == [], writes
    assert path.read_bytes() == kept
    return refusal is None
