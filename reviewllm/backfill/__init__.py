"""The night: which shards are missing, staging, and publishing whole.

night.py   staging by fingerprint, what is left to do, publishing under dt=YYYY-MM-DD/
"""
