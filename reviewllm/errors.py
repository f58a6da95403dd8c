"""Every error that reviewllm raises on purpose.

    ReviewLLMError                 all of them; the message says what, where, what was expected, what to do
    ├── ConfigError                a flag, a YAML key or a combination of them is wrong
    ├── InputError                 something that the user handed in cannot be used
    │   ├── SourceError            a raw file is truncated, corrupt or of no known format
    │   ├── RejectedBudgetError    more rows were rejected than --max-rejected-fraction allows
    │   ├── SchemaError            a table lacks a column, or has one of the wrong type or with nulls
    │   └── AttributesError        a text of product attributes is no flat JSON object
    ├── LeakageError               a target, a reference or an evaluation user is where it must not be
    ├── PromptError                a prompt cannot be rendered within its token budget
    │   └── ProductError           the attributes of its item cannot be read
    ├── TrainingError              training cannot start or has to stop
    │   ├── NotANumberError        loss or gradient is not a number
    │   └── PackingError           samples that share a forward pass do not have the losses that they have alone
    ├── StorageError               what a run keeps cannot be written or read
    │   └── CheckpointError        a checkpoint cannot be written
    ├── AdapterError               an adapter and a base do not belong together, or an adapter is incomplete
    ├── EngineError                the engine that generates cannot start or has died
    ├── PublishError               a night cannot be published, or is not what was published
    │   ├── BudgetError            more rows failed than --max-failed-fraction allows
    │   └── RaceError              another run is at work on the same night or folder
    ├── SubmissionError            a job cannot be submitted to a cluster, or has failed there
    └── PreemptedError             SIGTERM asked the job to stop

All are picklable with their message alone, so that they cross Ray's process borders unchanged.
"""


class ReviewLLMError(Exception):
    """The root of the tree above."""


class ConfigError(ReviewLLMError):
    """A flag, a YAML key or a combination of them is wrong."""


class InputError(ReviewLLMError):
    """Something that the user handed in cannot be used."""


class SourceError(InputError):
    """A raw file is truncated, corrupt or of no known format."""


class RejectedBudgetError(InputError):
    """More rows were rejected than the budget allows."""


class SchemaError(InputError):
    """A table lacks a column, or has one of the wrong type or with nulls where none may be."""


class AttributesError(InputError):
    """A text of product attributes is no flat JSON object of names and values."""


class LeakageError(ReviewLLMError):
    """A target, a reference or an evaluation user is where it must not be."""


class PromptError(ReviewLLMError):
    """A prompt cannot be rendered within its token budget."""


class ProductError(PromptError):
    """The attributes of a prompt's item cannot be read."""


class TrainingError(ReviewLLMError):
    """Training cannot start or has to stop."""


class NotANumberError(TrainingError):
    """Loss or gradient is not a number; all workers raise it at the same step."""


class PackingError(TrainingError):
    """Samples that share a forward pass do not have the losses that they have alone; all workers raise it before the first step."""


class StorageError(ReviewLLMError):
    """What a run keeps cannot be written or read."""


class CheckpointError(StorageError):
    """A checkpoint cannot be written; all workers raise it at the same step."""


class AdapterError(ReviewLLMError):
    """An adapter and a base do not belong together, or an adapter is incomplete."""


class EngineError(ReviewLLMError):
    """The engine that generates cannot start or has died."""


class PublishError(ReviewLLMError):
    """A night cannot be published, or is not what was published."""


class BudgetError(PublishError):
    """More rows failed than the budget allows."""


class RaceError(PublishError):
    """Another run is at work on the same night or folder."""


class SubmissionError(ReviewLLMError):
    """A job cannot be submitted to a cluster, or has failed there."""


class PreemptedError(ReviewLLMError):
    """SIGTERM asked the job to stop; a re-run goes on."""
