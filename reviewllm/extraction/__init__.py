"""Attributes of a product from its title and description.

benchmarks.py  OA-Mine and WDC PAVE lines -> products with the values that people found
schemas.py     which attributes a category has, learned or from a file, and the JSON Schema that an answer must fit
examples.py    products or items -> rows of the examples table, for training and for asking
prepare.py     benchmark files -> products, examples and schemas on disk
shards.py      shards of examples through an engine or the rule, exactly once
answers.py     a model's text -> values, or why it cannot be read
candidates.py  what a rule can see in a text
rule.py        the baseline that asks no model: words, shapes, codes and quantities seen in training
scores.py      answers against people's values: precision, recall, F1, exact match
results.py     scores -> table, JSON and text
evaluate.py    the models of an evaluation, scored and written
fill.py        items and answers -> items with what was missing
fill_run.py    a whole items table, file by file, put in place at once
"""
