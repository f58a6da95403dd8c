"""Generations to scores, row by row.

config.py     what is compared with references, and by which model
language.py   whether a text is English, which some scores were made for
words.py      what a word is, for every score that counts words
rouge.py      ROUGE-1 and ROUGE-L
sbert.py      cosine of sentence embeddings
sentiment.py  how positive a text sounds, and whether that agrees with the stars
style.py      closeness to the user's own way of writing
copying.py    the longest run of words that a text shares with others
vocabulary.py the words that a claim is made of
mentions.py   what a text says of any product
facts.py      what is known of a product
claims.py     checkable claims of a review, with verdicts
hallucination.py  how much of them is not in the product's data
repetition.py how much of a text repeats itself
distinct.py   how varied all texts together are
scorer.py     all score columns of a shard
"""
