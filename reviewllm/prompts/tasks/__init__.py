"""The tasks: what is asked for, what of the new item is shown, and whether the user's history is.

task.py        what a task is
review.py      the new item's title -> the review that the user would write
attributes.py  the new item's attributes, serialised -> a review that they support
extract.py     a product's title and description -> its attributes
recommend.py   names of a user's purchases, perhaps candidates -> names of the items to recommend
profile.py     names of a user's purchases -> keywords of what the user likes
reason.py      a user's reviews and a recommended item -> one sentence why
"""

from __future__ import annotations

from typing import Literal

from reviewllm.prompts.tasks.attributes import ATTRIBUTES
from reviewllm.prompts.tasks.extract import EXTRACT
from reviewllm.prompts.tasks.profile import PROFILE
from reviewllm.prompts.tasks.reason import REASON
from reviewllm.prompts.tasks.recommend import RECOMMEND
from reviewllm.prompts.tasks.review import REVIEW
from reviewllm.prompts.tasks.task import Task

TaskName = Literal["review", "attributes", "extract", "recommend", "profile", "reason"]

TASKS: dict[TaskName, Task] = {
    "review": REVIEW,
    "attributes": ATTRIBUTES,
    "extract": EXTRACT,
    "recommend": RECOMMEND,
    "profile": PROFILE,
    "reason": REASON,
}
