"""What people touch: Slack, the command line, settings."""
