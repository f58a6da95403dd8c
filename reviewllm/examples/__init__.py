"""Interactions and items to examples: whose reviews are targets, with which history, in which split.

purchases.py  one part of the interactions, in order, with the positions of every purchase's history
protocol.py   which users are evaluated, which targets are trained on, which purchases lack a review
evidence.py   what others wrote before a purchase: of its item, and of its category by neighbours
evidence_columns.py  the columns of examples that hold it, as a configuration asks for them
build.py      selected targets -> examples with their histories, in shards
lacks.py      what prompts will lack: titles of items, histories of targets
shards.py     examples in files that are named by their content
splits.py     which split a folder holds, for all who read one
leakage_evidence.py  the part of the proof that looks at what others wrote
leakage.py    proof that no target, reference or evaluation user is where it must not be
"""
