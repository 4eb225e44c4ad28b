"""`loop.yaml`: read, checked, explained, cut into sections, carried through pipelines."""

from kubeloop.contract.model import Contract
from kubeloop.contract.sections import sections_of
from kubeloop.contract.text import decode, encode

__all__ = ["Contract", "decode", "encode", "sections_of"]
