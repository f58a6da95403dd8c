"""Examples and an adapter to generations, shard by shard on Ray Data.

config.py       engine, sampling and resources
model.py        which base, adapter and prompt write the text, and their fingerprint
engine.py       what an engine is: the seam between shards and whatever writes the text
vllm_engine.py  vLLM, on CPU or GPU
rule_engine.py  answers by a rule, for dry runs and tests of everything but the model
shards.py       what the actors do: generate a shard; score and write it
pipeline.py     shards through the actors
"""
