"""Run by alembic, on the connection that storage.migrations.upgrade hands over; its transaction is the caller's."""

from alembic import context

from storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
