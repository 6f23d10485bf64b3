"""The only code that touches Instructor, the providers' SDKs and caches."""
