"""Examples to token ids: the one renderer of training, generation and evaluation.

text.py       what users and items wrote -> text that can neither make a special token nor open a section
tokenizer.py  text -> token ids
budget.py     how much of a history fits
tasks/        what is asked for, and what of the new item is shown
selection.py  which entries of a history are wanted most
user_facts.py  what sets a user apart, as counted in the history
history.py    how a history is shown: as the paper's list, or as a dialogue
evidence.py   how reviews by others are shown
chat.py       the base's own chat template, around a prompt or its turns
config.py     what decides a prompt
renderer.py   example -> Prompt (token ids) and, for training, the response's ids
"""
