"""The ledger: what was decided, appended and never changed; one hash chain per namespace."""

from kubeloop.ledger.chain import Entry, append, entries, verify
from kubeloop.ledger.witness import fits_marks, followed_by, mark_head

__all__ = ["Entry", "append", "entries", "fits_marks", "followed_by", "mark_head", "verify"]
