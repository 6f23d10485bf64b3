"""Pure functions: facts in, meaning out. No OpenTelemetry, no Instructor, no clock."""
