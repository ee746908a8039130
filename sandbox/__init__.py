"""A Slack workspace and a Kubernetes API to try the bot on."""
