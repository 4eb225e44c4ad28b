"""The reference profile of a package."""

from kubeloop.errors import InputError
from kubeloop.monitoring.reference.profile import Profile, read_profile_bytes
from kubeloop.packaging.package import Package


def reference_of(package: Package) -> Profile:
    """What the windows of a package's model are held against.

    Args:
        package: A verified package, from `kubeloop.packaging.read.read_package`.

    Raises:
        InputError: The package has no reference: it was made before there were any, or without `fit_monitor`.
        IntegrityError: The file changed since the package was verified, or is damaged.
        PermanentError: It is of a later format.
    """
    content = package.reference_bytes()
    if content is None:
        raise InputError(
            f"a reference profile was expected in package {package.digest[7:19]} of {package.name}, it has none",
            "train again with this release: its pipeline fits a reference and puts it into the package",
            package=package.digest,
        )
    return read_profile_bytes(content)
