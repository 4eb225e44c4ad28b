"""Run by alembic: migrates over the connection that `kubeloop.store.engine` hands it, inside that transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
