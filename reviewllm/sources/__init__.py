"""Raw files -> interactions, items and rejected rows; `ingest.ingest` is the way in."""
