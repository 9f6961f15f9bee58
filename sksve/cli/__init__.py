"""The command ``sksve``: fit, predict and report on CSV files, and say what is installed."""

from sksve.cli._main import main

__all__ = ["main"]
