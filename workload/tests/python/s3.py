"""An S3 server on loopback, with a directory in a bucket that anybody may read.

The argument is that directory. Prints the port of a proxy before the server as JSON, then obeys
lines on standard input: `cut N` (close every connection after N more bytes of responses), `stall N`
(go silent after N more), `heal` (neither; count from zero), `count` (print the bytes sent since), `soma` (count ureter cells through
Python's cellxgene_census, from S3).
"""

import json
import os
import socket
import sys
import threading

import boto3
import cellxgene_census
from botocore.config import Config
from moto.server import ThreadedMotoServer

BUCKET = "census"


class Proxy:
    """Forwards connections, and breaks them after a number of bytes."""

    def __init__(self, target):
        self.target, self.lock = target, threading.Lock()
        self.sent, self.limit, self.stalls = 0, None, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.target)
            threading.Thread(target=self.requests, args=(client, server), daemon=True).start()
            threading.Thread(target=self.responses, args=(server, client), daemon=True).start()

    def requests(self, client, server):
        try:
            while data := client.recv(65536):
                server.sendall(data)
        except OSError:
            pass
        server.close()

    def responses(self, server, client):
        try:
            while data := server.recv(65536):
                with self.lock:
                    left = len(data) if self.limit is None else max(0, self.limit - self.sent)
                    self.sent += min(left, len(data))
                    stalls = self.stalls
                client.sendall(data[:left])
                if left < len(data):
                    if stalls:
                        threading.Event().wait()
                    break
        except OSError:
            pass
        try:
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        client.close()

    def soma(self):
        settings = {
            "vfs.s3.endpoint_override": f"127.0.0.1:{self.port}",
            "vfs.s3.scheme": "http",
            "vfs.s3.use_virtual_addressing": "false",
        }
        with cellxgene_census.open_soma(uri=f"s3://{BUCKET}/census", tiledb_config=settings) as census:
            obs = census["census_data"]["homo_sapiens"].obs
            return obs.read(value_filter="tissue_general == 'ureter'").concat().num_rows

    def obey(self, command):
        word, *number = command.split()
        with self.lock:
            if word == "count":
                return self.sent
        if word == "soma":
            return self.soma()
        with self.lock:
            self.sent, self.stalls = 0, word == "stall"
            self.limit = int(number[0]) if number else None
            return word


def upload(port, directory):
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=BUCKET, ACL="public-read")
    for root, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(root, name)
            key = os.path.relpath(path, os.path.dirname(directory))
            client.upload_file(path, BUCKET, key, ExtraArgs={"ACL": "public-read"})


def main():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    target = server.get_host_and_port()
    upload(target[1], sys.argv[1])
    proxy = Proxy(("127.0.0.1", target[1]))
    print(json.dumps(proxy.port), flush=True)
    for line in sys.stdin:
        print(json.dumps(proxy.obey(line)), flush=True)


main()
