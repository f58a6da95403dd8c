"""What `ray job submit` runs, one file per step; `demo.py` runs them all in order: the page to read first."""
