"""Check everything, start the workers, follow them, and put the adapter in place."""

from __future__ import annotations

import hashlib
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reviewllm import errors
from reviewllm.base_model import check_model, local_model_folder, refuse_quantized
from reviewllm.cluster import log_folder, own_error, require_resources
from reviewllm.errors import ConfigError, TrainingError
from reviewllm.examples.splits import example_files
from reviewllm.prompts.chat import end_token, prompt_frame
from reviewllm.prompts.config import PROMPT_VERSION, PromptConfig
from reviewllm.prompts.renderer import PromptRenderer
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.sft.adapter import (
    DESCRIPTION_FILE,
    AdapterDescription,
    Canary,
    complete_adapter,
    examples_digest,
    model_digest,
)
from reviewllm.sft.checkpoint import FINAL, SAMPLES_FOLDER, check_identity, check_same, read_canaries, read_state, restart
from reviewllm.sft.config import LoopConfig, SFTConfig, TrainingConfig, samples_per_step, with_defaults
from reviewllm.sft.layers import Layers
from reviewllm.sft.loop import SAMPLES_FILE, train_worker
from reviewllm.sft.model import check_target_modules
from reviewllm.sft.probe import check_trainable
from reviewllm.sft.samples import SampleCounts, write_samples
from reviewllm.sft.storage import RAY_PREFIX, Storage
from reviewllm.table_files import replace_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_PART_OF_IDENTITY = {  # what changes nothing but rounding, or stands in the identity in another form
    "base_model",
    "packing",
    "max_sequence_tokens",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
}

Hear = Callable[[dict[str, Any]], None]


class Run(NamedTuple):
    """A training run, checked and ready to start: its parts, its folder, and its tokenised samples in that folder."""

    sft: SFTConfig
    training: TrainingConfig
    prompt: PromptConfig
    base: Path
    layers: Layers
    tokenizer: Any
    storage: Storage
    identity: dict[str, str]
    counts: SampleCounts
    examples_digest: str
    samples_digest: str

    @property
    def run_id(self) -> str:
        """sha256 of the identity."""
        return hashlib.sha256(repr(sorted(self.identity.items())).encode()).hexdigest()


def prepare_run(*, examples: Path, run: str, sft: SFTConfig, training: TrainingConfig, prompt: PromptConfig) -> Run:
    """Check all that can be checked before a worker starts, and put the tokenised samples into the run's folder.

    Args:
        examples: the training examples.
        run: path or URI of the run's folder; every node must see it.
        sft: what is trained.
        training: where and how.
        prompt: what prompts look like.

    Raises:
        ConfigError: base, instruction, target modules or storage cannot be used; the base's context or vocabulary does not
            fit, its weights are quantized, or its layers cannot be trained exactly; there are fewer samples than workers; or
            the run's checkpoints belong to another training.
        SchemaError: there are no training examples.
        InputError: some examples are of another split.
        TrainingError: none of them can be trained on.
    """
    sft = with_defaults(sft, max_prompt_tokens=prompt.max_prompt_tokens, dialogue=prompt.goes_on)
    shards = example_files(examples, "train")
    base = local_model_folder(sft.base_model)
    refuse_quantized(base)
    tokenizer = load_tokenizer(str(base))
    check_model(base, tokenizer, prompt, response_tokens=sft.max_response_tokens)
    check_trainable(base, packing=sft.packing)
    layers = check_target_modules(base, sft.target_modules)
    renderer = PromptRenderer(tokenizer, prompt)
    storage = Storage(run)
    storage.check_writable()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / SAMPLES_FILE
        counts = write_samples(
            examples,
            file,
            renderer,
            max_response_tokens=sft.max_response_tokens,
            validation_fraction=sft.validation_fraction,
        )
        _check_counts(counts, sft, training)
        with open(file, "rb") as stream:
            samples_digest = hashlib.file_digest(stream, "sha256").hexdigest()
        identity = run_identity(sft, training, prompt, base_digest=model_digest(base), samples_digest=samples_digest)
        if training.on_existing_run == "restart":
            restart(storage)
        else:
            check_identity(storage, identity)
        storage.put(Path(folder), SAMPLES_FOLDER)
    return Run(
        sft, training, prompt, base, layers, tokenizer, storage, identity, counts, examples_digest(shards), samples_digest
    )


def run_identity(
    sft: SFTConfig, training: TrainingConfig, prompt: PromptConfig, *, base_digest: str, samples_digest: str
) -> dict[str, str]:
    """What decides a training's outcome, by name: checkpoints with another one are not gone on from.

    The number of workers and the strategy are no part of it, as long as a step has the same samples: a run may go on with
    fewer nodes than it began with.
    """
    fields = {
        "base sha256": base_digest,
        "samples sha256": samples_digest,
        "prompt version": PROMPT_VERSION,
        "instruction sha256": hashlib.sha256(prompt.instruction().encode()).hexdigest(),
        "samples of a step": samples_per_step(sft, training),
        "dtype": training.dtype,
        **prompt.deciding(),
        **sft.model_dump(exclude=_NO_PART_OF_IDENTITY),
    }
    return {name: str(value) for name, value in fields.items()}


def _check_counts(counts: SampleCounts, sft: SFTConfig, training: TrainingConfig) -> None:
    if counts.samples < training.num_workers:
        raise ConfigError(
            f"--num-workers {training.num_workers}: there are only {counts.samples} training samples; lower it to at most "
            "that, or prepare more examples"
        )
    if sft.validation_fraction and not counts.validation:
        raise ConfigError(
            f"--validation-fraction {sft.validation_fraction:g}: holds out no user of {counts.samples} samples; raise it"
        )


def train_adapter(run: Run, out: Path, *, hear: Hear | None = None) -> AdapterDescription:
    """Train on the connected Ray cluster, from the run's last checkpoint, and put the adapter at `out`.

    An earlier adapter there is replaced when all is done. A run that is finished already is not trained again.

    Args:
        run: what `prepare_run` checked.
        out: the adapter's folder.
        hear: called with what the first worker tells (`loop.train`), in this process.

    Raises:
        ConfigError: there are not enough resources, or `out` is something else than an adapter.
        TrainingError: a worker failed more often than `max_failures` allows, or the loss is not a number.
        StorageError: a checkpoint could not be written.
    """
    refuse_to_overwrite(out)
    if FINAL not in run.storage.names():
        _run_workers(run, hear)
    state = read_state(run.storage, FINAL)
    check_same(state, run.identity, where=f"{run.storage.where}/{FINAL}")
    frame = prompt_frame(run.tokenizer, run.prompt)
    description = AdapterDescription(
        base_model=run.sft.base_model,
        base_digest=run.identity["base sha256"],
        examples_digest=run.examples_digest,
        samples_digest=run.samples_digest,
        with_rating=run.prompt.rating,
        task=run.prompt.task,
        serialisation=run.prompt.serialisation if run.prompt.task == "attributes" else None,
        prompt_form=run.prompt.form,
        evidence=run.prompt.evidence,
        evidence_place=None if run.prompt.evidence == "none" else run.prompt.evidence_place,
        history_selection=run.prompt.selection,
        user_facts=run.prompt.has_user_facts,
        chat_template=frame.text if frame else None,
        instruction=run.prompt.instruction(),
        max_prompt_tokens=run.prompt.max_prompt_tokens,
        samples=run.counts.samples,
        optimizer_steps=state.step,
        first_loss=state.curve[0]["loss"],
        last_loss=state.curve[-1]["loss"],
        best_step=state.best_step,
        validation_loss=state.best_loss,
        layers=run.layers.kinds(),
        sft=run.sft,
        training=run.training,
        canaries=[Canary.model_validate(canary) for canary in read_canaries(run.storage)],
    )
    aside = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        run.storage.get(FINAL, aside)
        complete_adapter(aside, run.tokenizer, description, state.curve)
        replace_folder(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return description


def refuse_to_overwrite(out: Path) -> None:
    """An adapter may replace an adapter, and nothing else.

    Raises:
        ConfigError: `out` is something else.
    """
    if out.exists() and not (out / DESCRIPTION_FILE).is_file():
        raise ConfigError(
            f"--adapter {out}: is there and is no adapter of reviewllm; name a folder that may be made or replaced"
        )


def _run_workers(run: Run, hear: Hear | None) -> None:
    import ray.exceptions
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    training = run.training
    require_resources(
        cpus=training.num_workers * training.cpus_per_worker,
        gpus=training.num_workers if training.use_gpu else 0,
        flags="--num-workers, --cpus-per-worker, --use-gpu",
    )
    loop = LoopConfig(
        sft=run.sft,
        training=training,
        base=str(run.base),
        run=run.storage.uri,
        identity=run.identity,
        end_token=end_token(run.tokenizer, chat_template=run.prompt.chat_template),
    )
    with _board(hear) as board:
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={**loop.model_dump(), "board": board},
            scaling_config=ray.train.ScalingConfig(
                num_workers=training.num_workers,
                use_gpu=training.use_gpu,
                resources_per_worker={"CPU": training.cpus_per_worker, **({"GPU": 1} if training.use_gpu else {})},
                placement_strategy=training.placement_strategy,
            ),
            run_config=ray.train.RunConfig(
                name=f"{RAY_PREFIX}{uuid.uuid4().hex[:8]}",
                storage_path=run.storage.root,
                storage_filesystem=run.storage.filesystem,
                failure_config=ray.train.FailureConfig(max_failures=training.max_failures),
            ),
        )
        try:
            with _ctrl_c_as_usual():
                trainer.fit()
        except (TrainingFailedError, ray.exceptions.RayError) as error:
            raise own_error(error, TrainingError) from error
        finally:
            run.storage.delete_ray_folders()
        failure = ray.get(board.failure.remote())
    if failure is not None:
        kind, _, message = failure.partition(": ")
        raise getattr(errors, kind)(message)
    if FINAL not in run.storage.names():
        raise TrainingError(f"training ended without an adapter; see the workers' logs in {log_folder()}")


@contextmanager
def _ctrl_c_as_usual() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt: Ray Train answers it by aborting the run and SystemExit, and keeps doing so later."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        raise KeyboardInterrupt from end
    finally:
        signal.signal(signal.SIGINT, before)


class _Board:
    """Ray actor on which the first worker puts what it tells."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._failure: str | None = None

    def tell(self, message: dict[str, Any]) -> None:
        self._messages.append(message)

    def take(self) -> list[dict[str, Any]]:
        messages, self._messages = self._messages, []
        return messages

    def fail(self, failure: str) -> None:
        self._failure = failure

    def failure(self) -> str | None:
        return self._failure


@contextmanager
def _board(hear: Hear | None) -> Iterator[Any]:
    """An actor that workers tell their steps; `hear` gets them twice a second, in order, and the last ones at the end."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # On the driver's own node: with another node, one that is lost, the whole run would be.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board = ray.remote(num_cpus=0, scheduling_strategy=here)(_Board).remote()
    done = threading.Event()

    def pass_on() -> None:
        for message in ray.get(board.take.remote()):
            if hear is not None:
                hear(message)

    def poll() -> None:
        while not done.wait(0.5):
            pass_on()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield board
    finally:
        done.set()
        thread.join()
        pass_on()
        ray.kill(board)
