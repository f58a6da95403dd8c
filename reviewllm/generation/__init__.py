"""Examples and an adapter to generations, shard by shard on Ray Data.

config.py          engine, sampling and resources
model.py           which base, adapter and prompt write the text, and their fingerprint
engine.py          what an engine is: the seam between shards and whatever writes the text
vllm_engine.py     vLLM, on CPU or GPU
rule_engine.py     answers by a rule, for dry runs and tests of everything but the model
tasks.py           the work as the actors see it
render_shard.py    what the actors do: examples to prompts,
generate_shard.py    prompts through the engine,
score_shard.py       scores, and the output put in place
journal.py         finds the rows that engines die of
failures.py        why a row has no review
board.py           what engines and driver tell each other
pipeline.py        shards through the actors
"""
