"""Scored and compared generations to tables, plots, and one page that opens without a network.

score_tables.py   metrics -> the paper's tables 1 and 2, beside the paper's own figures
figure_tables.py  metrics -> what needs no reference, and figures by slices
findings.py       tables and comparisons -> findings in plain words, by rule
cases.py          examples -> case studies, chosen by rule
plots.py, svg.py  a table -> one SVG
content.py        everything that a report shows, as values; the same as JSON
collect.py        the output folder of a run -> content, with the help of side_by_side.py (evaluated examples) and night.py
                  (the newest published night)
page.py           content -> HTML, and both files on disk; page.html holds the frame, scores.html, figures.html, texts.html and
                  run.html the parts, head.html and style.html what all pages share, browse.js the search of examples;
                  templates.py keeps texts text
changes.py        two evaluations -> what changed, for changes.html
nightly/          one night of a backfill, beside the nights before it
"""
