"""``python -m sksve.cli``: the command ``sksve``."""

from sksve.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
