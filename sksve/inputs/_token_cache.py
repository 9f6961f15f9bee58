"""Token ids of the last data sets: a search tokenises each of its folds once, not once a candidate."""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple

from sksve._forks import ForkSafeLock, lock_of

__all__ = ["TokenCache", "token_cache"]

# Fewer texts than this are tokenised faster than the tokenizer is recognised.
FEWEST = 256

Entry = tuple[list[list[int]], int]

# Of this thread: texts that nobody will ask for again would drive out those that are.
_off: ContextVar[bool] = ContextVar("sksve_token_cache_off", default=False)


class _Packed(NamedTuple):
    """An entry in four bytes a token and a text; as Python lists and ints it takes ten times as much."""

    ids: array  # of all texts, one after the other
    lengths: array
    n_cut: int

    @classmethod
    def of(cls, entry: Entry) -> "_Packed":
        ids, n_cut = entry
        return cls(array("i", chain.from_iterable(ids)), array("i", map(len, ids)), n_cut)

    def entry(self) -> Entry:
        ids, ends = self.ids.tolist(), accumulate(self.lengths, initial=0)
        return [ids[start:end] for start, end in pairwise(ends)], self.n_cut

    @property
    def size(self) -> int:
        return len(self.ids) + len(self.lengths)


class TokenCache:
    """Least-recently-used cache of token ids, by tokenizer and texts.

    Parameters
    ----------
    max_tokens : int, default=4,000,000
        Most tokens kept (16 MB; a text counts as one token more); an entry with more is not kept.
        0: off.
    """

    def __init__(self, max_tokens: int = 4_000_000) -> None:
        self.max_tokens = max_tokens
        self._entries: OrderedDict[str, _Packed] = OrderedDict()
        self._lock = ForkSafeLock()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def clear(self) -> None:
        """Forget all entries."""
        with self._lock:
            self._entries.clear()

    @contextmanager
    def unused(self) -> Iterator[None]:
        """Neither look up nor keep anything in this thread for the time of the block."""
        token = _off.set(True)
        try:
            yield
        finally:
            _off.reset(token)

    def key(self, tokenizer: Any, texts: Sequence[str], max_length: int) -> str | None:
        """Hash of everything the ids depend on; None if the texts are few or the tokenizer is slow.

        A slow tokenizer (one written in Python) cannot say what it is made of. None inside of
        :meth:`unused`, too.
        """
        if _off.get():
            return None
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
        """Ids and how many texts were cut; None if they are not there."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            packed = self._entries[key]
        return packed.entry()

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry; the least recently used go when there are too many tokens."""
        if len(entry[0]) + sum(map(len, entry[0])) > self.max_tokens:
            return
        packed = _Packed.of(entry)
        with self._lock:
            self._entries[key] = packed
            while sum(kept.size for kept in self._entries.values()) > self.max_tokens:
                self._entries.popitem(last=False)


#: The cache of the process.
token_cache = TokenCache()
