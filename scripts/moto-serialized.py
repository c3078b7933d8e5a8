"""Starts the server of moto with conditional writes that are atomic, as those of S3 are.

moto looks for the object first (`If-None-Match`) and writes it afterwards, each request in a thread of its own. Of two
creators that race both can find nothing, and both succeed; S3 lets one. So what looks and writes holds a lock, which
costs nothing: Python runs one thread at a time anyway. A request was read in full by then, so nobody waits for another
client's network.
"""

import functools
import sys
import threading

from moto.s3.responses import S3Response
from moto.server import main

WRITING = threading.RLock()


def one_at_a_time(name):
    method = getattr(S3Response, name)

    @functools.wraps(method)
    def serialized(*arguments, **options):
        with WRITING:
            return method(*arguments, **options)

    setattr(S3Response, name, serialized)


one_at_a_time("put_object")
# Completes uploads, which may be conditional as well.
one_at_a_time("_key_response_post")

sys.exit(main())
