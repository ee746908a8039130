"""What the bot remembers: operations, journal, messages and the audit log."""
