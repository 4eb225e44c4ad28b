"""The ledger: what was decided, appended and never changed; one hash chain per namespace."""

from kubeloop.ledger.chain import Entry, append, entries, verify

__all__ = ["Entry", "append", "entries", "verify"]
