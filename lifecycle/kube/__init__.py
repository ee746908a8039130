"""The only door to Kubernetes: objects come in as plain JSON and leave as the values of `lifecycle.model`."""
