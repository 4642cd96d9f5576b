#!/usr/bin/env node
// A core in Node: npm install zeromq
// Usage: node core.js [ENDPOINT]    (default tcp://127.0.0.1:5551)
const zmq = require("zeromq");

async function main() {
  const intake = new zmq.Request({ receiveTimeout: 10000, linger: 0 });
  intake.connect(process.argv[2] || "tcp://127.0.0.1:5551");
  await intake.send(JSON.stringify({
    id: "invoice-4711-zero-node",
    event: { events_id: "clients.balance_zero", object_id: 12 },
  }));
  const [frame] = await intake.receive();
  const answer = JSON.parse(frame.toString());
  console.log(JSON.stringify(answer));
  process.exit(["accepted", "duplicate"].includes(answer.status) ? 0 : 1);
}

main().catch((error) => {
  console.error(`no answer (${error.message}): send the same event again, with the same id`);
  process.exit(1);
});
