"""A real S3 server behind a proxy that can fail, for tests of a data root on object storage."""

import os
from contextlib import contextmanager

from tests.object_storage.faulty_proxy import FaultyProxy

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def s3_server():
    """Yield the proxy before a server that holds an empty bucket; the environment names it until the end."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    proxy = FaultyProxy(server.get_host_and_port()[1])
    before = {name: os.environ.get(name) for name in ("AWS_ENDPOINT_URL", *CREDENTIALS)}
    os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL=proxy.url)
    boto3.client("s3").create_bucket(Bucket="bucket")
    yield proxy
    proxy.close()
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
