"""Scored generations to metrics, tables, plots, and one page that opens without a network.

names.py         what a model is called, wherever it is shown
metrics.py       generations of one evaluation -> metrics with intervals
score_tables.py  metrics -> the paper's tables 1 and 2, beside the paper's own figures
summary.py       tables -> findings in plain words, by rule
plots.py         a table -> one SVG
content.py       everything that a report shows, as values; the same as JSON
collect.py       the output folder of a run -> content, with the help of side_by_side.py (evaluated examples) and night.py
                 (the newest published night)
files.py         JSON in, text out
page.py          content -> HTML, and both files on disk; page.html holds the frame, scores.html, texts.html and run.html the
                 parts, style.html how they look
"""
