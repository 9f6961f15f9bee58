"""From tables to texts, so that a language model's backbone can read them."""

from sksve.preprocessing._tabular_to_text import TabularToText

__all__ = ["TabularToText"]
