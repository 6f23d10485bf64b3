"""What is asked of Prometheus (`queries`), how it looks (`looks`), and one module each."""
