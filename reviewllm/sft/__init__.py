"""Examples to a LoRA adapter, on Ray Train. In the order in which a training uses them:

config.py      what a training run is
fit.py         checks everything, starts the workers, follows them, puts the adapter in place
samples.py     examples -> token ids with the response marked, in one file that every worker maps
inspection.py  samples as a person can check them
storage.py     folders that are there whole or not at all: local, NFS, S3
loop.py        what every worker runs, from the last checkpoint to the final adapter
model.py       the base with LoRA, whole (DDP) or shared out (FSDP2)
schedule.py    which samples an optimizer step has, and which worker runs them
sequences.py   samples -> packed prefix trees
attention.py   who sees whom in a packed sequence
loss.py        next-token loss on the response only, computed at response positions only
step.py        one optimizer step, one validation
checkpoint.py  from which a run goes on bit for bit
tracking.py    metrics to MLflow, and by tensorboard.py to TensorBoard
canary.py      fixed prompts that tell whether an adapter acts
adapter.py     the adapter folder: completing, describing, checking, merging
"""
