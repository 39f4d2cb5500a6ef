"""The checks of s3_conformance.py, by subject."""
