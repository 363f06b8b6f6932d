#!/usr/bin/env node
// Publishes through the Interlink server API with nothing but Node 20.
//
//     INTERLINK_TOKEN=... publish.mjs [API] CHANNEL MESSAGE...
//
// API is http://127.0.0.1:8082 unless named. The token needs the role service:
//     interlink-edge token --user reports --role service
// Each message is published under an idempotency key of its own, so that the same attempt may be
// repeated until it is answered: nothing is lost, and nothing is published twice.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const ATTEMPTS = 5;

async function post(api, token, path, body) {
  const answer = await fetch(api + path, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  return { status: answer.status, body: await answer.json() };
}

function giveUp(error) {
  throw new Error(`refused: ${error.message} ${error.cure}`);
}

/** Publishes messages in order; sends again what was refused for now. */
async function publishAll(api, token, channel, messages) {
  let waiting = messages.map((message) => ({
    channel,
    json: message,
    idempotency_key: randomUUID(),
  }));
  const begin = performance.now();
  const records = [];
  for (let attempt = 0; attempt < ATTEMPTS && waiting.length > 0; attempt += 1) {
    const age_ms = Math.round(performance.now() - begin);
    let answer;
    try {
      const publishes = waiting.map((publish) => ({ ...publish, age_ms }));
      answer = await post(api, token, "/v1/batch", { publishes });
    } catch (error) {
      // Whether the request arrived is not known; the keys make a repeat harmless.
      console.error(`no answer, trying again: ${error}`);
      await sleep(1_000);
      continue;
    }
    if (answer.status !== 200) {
      if (!answer.body.temporary) giveUp(answer.body);
      await sleep(answer.body.retry_after_ms);
      continue;
    }
    let pause_ms = 0;
    waiting = waiting.filter((_, place) => {
      const { accepted, error } = answer.body.outcomes[place];
      if (accepted) {
        records.push(accepted.record);
        return false;
      }
      if (!error.temporary) giveUp(error);
      pause_ms = Math.max(pause_ms, error.retry_after_ms);
      return true;
    });
    if (waiting.length > 0) await sleep(pause_ms);
  }
  if (waiting.length > 0) throw new Error(`${waiting.length} messages were not accepted`);
  return records;
}

const given = process.argv.slice(2);
const api = given[0]?.includes("://") ? given.shift() : "http://127.0.0.1:8082";
const [channel, ...messages] = given;
const token = process.env.INTERLINK_TOKEN;
if (!token || messages.length === 0) {
  console.error("usage: INTERLINK_TOKEN=... publish.mjs [API] CHANNEL MESSAGE...");
  process.exit(2);
}
for (const record of await publishAll(api, token, channel, messages)) console.log(record);
