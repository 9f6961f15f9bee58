"""What a report of a fault should say of the machine."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "sksve numpy scipy scikit-learn joblib torch skorch transformers tokenizers safetensors skops jinja2 "
    "pandas matplotlib netcal accelerate pillow pyarrow"
).split()


def show_versions() -> None:
    """Print the versions of Python, of the machine and of the packages that sksve builds on.

    Nothing is imported for it. Optional packages that are not there are named so.

    Examples
    --------
    >>> import sksve
    >>> sksve.show_versions()  # doctest: +ELLIPSIS
    System
      python        3...
    """
    print("System")
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    for name, value in {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "CPUs": f"{os.cpu_count()} (OMP_NUM_THREADS {threads})",
    }.items():
        print(f"  {name:13} {value}")
    print("Packages")
    for name in _PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        print(f"  {name:13} {found}")
