"""Generations to scores, row by row.

words.py      what a word is, for every score that counts words
rouge.py      ROUGE-1 and ROUGE-L
sbert.py      cosine of sentence embeddings
sentiment.py  how positive a text sounds, and whether that agrees with the stars
style.py      closeness to the user's own way of writing
copying.py    the longest run of words that a text shares with others
distinct.py   how varied all texts together are
scorer.py     all score columns of a shard
"""
