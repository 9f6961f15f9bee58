"""What killed processes left behind: removed when it is older than any work could take."""

import contextlib
import re
import shutil
import time
from pathlib import Path

HOUR, DAY = 3600.0, 86400.0


def sweep(folder: Path, pattern: re.Pattern[str], *, age: float = HOUR) -> None:
    """Remove what lies in `folder` (which may not exist), has a matching name and is `age` seconds old."""
    now = time.time()
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            with contextlib.suppress(OSError):
                if pattern.fullmatch(path.name) and now - path.lstat().st_mtime > age:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
