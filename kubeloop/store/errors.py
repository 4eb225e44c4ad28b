"""What a database says, in our words."""

import sqlalchemy as sa

from kubeloop.errors import InputError, IntegrityError, KubeloopError, TransientError


def translate(context: sa.engine.ExceptionContext) -> None:
    """SQLAlchemy's `handle_error` hook: raises our error for what the caller cannot have meant.

    Broken constraints pass unchanged: they are answers, and their callers wait for them.
    """
    found = context.sqlalchemy_exception
    if not isinstance(found, sa.exc.DatabaseError) or isinstance(found, sa.exc.IntegrityError):
        return
    url = context.engine.url.render_as_string(hide_password=True) if context.engine else "the database"
    if error := meaning(str(context.original_exception), url, isinstance(found, sa.exc.OperationalError)):
        # `from None`: a driver's message can quote values and connection parameters.
        raise error from None


def meaning(text: str, url: str, operational: bool) -> KubeloopError | None:
    """Our error for a driver's message, None for one that we have no word for.

    Args:
        text: What the driver said.
        url: The database, without its password.
        operational: Whether the driver blames the database, not the statement.
    """
    if "database is locked" in text or "database is busy" in text:
        return TransientError(
            f"the database {url} is held by another process", "run the same command again", retry_after_s=1.0
        )
    if "disk is full" in text or "No space left" in text:
        return InputError(f"no space left on the disk of the database {url}", "free space there, then run it again")
    if "unable to open database file" in text or "readonly database" in text:
        return InputError(
            f"the database {url} cannot be opened for writing", "check that its folder exists and belongs to you"
        )
    if "not a database" in text or "malformed" in text:
        return IntegrityError(f"{url} is not a whole SQLite database", "restore it from a copy, or move it away")
    if operational and not url.startswith("sqlite"):
        return TransientError(f"the database {url} does not answer", "check that it runs and that the login is right")
    return None
