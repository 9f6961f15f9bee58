"""A joblib backend that sends every task through pickle, as another process would, and weighs it."""

import cloudpickle
from joblib._parallel_backends import ThreadingBackend


class Away(ThreadingBackend):
    """Tasks run in threads of this process, on nothing but what their pickle holds.

    Attributes
    ----------
    sent, came : list of int
        Bytes of each task and of each result.
    """

    supports_sharedmem = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.sent, self.came = [], []

    def submit(self, func, callback=None):
        told = cloudpickle.dumps(func)
        self.sent.append(len(told))

        def run():
            result = cloudpickle.dumps(cloudpickle.loads(told)())
            self.came.append(len(result))
            return cloudpickle.loads(result)

        return super().submit(run, callback)
