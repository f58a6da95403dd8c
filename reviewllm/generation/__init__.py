"""Examples and an adapter to generations, shard by shard on Ray Data.

config.py          engine, sampling and resources
model.py           which base, adapter and prompt write the text, and their fingerprint
engine_check.py    what vLLM cannot do with a base, known before it is started,
vllm_source.py       as its source says
engine.py          what an engine is: the seam between shards and whatever writes the text
vllm_engine.py     vLLM, on CPU or GPU
engine_log.py      what its processes said before they died
rule_engine.py     answers by a rule, for dry runs and tests of everything but the model
tasks.py           the work as the actors see it
render_shard.py    what the actors do: examples to prompts,
generate_shard.py    prompts through the engine,
score_shard.py       scores, and the output put in place
rows.py            what was written as rows of generations
journal.py         finds the rows that engines die of
failures.py        why a row has no review
board.py           what engines and driver tell each other
pipeline.py        shards through the actors

Models behind OpenAI-compatible endpoints, in the process of the job:

endpoint_config.py  how one is reached, and where its key is
endpoint_check.py   whether it is there, before anything is spent
endpoint_client.py  one request: what is sent, what comes back, what its errors mean
rate_limit.py       requests spread over time
endpoint_journal.py what it has answered, kept from run to run, and what that cost
endpoint.py         many prompts through it: how many at once, what is asked again, what is kept
endpoint_shards.py  shards through it
"""
