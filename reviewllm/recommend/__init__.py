"""What a user buys next: PALR (arXiv 2305.07622), profile, retrieval and ranking by a language model.

tables.py      sequences, candidates, profiles, recommendations: every column
"""
