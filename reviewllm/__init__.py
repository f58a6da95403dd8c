"""Learn from users' own reviews and write the missing ones of rating-only purchases, at cluster scale."""

__version__ = "0.1.0"
