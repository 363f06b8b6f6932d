#!/usr/bin/env python3
"""Publishes through the Interlink server API with nothing but Python's standard library.

    INTERLINK_TOKEN=... publish.py [API] CHANNEL MESSAGE...

API is http://127.0.0.1:8082 unless named. The token needs the role service:
    interlink-edge token --user reports --role service
Each message is published under an idempotency key of its own, so that the same attempt may be
repeated until it is answered: nothing is lost, and nothing is published twice.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

ATTEMPTS = 5


def post(api, token, path, body):
    """Sends one request and returns (status, answer)."""
    request = urllib.request.Request(
        api + path,
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def publish_all(api, token, channel, messages):
    """Publishes messages in order; sends again what was refused for now."""
    waiting = [
        {"channel": channel, "json": message, "idempotency_key": str(uuid.uuid4())}
        for message in messages
    ]
    begin = time.monotonic()
    records = []
    for _ in range(ATTEMPTS):
        age_ms = int((time.monotonic() - begin) * 1000)
        batch = {"publishes": [dict(publish, age_ms=age_ms) for publish in waiting]}
        try:
            status, answer = post(api, token, "/v1/batch", batch)
        except OSError as error:
            # Whether the request arrived is not known; the keys make a repeat harmless.
            print(f"no answer, trying again: {error}", file=sys.stderr)
            time.sleep(1)
            continue
        if status != 200:
            if not answer["temporary"]:
                raise SystemExit(f"refused: {answer['message']} {answer['cure']}")
            time.sleep(answer["retry_after_ms"] / 1000)
            continue
        again, pause_ms = [], 0
        for publish, outcome in zip(waiting, answer["outcomes"]):
            error = outcome["error"]
            if error is None:
                records.append(outcome["accepted"]["record"])
            elif error["temporary"]:
                again.append(publish)
                pause_ms = max(pause_ms, error["retry_after_ms"])
            else:
                raise SystemExit(f"refused: {error['message']} {error['cure']}")
        waiting = again
        if not waiting:
            return records
        time.sleep(pause_ms / 1000)
    raise SystemExit(f"{len(waiting)} messages were not accepted after {ATTEMPTS} attempts")


def main():
    arguments = sys.argv[1:]
    api = arguments.pop(0) if arguments and "://" in arguments[0] else "http://127.0.0.1:8082"
    if len(arguments) < 2 or "INTERLINK_TOKEN" not in os.environ:
        raise SystemExit(__doc__)
    channel, messages = arguments[0], arguments[1:]
    for record in publish_all(api, os.environ["INTERLINK_TOKEN"], channel, messages):
        print(record)


if __name__ == "__main__":
    main()
