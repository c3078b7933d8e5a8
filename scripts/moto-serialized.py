"""moto's server with writes one after the other.

moto checks `If-None-Match` and then writes, with nothing around the two: of several creators that race, more than one
can win. S3 lets exactly one win, and that is what the tests are about.
"""

import functools
import threading

from moto.s3.responses import S3Response
from moto.server import main

one_at_a_time = threading.Lock()


def serialized(method):
    @functools.wraps(method)
    def call(*args, **kwargs):
        with one_at_a_time:
            return method(*args, **kwargs)

    return call


S3Response.put_object = serialized(S3Response.put_object)

if __name__ == "__main__":
    main()
