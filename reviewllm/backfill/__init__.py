"""The nightly backfill: which purchases, staging, publishing whole, and what follows.

work.py      which purchases a night writes, cut into shards
ids.py       ids by the million, joined bucket by bucket
night.py     where a night's files lie, and what its manifest says
lock.py      one run at a time
predict.py   what a night will take
staging.py   finished shards of a night that is not published yet
compact.py   staged shards to files of a sensible size, sorted by user
verify.py    is a night what it should be?
budget.py    how many rows may fail
publish.py   compacted, verified, put in place whole
finish.py    what follows a publication, and what a killed run left
monitor.py   the night while it runs: budget, progress, metrics
run.py       one night from its work to its publication
forget.py    remove a user from all nights
"""
