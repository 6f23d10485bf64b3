"""What the tests share: recording what was emitted, and the many ways to call a client."""
