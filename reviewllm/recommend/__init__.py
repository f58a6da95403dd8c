"""What a user buys next: PALR (arXiv 2305.07622), profile, retrieval and ranking by a language model.

tables.py            sequences, candidates, profiles, recommendations: every column
sources.py           tables, files of sequences, MovieLens -> interactions
protocol.py          interactions -> sequences: repeats dropped, 5-core
prepare.py           the folders `sequences` and `items` of a run
split.py             which item of a sequence is held out
histories.py         sequences as arrays
sasrec.py            the model; sasrec_loss.py its losses, train_sasrec.py its training, sasrec_retriever.py its files and scores
ranks.py             scores of all items -> the target's rank and the best items
retrieve.py          a retriever -> candidates
rankings.py          candidates and recommendations, read and checked; systems.py finds them
metrics.py           ranks -> HR and NDCG
evaluate.py          systems -> figures, intervals, slices, comparisons; results.py writes and prints them
published.py         table 2 of the paper
"""
