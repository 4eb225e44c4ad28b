"""URLs may refer to a secret and may never hold one."""

import re

from kubeloop.errors import InputError

REFERENCE = re.compile(r"\$\{secret:([A-Za-z0-9][A-Za-z0-9._-]{0,252})\}")
"""A secret by reference; the name is one that a key of a Kubernetes Secret can have."""

_STAND_IN = "\x00"
_PARAMETER = re.compile(
    r"[?&;](?:password|passwd|pwd|sslpassword|secret|secret_key|secret_access_key|token|api_key|sig)=([^&;#]*)", re.I
)


def refuse_password(field: str, url: str) -> None:
    """Refuse a URL that holds a password in clear, as `user:password@` or as a query parameter.

    Args:
        field: Name of the setting, for the message; the URL itself is never shown.
        url: The URL; `${secret:name}` in the place of the password is what is wanted.

    Raises:
        InputError: A password was found.
    """
    text = REFERENCE.sub(_STAND_IN, url)
    _, _, rest = text.partition("://")
    found = [match.group(1) for match in _PARAMETER.finditer(rest)]
    # The last @ counts, for a careless password may itself hold one; a path has a / before its first colon.
    login, at, _ = rest.rpartition("@")
    user, colon, password = login.partition(":")
    if at and colon and "/" not in user:
        found.append(password)
    if any(value not in ("", _STAND_IN) for value in found):
        raise InputError(
            f"{field} holds a password in clear; a reference such as ${{secret:name}} was expected",
            "write ${secret:name} in its place, and put the value into the variable KUBELOOP_SECRET_NAME, "
            "the file /etc/kubeloop/secret/name or <home>/secrets/name; then change that password",
            field=field,
        )
