"""The train pipeline: from the table to the endpoint."""
