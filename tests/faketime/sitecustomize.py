"""For `make test-clock`: libfaketime 0.9.10 refuses to sleep until a time of the monotonic clock, as `time.sleep` does."""

import threading
import time


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)


time.sleep = _sleep
