#!/usr/bin/env node
// A monitoring subscriber in Node: npm install zeromq
// Usage: node subscriber.js [ENDPOINT] [TOPIC...]    (default tcp://127.0.0.1:5571, everything)
const zmq = require("zeromq");

async function main() {
  const [endpoint = "tcp://127.0.0.1:5571", ...topics] = process.argv.slice(2);
  const stream = new zmq.Subscriber();
  stream.connect(endpoint);
  stream.subscribe(...(topics.length ? topics : [""]));
  const last = new Map(); // topic -> audit_id
  for await (const [topic, body] of stream) {
    const record = JSON.parse(body.toString());
    if (record.audit_id === undefined) continue; // stage.heartbeat, stage.stats
    const before = last.get(record.topic);
    if (before !== undefined && record.prev_id > before)
      console.error(`gap in ${topic}: ask 5572 for ${before + 1}..${record.prev_id}`);
    last.set(record.topic, record.audit_id);
    console.log(JSON.stringify(record));
  }
}

main();
