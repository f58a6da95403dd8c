"""Examples to token ids: the one renderer of training, generation and evaluation.

text.py      what users and items wrote -> text that can neither make a special token nor open a section
budget.py    how much of a history fits
renderer.py  example -> Prompt (token ids) and, for training, the response's ids
"""
