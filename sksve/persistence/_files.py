"""Files and folders that are whole or not there: written beside their place, synced, renamed."""

import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path

from sksve._leftovers import sweep

__all__ = [
    "TEMPORARY",
    "make_folder",
    "replace_file",
    "sweep_temporary",
    "sync_folder",
    "write_file",
]

TEMPORARY = ".saving-"


def write_file(path: Path, data: bytes) -> None:
    """Write a new file and wait until the disk has it."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Give `path` new content, in one step: whoever reads sees the old bytes or the new."""
    temporary = path.with_name(TEMPORARY + secrets.token_hex(8))
    try:
        write_file(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Make a folder with these files, in one step.

    Raises
    ------
    OSError
        If the folder has come into being meanwhile, or cannot be written. Nothing is left then.
    """
    temporary = folder.with_name(f".{folder.name}{TEMPORARY}{secrets.token_hex(8)}")
    temporary.mkdir()
    try:
        for name, data in files.items():
            write_file(temporary / name, data)
        sync_folder(temporary)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder; does nothing where folders cannot be synced."""
    with contextlib.suppress(OSError):  # Windows cannot open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep_temporary(folder: Path) -> None:
    """Remove what writers killed more than an hour ago left beside the files they meant to replace."""
    sweep(folder, re.compile(rf"{re.escape(TEMPORARY)}[0-9a-f]{{16}}"))
