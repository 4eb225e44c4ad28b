"""Where we are: roots, addresses, secrets by reference, and the processes that we started there."""

from kubeloop.site.load import load_site
from kubeloop.site.model import Site, laptop
from kubeloop.site.secrets import Secret, resolve

__all__ = ["Secret", "Site", "laptop", "load_site", "resolve"]
