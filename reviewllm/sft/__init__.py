"""Examples to a LoRA adapter, on Ray Train.

config.py   what a training run is
samples.py  examples -> token ids with the response marked; batches
loss.py     next-token loss on the response only, computed at response positions only
loop.py     what every worker runs
fit.py      starts the workers, waits, and puts the adapter in place
adapter.py  the adapter folder: writing, describing, checking, merging
canary.py   fixed prompts that tell whether an adapter acts
"""
