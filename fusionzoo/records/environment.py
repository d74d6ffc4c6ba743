"""What a run ran on: versions, commit and hardware; looked up without importing torch."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

#: Packages whose versions can change a number.
PACKAGES = (
    "fusionzoo",
    "torch",
    "torchvision",
    "lightning-fabric",
    "timm",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "triton",
)


@dataclass(frozen=True)
class Hardware:
    """The machine.

    Args:
        cpu: Name of the processor.
        cores: Cores that this process may use.
        gpu: Name of the GPU, None where the run used none.
    """

    cpu: str
    cores: int
    gpu: str | None


@dataclass(frozen=True)
class Environment:
    """What a run ran on.

    Args:
        python: Version of Python.
        platform: Operating system and architecture.
        versions: Version of each of `PACKAGES` that is installed.
        commit: Git commit of the package's source, None where it is not a checkout.
        dirty: Whether the source differs from the commit; None where there is none.
        hardware: The machine.
        kernels: Backend that each operation with several of them used, `{"selective_scan":
            "triton"}`.
    """

    python: str
    platform: str
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    hardware: Hardware
    kernels: dict[str, str] = field(default_factory=dict)


def collect_environment(
    *,
    gpu: str | None = None,
    kernels: Mapping[str, str] | None = None,
    packages: Sequence[str] = PACKAGES,
) -> Environment:
    """What this process runs on.

    Args:
        gpu: Name of the GPU that the run used, None for none.
        kernels: Backend per operation.
        packages: Distributions whose versions are recorded; those not installed are left out.
    """
    commit, dirty = source_commit(Path(__file__).resolve().parents[1])
    hardware = Hardware(cpu_name(), usable_cores(), gpu)
    system = f"{platform.system()} {platform.machine()}"
    versions = package_versions(packages)
    return Environment(
        platform.python_version(), system, versions, commit, dirty, hardware, dict(kernels or {})
    )


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of the distributions that are installed.

    A package that is already imported says its own version, which may name its build (2.6.0+cu124).
    """
    versions = {}
    for package in packages:
        loaded = getattr(sys.modules.get(package), "__version__", None)
        try:
            versions[package] = str(loaded or metadata.version(package))
        except metadata.PackageNotFoundError:
            continue
    return versions


def source_commit(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout that a folder is in, and whether anything in the folder differs.

    Returns:
        (None, None) where git doesn't track the folder: an installed package, or no git.
    """
    tracked = _git(folder, "ls-files", "--", ".")
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ".")
    if not tracked or not commit or changes is None:
        return None, None
    return commit, bool(changes)


def cpu_name() -> str:
    """Name of the processor, or its architecture where the system doesn't tell."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _git(folder: Path, *arguments: str) -> str | None:
    # Without the index's lock, which would be in the way of the user's own git.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
