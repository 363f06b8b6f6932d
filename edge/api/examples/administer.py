#!/usr/bin/env python3
"""Acts on users and reads channels through the Interlink server API, with nothing but Python's
standard library.

    INTERLINK_TOKEN=... administer.py [API] COMMAND

    disconnect USER [REASON]     closes every connection of a user
    subscribe USER CHANNEL       subscribes the connected sessions of a user
    unsubscribe USER CHANNEL     ends the subscriptions of a user
    revoke USER...               refuses the tokens that the users have now
    channels [PREFIX]            lists channels with their subscribers
    history CHANNEL              prints the events that are kept

API is http://127.0.0.1:8082 unless named. The token needs the role service:
    interlink-edge token --user reports --role service
"""

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ATTEMPTS = 5


def ask(api, token, path, body=None, query=None):
    """Sends one request, again when it is refused for now, and returns the answer."""
    given = {name: value for name, value in (query or {}).items() if value is not None}
    url = api + path + ("?" + urllib.parse.urlencode(given) if given else "")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    for _ in range(ATTEMPTS):
        request = urllib.request.Request(url, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            refusal = json.load(error)
            if not refusal["temporary"]:
                detail = refusal["detail"] or ""
                message = f"{refusal['message']} {refusal['cure']} {detail}"
                raise SystemExit(f"refused: {message}") from None
            time.sleep(refusal["retry_after_ms"] / 1000)
    raise SystemExit(f"refused {ATTEMPTS} times")


def pages(api, token, path, query):
    """Every page of a list."""
    while True:
        page = ask(api, token, path, query=query)
        yield page
        # History names where to go on also when nothing more is there yet.
        if page["next"] is None or page.get("more") is False:
            return
        query = dict(query, after=page["next"])


def channels(api, token, prefix=None):
    for page in pages(api, token, "/v1/channels", {"prefix": prefix}):
        for entry in page["channels"]:
            print(entry["subscribers"], entry["channel"])


def history(api, token, channel):
    for page in pages(api, token, "/v1/history", {"channel": channel}):
        for event in page["events"]:
            payload = event["json"]
            if payload is None:
                payload = base64.b64decode(event["payload"]).hex()
            print(event["offset"], event["publisher"], json.dumps(payload))


def main():
    arguments = sys.argv[1:]
    api = arguments.pop(0) if arguments and "://" in arguments[0] else "http://127.0.0.1:8082"
    token = os.environ.get("INTERLINK_TOKEN")
    if token is None:
        raise SystemExit(__doc__)
    match arguments:
        case ["disconnect", user, *reason]:
            body = {"user": user, "reason": reason[0] if reason else None}
            print(ask(api, token, "/v1/disconnect", body)["connections"])
        case ["subscribe" | "unsubscribe" as act, user, channel]:
            body = {"user": user, "channel": channel}
            print(ask(api, token, f"/v1/{act}", body)["sessions"])
        case ["revoke", *users] if users:
            print(ask(api, token, "/v1/tokens/revoke", {"users": users})["entries"])
        case ["channels", *prefix] if len(prefix) < 2:
            channels(api, token, *prefix)
        case ["history", channel]:
            history(api, token, channel)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
