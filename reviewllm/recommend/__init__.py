"""What a user buys next: PALR (arXiv 2305.07622), profile, retrieval and ranking by a language model.

tables.py            sequences, candidates, profiles, recommendations: every column
sources.py           interactions, sequence files and MovieLens -> purchases
protocol.py          purchases -> sequences: section 3.1 of the paper
prepare.py           a source -> the folders `sequences/` and `items/`
split.py             which item of a sequence is held out
histories.py         sequences as arrays
sasrec*.py           the retriever SASRec, its loss and its training (train_sasrec.py)
ranks.py             where an item stands among all items, and the best of them
retrieve.py          retrievers -> candidates
names.py             items by name, uniquely
profiles.py          users' keywords, as they are read; make_profiles.py asks for them, keywords.py finds them by rule
similar.py           the retriever that goes by keywords
affinity.py          who bought what with what
rows.py              purchases as rows of the examples table
tuning.py            sequences -> fine-tuning examples
asking.py            candidates and sequences by shards of users
answering.py         shards of examples through an engine
ranking.py           a model's answer -> an order of items
rank.py              candidates -> recommendations, by whom ranker.py says
reasons.py           recommendations -> one sentence why
metrics.py           HR and NDCG of ranks
rankings.py          candidates and recommendations, read and checked; systems.py: which of them are measured
evaluate.py          systems -> figures and comparisons, beside those of the paper (published.py)
shop.py              a synthetic shop whose purchases follow a plan, and the retriever that knows it
"""
