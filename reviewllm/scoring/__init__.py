"""Generations to scores, row by row.

rouge.py    ROUGE-1 and ROUGE-L
sbert.py    cosine of sentence embeddings
scorer.py   all score columns of a shard
"""
