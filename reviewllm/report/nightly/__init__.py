"""A published night of a backfill, beside the nights before it: is it fine, what drifted, what did it cost?

nights.py     which nights are published, and which of them are compared
measure.py    a night's files -> counts, means and a capped sample of every column of figures
failures.py   a night's dead letters by class, with what each class means
drift.py      two samples, or two shares -> whether they differ, by rule
stars.py      does the mean sentiment rise with the stars?
columns.py    columns of this night beside those of the nights before
content.py    everything that the page shows, as values; the same as JSON
collect.py    a place -> content
findings.py   content -> the summary in plain words, by rule; drifted.py has what drifted, spent.py speed and cost
words.py      how figures are put in words
plots.py      columns, nights and stars -> SVG
page.py       content -> HTML, and both files in their place; nightly.html is the frame, its parts counts.html,
              distributions.html and ending.html
"""
