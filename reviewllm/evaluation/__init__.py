"""Which models are compared, what they write for the held-back purchases, and what that is worth.

contenders.py   the models of an evaluation: base, adapters, endpoints, baselines
baselines.py    texts by rule, which keep everybody honest
by_rule.py      baselines as models: their texts -> generations
write.py        every contender writes what is not there yet, into the folder of staging.py
names.py        what a model is called, wherever it is shown
figures.py      every figure: its meaning, and how a row gets it
reference.py    how much of the real review models tell the likelihood of
measures.py     models that measure, as they are asked for
likelihood.py   how likely texts are by a reference model
nli.py          sentences that an NLI model finds contradicted by the product's data
judge.py        a model behind an endpoint that judges a sample
complete.py     scores that need more than a row
rows.py         generations + examples -> checked rows with their figures
bootstrap.py    intervals by users
metrics.py      rows -> figures with intervals, for each model, split and slice
comparisons.py  rows of two models -> difference, effect size, p-value, verdict
validation.py   real reviews -> what the figures are worth
corruption.py   mistakes in real reviews -> which figures notice
conclude.py     everything that was written -> metrics, comparisons and validation
samples.py      a few prompts as text
results.py      what an evaluation leaves in <out>/metrics, and how it is read back
"""
