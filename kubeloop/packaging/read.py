"""Open a package: verify every byte, then see that it scores here as it did when judged."""

import sys
from pathlib import Path

from kubeloop.errors import IntegrityError
from kubeloop.packaging.libraries import differences, present_environment
from kubeloop.packaging.package import Package
from kubeloop.packaging.signing import UNSIGNED, check
from kubeloop.packaging.verify import verify
from kubeloop.site.load import load_site
from kubeloop.site.model import Site

__all__ = ["Package", "read_package"]


def read_package(folder: Path, expected_digest: str | None = None, site: Site | None = None) -> Package:
    """A package that may be used.

    Where Python or a scoring library has another version than in the manifest, the golden requests decide: equal
    answers prove it, anything else refuses it.

    Args:
        folder: The package; a folder named by a digest must have that digest.
        expected_digest: The digest it must have.
        site: Whose trust in signatures counts; None: this process's Site.

    Returns:
        The package; its estimator is not loaded yet, unless it had to be proven.

    Raises:
        IntegrityError: A file is missing, extra or altered (it is named), nobody whom the Site trusts signed it, or the
            libraries here answer otherwise.
        PermanentError: The package is of a later format.
    """
    here = load_site() if site is None else site
    manifest, digest = verify(folder, expected_digest, here)
    signature = check(folder, manifest.text().encode("ascii"), here)
    if signature == UNSIGNED:
        _say_loudly(manifest.name, digest, here)
    package = Package(folder, digest, manifest, signature)
    apart = differences(manifest.environment, present_environment(manifest.environment.libraries))
    if apart:
        _prove(package, apart)
    return package


def _say_loudly(name: str, digest: str, site: Site) -> None:
    """On standard error, whatever logging is set up: nobody shall overlook it."""
    sys.stderr.write(
        f"kubeloop: WARNING: package {digest[7:19]} of {name} is UNSIGNED; it is loaded because the Site {site.name} "
        "says allow_unsigned (make keys with `kubeloop keys make`)\n"
    )


def _prove(package: Package, apart: list[str]) -> None:
    try:
        package.prove()
    except IntegrityError as error:
        raise IntegrityError(
            f"package {package.digest[7:19]} was fitted with {'; '.join(apart)}, and is not proven to score the same: "
            f"{error.problem}",
            "install the versions of the package's manifest, or train and judge again with the present ones",
            differences=apart,
        ) from error
