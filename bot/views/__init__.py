"""Everything people read: values in, Block Kit or plain text out. The only place that escapes."""
