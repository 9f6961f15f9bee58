"""Files of one Debian package, without installing it and without being root.

They are taken from where the package is installed, from sksve's cache, or out of the archive that
``apt-get download`` fetches; their SHA-256 is compared each time.
"""

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sksve._exceptions import FetchError, IntegrityError
from sksve._leftovers import DAY, sweep
from sksve._registry import cache_folder, sha256_of

__all__ = ["debian_files"]


def debian_files(
    package: str,
    inside: str,
    hashes: Mapping[str, str],
    *,
    folder: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Path:
    """Folder that holds some files of a Debian package, each with the hash it must have.

    Parameters
    ----------
    package : str
        Name of the package.
    inside : str
        Folder of the files where the package is installed, without the leading slash.
    hashes : mapping of str to str
        File name -> SHA-256.
    folder : str or path-like, default=None
        Cache folder to use; None is sksve's own.
    download_if_missing : bool, default=True
        If False, raise instead of downloading.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    FetchError
        If the files are not at hand and cannot be fetched; it is also an OSError.
    IntegrityError
        If the package's files are not the ones known.
    """
    root = cache_folder() if folder is None else Path(folder).expanduser()
    home = root / "packages" / package
    sweep(home, re.compile(r"\.fetch-.*"), age=DAY)  # of processes that were killed
    for place in (home, Path("/", inside)):
        if _faults(place, hashes) == []:
            return place
    if not download_if_missing:
        raise FetchError(
            f"The files of the Debian package {package} are not in the cache and download_if_missing "
            f"is False. Allow the download, or put {', '.join(hashes)} into {home}."
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=home) as scratch:
            _download(package, inside, hashes, Path(scratch), home)
            if faults := _faults(Path(scratch), hashes):
                raise IntegrityError(
                    f"The Debian package {package} does not hold the files that sksve knows: "
                    f"{', '.join(faults)} differ in their SHA-256. Nothing of it was kept."
                )
            for name in hashes:
                os.replace(Path(scratch, name), home / name)
    except FetchError:
        raise
    except OSError as error:
        raise FetchError(
            f"Cannot put the files of {package} into {home}: {error}. Name a folder you can write to "
            "in the environment variable SKSVE_CACHE."
        ) from error
    return home


def _faults(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """Names of files that are missing or have another hash."""
    paths = {name: folder / name for name in hashes}
    return [n for n, path in paths.items() if not path.is_file() or sha256_of(path) != hashes[n]]


def _download(
    package: str, inside: str, hashes: Mapping[str, str], scratch: Path, home: Path
) -> None:
    cure = (
        f"Where apt-get and dpkg-deb work, `apt-get download {package}` fetches it (as root, "
        "`apt-get update` may be due, or `apt-get install` it); or put "
        f"{', '.join(hashes)} into {home}."
    )
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FetchError(
            f"The Debian package {package} cannot be fetched here: there is no apt-get. {cure}"
        )
    _run(["apt-get", "download", package], package, cure, scratch)
    archives = list(scratch.glob("*.deb"))
    if len(archives) != 1:
        raise FetchError(f"apt-get brought {len(archives)} archives of {package}. {cure}")
    command = ["dpkg-deb", "--fsys-tarfile", str(archives[0])]
    with tarfile.open(fileobj=io.BytesIO(_run(command, package, cure, scratch))) as tar:
        for name in hashes:
            try:
                file = tar.extractfile(f"./{inside}/{name}")
            except KeyError:
                continue  # told as a fault
            if file is not None:
                (scratch / name).write_bytes(file.read())


def _run(command: list[str], package: str, cure: str, folder: Path) -> bytes:
    done = subprocess.run(  # nosec B603 # the commands are ours, there is no shell
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise FetchError(
            f"Cannot fetch the Debian package {package}. {command[0]} says: {' '.join(said)} {cure}"
        )
    return done.stdout
