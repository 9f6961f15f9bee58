"""Token ids of the last data sets: a search tokenises each of its folds once, not once a candidate."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from sksve._forks import ForkSafeLock, lock_of

__all__ = ["TokenCache", "token_cache"]

# Fewer texts than this are tokenised faster than the tokenizer is recognised.
FEWEST = 256

Entry = tuple[list[list[int]], int]


class TokenCache:
    """Least-recently-used cache of token ids, by tokenizer and texts.

    Parameters
    ----------
    max_tokens : int, default=4,000,000
        Most tokens kept (some 40 MB as Python ints); an entry with more is not kept. 0: off.
    """

    def __init__(self, max_tokens: int = 4_000_000) -> None:
        self.max_tokens = max_tokens
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = ForkSafeLock()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def clear(self) -> None:
        """Forget all entries."""
        with self._lock:
            self._entries.clear()

    def key(self, tokenizer: Any, texts: Sequence[str], max_length: int) -> str | None:
        """Hash of everything the ids depend on; None if the texts are few or the tokenizer is slow.

        A slow tokenizer (one written in Python) cannot say what it is made of.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if len(texts) < FEWEST or backend is None or self.max_tokens == 0:
            return None
        # Truncation settings are left in a tokenizer by its last call; they are part of no key.
        with lock_of(tokenizer):
            backend.no_truncation()
            backend.no_padding()
            told = backend.to_str().encode()
        digest = hashlib.sha256(f"{type(tokenizer).__qualname__}|{max_length}|".encode())
        digest.update(told)
        for text in texts:
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.hexdigest()

    def get(self, key: str) -> Entry | None:
        """Ids and how many texts were cut, not to be modified; None if they are not there."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key]

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry; the least recently used go when there are too many tokens."""
        if _size(entry) > self.max_tokens:
            return
        with self._lock:
            self._entries[key] = entry
            while sum(map(_size, self._entries.values())) > self.max_tokens:
                self._entries.popitem(last=False)


def _size(entry: Entry) -> int:
    return sum(map(len, entry[0]))


#: The cache of the process.
token_cache = TokenCache()
