"""People judge whether generated reviews mean the same as the real ones: the human evaluation of the paper (section 3.5).

pairs.py       generations of an evaluation, and examples -> the same drawn examples for every model, as pairs of reviews
key.py         which pair is of which example and model; stays with the researcher
page.py        pairs -> one annotator's page, blinded; annotator.html holds the frame, annotator.css how it looks (on top of
               the report's style), annotator.js what it does
folder.py      pages and key as one folder, whole or not at all
answers.py     the CSV files that annotators send back -> answers, checked line by line
judgements.py  key and answers -> one row for each answer and model, as a table and as a matrix
agreement.py   answers -> Fleiss' kappa and Krippendorff's alpha
results.py     key and answers -> results of each model; what is kept, and how it is read again
plots.py       results -> the paper's figure 2 as one SVG
"""
