"""A private OTLP pipeline: built, kept to its process, ended, and its troubles told."""
