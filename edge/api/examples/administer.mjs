#!/usr/bin/env node
// Acts on users and reads channels through the Interlink server API with nothing but Node 20.
//
//     INTERLINK_TOKEN=... administer.mjs [API] COMMAND
//
//     disconnect USER [REASON]     closes every connection of a user
//     subscribe USER CHANNEL       subscribes the connected sessions of a user
//     unsubscribe USER CHANNEL     ends the subscriptions of a user
//     revoke USER...               refuses the tokens that the users have now
//     channels [PREFIX]            lists channels with their subscribers
//     history CHANNEL              prints the events that are kept
//
// API is http://127.0.0.1:8082 unless named. The token needs the role service:
//     interlink-edge token --user reports --role service

import { setTimeout as sleep } from "node:timers/promises";

const ATTEMPTS = 5;

/** Sends one request, again when it is refused for now, and returns the answer. */
async function ask(path, { body, query = {} } = {}) {
  const given = Object.entries(query).filter(([, value]) => value != null);
  const url = `${api}${path}?${new URLSearchParams(given)}`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const response = await fetch(url, {
      method: body ? "POST" : "GET",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    });
    const answer = await response.json();
    if (response.status === 200) return answer;
    if (!answer.temporary) {
      throw new Error(`refused: ${answer.message} ${answer.cure} ${answer.detail ?? ""}`);
    }
    await sleep(answer.retry_after_ms);
  }
  throw new Error(`refused ${ATTEMPTS} times`);
}

/** Every page of a list. */
async function* pages(path, query) {
  for (let after; ; ) {
    const page = await ask(path, { query: { ...query, after } });
    yield page;
    // History names where to go on also when nothing more is there yet.
    if (page.next == null || page.more === false) return;
    after = page.next;
  }
}

const commands = {
  async disconnect(user, reason) {
    console.log((await ask("/v1/disconnect", { body: { user, reason } })).connections);
  },
  async subscribe(user, channel) {
    console.log((await ask("/v1/subscribe", { body: { user, channel } })).sessions);
  },
  async unsubscribe(user, channel) {
    console.log((await ask("/v1/unsubscribe", { body: { user, channel } })).sessions);
  },
  async revoke(...users) {
    console.log((await ask("/v1/tokens/revoke", { body: { users } })).entries);
  },
  async channels(prefix) {
    for await (const page of pages("/v1/channels", { prefix })) {
      for (const entry of page.channels) console.log(entry.subscribers, entry.channel);
    }
  },
  async history(channel) {
    for await (const page of pages("/v1/history", { channel })) {
      for (const event of page.events) {
        const payload = event.json ?? Buffer.from(event.payload, "base64").toString("hex");
        console.log(event.offset, event.publisher, JSON.stringify(payload));
      }
    }
  },
};

const given = process.argv.slice(2);
const api = given[0]?.includes("://") ? given.shift() : "http://127.0.0.1:8082";
const [command, ...words] = given;
const token = process.env.INTERLINK_TOKEN;
if (!token || !Object.hasOwn(commands, command ?? "")) {
  console.error(`usage: INTERLINK_TOKEN=... administer.mjs [API] ${Object.keys(commands).join("|")}`);
  process.exit(2);
}
await commands[command](...words);
